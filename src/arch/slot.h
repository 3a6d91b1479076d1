/*
 * slot.h - a place for a tensor in a model: its name, its shape as a function of the configuration,
 * which layers have it, what it is to the block, what flows into it, and where outputs put it.
 *
 * A family (family.h) is a list of slots. Everything that looks for tensors iterates them: layouts
 * and outputs (ckpt, convert) in the order of the list, the engine (infer) by role, Hessians and
 * error curves (probe) by input.
 */
#ifndef RAM_ARCH_SLOT_H
#define RAM_ARCH_SLOT_H

#include "arch/config.h"
#include "arch/role.h"

/* A dimension as a function of the configuration. */
enum ram_dim {
    RAM_DIM_NONE,
    RAM_DIM_HIDDEN,
    RAM_DIM_INTERMEDIATE,
    RAM_DIM_MOE,
    RAM_DIM_SHARED,
    RAM_DIM_VOCAB,
    RAM_DIM_EXPERTS,
    RAM_DIM_HEAD,
    RAM_DIM_Q,
    RAM_DIM_KV,
    RAM_DIM_Q_LORA,
    RAM_DIM_QK,
    RAM_DIM_KV_LORA,
    RAM_DIM_KV_A,
    RAM_DIM_KV_B,
    RAM_DIM_V,
    RAM_DIM_Q_GATED, /* of each head its query and its gate */
    RAM_DIM_ONE,
    /* of a delta rule: its channels, the same and the gates, the gates; heads; positions that its
     * convolution sees */
    RAM_DIM_DELTA,
    RAM_DIM_DELTA_ALL,
    RAM_DIM_DELTA_V,
    RAM_DIM_DELTA_HEAD,
    RAM_DIM_DELTA_HEADS,
    RAM_DIM_DELTA_HEADS_2,
    RAM_DIM_DELTA_KERNEL
};

/* When a layer has it. */
enum ram_when {
    RAM_ALWAYS,
    RAM_IF_DENSE,
    RAM_IF_MOE,
    RAM_IF_SHARED,
    RAM_IF_ATTENTION_BIAS,
    RAM_IF_OUTPUT_BIAS,
    RAM_IF_MLP_BIAS,
    RAM_IF_QK_NORM,
    RAM_IF_Q_LORA,
    RAM_IF_Q_FULL,
    RAM_IF_Q_LORA_BIAS,
    RAM_IF_ATTENDS, /* the layer has attention ... */
    RAM_IF_ATTENDS_BIAS,
    RAM_IF_RECURS /* ... or a delta rule in its place */
};

/* What a matrix is multiplied with. Matrices of a layer with the same input share its moments. */
enum ram_input {
    RAM_INPUT_NONE,      /* nothing: a lookup, or a vector */
    RAM_INPUT_ATTENTION, /* the hidden state as attention is given it */
    RAM_INPUT_Q_LATENT,  /* the query's latent */
    RAM_INPUT_KV_LATENT, /* the latent of keys and values */
    RAM_INPUT_ATTENDED,  /* what attention gives: all heads */
    RAM_INPUT_MLP,       /* the hidden state as the MLP is given it */
    RAM_INPUT_GATED,     /* act(gate) x up of a dense MLP, or of the shared expert */
    RAM_INPUT_EXPERT,    /* the rows of RAM_INPUT_MLP that an expert is given */
    RAM_INPUT_EXPERT_GATED,
    RAM_INPUT_HEAD, /* the hidden state as the head is given it */
    RAM_N_INPUTS
};

/* Where outputs put it. Formats choose names (format/placed.h); the shape is the same for all. */
enum ram_placement {
    RAM_PLACE_MATRIX,  /* as it is: a matrix that can be quantised */
    RAM_PLACE_PLAIN,   /* as it is: a norm, a bias, an array that loaders hold unquantised */
    RAM_PLACE_EXACT,   /* the same, and its type does not change either */
    RAM_PLACE_GAIN,    /* a norm that multiplies by 1 + what is published; or that sum */
    RAM_PLACE_KERNEL,  /* a convolution's [channels, 1, positions]; or [channels, positions, 1] */
    RAM_PLACE_STACKED, /* one matrix for each expert: their stack */
    RAM_PLACE_HEADS    /* rows of K, then of V, for each head: one stack of each, K's turned */
};

struct ram_slot {
    const char *module;      /* within the layer (or the model): "self_attn.q_proj"; experts: "*" */
    const char *suffix;      /* "weight" */
    enum ram_dim rows, cols; /* a vector has rows only */
    enum ram_when when;
    enum ram_role role; /* a bias has its matrix's */
    enum ram_input input;
    enum ram_placement placement;
};

uint64_t ram_slot_dim(const struct ram_config *config, enum ram_dim dim);

/* Does a layer have this slot? */
bool ram_slot_exists(const struct ram_config *config, const struct ram_slot *slot, uint64_t layer);

/* Its role as records have it: every norm is a norm, and every other vector a bias. */
enum ram_role ram_slot_recorded_role(const struct ram_slot *slot);

bool ram_slot_is_matrix(const struct ram_slot *slot);
bool ram_slot_is_quantizable(const struct ram_slot *slot);

#endif
