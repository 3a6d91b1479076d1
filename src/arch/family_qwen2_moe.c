/* family_qwen2_moe.c - Qwen 1.5 and 2 with experts, and a shared expert that a router of its own
 * weighs; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 151936, 2048, 5632, 24, 16),
    POSITIONS(32768, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 16, DERIVED, WRITTEN, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, FIXED, RAM_DERIVED),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("qkv_bias", attention_bias, 1, REFUSED, FIXED, 1),
    EXPERTS(NEEDS, "num_experts", "num_local_experts", 60),
    COUNT("num_experts_per_tok", top_k, 1, 4, REFUSED, NEEDS, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 1, 1408, REFUSED, NEEDS, 0),
    COUNT("shared_expert_intermediate_size", shared_intermediate, 1, 5632, REFUSED, NEEDS, 0),
    FLAG("norm_topk_prob", norm_topk, 0, REFUSED, FIXED, 0),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {
    ATTENTION_QKV(IF_ATTENTION_BIAS),
    MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),
    MLP_GATE_DOWN_UP(IF_DENSE),
    MATRIX(ROUTER, "mlp.gate", EXPERTS, HIDDEN, IF_MOE, MLP),
    EXPERT_MLPS,
    WEIGHED_SHARED_MLP,
    NORMS_BEFORE,
};

const struct ram_family ram_family_qwen2_moe = {
    .model_type = "qwen2_moe",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_LISTED,
    .windows = RAM_WINDOW_EVEN,
    .partial = 1,
    .loader = {.own_head = true, .sparse_only = true},
};
