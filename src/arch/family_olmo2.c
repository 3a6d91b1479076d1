/* family_olmo2.c - OLMo 2: norms behind attention and the MLP, and over all heads of queries and of
 * keys at once; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 50304, 4096, 11008, 32, 32),
    POSITIONS(2048, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, RAM_DERIVED, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-5, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    ALONE("mlp_bias"),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {OLMO_SLOTS};

const struct ram_family ram_family_olmo2 = {
    .model_type = "olmo2",
    PARAMS(params),
    SLOTS(slots),
    .partial = 1,
    .loader = {.scales_rope = true},
};
