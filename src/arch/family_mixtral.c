/* family_mixtral.c - Mixtral: the attention of llama, and experts in every layer; see family.h. */
#include "arch/family_rows.h"

/* The width of an expert is called intermediate_size. */
static const struct ram_param params[] = {
    SIZES_OF_MIXTURE(WRITTEN, 32000, 4096, 32, 32),
    COUNT("intermediate_size", moe_intermediate, 1, 14336, REFUSED, WRITTEN, 0),
    POSITIONS(131072, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, REFUSED, WRITTEN, 0),
    COUNT("head_dim", head_dim, 2, RAM_DERIVED, DERIVED, FIXED, RAM_DERIVED),
    REAL("rms_norm_eps", norm_eps, 0, 1e-5, WRITTEN, 0),
    EXPERTS(WRITTEN, "num_local_experts", "num_experts", 8),
    COUNT("num_experts_per_tok", top_k, 1, 2, REFUSED, WRITTEN, 0),
    ALONE("rope_traditional"),
};

static const struct ram_slot slots[] = {
    ATTENTION_QKV_PLAIN,
    MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),
    SPARSE_MOE_BLOCK,
    NORMS_BEFORE,
};

const struct ram_family ram_family_mixtral = {
    .model_type = "mixtral",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_SPARSE,
    .windows = RAM_WINDOW_SAID,
    .normalises = true,
    .theta = 1e6,
    .partial = 1,
};
