/*
 * inventory.h - manifests for tests without any weights: the tensors that a published config.json
 * implies, and the metrics that the method's authors published for some of them.
 */
#ifndef TESTS_INVENTORY_H
#define TESTS_INVENTORY_H

#include "record/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the shared data lies, or NULL. */
static inline const char *inventory_data(char *path, size_t size, const char *name)
{
    const char *const shared = getenv("RAM_SHARED"), *const source = getenv("RAM_SOURCE");

    if (shared)
        snprintf(path, size, "%s/data/%s", shared, name);
    else
        snprintf(path, size, "%s/../shared/data/%s", source ? source : ".", name);
    FILE *const file = fopen(path, "rb");
    if (!file)
        return NULL;
    fclose(file);
    return path;
}

/* A published config.json. */
static inline const char *inventory_config(char *path, size_t size, const char *name)
{
    const char *const source = getenv("RAM_SOURCE");

    snprintf(path, size, "%s/tests/data/configs/%s.config.json", source ? source : ".", name);
    return path;
}

static inline void inventory_check(int failed, const char *what)
{
    if (failed) {
        fprintf(stderr, "inventory: %s\n", what);
        abort();
    }
}

static inline struct ram_manifest *inventory_new(void)
{
    struct ram_manifest *m = NULL;
    struct ram_err err = {0};
    inventory_check(ram_manifest_new(&m, &err), "manifest");
    m->model_type = "qwen3";
    return m;
}

/* A BF16 tensor; rows = 0: a vector of cols. */
static inline struct ram_entry *inventory_add(struct ram_manifest *m, const char *role, int layer,
                                              uint64_t rows, uint64_t cols, const char *name)
{
    struct ram_err err = {0};
    /* Room for a power of two of entries, so that it is known without being kept. */
    if (!(m->n_entries & (m->n_entries - 1))) {
        const size_t room = m->n_entries ? 2 * m->n_entries : 1;
        m->entries = realloc(m->entries, room * sizeof *m->entries);
        inventory_check(!m->entries, "memory");
    }
    struct ram_entry *const e = &m->entries[m->n_entries++];
    *e = (struct ram_entry){.role = role,
                            .layer = layer,
                            .expert = -1,
                            .dtype = "BF16",
                            .file = "model.safetensors",
                            .n_dims = rows ? 2 : 1,
                            .shape = {rows ? rows : cols, rows ? cols : 0},
                            .parameters = (rows ? rows : 1) * cols,
                            .n_stored = 1,
                            .stored = {{rows ? rows : 1, cols}},
                            .stored_size = 2,
                            .stats = {NAN, NAN, NAN, NAN, NAN}};
    e->name = e->unit = ram_arena_strdup(&m->arena, name, &err);
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        e->errors[i] = NAN;
    e->skip = !rows || rows == 1 || cols == 1 ? RAM_SKIP_1D
              : e->parameters < 1024          ? RAM_SKIP_TINY
                                              : RAM_SKIP_NONE;
    m->parameters += e->parameters;
    m->bytes += e->parameters * 2;
    return e;
}

#define INVENTORY_NAME(buffer, ...) (snprintf(buffer, sizeof(buffer), __VA_ARGS__), (buffer))

static inline uint64_t inventory_key(const json_t *config, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(config, key));
}

static inline void inventory_mlp(struct ram_manifest *m, int layer, int expert, uint64_t hidden,
                                 uint64_t width)
{
    static const char *const roles[] = {"gate", "up", "down"};
    struct ram_err err = {0};
    char name[128];

    for (int k = 0; k < 3; k++) {
        const uint64_t rows = k < 2 ? width : hidden, cols = k < 2 ? hidden : width;
        if (expert < 0) {
            inventory_add(
                m, roles[k], layer, rows, cols,
                INVENTORY_NAME(name, "model.layers.%d.mlp.%s_proj.weight", layer, roles[k]));
            continue;
        }
        struct ram_entry *const e =
            inventory_add(m, roles[k], layer, rows, cols,
                          INVENTORY_NAME(name, "model.layers.%d.mlp.experts.%d.%s_proj.weight",
                                         layer, expert, roles[k]));
        e->expert = expert;
        e->unit = ram_arena_printf(&m->arena, &err, "model.layers.%d.mlp.experts.*.%s_proj.weight",
                                   layer, roles[k]);
    }
}

/* The tensors of a qwen3 or qwen3_moe checkpoint; the config goes with the manifest. */
static inline struct ram_manifest *inventory_of(json_t *config)
{
    struct ram_manifest *const m = inventory_new();
    struct ram_err err = {0};
    char name[128];

    inventory_check(!config, "config");
    json_decref(m->config);
    m->config = config;
    const json_t *const c = config;
    m->model_type =
        ram_arena_strdup(&m->arena, json_string_value(json_object_get(c, "model_type")), &err);
    const uint64_t hidden = inventory_key(c, "hidden_size"), head = inventory_key(c, "head_dim");
    const uint64_t q = inventory_key(c, "num_attention_heads") * head;
    const uint64_t kv = inventory_key(c, "num_key_value_heads") * head;
    const int experts = (int)inventory_key(c, "num_experts");

    inventory_add(m, "embed", -1, inventory_key(c, "vocab_size"), hidden,
                  "model.embed_tokens.weight");
    for (int i = 0; i < (int)inventory_key(c, "num_hidden_layers"); i++) {
#define NAME(what) INVENTORY_NAME(name, "model.layers.%d." what ".weight", i)
        inventory_add(m, "q", i, q, hidden, NAME("self_attn.q_proj"));
        inventory_add(m, "k", i, kv, hidden, NAME("self_attn.k_proj"));
        inventory_add(m, "v", i, kv, hidden, NAME("self_attn.v_proj"));
        inventory_add(m, "o", i, hidden, q, NAME("self_attn.o_proj"));
        inventory_add(m, "norm", i, 0, head, NAME("self_attn.q_norm"));
        inventory_add(m, "norm", i, 0, head, NAME("self_attn.k_norm"));
        inventory_add(m, "norm", i, 0, hidden, NAME("input_layernorm"));
        inventory_add(m, "norm", i, 0, hidden, NAME("post_attention_layernorm"));
        if (experts)
            inventory_add(m, "router", i, (uint64_t)experts, hidden, NAME("mlp.gate"));
        for (int e = 0; e < experts; e++)
            inventory_mlp(m, i, e, hidden, inventory_key(c, "moe_intermediate_size"));
        if (!experts)
            inventory_mlp(m, i, -1, hidden, inventory_key(c, "intermediate_size"));
#undef NAME
    }
    inventory_add(m, "norm", -1, 0, hidden, "model.norm.weight");
    if (!json_is_true(json_object_get(c, "tie_word_embeddings")))
        inventory_add(m, "head", -1, inventory_key(c, "vocab_size"), hidden, "lm_head.weight");
    return m;
}

static inline struct ram_manifest *inventory_qwen3(const char *config_path)
{
    struct ram_err err = {0};
    json_t *config = NULL;

    inventory_check(ram_json_read(&config, config_path, 1 << 20, &err), err.message);
    return inventory_of(config);
}

/* Shapes of Qwen3-30B-A3B, where no data is at hand. */
static inline json_t *inventory_moe_config(int layers, int experts)
{
    return json_pack("{ss si si si si si si si si si sb}", "model_type", "qwen3_moe", "vocab_size",
                     151936, "hidden_size", 2048, "head_dim", 128, "num_hidden_layers", layers,
                     "num_attention_heads", 32, "num_key_value_heads", 4, "num_experts", experts,
                     "moe_intermediate_size", 768, "intermediate_size", 6144, "tie_word_embeddings",
                     0);
}

static inline double inventory_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static inline int inventory_by_name(const void *a, const void *b)
{
    return strcmp(((const struct ram_entry *)a)->name, ((const struct ram_entry *)b)->name);
}

/*
 * The published per-tensor metrics (swan/correlation_*.json) put into the entries of that name,
 * or, without a manifest, as entries of their own. What was published of those is what was
 * decided, whether or not a row can hold a group, so they are given rows that can.
 */
static inline struct ram_manifest *inventory_published(struct ram_manifest *m, const char *path)
{
    struct ram_err err = {0};
    json_t *root = NULL, *record;
    size_t i;

    const bool own = !m;
    if (own)
        m = inventory_new();
    if (!own)
        qsort(m->entries, m->n_entries, sizeof *m->entries, inventory_by_name);
    inventory_check(ram_json_read(&root, path, 1 << 26, &err), err.message);
    json_array_foreach(json_object_get(root, "tensor_records"), i, record)
    {
        const char *const name = json_string_value(json_object_get(record, "name"));
        const json_t *const raw = json_object_get(record, "raw_scores");
        const struct ram_entry key = {.name = name};
        struct ram_entry *e = NULL;
        if (own) {
            e = inventory_add(m, "other", -1, inventory_key(record, "num_params") / 128, 128, name);
        } else {
            e = bsearch(&key, m->entries, m->n_entries, sizeof *m->entries, inventory_by_name);
        }
        inventory_check(!e || e->parameters != inventory_key(record, "num_params"), name);
        e->measured = true;
        e->metrics = (struct ram_metrics){
            inventory_number(raw, "svd_concentration"), inventory_number(raw, "kurtosis_raw"),
            inventory_number(raw, "output_delta"), inventory_number(record, "quant_error_4bit")};
    }
    json_decref(root);
    return m;
}

/*
 * Measures of matrices that nobody has: metrics that vary as real ones do, and the squared errors
 * of Gaussian weights with standard deviation 0.02, about 6 dB a bit. Every matrix that is scored.
 */
static inline void inventory_measure(struct ram_manifest *m)
{
    uint64_t state = 42;

    for (size_t i = 0; i < m->n_entries; i++) {
        struct ram_entry *const e = &m->entries[i];
        double u[4];
        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            u[k] = (double)(state >> 11) / 9007199254740992.0;
        }
        if (e->skip)
            continue;
        e->measured = true;
        e->metrics = (struct ram_metrics){0.12 + 0.3 * u[0] * u[0], 0.1 + 12 * pow(u[1], 6),
                                          0.2 + 1.5 * u[2] * u[2], 0.1 + 0.03 * pow(u[3], 8)};
        e->stats = (struct ram_stats){0, 0.02, 0.02, -0.1, 0.1};
        for (const struct ram_form *f = ram_forms; f < RAM_FORM_16; f++)
            e->errors[ram_form_index(f)] = ram_form_fit(f, e->stored[0].cols) == f
                                               ? (double)e->parameters * 4e-4 *
                                                     (2.0 + 0.4 * (f->group >> 6)) *
                                                     pow(4, -f->bits) * (1 + 0.1 * u[3])
                                               : NAN;
    }
}

#endif
