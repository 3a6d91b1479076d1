/*
 * config.h - what config.json says about shapes and types, in both spellings: as published
 * (num_experts, torch_dtype) and as transformers 5 writes it (num_local_experts, dtype); keys may
 * also lie in "text_config". What a forward pass needs (rope, eps) is read elsewhere.
 */
#ifndef RAM_CKPT_CONFIG_H
#define RAM_CKPT_CONFIG_H

#include "ckpt/ckpt.h"

enum { RAM_CONFIG_MAX_LAYERS = 1 << 14, RAM_CONFIG_MAX_EXPERTS = 1 << 16 };

/* A key that is absent (or null) leaves 0; `dense` follows from several. */
struct ram_config {
    const char *model_type;   /* "qwen3_moe"; "" if config.json does not say */
    const char *architecture; /* architectures[0], or "" */
    uint64_t hidden, intermediate, vocab, n_layers;
    uint64_t n_heads, n_kv_heads, head_dim; /* head_dim and n_kv_heads by their usual defaults */
    uint64_t n_experts, moe_intermediate, n_shared, n_mtp;
    uint64_t q_lora, kv_lora, qk_nope, qk_rope, v_head; /* MLA */
    bool attention_bias, mlp_bias, qk_norm;
    enum { RAM_TIED_UNSAID, RAM_TIED_NO, RAM_TIED_YES } tied;
    bool has_dtype;            /* the type that mlx_lm.convert casts to is known: ... */
    enum ram_dtype dtype;      /* F16, BF16 or F32 */
    bool has_mlx_quantization; /* "quantization": MLX wrote this checkpoint */
    const char *quant_method;  /* quantization_config.quant_method, or NULL */
    bool *dense;               /* n_layers: the layer has no experts; in arena */
};

/* where begins messages; strings are borrowed from json. A value that is not what its key should
 * hold leaves 0 and is reported (RAM_EFORMAT, RAM_ERANGE), but the rest is read all the same:
 * of an architecture that nobody here knows, a key may well mean something else. */
int ram_config_parse(struct ram_config *config, const json_t *json, const char *where,
                     struct ram_arena *arena, struct ram_err *err);

#endif
