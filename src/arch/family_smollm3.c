/* family_smollm3.c - SmolLM3: the block of llama, in which every fourth layer does not turn queries
 * and keys by position; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 128256, 2048, 11008, 36, 16),
    POSITIONS(32768, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 4, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    FLAG("mlp_bias", mlp_bias, 0, REFUSED, DEFAULTS, 0),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {LLAMA_SLOTS};

const struct ram_family ram_family_smollm3 = {
    .model_type = "smollm3",
    PARAMS(params),
    SLOTS(slots),
    .windows = RAM_WINDOW_UNTURNED,
    .turns = RAM_TURNS_LISTED,
    .ties = true,
    .theta = 2e6,
    .partial = 1,
    .loader = {.scales_rope = true, .windows = RAM_LOADER_WINDOWS_TYPES},
};
