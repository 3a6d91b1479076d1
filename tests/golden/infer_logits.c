/*
 * Logits of small checkpoints beside those that transformers computes in f32, for every family and
 * what may vary in it: rotary scaling, sliding windows, biases, groups of experts, latent
 * attention.
 *
 * logits/make.py made the figures and says how; the weights follow from a law in whole numbers, so
 * that this test makes the same checkpoint from the names and shapes in the file. It needs neither
 * Python nor any other data.
 */
#include "ckpt_make.h"
#include "infer/forward.h"

#include <dirent.h>
#include <setjmp.h>

#include <cmocka.h>

enum { MAX_GOLDEN = 100, MAX_GOLDEN_BYTES = 1 << 20, MAX_ROWS = 64 };

#define TOLERANCE 1e-4 /* of logits whose standard deviation is about 1 */

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* item: [name, shape, offset, step, span]. */
static void add_tensor(struct make_set *set, const json_t *item)
{
    const char *name = json_string_value(json_array_get(item, 0));
    const json_t *shape = json_array_get(item, 1);
    const double offset = json_number_value(json_array_get(item, 2));
    const double step = json_number_value(json_array_get(item, 3));
    const uint64_t span = (uint64_t)json_integer_value(json_array_get(item, 4));
    uint64_t start = 0xcbf29ce484222325u; /* FNV-1a of the name */
    long dims[4] = {0};

    assert_in_range(json_array_size(shape), 1, 4);
    for (size_t d = 0; d < json_array_size(shape); d++)
        dims[d] = (long)json_integer_value(json_array_get(shape, d));
    for (const char *c = name; *c; c++)
        start = (start ^ (unsigned char)*c) * 0x100000001b3u;
    struct make_tensor *t = make_add(set, "BF16", (int)json_array_size(shape), dims, name);
    for (size_t i = 0; i < t->size / 2; i++) {
        const uint64_t drawn = mix(start + (i + 1) * 0x9e3779b97f4a7c15u) % (2 * span + 1);
        const double value = offset + step * ((double)drawn - (double)span);
        make_store("BF16", (float)value, t->data + 2 * i);
    }
}

static void write_checkpoint(const char *dir, const json_t *golden)
{
    const struct make_opts opts = {0};
    struct make_set set = {.opts = &opts};
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(golden, "tensors"), i, item) add_tensor(&set, item);
    make_weights(&set, dir);
    make_release(&set);
    FILE *file = make_open(dir, "config.json");
    if (json_dumpf(json_object_get(golden, "config"), file, 0) || fclose(file))
        make_fail("config.json");
}

/* The spans of "tokens", the rows of "positions" in each. */
struct request {
    struct ram_span spans[4];
    uint32_t tokens[4][512];
    size_t n_spans, n_rows;
};

static void read_request(struct request *r, const json_t *golden)
{
    const json_t *tokens = json_object_get(golden, "tokens");

    *r = (struct request){.n_spans = json_array_size(tokens)};
    assert_in_range(r->n_spans, 1, 4);
    for (size_t s = 0; s < r->n_spans; s++) {
        const json_t *sequence = json_array_get(tokens, s);
        const size_t n = json_array_size(sequence);
        assert_in_range(n, 1, 512);
        for (size_t t = 0; t < n; t++)
            r->tokens[s][t] = (uint32_t)json_integer_value(json_array_get(sequence, t));
        r->spans[s] = (struct ram_span){r->tokens[s], n, RAM_NO_PARENT};
    }
    r->n_rows = r->n_spans * json_array_size(json_object_get(golden, "positions"));
    assert_in_range(r->n_rows, 1, MAX_ROWS);
}

/* Returns logits [n_rows, vocab], to be freed. */
static float *run(const struct ram_model *model, const struct request *r, const json_t *golden)
{
    const json_t *positions = json_object_get(golden, "positions");
    const size_t per_span = json_array_size(positions);
    struct ram_forward_opts opts = {.f32 = true};
    struct ram_forward *forward = NULL;
    struct ram_err err = {0};
    size_t rows[MAX_ROWS];
    float *logits = calloc(r->n_rows * model->hp.vocab, sizeof *logits);

    assert_non_null(logits);
    ok(ram_pool_new(&opts.pool, 2, &err), &err);
    ok(ram_forward_new(&forward, model, r->spans, r->n_spans, &opts, &err), &err);
    for (size_t l = 0; l < model->hp.n_layers; l++)
        ok(ram_forward_layer(forward, l, &err), &err);
    for (size_t i = 0; i < r->n_rows; i++)
        rows[i] = ram_forward_row(forward, i / per_span) +
                  (size_t)json_integer_value(json_array_get(positions, i % per_span));
    ok(ram_forward_logits(forward, rows, r->n_rows, NULL, logits, &err), &err);
    ram_forward_free(forward);
    ram_pool_free(opts.pool);
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

static void check_file(const char *path, const char *name)
{
    const char *dir = make_temp_dir();
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    struct ram_err err = {0};
    struct request request;
    json_t *golden = NULL;

    ok(ram_json_read(&golden, path, MAX_GOLDEN_BYTES, &err), &err);
    write_checkpoint(dir, golden);
    read_request(&request, golden);
    ok(ram_ckpt_open(&ckpt, dir, &err), &err);
    ok(ram_model_open(&model, ckpt, &err), &err);
    float *logits = run(model, &request, golden);
    compare(name, golden, logits, model->hp.vocab);
    free(logits);
    ram_model_close(model);
    ram_ckpt_close(ckpt);
    make_remove_dir(dir);
    json_decref(golden);
}

static int is_json(const struct dirent *entry)
{
    const size_t n = strlen(entry->d_name);
    return n > 5 && !strcmp(entry->d_name + n - 5, ".json");
}

static void as_transformers_computes(void **state)
{
    const char *source = getenv("RAM_SOURCE");
    struct dirent **entries = NULL;
    char dir[2048], path[4096];
    (void)state;

    snprintf(dir, sizeof dir, "%s/tests/golden/logits", source ? source : ".");
    const int n = scandir(dir, &entries, is_json, alphasort);
    assert_in_range(n, 1, MAX_GOLDEN);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        check_file(path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* A family that can be run and has no figures would not be checked. */
static void every_family_has_figures(void **state)
{
    static const char *const families[] = {"llama",     "mistral",  "qwen2",        "qwen3",
                                           "qwen3_moe", "glm4_moe", "glm4_moe_lite"};
    const char *source = getenv("RAM_SOURCE");
    char path[4096];
    (void)state;

    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        snprintf(path, sizeof path, "%s/tests/golden/logits/%s.json", source ? source : ".",
                 families[i]);
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
