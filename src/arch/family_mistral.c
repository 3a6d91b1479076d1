/* family_mistral.c - Mistral. mlx_lm loads it as llama, and then reads keys that the class of
 * transformers does not; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 32000, 4096, 14336, 32, 32),
    POSITIONS(131072, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    ALONE("attention_bias"),
    ALONE("mlp_bias"),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {LLAMA_SLOTS};

const struct ram_family ram_family_mistral = {
    .model_type = "mistral",
    PARAMS(params),
    SLOTS(slots),
    .windows = RAM_WINDOW_ALWAYS,
    .partial = 1,
    .loader = {.scales_rope = true, .windows = RAM_LOADER_WINDOWS_TYPES},
};
