/* family_llama.c - Llama, and what was trained in its shape; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 32000, 4096, 11008, 32, 32),
    POSITIONS(2048, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, RAM_DERIVED, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, DEFAULTS, 0),
    FLAG("mlp_bias", mlp_bias, 0, ZERO, DEFAULTS, 0),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {LLAMA_SLOTS};

const struct ram_family ram_family_llama = {
    .model_type = "llama",
    PARAMS(params),
    SLOTS(slots),
    .partial = 1,
    .loader = {.scales_rope = true, .windows = RAM_LOADER_WINDOWS_TYPES},
};
