/* family_hunyuan_v1_dense.c - Hunyuan dense: the block of llama with norms of heads that stand
 * behind the rotation, and a rotary base that a fixed alpha stretches; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 290943, 4096, 11008, 32, 32),
    POSITIONS(2048, DEFAULTS, 32768),
    COUNT("num_key_value_heads", n_kv_heads, 1, RAM_DERIVED, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-5, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    ALONE_TRUE("use_qk_norm"),
};

static const struct ram_slot slots[] = {
    ATTENTION(IF_ATTENTION_BIAS, IF_ATTENTION_BIAS),
    NORM(Q, "self_attn.query_layernorm", HEAD, ALWAYS),
    NORM(K, "self_attn.key_layernorm", HEAD, ALWAYS),
    MLP_GATE_DOWN_UP(ALWAYS),
    NORMS_BEFORE,
};

const struct ram_family ram_family_hunyuan_v1_dense = {
    .model_type = "hunyuan_v1_dense",
    PARAMS(params),
    SLOTS(slots),
    .turns_first = true,
    .rope_alpha = true,
    .partial = 1,
};
