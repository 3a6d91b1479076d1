/* family_ernie4_5.c - ERNIE 4.5, dense: the block of llama, whose queries and keys are turned in
 * pairs of neighbours; see family.h. */
#include "arch/family_rows.h"

/* use_bias is of all projections. */
static const struct ram_param params[] = {
    SIZES(NEEDS, 103424, 1024, 3072, 18, 16),
    POSITIONS(131072, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 2, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, 128, DERIVED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-5, NEEDS, 0),
    FLAG("use_bias", attention_bias, 0, ZERO, NEEDS, 0),
    FLAG("use_bias", mlp_bias, 0, ZERO, NEEDS, 0),
};

static const struct ram_slot slots[] = {LLAMA_SLOTS};

const struct ram_family ram_family_ernie4_5 = {
    .model_type = "ernie4_5",
    PARAMS(params),
    SLOTS(slots),
    .neighbours = true,
    .ties = true,
    .theta = 5e5,
    .partial = 1,
};
