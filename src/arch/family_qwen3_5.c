/* family_qwen3_5.c - Qwen 3.5, dense: the layers of qwen3_next with projections apart; see
 * family.h. Published models have their text model in "text_config", beside a vision tower. */
#include "arch/family_rows.h"

static const struct ram_param params[] = {
    SIZES(WRITTEN, 248320, 4096, 12288, 32, 16),
    POSITIONS(32768, WRITTEN, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 4, REFUSED, WRITTEN, 0),
    COUNT("head_dim", head_dim, 2, 256, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, WRITTEN, 0),
    FLAG("attention_bias", attention_bias, 0, REFUSED, DEFAULTS, 0),
    DELTA_SIZES(WRITTEN),
};

static const struct ram_slot slots[] = {
    DELTA_KERNEL, DELTA_APART, DELTA_REST, GATED_ATTENTION, GAINS_BEFORE, MLP_GATE_DOWN_UP(ALWAYS),
};

const struct ram_family ram_family_qwen3_5 = {
    .model_type = "qwen3_5",
    .also = "qwen3_5_text",
    PARAMS(params),
    GAIN_SLOTS(slots),
    .recurs = true,
    .partial = 0.25,
    .reads_partial = true,
    .loader = {.prefix = "language_model.",
               .tower = "model.visual.",
               .whole_gains = true,
               .partial = true,
               .scales_rope = true,
               .rope_parameters = true},
};
