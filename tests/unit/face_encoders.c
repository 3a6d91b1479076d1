/*
 * Every encoder through the public face, on small random checkpoints of every architecture: what
 * it writes verifies against the source, and for gptq does not depend on threads or memory.
 */
#include "base/file.h"
#include "base/json.h"
#include "ckpt_make.h"
#include "ram.h"

#include <setjmp.h>

#include <cmocka.h>

static const char *const encoders[] = {"rtn", "search", "gptq"};
static const char *const architectures[] = {"llama", "qwen2", "qwen3", "qwen3_moe",
                                            "glm4_moe_lite"};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

/* source -> dir, 4 bits in groups of 32, verified. */
static void convert(const char *source, const char *dir, const char *encoder,
                    const struct ram_run *run)
{
    const struct ram_allocate_opts uniform = {.method = "uniform", .bits = 4, .group = 32};
    const struct ram_convert_opts opts = {.encoder = encoder, .force = true};
    struct ram_manifest *manifest = NULL;
    struct ram_ckpt *ckpt = NULL;
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    char *report = NULL;

    ok(ram_ckpt_open(&ckpt, source, &err), &err);
    ok(ram_survey(ckpt, &manifest, &err), &err);
    ok(ram_allocate(manifest, &uniform, &plan, &err), &err);
    ok(ram_convert(ckpt, plan, dir, &opts, run, RAM_TEXT, NULL, &err), &err);
    ok(ram_verify(dir, ckpt, plan, run, RAM_TEXT, &report, &err), &err);
    free(report);
    ram_plan_free(plan);
    ram_manifest_free(manifest);
    ram_ckpt_close(ckpt);
}

static char *read_file(const char *dir, const char *name, size_t *size)
{
    struct ram_err err = {0};
    char *text = NULL, *path = ram_path_join(dir, name, &err);

    ok(ram_file_read(path, 1 << 24, &text, size, &err), &err);
    free(path);
    return text;
}

static void every_encoder_verifies(void **state)
{
    const struct ram_run run = {.threads = 2};

    (void)state;
    for (size_t a = 0; a < sizeof architectures / sizeof *architectures; a++) {
        const struct make_opts opts = {.arch = architectures[a],
                                       .tied = a == 2,
                                       .experts = a == 3 ? MAKE_FUSED : MAKE_SEPARATE};
        char source[] = "/tmp/ram-test-XXXXXX", dir[] = "/tmp/ram-test-XXXXXX";
        assert_non_null(mkdtemp(source));
        assert_non_null(mkdtemp(dir));
        make_ckpt(source, &opts);
        for (size_t e = 0; e < sizeof encoders / sizeof *encoders; e++)
            convert(source, dir, encoders[e], &run);
        make_remove_dir(source);
        make_remove_dir(dir);
    }
}

static void gptq_is_deterministic(void **state)
{
    static const struct ram_run runs[] = {
        {.threads = 1}, {.threads = 3}, {.threads = 2, .max_memory = UINT64_C(512) << 20}};
    const struct make_opts opts = {.arch = "qwen3_moe"};
    char source[] = "/tmp/ram-test-XXXXXX", dir[] = "/tmp/ram-test-XXXXXX";
    char *first[2] = {NULL};
    size_t sizes[2], size;

    (void)state;
    assert_non_null(mkdtemp(source));
    assert_non_null(mkdtemp(dir));
    make_ckpt(source, &opts);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        static const char *const files[] = {"model.safetensors", "ram.json"};
        convert(source, dir, "gptq", &runs[r]);
        for (size_t f = 0; f < 2; f++) {
            char *data = read_file(dir, files[f], r ? &size : &sizes[f]);
            if (r == 0) {
                first[f] = data;
                continue;
            }
            assert_int_equal(size, sizes[f]);
            assert_memory_equal(data, first[f], size);
            free(data);
        }
    }
    json_t *root = NULL;
    struct ram_err err = {0};
    ok(ram_json_parse(&root, first[1], sizes[1], "ram.json", &err), &err);
    const json_t *settings = json_object_get(root, "settings");
    const json_t *inputs = json_object_get(settings, "inputs");
    assert_string_equal(json_string_value(json_object_get(settings, "encoder")), "gptq");
    assert_int_equal(json_integer_value(json_object_get(inputs, "sequences")), 64);
    assert_int_equal(json_integer_value(json_object_get(inputs, "seed")), 42);
    json_decref(root);
    free(first[0]);
    free(first[1]);
    make_remove_dir(source);
    make_remove_dir(dir);
}

static void count_rounds(void *user, const struct ram_progress *progress)
{
    *(int *)user += !strcmp(progress->stage, "synthesize");
}

/* What follows a probe with the same store takes the tokens that were made for it. */
static void tokens_are_made_once(void **state)
{
    const struct make_opts make = {.arch = "llama"};
    const struct ram_allocate_opts uniform = {.method = "uniform", .bits = 4, .group = 32};
    const struct ram_probe_opts probe = {.tier = RAM_TIER_LOCAL, .curves = true};
    char source[] = "/tmp/ram-test-XXXXXX", dir[] = "/tmp/ram-test-XXXXXX";
    char kept[] = "/tmp/ram-test-XXXXXX";
    struct ram_manifest *manifest = NULL;
    struct ram_store *store = NULL;
    struct ram_ckpt *ckpt = NULL;
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    char *data[2];
    size_t size[2];
    int rounds[2] = {0};

    (void)state;
    assert_non_null(mkdtemp(source));
    assert_non_null(mkdtemp(dir));
    assert_non_null(mkdtemp(kept));
    make_ckpt(source, &make);
    ok(ram_ckpt_open(&ckpt, source, &err), &err);
    ok(ram_survey(ckpt, &manifest, &err), &err);
    ok(ram_allocate(manifest, &uniform, &plan, &err), &err);
    ok(ram_store_open(&store, kept, ckpt, false, NULL, &err), &err);
    const struct ram_run probing = {.store = store};
    ok(ram_probe(ckpt, manifest, &probe, &probing, &err), &err);
    for (int i = 0; i < 2; i++) {
        const struct ram_run run = {
            .threads = 2, .progress = count_rounds, .user = &rounds[i], .store = i ? store : NULL};
        const struct ram_convert_opts opts = {.encoder = "gptq", .force = true};
        ok(ram_convert(ckpt, plan, dir, &opts, &run, RAM_TEXT, NULL, &err), &err);
        data[i] = read_file(dir, "model.safetensors", &size[i]);
    }
    assert_true(rounds[0] > 0);
    assert_int_equal(rounds[1], 0);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    free(data[0]);
    free(data[1]);
    ram_store_close(store, true);
    ram_plan_free(plan);
    ram_manifest_free(manifest);
    ram_ckpt_close(ckpt);
    make_remove_dir(source);
    make_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoder_verifies),
        cmocka_unit_test(gptq_is_deterministic),
        cmocka_unit_test(tokens_are_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
