/* Whole or absent: whatever goes wrong, no directory that looks finished, and nothing left behind.
 */
#include "ckpt/coding.h"
#include "convert_case.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const struct ram_convert_opts no_opts;

static void open_plain(struct test_case *c)
{
    static struct width w = {4, 32};
    case_open(c, &all_forms[6], same_width, &w);
}

/* Only the model lies in the case's directory. */
#define assert_nothing_left(c)                                                                     \
    do {                                                                                           \
        assert_int_equal(count_entries((c)->out), -1);                                             \
        assert_int_equal(count_entries((c)->dir), 1);                                              \
    } while (0)

#define assert_says(c, text)                                                                       \
    do {                                                                                           \
        if (!strstr((c)->err.message, text))                                                       \
            fail_msg("\"%s\" does not say \"%s\"", (c)->err.message, text);                        \
    } while (0)

static void existing_output(void **state)
{
    struct ram_convert_opts opts = {0};
    struct test_case c;
    size_t size;

    (void)state;
    open_plain(&c);
    assert_int_equal(case_convert(&c, &opts, 1, NULL), RAM_OK);
    assert_int_equal(case_convert(&c, &opts, 1, NULL), RAM_EEXIST);
    assert_says(&c, "--force");
    spill(c.out, "old.txt", "x", 1);
    opts.force = true;
    assert_int_equal(case_convert(&c, &opts, 1, NULL), RAM_OK);
    assert_null(slurp(c.out, "old.txt", &size));
    assert_int_equal(count_entries(c.dir), 2);

    /* What is no model is not replaced, by force or otherwise. */
    snprintf(c.out, sizeof c.out, "%s/home", c.dir);
    assert_int_equal(mkdir(c.out, 0777), 0);
    spill(c.out, "thesis.txt", "x", 1);
    assert_int_equal(case_convert(&c, &opts, 1, NULL), RAM_EEXIST);
    assert_int_equal(count_entries(c.out), 1);

    /* Nor is the source, under whatever name. */
    snprintf(c.out, sizeof c.out, "%s/home/../model", c.dir);
    assert_int_equal(case_convert(&c, &opts, 1, NULL), RAM_EUSAGE);
    assert_says(&c, "is the source model; choose another -o");
    case_close(&c);
}

static void output_that_cannot_be_made(void **state)
{
    struct test_case c;

    (void)state;
    open_plain(&c);
    snprintf(c.out, sizeof c.out, "%s/model/config.json/out", c.dir);
    assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_EIO);
    assert_says(&c, c.out);
    snprintf(c.out, sizeof c.out, "%s/nowhere/out", c.dir);
    assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_EIO);
    if (geteuid()) { /* root may write anywhere */
        char path[300];
        snprintf(path, sizeof path, "%s/locked", c.dir);
        assert_int_equal(mkdir(path, 0555), 0);
        snprintf(c.out, sizeof c.out, "%s/locked/out", c.dir);
        assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_EIO);
        assert_says(&c, "Permission denied");
        assert_int_equal(count_entries(path), 0);
    } else if (!access("/proc/sys", F_OK)) { /* but not here */
        snprintf(c.out, sizeof c.out, "/proc/sys/out");
        assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_EIO);
    }
    case_close(&c);
}

/* A limit on the size of files is the nearest thing to a full disk that every system has. */
static void full_disk(void **state)
{
    static const rlim_t limits[] = {10, 2000, 40000};
    struct test_case c;
    struct rlimit before;

    (void)state;
    open_plain(&c);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const struct rlimit limit = {.rlim_cur = limits[i], .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const int status = case_convert(&c, &no_opts, 2, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, RAM_EIO);
        assert_nothing_left(&c);
    }
    case_close(&c);
}

/* Writes a value over element `at` of a BF16 tensor of the model, and opens it again. */
static void poison(struct test_case *c, const char *name, size_t at, uint16_t value)
{
    const struct ram_tensor *tensor = ram_ckpt_find(c->ckpt, name);
    char path[700];
    assert_non_null(tensor);
    snprintf(path, sizeof path, "%s/%s", c->model, c->ckpt->files[tensor->file].name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)(tensor->offset + at * 2), SEEK_SET);
    assert_int_equal(fwrite(&value, 2, 1, file), 1);
    fclose(file);
}

static void weights_that_are_not_finite(void **state)
{
    static const struct {
        const char *tensor;
        size_t at;
        uint16_t value;
        const char *place, *what;
    } cases[] = {
        {"model.layers.2.mlp.experts.3.down_proj.weight", 5 * 32 + 7, 0x7fc0, "[5, 7]",
         "not a number"},
        {"model.embed_tokens.weight", 159 * 64, 0xff80, "[159, 0]", "infinite"},
        {"model.layers.1.input_layernorm.weight", 63, 0x7f80, "[63]", "infinite"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_case c;
        open_plain(&c);
        poison(&c, cases[i].tensor, cases[i].at, cases[i].value);
        assert_int_equal(case_convert(&c, &no_opts, 2, NULL), RAM_EFORMAT);
        assert_says(&c, cases[i].tensor);
        assert_says(&c, cases[i].place);
        assert_says(&c, cases[i].what);
        assert_nothing_left(&c);
        case_close(&c);
    }
}

static bool after_three(void *user)
{
    return ++*(int *)user > 3;
}

static void cancelled(void **state)
{
    int calls = 0;
    /* One thread: of two, the one that asks might be given too few blocks to ask so often. */
    const struct ram_run run = {.threads = 1, .cancelled = after_three, .user = &calls};
    struct test_case c;

    (void)state;
    open_plain(&c);
    assert_int_equal(convert_by(c.ckpt, c.plan, c.out, &no_opts, &run, NULL, &c.err),
                     RAM_EINTERRUPT);
    assert_nothing_left(&c);
    case_close(&c);
}

/* Stops in the middle for ever; the parent then kills it. */
static void hang(void *user, const struct ram_progress *p)
{
    if (p->done < p->total / 2)
        return;
    assert_int_equal(write(*(int *)user, "x", 1), 1);
    for (;;)
        pause();
}

static void killed(void **state)
{
    struct test_case c;
    int ends[2], status;
    char byte;

    (void)state;
    open_plain(&c);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        const struct ram_run run = {.threads = 1, .progress = hang, .user = &ends[1]};
        convert_by(c.ckpt, c.plan, c.out, &no_opts, &run, NULL, &c.err);
        _exit(0);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    close(ends[1]);
    /* Half a file lies there, in a directory that nobody takes for a model. */
    assert_int_equal(count_entries(c.out), -1);
    assert_int_equal(count_entries(c.dir), 2);
    char partial[400];
    struct ram_ckpt *ckpt = NULL;
    snprintf(partial, sizeof partial, "%s.partial-%ld", c.out, (long)child);
    assert_int_equal(count_entries(partial), 1);
    assert_int_not_equal(ram_ckpt_open(&ckpt, partial, &c.err), RAM_OK);
    /* The next run takes it away. */
    assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_OK);
    assert_int_equal(count_entries(c.dir), 2);
    assert_int_equal(count_entries(partial), -1);
    case_close(&c);
}

static void too_little_memory(void **state)
{
    const struct ram_run run = {.max_memory = 1 << 16};
    struct test_case c;

    (void)state;
    open_plain(&c);
    assert_int_equal(convert_by(c.ckpt, c.plan, c.out, &no_opts, &run, NULL, &c.err), RAM_ENOMEM);
    assert_says(&c, "65536");
    assert_nothing_left(&c);
    case_close(&c);
}

static void refused_options(void **state)
{
    static const struct {
        struct ram_convert_opts opts;
        const char *says;
    } cases[] = {
        {{.format = "gguf"}, "mlx"},
        {{.encoder = "magic"}, "rtn"},
        {{.profile = (enum ram_profile)7}, "profile"},
    };
    struct test_case c;

    (void)state;
    open_plain(&c);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(case_convert(&c, &cases[i].opts, 1, NULL), RAM_EUSAGE);
        assert_says(&c, cases[i].says);
    }
    json_object_set_new(c.ckpt->config, "quantization",
                        json_pack("{s:i, s:i}", "bits", 4, "group_size", 64));
    assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_EUNSUPPORTED);
    assert_says(&c, "already quantised");
    json_object_del(c.ckpt->config, "quantization");
    json_object_set_new(c.ckpt->config, "quantization_config",
                        json_pack("{s:s}", "quant_method", "awq"));
    c.err = (struct ram_err){0};
    assert_int_equal(ram_coding_find(c.ckpt, &c.err), RAM_OK);
    assert_int_equal(case_convert(&c, &no_opts, 1, NULL), RAM_EUNSUPPORTED);
    assert_says(&c, "awq");
    assert_nothing_left(&c);
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(existing_output),   cmocka_unit_test(output_that_cannot_be_made),
        cmocka_unit_test(full_disk),         cmocka_unit_test(weights_that_are_not_finite),
        cmocka_unit_test(cancelled),         cmocka_unit_test(killed),
        cmocka_unit_test(too_little_memory), cmocka_unit_test(refused_options),
    };
    return cmocka_run_group_tests_name("convert/whole", tests, NULL, NULL);
}
