/* family_minimax_m2.c - MiniMax M2: norms of queries and keys over all heads at once, and experts
 * under Mixtral's names with the router of GLM; see family.h. */
#include "arch/family_rows.h"

/* The width of an expert is called intermediate_size. There is no shared expert, though the
 * loader's class wants to know its width. */
static const struct ram_param params[] = {
    SIZES_OF_MIXTURE(NEEDS, 200064, 3072, 62, 48),
    COUNT("intermediate_size", moe_intermediate, 1, 1536, REFUSED, NEEDS, 0),
    COUNT("shared_intermediate_size", shared_intermediate, 0, 0, ABSENT, WRITTEN, 0),
    POSITIONS(196608, NEEDS, 0),
    COUNT("num_key_value_heads", n_kv_heads, 1, 8, REFUSED, NEEDS, 0),
    COUNT("head_dim", head_dim, 2, 128, REFUSED, WRITTEN, 0),
    REAL("rms_norm_eps", norm_eps, 0, 1e-6, NEEDS, 0),
    EXPERTS(NEEDS, "num_local_experts", "num_experts", 256),
    COUNT("num_experts_per_tok", top_k, 1, 8, REFUSED, NEEDS, 0),
    ALONE_TRUE("use_qk_norm"),
};

static const struct ram_slot slots[] = {
    ATTENTION_QKV_PLAIN,
    MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),
    WIDE_NORMS,
    SPARSE_MOE_BLOCK,
    {"block_sparse_moe", "e_score_correction_bias", RAM_DIM_EXPERTS, RAM_DIM_NONE, RAM_IF_MOE,
     RAM_ROLE_CORRECTION, RAM_INPUT_NONE, RAM_PLACE_EXACT},
    NORMS_BEFORE,
};

const struct ram_family ram_family_minimax_m2 = {
    .model_type = "minimax_m2",
    PARAMS(params),
    SLOTS(slots),
    .layers = RAM_LAYERS_SPARSE,
    .router = RAM_ROUTER_SIGMOID,
    .normalises = true,
    .theta = 5e6,
    .rotary_dim = true,
    .partial = 1,
    .reads_partial = true,
    .loader = {.partial = true},
    .router_bits = 8,
    .router_group = 64,
};
