/*
 * arch.h - the architectures we know: their matrices by published name, with shapes as functions
 * of config.json, in the order of mlx_lm's module tree. The table is the only place that knows.
 *
 * Read against the model files of transformers and of mlx_lm 0.32: docs/models.md.
 */
#ifndef RAM_CKPT_ARCH_H
#define RAM_CKPT_ARCH_H

#include "arch/config.h"

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
    RAM_DIM_V
};

/* When a layer has it. */
enum ram_when {
    RAM_ALWAYS,
    RAM_IF_DENSE,
    RAM_IF_MOE,
    RAM_IF_SHARED,
    RAM_IF_ATTENTION_BIAS,
    RAM_IF_MLP_BIAS,
    RAM_IF_QK_NORM,
    RAM_IF_Q_LORA,
    RAM_IF_Q_FULL,
    RAM_IF_Q_LORA_BIAS
};

/* What MLX makes of it. */
enum ram_slot_form {
    RAM_FORM_LINEAR,  /* a matrix that can be quantised */
    RAM_FORM_PLAIN,   /* a parameter that cannot: norm, bias, raw array */
    RAM_FORM_EXACT,   /* the same, and mlx_lm does not change its type either */
    RAM_FORM_EXPERTS, /* one matrix for each expert, stacked into switch_mlp */
    RAM_FORM_KV_B     /* split into embed_q and unembed_out */
};

struct ram_slot {
    const char *module;      /* within the layer (or the model): "self_attn.q_proj"; experts: "*" */
    const char *suffix;      /* "weight" */
    enum ram_dim rows, cols; /* a vector has rows only */
    enum ram_when when;
    enum ram_slot_form form;
};

struct ram_arch {
    const char *model_type;
    const struct ram_slot *layer; /* of one decoder layer */
    size_t n_layer;
};

/* NULL for an architecture we do not know. */
const struct ram_arch *ram_arch_find(const char *model_type);

/* Before and after the layers: model.embed_tokens; model.norm, lm_head. */
extern const struct ram_slot ram_arch_embed, ram_arch_norm, ram_arch_head;

uint64_t ram_arch_dim(const struct ram_config *config, enum ram_dim dim);

/* Does a layer have this slot? */
bool ram_arch_has(const struct ram_config *config, const struct ram_slot *slot, uint64_t layer);

/* Does a layer have a tensor of this name: "self_attn.q_proj", "bias"? Experts are not asked for.
 */
bool ram_arch_wants(const struct ram_config *config, const char *module, const char *suffix,
                    uint64_t layer);

/* Would it, if config.json said something else? */
bool ram_arch_knows(const struct ram_arch *arch, const char *module, const char *suffix);

/* What config.json must say before any of this makes sense: RAM_EFORMAT names the key. */
int ram_arch_check(const struct ram_arch *arch, const struct ram_config *config, const char *where,
                   struct ram_err *err);

/* What a tensor's name says, for any architecture. */
struct ram_name {
    const char *role;  /* one of those of layout.h */
    int layer, expert; /* -1: none */
    bool is_bias;
    enum { RAM_STACK_NONE, RAM_STACK_ONE, RAM_STACK_GATE_UP } stack; /* experts in one tensor */
    size_t expert_at, expert_end; /* where the expert's number stands in the name */
};

struct ram_name ram_arch_name(const char *name);

#endif
