/* family_glm4_moe_lite.c - GLM 4.7 Flash: the MLP of glm4_moe behind latent attention; see
 * family.h. */
#include "arch/family_rows.h"

/* Every head has keys and values of its own, whatever num_key_value_heads says; head_dim is another
 * name of qk_rope_head_dim. The loader's class turns pairs of neighbours only. */
static const struct ram_param params[] = {
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

static const struct ram_slot slots[] = {
    LATENT_ATTENTION,
    GLM_MLP,
    NORMS_BEFORE,
};

const struct ram_family ram_family_glm4_moe_lite = {
    .model_type = "glm4_moe_lite",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_NAMED,
    .leading = 1,
    .router = RAM_ROUTER_SIGMOID,
    .has_mtp = true,
    .partial = 1,
    .reads_partial = true,
    .loader = {.own_head = true, .scales_rope = true},
};
