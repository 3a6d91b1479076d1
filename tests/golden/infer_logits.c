/*
 * Logits of small checkpoints beside those that transformers computes in f32, for every family and
 * what may vary in it: rotary scaling, sliding windows, layers without a rotary embedding, norms
 * and their places, biases, groups of experts, latent attention, a delta rule in place of it.
 *
 * logits/make.py made the figures and says how; the weights follow from a law in whole numbers, so
 * that this test makes the same checkpoint from the names and shapes in the file. It needs neither
 * Python nor any other data.
 */
#include "golden_model.h"

#define TOLERANCE 1e-4 /* of logits whose standard deviation is about 1 */

/* Logits [n_rows, vocab] of a request, to be freed; and how a sequence is computed. */
struct way {
    const char *name;
    size_t cut; /* a second span continues the first from here; 0: there is one */
    bool grows; /* the first span has `cut` tokens, and what follows comes one by one */
};

static void run_layers(struct ram_forward *forward, const struct ram_model *model)
{
    struct ram_err err = {0};

    for (size_t l = 0; l < model->hp.n_layers; l++)
        ok(ram_forward_layer(forward, l, &err), &err);
}

/* Logits of position `at` of a sequence. */
static void read_logits(struct ram_forward *forward, const struct way *way, size_t sequence,
                        size_t at, float *to)
{
    const bool second = way->cut && !way->grows && at >= way->cut;
    const size_t span = way->cut && !way->grows ? 2 * sequence + second : sequence;
    const size_t row = ram_forward_row(forward, span) + at - (second ? way->cut : 0);
    struct ram_err err = {0};

    ok(ram_forward_logits(forward, &row, 1, NULL, to, &err), &err);
}

/* Those positions that a pass has computed: [from, to). */
static void read_part(struct ram_forward *forward, const struct way *way, const struct request *r,
                      const struct golden *golden, size_t from, size_t to, float *logits)
{
    const json_t *positions = json_object_get(golden->json, "positions");
    const size_t per_span = json_array_size(positions), vocab = golden->model->hp.vocab;

    for (size_t i = 0; i < r->n_rows; i++) {
        const size_t at = (size_t)json_integer_value(json_array_get(positions, i % per_span));
        if (at >= from && at < to)
            read_logits(forward, way, i / per_span, way->grows && from ? 0 : at,
                        logits + i * vocab);
    }
}

static struct ram_kv *make_kv(const struct ram_model *model, size_t n)
{
    struct ram_kv *kv = calloc(model->hp.n_layers * n, sizeof *kv);

    assert_non_null(kv);
    return kv;
}

static void free_kv(struct ram_kv *kv, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(kv[i].k);
        free(kv[i].v);
    }
    free(kv);
}

static float *run(const struct golden *golden, const struct way *way)
{
    const struct ram_model *model = golden->model;
    const struct request *r = &golden->request;
    const size_t n = r->n_spans, length = r->spans[0].n, first = way->cut ? way->cut : length;
    struct ram_span spans[2 * MAX_ROWS];
    struct ram_kv *kv = way->grows ? make_kv(model, n) : NULL;
    struct ram_exec exec;
    struct ram_forward *forward = NULL;
    struct ram_err err = {0};
    size_t n_spans = 0;
    float *logits = calloc(r->n_rows * model->hp.vocab, sizeof *logits);

    assert_non_null(logits);
    for (size_t i = 0; i < n; i++) {
        const size_t parent = n_spans;
        spans[n_spans++] = (struct ram_span){r->spans[i].tokens, first, RAM_NO_PARENT};
        if (way->cut && !way->grows)
            spans[n_spans++] =
                (struct ram_span){r->spans[i].tokens + first, length - first, parent};
    }
    ok(ram_exec_begin(&exec, &(struct ram_run){.threads = 2}, &err), &err);
    const struct ram_forward_opts opts = {
        .f32 = true, .exec = &exec, .kv = kv, .positions = kv ? length : 0};
    ok(ram_forward_new(&forward, model, spans, n_spans, &opts, &err), &err);
    run_layers(forward, model);
    read_part(forward, way, r, golden, 0, way->grows ? first : length, logits);
    for (size_t at = first; way->grows && at < length; at++) {
        ram_forward_free(forward);
        for (size_t i = 0; i < n; i++)
            spans[i] = (struct ram_span){r->spans[i].tokens + at, 1, RAM_NO_PARENT};
        ok(ram_forward_new(&forward, model, spans, n, &opts, &err), &err);
        run_layers(forward, model);
        read_part(forward, way, r, golden, at, at + 1, logits);
    }
    ram_forward_free(forward);
    ram_exec_end(&exec);
    if (kv)
        free_kv(kv, model->hp.n_layers * n);
    return logits;
}

static void compare(const struct golden *of, const struct way *way, const float *logits)
{
    const json_t *golden = of->json;
    const size_t vocab = of->model->hp.vocab;
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
                fail_msg("%s, %s: row %zu, token %zu: logit %.6f, transformers has %.6f", of->name,
                         way->name, i, column, found, expected);
            worst = fmax(worst, fabs(found - expected));
        }
    }
    assert_true(n >= 100);
    print_message("%s, %s: %zu logits, largest difference %.1e\n", of->name, way->name, n, worst);
}

/* A span that continues another one, and a sequence that grows, see what stands before them:
 * in keys, in the state of a delta rule, in the inputs of a convolution. */
static void check(const struct golden *golden)
{
    static const struct way ways[] = {
        {"at once", 0, false}, {"in two spans", 18, false}, {"by and by", 2, true}};

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        float *logits = run(golden, &ways[i]);
        compare(golden, &ways[i], logits);
        free(logits);
    }
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
