/*
 * The small checkpoints of tests/golden/logits as the loader of outputs has them, unquantised: what
 * is renamed, stacked, split, turned or added to 1 on the way, our engine reads back, and the
 * logits are still those of transformers. Those that the loader's class would compute otherwise are
 * refused, with the reason.
 */
#include "golden_model.h"
#include "ram.h"

#define TOLERANCE 1e-4

static size_t n_converted, n_refused;

static int convert(const struct golden *golden, const char *dir, struct ram_err *err)
{
    static const char *const set[] = {".=16"};
    const struct ram_allocate_opts allocate = {.method = "uniform", .set = set, .n_set = 1};
    const struct ram_convert_opts opts = {.force = true};
    const struct ram_run run = {.threads = 2};
    struct ram_manifest *manifest = NULL;
    struct ram_plan *plan = NULL;

    int status = ram_survey(golden->ckpt, &manifest, err);
    if (!status)
        status = ram_allocate(manifest, &allocate, &plan, err);
    if (!status)
        status = ram_convert(golden->ckpt, plan, dir, &opts, &run, RAM_TEXT, NULL, err);
    ram_plan_free(plan);
    ram_manifest_free(manifest);
    return status;
}

static void compare(const struct golden *golden, const struct ram_model *model)
{
    const json_t *positions = json_object_get(golden->json, "positions");
    const json_t *columns = json_object_get(golden->json, "columns");
    const struct request *r = &golden->request;
    const size_t per_span = json_array_size(positions), vocab = model->hp.vocab;
    struct ram_exec exec;
    const struct ram_forward_opts opts = {.f32 = true, .exec = &exec};
    struct ram_forward *forward = NULL;
    struct ram_err err = {0};
    float *logits = calloc(vocab, sizeof *logits);

    assert_non_null(logits);
    ok(ram_exec_begin(&exec, &(struct ram_run){.threads = 2}, &err), &err);
    ok(ram_forward_new(&forward, model, r->spans, r->n_spans, &opts, &err), &err);
    for (size_t l = 0; l < model->hp.n_layers; l++)
        ok(ram_forward_layer(forward, l, &err), &err);
    for (size_t i = 0; i < r->n_rows; i++) {
        const json_t *row = json_array_get(json_object_get(golden->json, "logits"), i);
        const size_t at = ram_forward_row(forward, i / per_span) +
                          (size_t)json_integer_value(json_array_get(positions, i % per_span));
        ok(ram_forward_logits(forward, &at, 1, NULL, logits, &err), &err);
        for (size_t c = 0; c < json_array_size(columns); c++) {
            const size_t column = (size_t)json_integer_value(json_array_get(columns, c));
            const double expected = json_number_value(json_array_get(row, c));
            if (!(fabs((double)logits[column] - expected) <= TOLERANCE))
                fail_msg("%s: row %zu, token %zu: logit %.6f, transformers has %.6f", golden->name,
                         i, column, (double)logits[column], expected);
        }
    }
    ram_forward_free(forward);
    ram_exec_end(&exec);
    free(logits);
}

static void check(const struct golden *golden)
{
    char dir[] = "/tmp/ram-test-XXXXXX";
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    struct ram_err err = {0};

    assert_non_null(mkdtemp(dir));
    const int status = convert(golden, dir, &err);
    if (status == RAM_EUNSUPPORTED && strstr(err.message, "mlx_lm")) {
        n_refused++;
        print_message("%s: %s\n", golden->name, err.message);
    } else {
        ok(status, &err);
        ok(ram_ckpt_open(&ckpt, dir, &err), &err);
        ok(ram_model_open(&model, ckpt, &err), &err);
        compare(golden, model);
        ram_model_close(model);
        ram_ckpt_close(ckpt);
        n_converted++;
    }
    make_remove_dir(dir);
}

static void outputs_compute_the_same(void **state)
{
    (void)state;
    golden_each(check);
    print_message("%zu converted, %zu refused\n", n_converted, n_refused);
    assert_true(n_converted > 2 * n_refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(outputs_compute_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
