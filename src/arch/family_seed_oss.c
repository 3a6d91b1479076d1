/* family_seed_oss.c - Seed-OSS: the block of llama, in which o has a bias of its own; see family.h.
 */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 155136, 4096, 27648, 64, 80),
    POSITIONS(524288, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, 128, DERIVED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 1, REFUSED, DEFAULTS, 0),
    FLAG("attention_out_bias", output_bias, 0, REFUSED, DEFAULTS, 0),
    FLAG("mlp_bias", mlp_bias, 0, REFUSED, DEFAULTS, 0),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {
    ATTENTION(IF_ATTENTION_BIAS, IF_OUTPUT_BIAS),
    MLP_WITH_BIASES,
    NORMS_BEFORE,
};

const struct ram_family ram_family_seed_oss = {
    .model_type = "seed_oss",
    PARAMS(params),
    SLOTS(slots),
    .partial = 1,
    .loader = {.scales_rope = true},
};
