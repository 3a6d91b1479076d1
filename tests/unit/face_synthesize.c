/* The text of a model's own through the public face: the tokens that measurements really use. */
#include "ckpt_make.h"
#include "ram.h"

#include <setjmp.h>

#include <cmocka.h>

struct subject {
    char dir[32];
    struct ram_ckpt *ckpt;
};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static int open_subject(void **state)
{
    static struct subject s;
    struct ram_err err = {0};

    strcpy(s.dir, "/tmp/ram-test-XXXXXX");
    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, &(struct make_opts){.arch = "llama"});
    ok(ram_ckpt_open(&s.ckpt, s.dir, &err), &err);
    *state = &s;
    return 0;
}

static int close_subject(void **state)
{
    struct subject *s = *state;

    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
    return 0;
}

struct watch {
    int reports, allowed;
    bool is_total;
};

static void watch_progress(void *user, const struct ram_progress *p)
{
    struct watch *w = user;

    w->reports++;
    w->is_total = p->unit == RAM_IN_TOKENS && p->total == 4 * 32 && p->done == p->total;
}

/* By default they are those that error curves are measured on, which the encoder gptq takes over:
 * where a probe has left them, nothing is sampled, and they are the same. */
static void the_tokens_of_measurements(void **state)
{
    const struct ram_synthesize_opts ids = {.ids = true};
    const struct ram_analyze_opts quick = {.no_svd = true};
    const struct ram_probe_opts probe = {.sequences = 1, .length = 16, .curves = true};
    const struct subject *s = *state;
    struct watch watch = {0};
    struct ram_run run = {.threads = 2};
    struct ram_manifest *manifest = NULL;
    char kept[] = "/tmp/ram-test-XXXXXX";
    struct ram_err err = {0};
    char *text[2] = {NULL, NULL};
    size_t size[2] = {0, 0}, ids_found = 0;

    assert_non_null(mkdtemp(kept));
    ok(ram_synthesize(s->ckpt, &ids, &run, RAM_TEXT, &text[0], &size[0], &err), &err);
    ok(ram_store_open(&run.store, kept, s->ckpt, false, NULL, &err), &err);
    ok(ram_analyze(s->ckpt, &quick, &run, &manifest, &err), &err);
    ok(ram_probe(s->ckpt, manifest, &probe, &run, &err), &err);
    run.progress = watch_progress;
    run.user = &watch;
    ok(ram_synthesize(s->ckpt, &ids, &run, RAM_TEXT, &text[1], &size[1], &err), &err);
    assert_int_equal(watch.reports, 0);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(text[0], text[1], size[0]);
    for (size_t i = 0; i < size[0]; i++)
        ids_found += text[0][i] == ' ' || text[0][i] == '\n';
    assert_int_equal(ids_found, 64 * 256);
    free(text[0]);
    free(text[1]);
    ram_store_close(run.store, true);
    ram_manifest_free(manifest);
}

/* This checkpoint has no tokenizer: options of NULL ask for a text, and nothing is sampled. */
static void text_needs_a_tokenizer(void **state)
{
    const struct subject *s = *state;
    struct ram_err err = {0};
    char *text = NULL;
    size_t size;

    assert_int_equal(ram_synthesize(s->ckpt, NULL, NULL, RAM_TEXT, &text, &size, &err),
                     RAM_EFORMAT);
    assert_non_null(strstr(err.message, "only ids"));
    assert_null(text);
}

static bool watch_cancelled(void *user)
{
    const struct watch *w = user;
    return w->reports > w->allowed;
}

static void told_and_stopped(void **state)
{
    const struct ram_synthesize_opts opts = {.sequences = 4, .length = 32, .ids = true};
    const struct subject *s = *state;
    struct watch watch = {.allowed = 1000};
    const struct ram_run run = {
        .threads = 1, .progress = watch_progress, .cancelled = watch_cancelled, .user = &watch};
    struct ram_err err = {0};
    char *text = NULL;
    size_t size;

    ok(ram_synthesize(s->ckpt, &opts, &run, RAM_JSON, &text, &size, &err), &err);
    assert_true(watch.reports > 1 && watch.is_total);
    free(text);
    text = NULL;
    watch = (struct watch){.allowed = 3};
    assert_int_equal(ram_synthesize(s->ckpt, &opts, &run, RAM_JSON, &text, &size, &err),
                     RAM_EINTERRUPT);
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tokens_of_measurements),
        cmocka_unit_test(text_needs_a_tokenizer),
        cmocka_unit_test(told_and_stopped),
    };
    return cmocka_run_group_tests(tests, open_subject, close_subject);
}
