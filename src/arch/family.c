/* family.c - the tables; see family.h. Facts of transformers 5.24 and mlx_lm 0.32. */
#include "arch/family.h"

#include <stddef.h>
#include <string.h>

enum { MAX_POSITIONS = 1 << 28 };

#define AT(field) offsetof(struct ram_config, field)

/* key, field, least value, what absence means, what null means, mlx_lm's use and its default */
#define COUNT(key, field, min, absent, null, mlx, mlx_value)                                       \
    {                                                                                              \
        key, NULL, AT(field), RAM_VALUE_COUNT, min, RAM_CONFIG_MAX_WIDTH, absent, RAM_NULL_##null, \
            RAM_MLX_##mlx, mlx_value                                                               \
    }
#define REAL(key, field, min, absent, mlx, mlx_value)                                              \
    {                                                                                              \
        key, NULL, AT(field), RAM_VALUE_REAL, min, 1e9, absent, RAM_NULL_REFUSED, RAM_MLX_##mlx,   \
            mlx_value                                                                              \
    }
#define FLAG(key, field, absent, null, mlx, mlx_value)                                             \
    {                                                                                              \
        key, NULL, AT(field), RAM_VALUE_FLAG, 0, 1, absent, RAM_NULL_##null, RAM_MLX_##mlx,        \
            mlx_value                                                                              \
    }

/* A flag that mlx_lm's class alone reads. */
#define ALONE(key)                                                                                 \
    {                                                                                              \
        key, NULL, 0, RAM_VALUE_FLAG, 0, 1, 0, RAM_NULL_ABSENT, RAM_MLX_ALONE, 0                   \
    }

/* Sizes that every class has and mlx_lm's needs: a family's defaults of vocabulary, width, width of
 * the MLP, layers and heads. */
#define SIZES(use, vocab_size, hidden_size, mlp_size, layers, heads)                               \
    COUNT("vocab_size", vocab, 1, vocab_size, REFUSED, use, 0),                                    \
        COUNT("hidden_size", hidden, 1, hidden_size, REFUSED, use, 0),                             \
        COUNT("intermediate_size", intermediate, 1, mlp_size, REFUSED, use, 0),                    \
        {"num_hidden_layers",   NULL,   AT(n_layers),     RAM_VALUE_COUNT, 1,                      \
         RAM_CONFIG_MAX_LAYERS, layers, RAM_NULL_REFUSED, RAM_MLX_##use,   0},                     \
        COUNT("num_attention_heads", n_heads, 1, heads, REFUSED, use, 0),                          \
    {                                                                                              \
        "hidden_act", NULL, AT(act), RAM_VALUE_ACT, 0, 0, RAM_ACT_SILU, RAM_NULL_REFUSED,          \
            RAM_MLX_FIXED, RAM_ACT_SILU                                                            \
    }
/* Positions bound no computation of ours; a class of mlx_lm may take null or nothing for them. */
#define POSITIONS(n, mlx, mlx_value)                                                               \
    {                                                                                              \
        "max_position_embeddings", NULL, AT(max_positions), RAM_VALUE_COUNT, 1, MAX_POSITIONS, n,  \
            RAM_NULL_ABSENT, RAM_MLX_##mlx, mlx_value                                              \
    }
#define EXPERTS(use, key, also, n)                                                                 \
    {                                                                                              \
        key, also, AT(n_experts), RAM_VALUE_COUNT, 1, RAM_CONFIG_MAX_EXPERTS, n, RAM_NULL_REFUSED, \
            RAM_MLX_##use, 0                                                                       \
    }

static const struct ram_param llama[] = {
    SIZES(NEEDS, 32000, 4096, 11008, 32, 32),
    POSITIONS(2048, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, RAM_DERIVED, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, DEFAULTS, 0),
    FLAG("mlp_bias", mlp_bias, 0, ZERO, DEFAULTS, 0),
    ALONE("rope_traditional"),
};

/* mlx_lm loads mistral as llama, and then reads keys that the class of transformers does not. */
static const struct ram_param mistral[] = {
    SIZES(NEEDS, 32000, 4096, 14336, 32, 32),
    POSITIONS(131072, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    ALONE("attention_bias"),
    ALONE("mlp_bias"),
    ALONE("rope_traditional"),
};

/* The class of transformers reads a head_dim that stands there; mlx_lm's divides. */
static const struct ram_param qwen2[] = {
    SIZES(NEEDS, 151936, 4096, 22016, 32, 32),
    POSITIONS(32768, DEFAULTS, 32768),
    COUNT("num_key_value_heads", n_kv_heads, 1, 32, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, FIXED, RAM_DERIVED),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    ALONE("rope_traditional"),
};

static const struct ram_param qwen3[] = {
    SIZES(NEEDS, 151936, 4096, 22016, 32, 32),
    POSITIONS(32768, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 32, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, 128, REFUSED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, FIXED, 0),
};

static const struct ram_param qwen3_moe[] = {
    SIZES(NEEDS, 151936, 2048, 6144, 24, 32),
    POSITIONS(32768, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 4, REFUSED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, FIXED, 0),
    EXPERTS(NEEDS, "num_experts", "num_local_experts", 128),
    COUNT("num_experts_per_tok", top_k, 1, 8, REFUSED, NEEDS, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 1, 768, REFUSED, NEEDS, 0),
    FLAG("norm_topk_prob", norm_topk, 0, ZERO, NEEDS, 0),
};

/* Both GLM classes: their router and shared experts, and the norms' epsilon. */
#define GLM_MOE(use, experts, per_token, width, scale)                                             \
    EXPERTS(use, "n_routed_experts", "num_local_experts", experts),                                \
        COUNT("num_experts_per_tok", top_k, 1, per_token, REFUSED, use, 0),                        \
        COUNT("moe_intermediate_size", moe_intermediate, 1, width, REFUSED, use, 0),               \
        COUNT("n_shared_experts", n_shared, 0, 1, ZERO, use, 0),                                   \
        COUNT("n_group", n_group, 1, 1, REFUSED, use, 0),                                          \
        COUNT("topk_group", topk_group, 1, 1, REFUSED, use, 0),                                    \
        REAL("routed_scaling_factor", routed_scale, 0, scale, use, 0),                             \
        FLAG("norm_topk_prob", norm_topk, 1, REFUSED, use, 0),                                     \
        REAL("rms_norm_eps", norm_eps, 0, 1e-5, use, 0)

/* attention_bias is of q, k and v here, not of o. */
static const struct ram_param glm4_moe[] = {
    SIZES(NEEDS, 151552, 4096, 10944, 46, 96),
    POSITIONS(131072, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, REFUSED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, NEEDS, 0),
    FLAG("use_qk_norm", qk_norm, 0, ZERO, NEEDS, 0),
    GLM_MOE(NEEDS, 128, 8, 1408, 1.0),
};

/* Every head has keys and values of its own, whatever num_key_value_heads says; head_dim is another
 * name of qk_rope_head_dim. mlx_lm's class turns pairs of neighbours only. */
static const struct ram_param glm4_moe_lite[] = {
    SIZES(WRITTEN, 154880, 2048, 10240, 47, 20),
    POSITIONS(202752, DEFAULTS, 202752),
    FLAG("attention_bias", attention_bias, 0, ZERO, DEFAULTS, 0),
    GLM_MOE(WRITTEN, 64, 4, 1536, 1.8),
    COUNT("q_lora_rank", q_lora, 0, 768, ZERO, DEFAULTS, 768),
    COUNT("kv_lora_rank", kv_lora, 1, 512, REFUSED, WRITTEN, 0),
    COUNT("qk_nope_head_dim", qk_nope, 1, 192, REFUSED, WRITTEN, 0),
    COUNT("qk_rope_head_dim", qk_rope, 2, 64, REFUSED, WRITTEN, 0),
    COUNT("v_head_dim", v_head, 1, 256, REFUSED, WRITTEN, 0),
    FLAG("rope_interleave", rope_interleave, 1, REFUSED, FIXED, 1),
};

static const struct ram_param unknown[] = {
    COUNT("vocab_size", vocab, 0, 0, ABSENT, FREE, 0),
    COUNT("hidden_size", hidden, 0, 0, ABSENT, FREE, 0),
    COUNT("intermediate_size", intermediate, 0, 0, ABSENT, FREE, 0),
    {"num_hidden_layers", NULL, AT(n_layers), RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_LAYERS, 0,
     RAM_NULL_ABSENT, RAM_MLX_FREE, 0},
    COUNT("num_attention_heads", n_heads, 0, 0, ABSENT, FREE, 0),
    POSITIONS(0, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 0, RAM_DERIVED, ABSENT, FREE, 0),
    COUNT("head_dim", head_dim, 0, RAM_DERIVED, ABSENT, FREE, 0),
    {"num_experts", "num_local_experts", AT(n_experts), RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_EXPERTS,
     0, RAM_NULL_ABSENT, RAM_MLX_FREE, 0},
    {"n_routed_experts", NULL, AT(n_experts), RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_EXPERTS,
     RAM_DERIVED, RAM_NULL_ABSENT, RAM_MLX_FREE, 0},
    COUNT("num_experts_per_tok", top_k, 0, 0, ABSENT, FREE, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 0, 0, ABSENT, FREE, 0),
    COUNT("n_shared_experts", n_shared, 0, 0, ABSENT, FREE, 0),
    COUNT("q_lora_rank", q_lora, 0, 0, ABSENT, FREE, 0),
    COUNT("kv_lora_rank", kv_lora, 0, 0, ABSENT, FREE, 0),
    COUNT("qk_nope_head_dim", qk_nope, 0, 0, ABSENT, FREE, 0),
    COUNT("qk_rope_head_dim", qk_rope, 0, 0, ABSENT, FREE, 0),
    COUNT("v_head_dim", v_head, 0, 0, ABSENT, FREE, 0),
};

#define PARAMS(table) .params = (table), .n_params = sizeof(table) / sizeof *(table)

static const struct ram_family families[] = {
    {.model_type = "llama",
     PARAMS(llama),
     .partial = 1,
     .mlx_scales_rope = true,
     .mlx_layer_types = true},
    {.model_type = "mistral",
     PARAMS(mistral),
     .windows = RAM_WINDOW_ALWAYS,
     .partial = 1,
     .mlx_scales_rope = true,
     .mlx_layer_types = true},
    {.model_type = "qwen2",
     PARAMS(qwen2),
     .windows = RAM_WINDOW_LAYERED,
     .partial = 1,
     .mlx_scales_rope = true},
    {.model_type = "qwen3",
     PARAMS(qwen3),
     .windows = RAM_WINDOW_LAYERED,
     .partial = 1,
     .mlx_scales_rope = true},
    {.model_type = "qwen3_moe",
     PARAMS(qwen3_moe),
     .layers = RAM_LAYERS_LISTED,
     .windows = RAM_WINDOW_SWITCHED,
     .partial = 1},
    {.model_type = "glm4_moe",
     PARAMS(glm4_moe),
     .layers = RAM_LAYERS_LEADING,
     .router = RAM_ROUTER_SIGMOID,
     .has_mtp = true,
     .own_head = true,
     .partial = 0.5,
     .reads_partial = true,
     .mlx_partial = true},
    {.model_type = "glm4_moe_lite",
     PARAMS(glm4_moe_lite),
     .layers = RAM_LAYERS_NAMED,
     .router = RAM_ROUTER_SIGMOID,
     .mla = true,
     .has_mtp = true,
     .own_head = true,
     .partial = 1,
     .reads_partial = true,
     .mlx_scales_rope = true},
};

const char ram_family_names[] =
    "llama, mistral, qwen2, qwen3, qwen3_moe, glm4_moe and glm4_moe_lite";

const struct ram_family ram_family_unknown = {
    .model_type = "", PARAMS(unknown), .layers = RAM_LAYERS_NAMED, .partial = 1};

const struct ram_family *ram_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i].model_type, model_type))
            return &families[i];
    return NULL;
}
