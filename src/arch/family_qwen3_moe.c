/* family_qwen3_moe.c - Qwen 3 with experts; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
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

static const struct ram_slot slots[] = {
    QWEN3_ATTENTION,
    NORMS_BEFORE,
    MLP_GATE_DOWN_UP(IF_DENSE),
    MATRIX(ROUTER, "mlp.gate", EXPERTS, HIDDEN, IF_MOE, MLP),
    EXPERT_MLPS,
};

const struct ram_family ram_family_qwen3_moe = {
    .model_type = "qwen3_moe",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_LISTED,
    .windows = RAM_WINDOW_SWITCHED,
    .partial = 1,
    .router_bits = 8,
    .router_group = 64,
};
