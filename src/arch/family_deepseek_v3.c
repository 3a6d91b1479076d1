/* family_deepseek_v3.c - DeepSeek V3 and R1, Kimi K2: latent attention, and experts that are chosen
 * from the best groups; see family.h. */
#include "arch/family_rows.h"

/* As in glm4_moe_lite every head has keys and values of its own, and the loader's class turns pairs
 * of neighbours only. It reads moe_layer_freq, which the class here does not. */
static const struct ram_param params[] = {
    SIZES(WRITTEN, 129280, 7168, 18432, 61, 128),
    POSITIONS(4096, DEFAULTS, 2048),
    COUNT("num_key_value_heads", n_kv_heads, 1, 128, DERIVED, WRITTEN, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    EXPERTS(WRITTEN, "n_routed_experts", "num_local_experts", 256),
    COUNT("num_experts_per_tok", top_k, 1, 8, REFUSED, WRITTEN, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 1, 2048, REFUSED, WRITTEN, 0),
    COUNT("n_shared_experts", n_shared, 0, 1, REFUSED, WRITTEN, 0),
    COUNT("n_group", n_group, 1, 8, REFUSED, WRITTEN, 0),
    COUNT("topk_group", topk_group, 1, 4, REFUSED, WRITTEN, 0),
    REAL("routed_scaling_factor", routed_scale, 0, 2.5, WRITTEN, 0),
    FLAG("norm_topk_prob", norm_topk, 1, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, WRITTEN, 0),
    COUNT("q_lora_rank", q_lora, 0, 1536, ZERO, DEFAULTS, 1536),
    COUNT("kv_lora_rank", kv_lora, 1, 512, REFUSED, WRITTEN, 0),
    COUNT("qk_nope_head_dim", qk_nope, 1, 128, REFUSED, WRITTEN, 0),
    COUNT("qk_rope_head_dim", qk_rope, 2, 64, REFUSED, WRITTEN, 0),
    COUNT("v_head_dim", v_head, 1, 128, REFUSED, WRITTEN, 0),
    FLAG("rope_interleave", rope_interleave, 1, REFUSED, FIXED, 1),
    {"moe_layer_freq", NULL, 0, RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_LAYERS, 0, RAM_NULL_ABSENT,
     RAM_LOADER_ALONE, 1},
};

static const struct ram_slot slots[] = {LATENT_ATTENTION, GLM_MLP, NORMS_BEFORE};

const struct ram_family ram_family_deepseek_v3 = {
    .model_type = "deepseek_v3",
    .also = "kimi_k2",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_LEADING,
    .leading = 3,
    .router = RAM_ROUTER_SIGMOID,
    .has_mtp = true,
    .partial = 1,
    .loader = {.own_head = true, .scales_rope = true},
};
