/* family_qwen3_next.c - Qwen3-Next: a gated delta rule in three of four layers, gated attention in
 * the fourth, and experts beside a shared one that has a router of its own; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 151936, 2048, 5632, 48, 16),
    POSITIONS(32768, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 2, REFUSED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, 256, REFUSED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    DELTA_SIZES(NEEDS),
    EXPERTS(NEEDS, "num_experts", "num_local_experts", 512),
    COUNT("num_experts_per_tok", top_k, 1, 10, REFUSED, NEEDS, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 1, 512, REFUSED, NEEDS, 0),
    COUNT("shared_expert_intermediate_size", shared_intermediate, 1, 512, REFUSED, NEEDS, 0),
    FLAG("norm_topk_prob", norm_topk, 1, REFUSED, WRITTEN, 0),
};

static const struct ram_slot slots[] = {
    DELTA_KERNEL,
    MATRIX(DELTA_QKVZ, "linear_attn.in_proj_qkvz", DELTA_ALL, HIDDEN, IF_RECURS, ATTENTION),
    MATRIX(DELTA_BA, "linear_attn.in_proj_ba", DELTA_HEADS_2, HIDDEN, IF_RECURS, ATTENTION),
    DELTA_REST,
    GATED_ATTENTION,
    GAINS_BEFORE,
    MLP_GATE_DOWN_UP(IF_DENSE),
    MATRIX(ROUTER, "mlp.gate", EXPERTS, HIDDEN, IF_MOE, MLP),
    EXPERT_MLPS,
    WEIGHED_SHARED_MLP,
};

const struct ram_family ram_family_qwen3_next = {
    .model_type = "qwen3_next",
    PARAMS(params),
    GAIN_SLOTS(slots),
    .layers = RAM_LAYERS_LISTED,
    .recurs = true,
    .partial = 0.25,
    .reads_partial = true,
    .loader = {.whole_gains = true, .partial = true, .scales_rope = true},
    .router_bits = 8,
    .router_group = 64,
};
