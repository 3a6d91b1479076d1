/* family_glm4_moe.c - GLM 4.5 and 4.6; see family.h. */
#include "arch/family_rows.h"

/* attention_bias is of q, k and v here, not of o. */
static const struct ram_param params[] = {
    SIZES(NEEDS, 151552, 4096, 10944, 46, 96),
    POSITIONS(131072, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, REFUSED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, NEEDS, 0),
    FLAG("use_qk_norm", qk_norm, 0, ZERO, NEEDS, 0),
    GLM_MOE(NEEDS, 128, 8, 1408, 1.0),
};

static const struct ram_slot slots[] = {
    ATTENTION_QKV(IF_ATTENTION_BIAS),
    MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),
    HEAD_NORMS(IF_QK_NORM),
    GLM_MLP,
    NORMS_BEFORE,
};

const struct ram_family ram_family_glm4_moe = {
    .model_type = "glm4_moe",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_LEADING,
    .leading = 1,
    .router = RAM_ROUTER_SIGMOID,
    .has_mtp = true,
    .partial = 0.5,
    .reads_partial = true,
    .loader = {.own_head = true, .partial = true},
};
