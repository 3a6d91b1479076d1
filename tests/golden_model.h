/*
 * golden_model.h - the small checkpoints of tests/golden/logits: logits/make.py says how they
 * follow from the names and shapes in a file. For the tests that compare with what transformers
 * computed.
 */
#ifndef RAM_TESTS_GOLDEN_MODEL_H
#define RAM_TESTS_GOLDEN_MODEL_H

#include "ckpt_make.h"
#include "infer/forward.h"

#include <dirent.h>
#include <setjmp.h>

#include <cmocka.h>

enum { MAX_GOLDEN = 100, MAX_GOLDEN_BYTES = 1 << 20, MAX_ROWS = 64 };

static inline void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Random number i of a tensor. */
static inline uint64_t random_of(const char *name, size_t i)
{
    uint64_t start = 0xcbf29ce484222325u; /* FNV-1a of the name */

    for (; *name; name++)
        start = (start ^ (unsigned char)*name) * 0x100000001b3u;
    return mix(start + (i + 1) * 0x9e3779b97f4a7c15u);
}

/* item: [name, shape, offset, step, span]. */
static inline void add_tensor(struct make_set *set, const json_t *item)
{
    const char *name = json_string_value(json_array_get(item, 0));
    const json_t *shape = json_array_get(item, 1);
    const double offset = json_number_value(json_array_get(item, 2));
    const double step = json_number_value(json_array_get(item, 3));
    const uint64_t span = (uint64_t)json_integer_value(json_array_get(item, 4));
    long dims[4] = {0};

    assert_in_range(json_array_size(shape), 1, 4);
    for (size_t d = 0; d < json_array_size(shape); d++)
        dims[d] = (long)json_integer_value(json_array_get(shape, d));
    struct make_tensor *t = make_add(set, "BF16", (int)json_array_size(shape), dims, name);
    for (size_t i = 0; i < t->size / 2; i++) {
        const uint64_t drawn = random_of(name, i) % (2 * span + 1);
        const double value = offset + step * ((double)drawn - (double)span);
        make_store("BF16", (float)value, t->data + 2 * i);
    }
}

static inline void write_checkpoint(const char *dir, const json_t *golden)
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

static inline void read_request(struct request *r, const json_t *golden)
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

struct golden {
    const char *name;
    json_t *json;
    struct request request;
    const char *dir;
    struct ram_ckpt *ckpt;
    struct ram_model *model;
};

static inline void golden_open(struct golden *g, const char *path, const char *name)
{
    struct ram_err err = {0};

    *g = (struct golden){.name = name, .dir = make_temp_dir()};
    ok(ram_json_read(&g->json, path, MAX_GOLDEN_BYTES, &err), &err);
    write_checkpoint(g->dir, g->json);
    read_request(&g->request, g->json);
    ok(ram_ckpt_open(&g->ckpt, g->dir, &err), &err);
    ok(ram_model_open(&g->model, g->ckpt, &err), &err);
}

static inline void golden_close(struct golden *g)
{
    ram_model_close(g->model);
    ram_ckpt_close(g->ckpt);
    make_remove_dir(g->dir);
    json_decref(g->json);
}

static inline int golden_is_json(const struct dirent *entry)
{
    const size_t n = strlen(entry->d_name);
    return n > 5 && !strcmp(entry->d_name + n - 5, ".json");
}

/* check() on every file of tests/golden/logits. */
static inline void golden_each(void (*check)(const struct golden *golden))
{
    const char *source = getenv("RAM_SOURCE");
    struct dirent **entries = NULL;
    char dir[2048], path[4096];

    snprintf(dir, sizeof dir, "%s/tests/golden/logits", source ? source : ".");
    const int n = scandir(dir, &entries, golden_is_json, alphasort);
    assert_in_range(n, 1, MAX_GOLDEN);
    for (int i = 0; i < n; i++) {
        struct golden golden;
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        golden_open(&golden, path, entries[i]->d_name);
        check(&golden);
        golden_close(&golden);
        free(entries[i]);
    }
    free(entries);
}

#endif
