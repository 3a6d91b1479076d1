/* family_qwen2.c - Qwen 2 and 2.5; see family.h. */
#include "arch/family_rows.h"

/* The class of transformers reads a head_dim that stands there; the loader's divides. */
static const struct ram_param params[] = {
    SIZES(NEEDS, 151936, 4096, 22016, 32, 32),
    POSITIONS(32768, DEFAULTS, 32768),
    COUNT("num_key_value_heads", n_kv_heads, 1, 32, DERIVED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, FIXED, RAM_DERIVED),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {
    ATTENTION_QKV(ALWAYS),
    MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),
    MLP_GATE_DOWN_UP(ALWAYS),
    NORMS_BEFORE,
};

const struct ram_family ram_family_qwen2 = {
    .model_type = "qwen2",
    PARAMS(params),
    SLOTS(slots),
    .windows = RAM_WINDOW_LAYERED,
    .partial = 1,
    .loader = {.scales_rope = true},
};
