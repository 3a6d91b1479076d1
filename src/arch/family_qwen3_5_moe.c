/* family_qwen3_5_moe.c - Qwen 3.5 with experts: the attention of qwen3_5 and the experts of
 * qwen3_next; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES_OF_MIXTURE(WRITTEN, 248320, 2048, 40, 16),
    POSITIONS(32768, WRITTEN, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 2, REFUSED, WRITTEN, 0),
    COUNT("head_dim", head_dim, 2, 256, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, WRITTEN, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    DELTA_SIZES(WRITTEN),
    EXPERTS(WRITTEN, "num_experts", "num_local_experts", 256),
    COUNT("num_experts_per_tok", top_k, 1, 8, REFUSED, WRITTEN, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 1, 512, REFUSED, WRITTEN, 0),
    COUNT("shared_expert_intermediate_size", shared_intermediate, 1, 512, REFUSED, WRITTEN, 0),
    ALONE_TRUE("norm_topk_prob"),
};

static const struct ram_slot slots[] = {
    DELTA_KERNEL,    DELTA_APART,        DELTA_REST,
    GATED_ATTENTION, GAINS_BEFORE,       MATRIX(ROUTER, "mlp.gate", EXPERTS, HIDDEN, IF_MOE, MLP),
    EXPERT_MLPS,     WEIGHED_SHARED_MLP,
};

const struct ram_family ram_family_qwen3_5_moe = {
    .model_type = "qwen3_5_moe",
    .also = "qwen3_5_moe_text",
    PARAMS(params),
    GAIN_SLOTS(slots),
    .layers = RAM_LAYERS_SPARSE,
    .recurs = true,
    .normalises = true,
    .partial = 0.25,
    .reads_partial = true,
    .loader = {.prefix = "language_model.",
               .tower = "model.visual.",
               .whole_gains = true,
               .partial = true,
               .scales_rope = true,
               .rope_parameters = true},
    .router_bits = 8,
    .router_group = 64,
};
