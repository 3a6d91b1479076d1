/* family_exaone4.c - EXAONE 4: norms behind attention and the MLP; where there are windows, the
 * layers without one do not turn queries and keys by position; see family.h. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(NEEDS, 102400, 4096, 16384, 32, 32),
    POSITIONS(2048, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 32, REFUSED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, REFUSED, NEEDS, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-5, NEEDS, 0),
};

static const struct ram_slot slots[] = {
    ATTENTION_QKV_PLAIN, MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),
    HEAD_NORMS(ALWAYS),  MLP_GATE_DOWN_UP(ALWAYS),
    NORMS_AFTER,
};

const struct ram_family ram_family_exaone4 = {
    .model_type = "exaone4",
    PARAMS(params),
    SLOTS(slots),
    .windows = RAM_WINDOW_PATTERN,
    .turns = RAM_TURNS_SLIDING,
    .partial = 1,
    .loader = {.scales_rope = true, .windows = RAM_LOADER_WINDOWS_PATTERN},
};
