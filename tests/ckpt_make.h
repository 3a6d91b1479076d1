/*
 * ckpt_make.h - writes small random checkpoints for tests, of every architecture we know, in the
 * forms in which they are published. Its names, shapes and file layout are written down here a
 * second time, from the model files of transformers, and share no code with the library.
 *
 *     struct make_opts opts = {.arch = "qwen3_moe", .shards = 3};
 *     make_ckpt("/tmp/x", &opts);          // the directory is made
 *
 * Failures end the test program: this is scaffolding.
 */
#ifndef RAM_TESTS_CKPT_MAKE_H
#define RAM_TESTS_CKPT_MAKE_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum make_experts { MAKE_SEPARATE, MAKE_FUSED, MAKE_STACKED }; /* STACKED: MLX's switch_mlp */

struct make_opts {
    const char *arch; /* model_type */
    int layers;       /* 0: 3 */
    int shards;       /* 0: one file without an index */
    uint64_t seed;
    const char *dtype; /* of the weights: NULL: BF16; F16, F32, F64, F8_E4M3 */
    int fp8_block[2];  /* 0: 128 */
    enum make_experts experts;
    bool mtp;            /* a layer for multi-token prediction (GLM) */
    bool tied;           /* and no lm_head.weight, unless spare_head */
    bool spare_head;     /* one that is the embedding once more */
    int prefix;          /* of "model." in names: -1 it is absent, 1 it stands there twice; 2:
                          * "model.language_model."; 3: "language_model." before all names */
    const char *wrapper; /* stands behind "model.layers.N." in names, as "_orig_mod." does */
    bool other_head;     /* one of its own, although config.json says that it is tied */
    bool bias;           /* attention_bias (llama, glm4_moe) */
    bool split_kv;       /* embed_q and unembed_out instead of kv_b_proj */
    bool new_spelling;   /* config.json as transformers 5 writes it */
    bool inv_freq;       /* rotary buffers, as old checkpoints have them */
    int times;           /* 0: 1; so much larger than the sizes below, but for heads and experts */
};

/* Every architecture has these sizes, the first of them multiplied by `times`. */
enum {
    MAKE_VOCAB = 160,
    MAKE_HIDDEN = 64,
    MAKE_INTER = 96,
    MAKE_HEADS = 4,
    MAKE_KV_HEADS = 2,
    MAKE_HEAD = 32,
    MAKE_EXPERTS = 4,
    MAKE_MOE = 32,
    MAKE_Q_LORA = 64,
    MAKE_KV_LORA = 64,
    MAKE_NOPE = 32,
    MAKE_ROPE = 16,
    MAKE_V = 48
};

/* ---- tensors in memory ------------------------------------------------------------------------
 */

struct make_tensor {
    char name[160];
    const char *dtype;
    int n_dims;
    long shape[4];
    size_t size;
    unsigned char *data;
};

struct make_set {
    const struct make_opts *opts;
    struct make_tensor *tensors;
    size_t n, cap;
    uint64_t state;
};

static inline void make_fail(const char *what)
{
    perror(what);
    exit(1);
}

/* SplitMix64. */
static inline uint64_t make_random(struct make_set *set)
{
    uint64_t z = set->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Near enough to normal: the sum of twelve uniform numbers. */
static inline float make_normal(struct make_set *set)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(make_random(set) >> 11) * 0x1p-53;
    return (float)sum;
}

static inline size_t make_dtype_size(const char *dtype)
{
    if (!strcmp(dtype, "BF16") || !strcmp(dtype, "F16"))
        return 2;
    return !strcmp(dtype, "F32") ? 4 : !strcmp(dtype, "F64") || !strcmp(dtype, "I64") ? 8 : 1;
}

/* Truncated to 8 bits of significand: every type but FP8 holds such a value exactly. */
static inline float make_value(struct make_set *set)
{
    float value = make_normal(set) * 0.05f;
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits &= 0xffff0000u;
    memcpy(&value, &bits, 4);
    return fabsf(value) < 1e-3f ? 0.00390625f : value;
}

static inline void make_store(const char *dtype, float value, unsigned char *to)
{
    uint32_t bits;
    const double wide = value;

    memcpy(&bits, &value, 4);
    if (!strcmp(dtype, "BF16")) {
        memcpy(to, (const unsigned char *)&bits + 2, 2);
    } else if (!strcmp(dtype, "F16")) {
        /* Normal numbers of both types only. */
        const uint32_t half =
            (bits >> 16 & 0x8000) | (((bits >> 23 & 0xff) - 112) << 10) | (bits >> 13 & 0x3ff);
        to[0] = (unsigned char)half;
        to[1] = (unsigned char)(half >> 8);
    } else if (!strcmp(dtype, "F64")) {
        memcpy(to, &wide, 8);
    } else {
        memcpy(to, &value, 4);
    }
}

static inline struct make_tensor *make_add(struct make_set *set, const char *dtype, int n_dims,
                                           const long *shape, const char *name)
{
    if (set->n == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 64;
        set->tensors = realloc(set->tensors, set->cap * sizeof *set->tensors);
        if (!set->tensors)
            make_fail("memory");
    }
    struct make_tensor *t = &set->tensors[set->n++];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->dtype = dtype;
    t->n_dims = n_dims;
    t->size = make_dtype_size(dtype);
    for (int i = 0; i < n_dims; i++) {
        t->shape[i] = shape[i];
        t->size *= (size_t)shape[i];
    }
    t->data = calloc(t->size ? t->size : 1, 1);
    if (!t->data)
        make_fail("memory");
    return t;
}

static inline void make_fill(struct make_set *set, struct make_tensor *t)
{
    const size_t step = make_dtype_size(t->dtype);
    for (size_t at = 0; at < t->size; at += step)
        make_store(t->dtype, make_value(set), t->data + at);
}

/* FP8 codes (never NaN) and positive scales of their blocks. */
static inline void make_fp8(struct make_set *set, struct make_tensor *t)
{
    const struct make_opts *opts = set->opts;
    const long block[2] = {opts->fp8_block[0] ? opts->fp8_block[0] : 128,
                           opts->fp8_block[1] ? opts->fp8_block[1] : 128};
    char name[192];
    long shape[4] = {0};

    for (size_t i = 0; i < t->size; i++) {
        const unsigned char code = (unsigned char)make_random(set);
        t->data[i] = (code & 0x7f) == 0x7f ? 0 : code;
    }
    const int n = t->n_dims;
    for (int i = 0; i < n; i++)
        shape[i] =
            i < n - 2 ? t->shape[i] : (t->shape[i] + block[i - n + 2] - 1) / block[i - n + 2];
    snprintf(name, sizeof name, "%s_scale_inv", t->name);
    struct make_tensor *scale = make_add(set, "F32", n, shape, name);
    for (size_t i = 0; i < scale->size; i += 4)
        make_store("F32", 0.0001f * (float)(1 + make_random(set) % 64), scale->data + i);
}

static inline struct make_tensor *make_find(struct make_set *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (!strcmp(set->tensors[i].name, name))
            return &set->tensors[i];
    make_fail(name);
    return NULL;
}

static inline void make_rename(struct make_tensor *t, int prefix)
{
    const bool inside = !strncmp(t->name, "model.", 6);
    char name[sizeof t->name];

    const char *const before[] = {"", "", "model.", "model.language_model.", "language_model."};

    if (prefix == 2 && !inside)
        return;
    snprintf(name, sizeof name, "%s%.150s", before[prefix + 1],
             (prefix < 0 || prefix == 2) && inside ? t->name + 6 : t->name);
    memcpy(t->name, name, sizeof name);
}

static inline void make_wrap(struct make_tensor *t, const char *wrapper)
{
    static const char layers[] = "model.layers.";
    const bool inside = !strncmp(t->name, layers, sizeof layers - 1);
    const char *dot = inside ? strchr(t->name + (sizeof layers - 1), '.') : NULL;
    char name[sizeof t->name];

    if (!dot)
        return;
    snprintf(name, sizeof name, "%.*s%.40s%.90s", (int)(dot + 1 - t->name), t->name, wrapper,
             dot + 1);
    memcpy(t->name, name, sizeof name);
}

/* Gives one tensor the bytes of another of its size. */
static inline void make_copy(struct make_set *set, const char *from, const char *to)
{
    memcpy(make_find(set, to)->data, make_find(set, from)->data, make_find(set, to)->size);
}

/* make_matrix(set, rows, cols, "model.layers.%d.x.weight", 3); cols 0: a vector, never FP8. */
__attribute__((format(printf, 4, 5))) static inline void make_matrix(struct make_set *set,
                                                                     long rows, long cols,
                                                                     const char *fmt, ...)
{
    char name[160];
    const long shape[2] = {rows, cols};
    const char *dtype = set->opts->dtype ? set->opts->dtype : "BF16";
    va_list args;

    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    const bool fp8 = !strcmp(dtype, "F8_E4M3");
    const bool plain = !cols || strstr(name, "embed_tokens") || strstr(name, "lm_head") ||
                       strstr(name, "mlp.gate.");
    struct make_tensor *t = make_add(set, fp8 && plain ? "BF16" : dtype, cols ? 2 : 1, shape, name);
    if (fp8 && !plain)
        make_fp8(set, t);
    else
        make_fill(set, t);
}

static inline void make_stack(struct make_set *set, long n, long rows, long cols, const char *name)
{
    const long shape[3] = {n, rows, cols};
    const char *dtype = set->opts->dtype ? set->opts->dtype : "BF16";
    struct make_tensor *t = make_add(set, dtype, 3, shape, name);

    if (!strcmp(dtype, "F8_E4M3"))
        make_fp8(set, t);
    else
        make_fill(set, t);
}

/* ---- the architectures ------------------------------------------------------------------------
 */

static inline int make_size(const struct make_set *set, int size)
{
    return size * (set->opts->times ? set->opts->times : 1);
}

static inline bool make_is(const struct make_set *set, const char *arch)
{
    return !strcmp(set->opts->arch, arch);
}

static inline bool make_is_glm(const struct make_set *set)
{
    return !strncmp(set->opts->arch, "glm4_moe", 8);
}

static inline bool make_has_experts(const struct make_set *set, int layer)
{
    return make_is(set, "qwen3_moe") || (make_is_glm(set) && layer >= 1);
}

static inline void make_attention(struct make_set *set, int l)
{
    static const char p[] = "model.layers";
    const int q = MAKE_HEADS * MAKE_HEAD, kv = MAKE_KV_HEADS * MAKE_HEAD;
    const int h = make_size(set, MAKE_HIDDEN);
    const bool bias = make_is(set, "qwen2") || set->opts->bias;
    /* transformers takes qwen2's head size from the hidden size. */
    const int scale = make_is(set, "qwen2") ? 2 : 1;

    make_matrix(set, q / scale, h, "%s.%d.self_attn.q_proj.weight", p, l);
    make_matrix(set, kv / scale, h, "%s.%d.self_attn.k_proj.weight", p, l);
    make_matrix(set, kv / scale, h, "%s.%d.self_attn.v_proj.weight", p, l);
    make_matrix(set, h, q / scale, "%s.%d.self_attn.o_proj.weight", p, l);
    if (bias) {
        make_matrix(set, q / scale, 0, "%s.%d.self_attn.q_proj.bias", p, l);
        make_matrix(set, kv / scale, 0, "%s.%d.self_attn.k_proj.bias", p, l);
        make_matrix(set, kv / scale, 0, "%s.%d.self_attn.v_proj.bias", p, l);
    }
    if (bias && make_is(set, "llama"))
        make_matrix(set, h, 0, "%s.%d.self_attn.o_proj.bias", p, l);
    if (!strncmp(set->opts->arch, "qwen3", 5) || make_is_glm(set)) {
        make_matrix(set, MAKE_HEAD, 0, "%s.%d.self_attn.q_norm.weight", p, l);
        make_matrix(set, MAKE_HEAD, 0, "%s.%d.self_attn.k_norm.weight", p, l);
    }
    if (set->opts->inv_freq)
        make_matrix(set, MAKE_HEAD / 2, 0, "%s.%d.self_attn.rotary_emb.inv_freq", p, l);
}

static inline void make_mla(struct make_set *set, int l)
{
    static const char p[] = "model.layers";
    const int heads = MAKE_HEADS, h = make_size(set, MAKE_HIDDEN), r = make_size(set, MAKE_KV_LORA);
    char name[160];

    make_matrix(set, make_size(set, MAKE_Q_LORA), h, "%s.%d.self_attn.q_a_proj.weight", p, l);
    make_matrix(set, make_size(set, MAKE_Q_LORA), 0, "%s.%d.self_attn.q_a_layernorm.weight", p, l);
    make_matrix(set, heads * (MAKE_NOPE + MAKE_ROPE), make_size(set, MAKE_Q_LORA),
                "%s.%d.self_attn.q_b_proj.weight", p, l);
    make_matrix(set, r + MAKE_ROPE, h, "%s.%d.self_attn.kv_a_proj_with_mqa.weight", p, l);
    make_matrix(set, r, 0, "%s.%d.self_attn.kv_a_layernorm.weight", p, l);
    make_matrix(set, h, heads * MAKE_V, "%s.%d.self_attn.o_proj.weight", p, l);
    if (!set->opts->split_kv) {
        make_matrix(set, heads * (MAKE_NOPE + MAKE_V), r, "%s.%d.self_attn.kv_b_proj.weight", p, l);
        return;
    }
    snprintf(name, sizeof name, "%s.%d.self_attn.embed_q.weight", p, l);
    make_stack(set, heads, r, MAKE_NOPE, name);
    snprintf(name, sizeof name, "%s.%d.self_attn.unembed_out.weight", p, l);
    make_stack(set, heads, MAKE_V, r, name);
}

static inline void make_mlp(struct make_set *set, const char *prefix, int width)
{
    make_matrix(set, width, make_size(set, MAKE_HIDDEN), "%s.gate_proj.weight", prefix);
    make_matrix(set, width, make_size(set, MAKE_HIDDEN), "%s.up_proj.weight", prefix);
    make_matrix(set, make_size(set, MAKE_HIDDEN), width, "%s.down_proj.weight", prefix);
}

static inline void make_moe(struct make_set *set, int l)
{
    static const char *const projections[] = {"gate_proj", "up_proj", "down_proj"};
    const int e = MAKE_EXPERTS, h = make_size(set, MAKE_HIDDEN), m = make_size(set, MAKE_MOE);
    char name[160];

    make_matrix(set, e, h, "model.layers.%d.mlp.gate.weight", l);
    if (make_is_glm(set)) {
        const long shape[1] = {e};
        snprintf(name, sizeof name, "model.layers.%d.mlp.gate.e_score_correction_bias", l);
        make_fill(set, make_add(set, "F32", 1, shape, name));
        snprintf(name, sizeof name, "model.layers.%d.mlp.shared_experts", l);
        make_mlp(set, name, m);
    }
    if (set->opts->experts == MAKE_FUSED) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.gate_up_proj", l);
        make_stack(set, e, 2 * m, h, name);
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.down_proj", l);
        make_stack(set, e, h, m, name);
        return;
    }
    for (int i = 0; i < 3 && set->opts->experts == MAKE_STACKED; i++) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.switch_mlp.%s.weight", l, projections[i]);
        make_stack(set, e, i < 2 ? m : h, i < 2 ? h : m, name);
    }
    for (int i = 0; i < e && set->opts->experts == MAKE_SEPARATE; i++) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d", l, i);
        make_mlp(set, name, m);
    }
}

static inline void make_layer(struct make_set *set, int l)
{
    char mlp[64];

    if (make_is(set, "glm4_moe_lite"))
        make_mla(set, l);
    else
        make_attention(set, l);
    snprintf(mlp, sizeof mlp, "model.layers.%d.mlp", l);
    if (make_has_experts(set, l))
        make_moe(set, l);
    else
        make_mlp(set, mlp, make_size(set, MAKE_INTER));
    make_matrix(set, make_size(set, MAKE_HIDDEN), 0, "model.layers.%d.input_layernorm.weight", l);
    make_matrix(set, make_size(set, MAKE_HIDDEN), 0,
                "model.layers.%d.post_attention_layernorm.weight", l);
}

static inline void make_mtp(struct make_set *set, int l)
{
    const int h = make_size(set, MAKE_HIDDEN);

    make_layer(set, l);
    make_matrix(set, h, 2 * h, "model.layers.%d.eh_proj.weight", l);
    make_matrix(set, h, 0, "model.layers.%d.enorm.weight", l);
    make_matrix(set, h, 0, "model.layers.%d.hnorm.weight", l);
    make_matrix(set, make_size(set, MAKE_VOCAB), h, "model.layers.%d.embed_tokens.weight", l);
    make_matrix(set, make_size(set, MAKE_VOCAB), h, "model.layers.%d.shared_head.head.weight", l);
    make_matrix(set, h, 0, "model.layers.%d.shared_head.norm.weight", l);
}

/* ---- files --------------------------------------------------------------------------------------
 */

static inline FILE *make_open(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        make_fail(path);
    return file;
}

/* Tensors [first, first + n) in their order; data begins unaligned, as MLX writes it. */
static inline void make_shard(const struct make_set *set, const char *dir, const char *name,
                              size_t first, size_t n)
{
    size_t room = 256, size = 0, at = 0;
    unsigned char length[8];

    for (size_t i = first; i < first + n; i++)
        room += 512;
    char *header = malloc(room);
    if (!header)
        make_fail("memory");
    size += (size_t)sprintf(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = first; i < first + n; i++) {
        const struct make_tensor *t = &set->tensors[i];
        size += (size_t)sprintf(header + size, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name,
                                t->dtype);
        for (int d = 0; d < t->n_dims; d++)
            size += (size_t)sprintf(header + size, "%s%ld", d ? "," : "", t->shape[d]);
        size += (size_t)sprintf(header + size, "],\"data_offsets\":[%zu,%zu]}", at, at + t->size);
        at += t->size;
    }
    size += (size_t)sprintf(header + size, "}");
    while (size % 8 != 3)
        header[size++] = ' ';
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)size >> (8 * i));
    FILE *file = make_open(dir, name);
    bool good = fwrite(length, 1, 8, file) == 8 && fwrite(header, 1, size, file) == size;
    for (size_t i = first; i < first + n; i++)
        good = good &&
               fwrite(set->tensors[i].data, 1, set->tensors[i].size, file) == set->tensors[i].size;
    if (fclose(file) || !good)
        make_fail(name);
    free(header);
}

static inline void make_weights(const struct make_set *set, const char *dir)
{
    const size_t shards = set->opts->shards > 0 ? (size_t)set->opts->shards : 1;
    char name[64];

    if (!set->opts->shards) {
        make_shard(set, dir, "model.safetensors", 0, set->n);
        return;
    }
    FILE *index = make_open(dir, "model.safetensors.index.json");
    fprintf(index, "{\n  \"metadata\": {\"total_size\": 1},\n  \"weight_map\": {");
    for (size_t s = 0; s < shards; s++) {
        const size_t first = set->n * s / shards, end = set->n * (s + 1) / shards;
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, shards);
        make_shard(set, dir, name, first, end - first);
        for (size_t i = first; i < end; i++)
            fprintf(index, "%s\n    \"%s\": \"%s\"", i ? "," : "", set->tensors[i].name, name);
    }
    fprintf(index, "\n  }\n}\n");
    if (fclose(index))
        make_fail("index");
}

static inline void make_config_moe(const struct make_set *set, FILE *f)
{
    const bool v5 = set->opts->new_spelling;

    if (make_is(set, "qwen3_moe"))
        fprintf(f, "  \"%s\": %d,\n  \"decoder_sparse_step\": 1,\n  \"mlp_only_layers\": [],\n",
                v5 ? "num_local_experts" : "num_experts", MAKE_EXPERTS);
    if (make_is_glm(set))
        fprintf(f,
                "  \"n_routed_experts\": %d,\n  \"n_shared_experts\": 1,\n"
                "  \"first_k_dense_replace\": 1,\n  \"n_group\": 1,\n  \"topk_group\": 1,\n"
                "  \"routed_scaling_factor\": 1.8,\n  \"num_nextn_predict_layers\": %d,\n",
                MAKE_EXPERTS, set->opts->mtp);
    if (make_is(set, "qwen3_moe") || make_is_glm(set))
        fprintf(f,
                "  \"num_experts_per_tok\": 2,\n  \"moe_intermediate_size\": %d,\n"
                "  \"norm_topk_prob\": true,\n",
                make_size(set, MAKE_MOE));
    if (make_is(set, "glm4_moe"))
        fprintf(f, "  \"use_qk_norm\": true,\n");
    if (make_is(set, "glm4_moe_lite"))
        fprintf(f,
                "  \"q_lora_rank\": %d,\n  \"kv_lora_rank\": %d,\n  \"qk_nope_head_dim\": %d,\n"
                "  \"qk_rope_head_dim\": %d,\n  \"v_head_dim\": %d,\n",
                make_size(set, MAKE_Q_LORA), make_size(set, MAKE_KV_LORA), MAKE_NOPE, MAKE_ROPE,
                MAKE_V);
}

static inline void make_config(const struct make_set *set, const char *dir)
{
    const struct make_opts *opts = set->opts;
    const bool v5 = opts->new_spelling;
    const int kv_heads = make_is(set, "glm4_moe_lite") ? MAKE_HEADS : MAKE_KV_HEADS;
    FILE *f = make_open(dir, "config.json");

    fprintf(f, "{\n  \"model_type\": \"%s\",\n  \"architectures\": [\"TestForCausalLM\"],\n",
            opts->arch);
    fprintf(f,
            "  \"vocab_size\": %d,\n  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n"
            "  \"num_hidden_layers\": %d,\n  \"num_attention_heads\": %d,\n"
            "  \"num_key_value_heads\": %d,\n",
            make_size(set, MAKE_VOCAB), make_size(set, MAKE_HIDDEN), make_size(set, MAKE_INTER),
            opts->layers ? opts->layers : 3, MAKE_HEADS, kv_heads);
    if (!make_is(set, "qwen2") && !make_is(set, "glm4_moe_lite"))
        fprintf(f, "  \"head_dim\": %d,\n", MAKE_HEAD);
    make_config_moe(set, f);
    if (!strcmp(opts->dtype ? opts->dtype : "", "F8_E4M3"))
        fprintf(f,
                "  \"quantization_config\": {\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", "
                "\"weight_block_size\": [%d, %d]},\n",
                opts->fp8_block[0] ? opts->fp8_block[0] : 128,
                opts->fp8_block[1] ? opts->fp8_block[1] : 128);
    if (v5)
        fprintf(f,
                "  \"rope_parameters\": {\"rope_theta\": 10000.0, \"rope_type\": \"default\"},\n");
    else
        fprintf(f, "  \"rope_theta\": 10000.0,\n  \"rope_scaling\": null,\n");
    fprintf(f,
            "  \"partial_rotary_factor\": %s,\n  \"hidden_act\": \"silu\",\n"
            "  \"rms_norm_eps\": 1e-06,\n  \"max_position_embeddings\": 512,\n"
            "  \"attention_bias\": %s,\n  \"tie_word_embeddings\": %s,\n",
            make_is(set, "glm4_moe") ? "0.5" : "1.0", opts->bias ? "true" : "false",
            opts->tied ? "true" : "false");
    fprintf(f, "  \"%s\": \"%s\"\n}\n", v5 ? "dtype" : "torch_dtype",
            !opts->dtype || !strcmp(opts->dtype, "F8_E4M3") ? "bfloat16"
            : !strcmp(opts->dtype, "F16")                   ? "float16"
                                                            : "float32");
    if (fclose(f))
        make_fail("config.json");
}

/* All tensors of a checkpoint in memory; make_release frees them. */
static inline struct make_set make_tensors(const struct make_opts *opts)
{
    struct make_set set = {.opts = opts, .state = opts->seed};
    const int layers = opts->layers ? opts->layers : 3;

    make_matrix(&set, make_size(&set, MAKE_VOCAB), make_size(&set, MAKE_HIDDEN),
                "model.embed_tokens.weight");
    for (int l = 0; l < layers; l++)
        make_layer(&set, l);
    if (opts->mtp)
        make_mtp(&set, layers);
    make_matrix(&set, make_size(&set, MAKE_HIDDEN), 0, "model.norm.weight");
    if (!opts->tied || opts->spare_head || opts->other_head)
        make_matrix(&set, make_size(&set, MAKE_VOCAB), make_size(&set, MAKE_HIDDEN),
                    "lm_head.weight");
    if (opts->spare_head)
        make_copy(&set, "model.embed_tokens.weight", "lm_head.weight");
    for (size_t i = 0; opts->prefix && i < set.n; i++)
        make_rename(&set.tensors[i], opts->prefix);
    for (size_t i = 0; opts->wrapper && i < set.n; i++)
        make_wrap(&set.tensors[i], opts->wrapper);
    return set;
}

static inline void make_release(struct make_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        free(set->tensors[i].data);
    free(set->tensors);
}

/* Returns the number of tensors. */
static inline size_t make_ckpt(const char *dir, const struct make_opts *opts)
{
    struct make_set set = make_tensors(opts);
    const size_t n = set.n;

    if (mkdir(dir, 0777) && access(dir, W_OK))
        make_fail(dir);
    make_config(&set, dir);
    make_weights(&set, dir);
    make_release(&set);
    return n;
}

/* A new directory under $TMPDIR or /tmp; static storage, the latest call's. */
static inline const char *make_temp_dir(void)
{
    static char path[256];
    const char *base = getenv("TMPDIR");

    snprintf(path, sizeof path, "%s/ram-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path))
        make_fail(path);
    return path;
}

/* Removes what make_temp_dir made, with all that is in it. */
static inline void make_remove_dir(const char *dir)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (strstr(dir, "/ram-test-") && system(command))
        make_fail(dir);
}

#endif
