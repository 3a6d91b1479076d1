/*
 * Logits of small checkpoints beside those that transformers computes in f32, for every family and
 * what may vary in it: rotary scaling, sliding windows, layers without a rotary embedding, norms
 * and their places, biases, groups of experts, latent attention.
 *
 * logits/make.py made the figures and says how; the weights follow from a law in whole numbers, so
 * that this test makes the same checkpoint from the names and shapes in the file. It needs neither
 * Python nor any other data.
 */
#include "golden_model.h"

#define TOLERANCE 1e-4 /* of logits whose standard deviation is about 1 */

/* Returns logits [n_rows, vocab], to be freed. */
static float *run(const struct ram_model *model, const struct request *r, const json_t *golden)
{
    const json_t *positions = json_object_get(golden, "positions");
    const size_t per_span = json_array_size(positions);
    struct ram_exec exec;
    const struct ram_forward_opts opts = {.f32 = true, .exec = &exec};
    struct ram_forward *forward = NULL;
    struct ram_err err = {0};
    size_t rows[MAX_ROWS];
    float *logits = calloc(r->n_rows * model->hp.vocab, sizeof *logits);

    assert_non_null(logits);
    ok(ram_exec_begin(&exec, &(struct ram_run){.threads = 2}, &err), &err);
    ok(ram_forward_new(&forward, model, r->spans, r->n_spans, &opts, &err), &err);
    for (size_t l = 0; l < model->hp.n_layers; l++)
        ok(ram_forward_layer(forward, l, &err), &err);
    for (size_t i = 0; i < r->n_rows; i++)
        rows[i] = ram_forward_row(forward, i / per_span) +
                  (size_t)json_integer_value(json_array_get(positions, i % per_span));
    ok(ram_forward_logits(forward, rows, r->n_rows, NULL, logits, &err), &err);
    ram_forward_free(forward);
    ram_exec_end(&exec);
    return logits;
}

static void compare(const char *name, const json_t *golden, const float *logits, size_t vocab)
{
    const json_t *columns = json_object_get(golden, "columns"), *row;
    const size_t n_columns = json_array_size(columns);
    double worst = 0;
    size_t i, n = 0;

    json_array_foreach(json_object_get(golden, "logits"), i, row)
    {
        for (size_t c = 0; c < n_columns; c++, n++) {
            const size_t column = (size_t)json_integer_value(json_array_get(columns, c));
            const double expected = json_number_value(json_array_get(row, c));
            const double found = (double)logits[i * vocab + column];
            if (!(fabs(found - expected) <= TOLERANCE))
                fail_msg("%s: row %zu, token %zu: logit %.6f, transformers has %.6f", name, i,
                         column, found, expected);
            worst = fmax(worst, fabs(found - expected));
        }
    }
    assert_true(n >= 100);
    print_message("%s: %zu logits, largest difference %.1e\n", name, n, worst);
}

static void check(const struct golden *golden)
{
    float *logits = run(golden->model, &golden->request, golden->json);

    compare(golden->name, golden->json, logits, golden->model->hp.vocab);
    free(logits);
}

static void as_transformers_computes(void **state)
{
    (void)state;
    golden_each(check);
}

/* A family that can be run and has no figures would not be checked. */
static void every_family_has_figures(void **state)
{
    const struct ram_family *family;
    const char *source = getenv("RAM_SOURCE");
    char path[4096];
    (void)state;

    for (size_t i = 0; (family = ram_family_at(i)); i++) {
        snprintf(path, sizeof path, "%s/tests/golden/logits/%s.json", source ? source : ".",
                 family->model_type);
        if (access(path, R_OK))
            fail_msg("%s is missing; tests/golden/logits/make.py makes it", path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers_computes),
        cmocka_unit_test(every_family_has_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
