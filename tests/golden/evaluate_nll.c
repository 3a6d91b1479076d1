/*
 * Mean NLLs beside those that transformers computes in f32: of the model in examples/ on a text,
 * and of a small checkpoint of every family on its own token sequences. nll/nll.py made the
 * figures.
 *
 * Where ../shared is, its three reference models are run, too, on the first 8 windows of 512 tokens
 * of WikiText-2's test split; transformers and mlx_lm agree on what their README gives.
 */
#include "golden_model.h"

#include "evaluate/windows.h"
#include "text/tokenizer.h"

#include <math.h>

#define TOLERANCE 2e-5

static const char *source_root(void)
{
    const char *source = getenv("RAM_SOURCE");
    return source ? source : ".";
}

static void encode(const char *model_dir, const char *path, struct ram_ids *ids)
{
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_encoder *encoder = NULL;
    struct ram_err err = {0};
    char *text = NULL;
    size_t size = 0;

    ok(ram_tokenizer_read(&tokenizer, model_dir, &err), &err);
    ok(ram_encoder_new(&encoder, tokenizer, &err), &err);
    ok(ram_file_read(path, 1 << 24, &text, &size, &err), &err);
    ok(ram_encoder_run(encoder, text, size, RAM_ENCODE_PLAIN, ids, &err), &err);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
    free(text);
}

struct expected {
    char name[128];
    size_t length, n_windows,
        limit; /* tokens of a window; windows, of which `limit` count (0: all) */
    double nll;
};

static void compare(const struct ram_model *model, const uint32_t *tokens, size_t n_tokens,
                    const struct expected *e)
{
    struct ram_exec exec;
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &exec};
    struct ram_windows windows;
    struct ram_err err = {0};
    json_t *results = json_object();

    ok(ram_exec_begin(&exec, &(struct ram_run){.threads = 2}, &err), &err);
    ok(ram_windows_cut(&windows, n_tokens, e->length, 256, 42, e->limit, &err), &err);
    assert_int_equal(windows.n, e->n_windows);
    ok(ram_windows_score(&windows, tokens, model, NULL, &opts, results, &err), &err);
    const double nll = json_number_value(json_object_get(results, "nll"));
    if (!(fabs(nll - e->nll) < TOLERANCE))
        fail_msg("%s: NLL %.6f, expected %.6f", e->name, nll, e->nll);
    json_decref(results);
    ram_windows_release(&windows);
    ram_exec_end(&exec);
}

/* Of a trained model on a text. */
static void compare_on_text(const char *dir, const char *text, const struct expected *e)
{
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    struct ram_ids ids = {0};
    struct ram_err err = {0};

    ok(ram_ckpt_open(&ckpt, dir, &err), &err);
    ok(ram_model_open(&model, ckpt, &err), &err);
    encode(dir, text, &ids);
    compare(model, ids.items, ids.n, e);
    ram_ids_release(&ids);
    ram_model_close(model);
    ram_ckpt_close(ckpt);
}

/* Of a checkpoint that the test makes, on its sequences one after the other. */
static void compare_golden(const struct expected *e)
{
    struct golden golden;
    uint32_t tokens[4 * 512];
    size_t n = 0;
    char path[4096];

    snprintf(path, sizeof path, "%s/tests/golden/logits/%s", source_root(), e->name);
    golden_open(&golden, path, e->name);
    for (size_t s = 0; s < golden.request.n_spans; s++) {
        memcpy(tokens + n, golden.request.tokens[s], golden.request.spans[s].n * sizeof *tokens);
        n += golden.request.spans[s].n;
    }
    compare(golden.model, tokens, n, e);
    golden_close(&golden);
}

static void as_transformers_computes(void **state)
{
    char path[4096], model[4096], text[4096], line[256];
    size_t n = 0;

    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/nll/figures.txt", source_root());
    snprintf(text, sizeof text, "%s/tests/golden/nll/text.txt", source_root());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); n += *line != '#') {
        struct expected e = {.limit = 0};
        if (*line == '#')
            continue;
        assert_int_equal(sscanf(line, "%127s %zu %zu %lf", e.name, &e.length, &e.n_windows, &e.nll),
                         4);
        if (strstr(e.name, ".json")) {
            compare_golden(&e);
            continue;
        }
        snprintf(model, sizeof model, "%s/examples/%s", source_root(), e.name);
        compare_on_text(model, text, &e);
    }
    fclose(file);
    assert_true(n > 20);
}

static void as_the_readme_of_the_shared_models_says(void **state)
{
    static const struct expected models[] = {
        {"tiny-qwen3", 512, 8, 8, 4.01861},
        {"ref-qwen3-moe", 512, 8, 8, 3.94284},
        {"ref-glm4-moe-lite", 512, 8, 8, 4.29555},
    };
    const char *given = getenv("RAM_SHARED");
    char shared[2048], dir[4096], text[4096];

    (void)state;
    snprintf(shared, sizeof shared, "%s%s", given ? given : source_root(),
             given ? "" : "/../shared");
    snprintf(text, sizeof text, "%s/data/wikitext2/wiki.test.raw", shared);
    for (size_t i = 0; i < 3; i++) {
        snprintf(dir, sizeof dir, "%s/models/%s", shared, models[i].name);
        if (!access(dir, R_OK) && !access(text, R_OK))
            compare_on_text(dir, text, &models[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers_computes),
        cmocka_unit_test(as_the_readme_of_the_shared_models_says),
    };
    return cmocka_run_group_tests_name("evaluate/nll", tests, NULL, NULL);
}
