/*
 * family_rows.h - the rows that family_<model_type>.c are written in, and those that families have
 * in common. Private to these files.
 */
#ifndef RAM_ARCH_FAMILY_ROWS_H
#define RAM_ARCH_FAMILY_ROWS_H

#include "arch/family.h"

#include <stddef.h>

/* ---- keys of config.json ------------------------------------------------------------------ */

enum { MAX_POSITIONS = 1 << 28 };

#define AT(field) offsetof(struct ram_config, field)

/* key, field, least value, what absence means, what null means, the loader's use and its default */
#define COUNT(key, field, min, absent, null, loader, loader_value)                                 \
    {                                                                                              \
        key, NULL, AT(field), RAM_VALUE_COUNT, min, RAM_CONFIG_MAX_WIDTH, absent, RAM_NULL_##null, \
            RAM_LOADER_##loader, loader_value                                                      \
    }
#define REAL(key, field, min, absent, loader, loader_value)                                        \
    {                                                                                              \
        key, NULL, AT(field), RAM_VALUE_REAL, min, 1e9, absent, RAM_NULL_REFUSED,                  \
            RAM_LOADER_##loader, loader_value                                                      \
    }
#define FLAG(key, field, absent, null, loader, loader_value)                                       \
    {                                                                                              \
        key, NULL, AT(field), RAM_VALUE_FLAG, 0, 1, absent, RAM_NULL_##null, RAM_LOADER_##loader,  \
            loader_value                                                                           \
    }

/* A flag that the loader's class alone reads, and that has to be false there, or true. */
#define ALONE(key)                                                                                 \
    {                                                                                              \
        key, NULL, 0, RAM_VALUE_FLAG, 0, 1, 0, RAM_NULL_ABSENT, RAM_LOADER_ALONE, 0                \
    }

#define ALONE_TRUE(key)                                                                            \
    {                                                                                              \
        key, NULL, 0, RAM_VALUE_FLAG, 0, 1, 0, RAM_NULL_ABSENT, RAM_LOADER_ALONE, 1                \
    }

/* Sizes that every class has and the loader's needs: a family's defaults of vocabulary, width,
 * width of the MLP, layers and heads. */
#define SIZES(use, vocab_size, hidden_size, mlp_size, layers, heads)                               \
    VOCABULARY_AND_WIDTH(use, vocab_size, hidden_size),                                            \
        COUNT("intermediate_size", intermediate, 1, mlp_size, REFUSED, use, 0),                    \
        LAYERS_AND_HEADS(use, layers, heads)
/* The same where every layer has experts, and no width is that of an MLP. */
#define SIZES_OF_MIXTURE(use, vocab_size, hidden_size, layers, heads)                              \
    VOCABULARY_AND_WIDTH(use, vocab_size, hidden_size), LAYERS_AND_HEADS(use, layers, heads)
#define VOCABULARY_AND_WIDTH(use, vocab_size, hidden_size)                                         \
    COUNT("vocab_size", vocab, 1, vocab_size, REFUSED, use, 0),                                    \
        COUNT("hidden_size", hidden, 1, hidden_size, REFUSED, use, 0)
#define LAYERS_AND_HEADS(use, layers, heads)                                                       \
    {"num_hidden_layers",   NULL,   AT(n_layers),     RAM_VALUE_COUNT,  1,                         \
     RAM_CONFIG_MAX_LAYERS, layers, RAM_NULL_REFUSED, RAM_LOADER_##use, 0},                        \
        COUNT("num_attention_heads", n_heads, 1, heads, REFUSED, use, 0),                          \
    {                                                                                              \
        "hidden_act", NULL, AT(act), RAM_VALUE_ACT, 0, 0, RAM_ACT_SILU, RAM_NULL_REFUSED,          \
            RAM_LOADER_FIXED, RAM_ACT_SILU                                                         \
    }
/* Positions bound no computation of ours; a class of the loader may take null or nothing for them.
 */
#define POSITIONS(n, loader, loader_value)                                                         \
    {                                                                                              \
        "max_position_embeddings", NULL, AT(max_positions), RAM_VALUE_COUNT, 1, MAX_POSITIONS, n,  \
            RAM_NULL_ABSENT, RAM_LOADER_##loader, loader_value                                     \
    }
#define EXPERTS(use, key, also, n)                                                                 \
    {                                                                                              \
        key, also, AT(n_experts), RAM_VALUE_COUNT, 1, RAM_CONFIG_MAX_EXPERTS, n, RAM_NULL_REFUSED, \
            RAM_LOADER_##use, 0                                                                    \
    }

/* Both GLM classes: their router and shared experts, and the norms' epsilon. */
#define GLM_MOE(use, experts, per_token, width, scale)                                             \
    EXPERTS(use, "n_routed_experts", "num_local_experts", experts),                                \
        COUNT("num_experts_per_tok", top_k, 1, per_token, REFUSED, use, 0),                        \
        COUNT("moe_intermediate_size", moe_intermediate, 1, width, REFUSED, use, 0),               \
        COUNT("n_shared_experts", n_shared, 0, 1, ZERO, use, 0),                                   \
        COUNT("n_group", n_group, 1, 1, REFUSED, use, 0),                                          \
        COUNT("topk_group", topk_group, 1, 1, REFUSED, use, 0),                                    \
        REAL("routed_scaling_factor", routed_scale, 0, scale, use, 0),                             \
        FLAG("norm_topk_prob", norm_topk, 1, REFUSED, use, 0),                                     \
        REAL("rms_norm_eps", norm_eps, 0, 1e-5, use, 0)

/* ---- slots -------------------------------------------------------------------------------- */

/* role, module, rows, columns, when a layer has it, what flows in */
#define MATRIX(role, module, rows, cols, when, input)                                              \
    {                                                                                              \
        module, "weight", RAM_DIM_##rows, RAM_DIM_##cols, RAM_##when, RAM_ROLE_##role,             \
            RAM_INPUT_##input, RAM_PLACE_MATRIX                                                    \
    }
#define VECTOR(role, module, suffix, n, when)                                                      \
    {                                                                                              \
        module, suffix, RAM_DIM_##n, RAM_DIM_NONE, RAM_##when, RAM_ROLE_##role, RAM_INPUT_NONE,    \
            RAM_PLACE_PLAIN                                                                        \
    }
#define BIAS(role, module, n, when)  VECTOR(role, module, "bias", n, when)
#define NORM(place, module, n, when) VECTOR(NORM_##place, module, "weight", n, when)
#define STACK(role, name, rows, cols, input)                                                       \
    {                                                                                              \
        "mlp.experts.*." name, "weight", RAM_DIM_##rows, RAM_DIM_##cols, RAM_IF_MOE,               \
            RAM_ROLE_##role, RAM_INPUT_##input, RAM_PLACE_STACKED                                  \
    }

/* Gains: norms that multiply by 1 + what is stored. */
#define GAIN(place, module, n, when)                                                               \
    {                                                                                              \
        module, "weight", RAM_DIM_##n, RAM_DIM_NONE, RAM_##when, RAM_ROLE_NORM_##place,            \
            RAM_INPUT_NONE, RAM_PLACE_GAIN                                                         \
    }

/* ---- blocks in which a delta rule stands in place of most attention ------------------------ */

#define DELTA_SIZES(use)                                                                           \
    COUNT("linear_conv_kernel_dim", conv_kernel, 1, 4, REFUSED, use, 0),                           \
        COUNT("linear_key_head_dim", linear_k_dim, 1, 128, REFUSED, use, 0),                       \
        COUNT("linear_value_head_dim", linear_v_dim, 1, 128, REFUSED, use, 0),                     \
        COUNT("linear_num_key_heads", linear_k_heads, 1, 16, REFUSED, use, 0),                     \
        COUNT("linear_num_value_heads", linear_v_heads, 1, 32, REFUSED, use, 0)

/* Its convolution, and what stands behind its projections. A_log keeps its type. */
#define DELTA_KERNEL                                                                               \
    {                                                                                              \
        "linear_attn.conv1d", "weight", RAM_DIM_DELTA, RAM_DIM_DELTA_KERNEL, RAM_IF_RECURS,        \
            RAM_ROLE_DELTA_KERNEL, RAM_INPUT_NONE, RAM_PLACE_KERNEL                                \
    }
#define DELTA_REST                                                                                 \
    VECTOR(DELTA_STEP, "linear_attn", "dt_bias", DELTA_HEADS, IF_RECURS),                          \
        {"linear_attn",        "A_log",        RAM_DIM_DELTA_HEADS, RAM_DIM_NONE, RAM_IF_RECURS,   \
         RAM_ROLE_DELTA_DECAY, RAM_INPUT_NONE, RAM_PLACE_EXACT},                                   \
        NORM(DELTA, "linear_attn.norm", DELTA_HEAD, IF_RECURS),                                    \
        MATRIX(O, "linear_attn.out_proj", HIDDEN, DELTA_V, IF_RECURS, ATTENDED)
#define DELTA_APART                                                                                \
    MATRIX(DELTA_QKV, "linear_attn.in_proj_qkv", DELTA, HIDDEN, IF_RECURS, ATTENTION),             \
        MATRIX(DELTA_Z, "linear_attn.in_proj_z", DELTA_V, HIDDEN, IF_RECURS, ATTENTION),           \
        MATRIX(DELTA_B, "linear_attn.in_proj_b", DELTA_HEADS, HIDDEN, IF_RECURS, ATTENTION),       \
        MATRIX(DELTA_A, "linear_attn.in_proj_a", DELTA_HEADS, HIDDEN, IF_RECURS, ATTENTION)

/* Attention of the other layers: each query comes with a gate. */
#define GATED_ATTENTION                                                                            \
    MATRIX(Q, "self_attn.q_proj", Q_GATED, HIDDEN, IF_ATTENDS, ATTENTION),                         \
        BIAS(Q, "self_attn.q_proj", Q_GATED, IF_ATTENDS_BIAS),                                     \
        MATRIX(K, "self_attn.k_proj", KV, HIDDEN, IF_ATTENDS, ATTENTION),                          \
        BIAS(K, "self_attn.k_proj", KV, IF_ATTENDS_BIAS),                                          \
        MATRIX(V, "self_attn.v_proj", KV, HIDDEN, IF_ATTENDS, ATTENTION),                          \
        BIAS(V, "self_attn.v_proj", KV, IF_ATTENDS_BIAS),                                          \
        MATRIX(O, "self_attn.o_proj", HIDDEN, Q, IF_ATTENDS, ATTENDED),                            \
        BIAS(O, "self_attn.o_proj", HIDDEN, IF_ATTENDS_BIAS),                                      \
        GAIN(Q, "self_attn.q_norm", HEAD, IF_ATTENDS),                                             \
        GAIN(K, "self_attn.k_norm", HEAD, IF_ATTENDS)
#define GAINS_BEFORE                                                                               \
    GAIN(BEFORE_ATTENTION, "input_layernorm", HIDDEN, ALWAYS),                                     \
        GAIN(BEFORE_MLP, "post_attention_layernorm", HIDDEN, ALWAYS)

/* Experts, and one that all tokens pass, weighed by a router of its own. */
#define WEIGHED_SHARED_MLP                                                                         \
    MATRIX(SHARED_GATE, "mlp.shared_expert.gate_proj", SHARED, HIDDEN, IF_SHARED, MLP),            \
        MATRIX(SHARED_DOWN, "mlp.shared_expert.down_proj", HIDDEN, SHARED, IF_SHARED, GATED),      \
        MATRIX(SHARED_UP, "mlp.shared_expert.up_proj", SHARED, HIDDEN, IF_SHARED, MLP),            \
        MATRIX(SHARED_ROUTER, "mlp.shared_expert_gate", ONE, HIDDEN, IF_SHARED, MLP)

/* The norms stand before or after the MLP, as the loader's module creates them. */
#define NORMS_BEFORE                                                                               \
    NORM(BEFORE_ATTENTION, "input_layernorm", HIDDEN, ALWAYS),                                     \
        NORM(BEFORE_MLP, "post_attention_layernorm", HIDDEN, ALWAYS)

/* Norms of what attention and the MLP give; the second, not the first, has "feedforward" in its
 * name. */
#define NORMS_AFTER                                                                                \
    NORM(AFTER_ATTENTION, "post_attention_layernorm", HIDDEN, ALWAYS),                             \
        NORM(AFTER_MLP, "post_feedforward_layernorm", HIDDEN, ALWAYS)

/* q, k, v and o of plain attention, with biases that layers have if ...; o's if ... */
#define ATTENTION(if_bias, if_o_bias)                                                              \
    ATTENTION_QKV(if_bias), MATRIX(O, "self_attn.o_proj", HIDDEN, Q, ALWAYS, ATTENDED),            \
        BIAS(O, "self_attn.o_proj", HIDDEN, if_o_bias)
#define ATTENTION_QKV(if_bias)                                                                     \
    MATRIX(Q, "self_attn.q_proj", Q, HIDDEN, ALWAYS, ATTENTION),                                   \
        BIAS(Q, "self_attn.q_proj", Q, if_bias),                                                   \
        MATRIX(K, "self_attn.k_proj", KV, HIDDEN, ALWAYS, ATTENTION),                              \
        BIAS(K, "self_attn.k_proj", KV, if_bias),                                                  \
        MATRIX(V, "self_attn.v_proj", KV, HIDDEN, ALWAYS, ATTENTION),                              \
        BIAS(V, "self_attn.v_proj", KV, if_bias)
#define ATTENTION_QKV_PLAIN                                                                        \
    MATRIX(Q, "self_attn.q_proj", Q, HIDDEN, ALWAYS, ATTENTION),                                   \
        MATRIX(K, "self_attn.k_proj", KV, HIDDEN, ALWAYS, ATTENTION),                              \
        MATRIX(V, "self_attn.v_proj", KV, HIDDEN, ALWAYS, ATTENTION)
#define HEAD_NORMS(when)                                                                           \
    NORM(Q, "self_attn.q_norm", HEAD, when), NORM(K, "self_attn.k_norm", HEAD, when)

#define WIDE_NORMS NORM(Q, "self_attn.q_norm", Q, ALWAYS), NORM(K, "self_attn.k_norm", KV, ALWAYS)

#define MLP_GATE_DOWN_UP(when)                                                                     \
    MATRIX(GATE, "mlp.gate_proj", INTERMEDIATE, HIDDEN, when, MLP),                                \
        MATRIX(DOWN, "mlp.down_proj", HIDDEN, INTERMEDIATE, when, GATED),                          \
        MATRIX(UP, "mlp.up_proj", INTERMEDIATE, HIDDEN, when, MLP)
#define MLP_WITH_BIASES                                                                            \
    MATRIX(GATE, "mlp.gate_proj", INTERMEDIATE, HIDDEN, ALWAYS, MLP),                              \
        BIAS(GATE, "mlp.gate_proj", INTERMEDIATE, IF_MLP_BIAS),                                    \
        MATRIX(DOWN, "mlp.down_proj", HIDDEN, INTERMEDIATE, ALWAYS, GATED),                        \
        BIAS(DOWN, "mlp.down_proj", HIDDEN, IF_MLP_BIAS),                                          \
        MATRIX(UP, "mlp.up_proj", INTERMEDIATE, HIDDEN, ALWAYS, MLP),                              \
        BIAS(UP, "mlp.up_proj", INTERMEDIATE, IF_MLP_BIAS)
#define EXPERT_MLPS                                                                                \
    STACK(GATE, "gate_proj", MOE, HIDDEN, EXPERT), STACK(UP, "up_proj", MOE, HIDDEN, EXPERT),      \
        STACK(DOWN, "down_proj", HIDDEN, MOE, EXPERT_GATED)

/* Experts under the names of Mixtral, w1 (gate), w3 (up) and w2 (down). */
#define SPARSE_MOE(role, name, rows, cols, input)                                                  \
    {                                                                                              \
        "block_sparse_moe.experts.*." name, "weight", RAM_DIM_##rows, RAM_DIM_##cols, RAM_IF_MOE,  \
            RAM_ROLE_##role, RAM_INPUT_##input, RAM_PLACE_STACKED                                  \
    }
#define SPARSE_MOE_BLOCK                                                                           \
    MATRIX(ROUTER, "block_sparse_moe.gate", EXPERTS, HIDDEN, ALWAYS, MLP),                         \
        SPARSE_MOE(GATE, "w1", MOE, HIDDEN, EXPERT), SPARSE_MOE(UP, "w3", MOE, HIDDEN, EXPERT),    \
        SPARSE_MOE(DOWN, "w2", HIDDEN, MOE, EXPERT_GATED)

/* The block of llama, which others have under the same names. */
#define LLAMA_SLOTS ATTENTION(IF_ATTENTION_BIAS, IF_ATTENTION_BIAS), MLP_WITH_BIASES, NORMS_BEFORE

#define OLMO_SLOTS                                                                                 \
    ATTENTION(IF_ATTENTION_BIAS, IF_ATTENTION_BIAS), WIDE_NORMS, MLP_GATE_DOWN_UP(ALWAYS),         \
        NORMS_AFTER

/* The loader's classes have no biases here, so a model with any can be run but not converted. */
#define QWEN3_ATTENTION ATTENTION(IF_ATTENTION_BIAS, IF_ATTENTION_BIAS), HEAD_NORMS(ALWAYS)

/* Latent attention (MLA). */
#define LATENT_ATTENTION                                                                           \
    MATRIX(Q, "self_attn.q_proj", QK, HIDDEN, IF_Q_FULL, ATTENTION),                               \
        MATRIX(Q_A, "self_attn.q_a_proj", Q_LORA, HIDDEN, IF_Q_LORA, ATTENTION),                   \
        BIAS(Q_A, "self_attn.q_a_proj", Q_LORA, IF_Q_LORA_BIAS),                                   \
        NORM(Q_LATENT, "self_attn.q_a_layernorm", Q_LORA, IF_Q_LORA),                              \
        MATRIX(Q_B, "self_attn.q_b_proj", QK, Q_LORA, IF_Q_LORA, Q_LATENT),                        \
        MATRIX(KV_A, "self_attn.kv_a_proj_with_mqa", KV_A, HIDDEN, ALWAYS, ATTENTION),             \
        BIAS(KV_A, "self_attn.kv_a_proj_with_mqa", KV_A, IF_ATTENTION_BIAS),                       \
        NORM(KV_LATENT, "self_attn.kv_a_layernorm", KV_LORA, ALWAYS),                              \
        {"self_attn.kv_b_proj", "weight",       RAM_DIM_KV_B,                                      \
         RAM_DIM_KV_LORA,       RAM_ALWAYS,     RAM_ROLE_KV_B,                                     \
         RAM_INPUT_KV_LATENT,   RAM_PLACE_HEADS},                                                  \
        MATRIX(O, "self_attn.o_proj", HIDDEN, V, ALWAYS, ATTENDED),                                \
        BIAS(O, "self_attn.o_proj", HIDDEN, IF_ATTENTION_BIAS)

/* The routers of GLM are raw arrays in the loader, and their bias keeps its type. */
#define GLM_MLP                                                                                    \
    MATRIX(GATE, "mlp.gate_proj", INTERMEDIATE, HIDDEN, IF_DENSE, MLP),                            \
        MATRIX(UP, "mlp.up_proj", INTERMEDIATE, HIDDEN, IF_DENSE, MLP),                            \
        MATRIX(DOWN, "mlp.down_proj", HIDDEN, INTERMEDIATE, IF_DENSE, GATED), EXPERT_MLPS,         \
        {"mlp.gate", "weight",        RAM_DIM_EXPERTS, RAM_DIM_HIDDEN,                             \
         RAM_IF_MOE, RAM_ROLE_ROUTER, RAM_INPUT_MLP,   RAM_PLACE_PLAIN},                           \
        {"mlp.gate", "e_score_correction_bias", RAM_DIM_EXPERTS, RAM_DIM_NONE,                     \
         RAM_IF_MOE, RAM_ROLE_CORRECTION,       RAM_INPUT_NONE,  RAM_PLACE_EXACT},                 \
        MATRIX(SHARED_GATE, "mlp.shared_experts.gate_proj", SHARED, HIDDEN, IF_SHARED, MLP),       \
        MATRIX(SHARED_UP, "mlp.shared_experts.up_proj", SHARED, HIDDEN, IF_SHARED, MLP),           \
        MATRIX(SHARED_DOWN, "mlp.shared_experts.down_proj", HIDDEN, SHARED, IF_SHARED, GATED)

/* ---- the family ---------------------------------------------------------------------------- */

#define PARAMS(table) .params = (table), .n_params = sizeof(table) / sizeof *(table)

/* Embedding, last norm and head have the usual names. */
#define USUAL_ENDS                                                                                 \
    .embed = &ram_usual_embed, .norm = &ram_usual_norm, .head = &ram_usual_head,                   \
    .layer_prefix = "model.layers."
#define SLOTS(table) .slots = (table), .n_slots = sizeof(table) / sizeof *(table), USUAL_ENDS

#define GAIN_ENDS                                                                                  \
    .embed = &ram_usual_embed, .norm = &ram_usual_gain, .head = &ram_usual_head,                   \
    .layer_prefix = "model.layers."
#define GAIN_SLOTS(table) .slots = (table), .n_slots = sizeof(table) / sizeof *(table), GAIN_ENDS

extern const struct ram_slot ram_usual_embed, ram_usual_norm, ram_usual_gain, ram_usual_head;

#endif
