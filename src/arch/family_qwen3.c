/* family_qwen3.c - Qwen 3, dense; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 151936, 4096, 22016, 32, 32),
    POSITIONS(32768, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 32, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, 128, REFUSED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    FLAG("attention_bias", attention_bias, 0, ZERO, FIXED, 0),
};

static const struct ram_slot slots[] = {QWEN3_ATTENTION, MLP_GATE_DOWN_UP(ALWAYS), NORMS_BEFORE};

const struct ram_family ram_family_qwen3 = {
    .model_type = "qwen3",
    PARAMS(params),
    SLOTS(slots),
    .windows = RAM_WINDOW_LAYERED,
    .partial = 1,
    .loader = {.scales_rope = true},
};
