/*
 * The three reference models on the first 8 windows of 512 tokens of WikiText-2's test split, in
 * f32: mean NLLs on which transformers and mlx_lm agree, as the models' README gives them.
 */
#include "evaluate/windows.h"
#include "text/tokenizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char shared[4096];

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static void encode(const char *dir, struct ram_ids *ids)
{
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_encoder *encoder = NULL;
    struct ram_err err = {0};
    char path[4200], *text = NULL;
    size_t size = 0;

    snprintf(path, sizeof path, "%s/data/wikitext2/wiki.test.raw", shared);
    ok(ram_tokenizer_read(&tokenizer, dir, &err), &err);
    ok(ram_encoder_new(&encoder, tokenizer, &err), &err);
    ok(ram_file_read(path, 1 << 24, &text, &size, &err), &err);
    ok(ram_encoder_run(encoder, text, size, RAM_ENCODE_PLAIN, ids, &err), &err);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
    free(text);
}

static void check(const char *name, double expected)
{
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    struct ram_exec exec;
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &exec};
    struct ram_windows windows;
    struct ram_ids ids = {0};
    struct ram_err err = {0};
    json_t *results = json_object();
    char dir[4200];

    snprintf(dir, sizeof dir, "%s/models/%s", shared, name);
    ok(ram_ckpt_open(&ckpt, dir, &err), &err);
    ok(ram_model_open(&model, ckpt, &err), &err);
    ok(ram_exec_begin(&exec, NULL, &err), &err);
    encode(dir, &ids);
    ok(ram_windows_cut(&windows, ids.n, 512, 256, 42, 8, &err), &err);
    ok(ram_windows_score(&windows, ids.items, model, NULL, &opts, results, &err), &err);
    const double nll = json_number_value(json_object_get(results, "nll"));
    if (!(fabs(nll - expected) < 2e-5))
        fail_msg("%s: NLL %.6f, expected %.5f", name, nll, expected);
    ram_windows_release(&windows);
    ram_ids_release(&ids);
    ram_exec_end(&exec);
    ram_model_close(model);
    ram_ckpt_close(ckpt);
    json_decref(results);
}

static void dense(void **state)
{
    (void)state;
    check("tiny-qwen3", 4.01861);
}

static void sparse(void **state)
{
    (void)state;
    check("ref-qwen3-moe", 3.94284);
}

static void latent_attention(void **state)
{
    (void)state;
    check("ref-glm4-moe-lite", 4.29555);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),
        cmocka_unit_test(sparse),
        cmocka_unit_test(latent_attention),
    };
    const char *source = getenv("RAM_SOURCE"), *given = getenv("RAM_SHARED");
    char probe[4300];

    snprintf(shared, sizeof shared, "%s%s",
             given    ? given
             : source ? source
                      : ".",
             given ? "" : "/../shared");
    snprintf(probe, sizeof probe, "%s/models/tiny-qwen3/config.json", shared);
    FILE *file = fopen(probe, "r");
    if (!file) {
        printf("SKIP: no %s\n", probe);
        return 77;
    }
    fclose(file);
    return cmocka_run_group_tests_name("evaluate/reference_models", tests, NULL, NULL);
}
