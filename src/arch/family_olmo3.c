/* family_olmo3.c - OLMo 3: the block of OLMo 2, in which three of four layers see a window and have
 * a rotary embedding of their own, without scaling; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 50304, 4096, 11008, 32, 32),
    POSITIONS(2048, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, RAM_DERIVED, DERIVED, DEFAULTS, RAM_DERIVED),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-5, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
};

static const struct ram_slot slots[] = {OLMO_SLOTS};

const struct ram_family ram_family_olmo3 = {
    .model_type = "olmo3",
    PARAMS(params),
    SLOTS(slots),
    .windows = RAM_WINDOW_FOURTH,
    .theta = 5e5,
    .two_ropes = true,
    .partial = 1,
    .loader = {.scales_rope = true, .windows = RAM_LOADER_WINDOWS_BOTH},
};
