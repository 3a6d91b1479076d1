/*
 * model.h - a transformer's weights, each found, checked and put in its place. Immutable.
 *
 * Nothing is read here but vectors (norms, biases): a matrix stays in its file, in whatever code
 * it has, until a layer needs it.
 */
#ifndef RAM_INFER_MODEL_H
#define RAM_INFER_MODEL_H

#include "arch/slot.h"
#include "ckpt/settle.h"
#include "ckpt/weight.h"
#include "infer/hparams.h"

#include <limits.h>

/* y = x W^T + bias, W [out, in]: rows first .. first + out - 1 of a stored matrix. */
struct ram_linear {
    struct ram_weight weight;
    size_t first;
    size_t out, in;
    bool transposed;   /* stored [in, out] */
    const float *bias; /* [out] or NULL */
    unsigned unit;     /* in model->units, from 1 */
};

/* In place of a unit's number. */
#define RAM_ALL_UNITS UINT_MAX

/* What a plan can decide: one matrix, or the same projection of all experts of a layer. */
struct ram_model_unit {
    const char *name; /* as plans and manifests call it */
    size_t layer;     /* SIZE_MAX: embedding or head */
    enum ram_role role;
    enum ram_input input; /* what its matrices are multiplied with */
    /* Its matrices, `stride` bytes apart: one, or one of each expert or head. An embedding that is
     * not the head has none. */
    const struct ram_linear *first;
    size_t n, stride;
};

/* Matrix i of a unit. */
const struct ram_linear *ram_unit_matrix(const struct ram_model_unit *unit, size_t i);

struct ram_mlp {
    struct ram_linear gate, up, down;
};

struct ram_attention_weights {
    /* q: q_b_proj behind q_a if the query has a latent; for each head its query and then its gate,
     * if attention has one */
    struct ram_linear q, k, v, o;
    const float *q_norm, *k_norm;         /* [qk_dim], or [heads x qk_dim] if wide; or NULL */
    struct ram_linear q_a, kv_a;          /* MLA */
    const float *q_a_norm, *kv_a_norm;    /* [q_rank], [kv_rank] */
    struct ram_linear *k_heads, *v_heads; /* MLA, [n_heads]: latent to keys (without rotary part)
                                           * and values of a head */
};

/* Of a layer with a delta rule (delta.h); its output projection is attention.o. */
struct ram_delta_weights {
    struct ram_linear qkv, z, b, a; /* from the hidden state; or, interleaved by heads of keys: */
    struct ram_linear qkvz, ba;     /* both of all four */
    const float *kernel; /* [positions, channels]: of the convolution, the oldest first */
    const float *decay, *step, *norm; /* A_log and dt_bias [heads of values]; [v_dim] */
};

struct ram_layer {
    /* [hidden]: norms of what attention and the MLP are given, and of what they give; NULL: none */
    const float *before_attention, *after_attention, *before_mlp, *after_mlp;
    size_t window; /* see ram_layer_window */
    enum ram_layer_rope rope;
    bool recurs; /* a delta rule stands in place of attention */
    struct ram_attention_weights attention;
    struct ram_delta_weights delta;
    struct ram_mlp mlp;       /* dense layers */
    struct ram_linear router; /* sparse layers: [n_experts, hidden] */
    const float *router_bias; /* [n_experts] or NULL: e_score_correction_bias */
    struct ram_mlp *experts;  /* [n_experts] */
    bool has_shared;
    struct ram_mlp shared;
    struct ram_linear
        shared_router; /* [1, hidden]: the logit of the shared expert's weight; or none */
};

struct ram_model {
    const struct ram_ckpt *ckpt;
    struct ram_config config;
    struct ram_hparams hp;
    struct ram_arena arena;
    struct ram_notes notes;  /* notes for the user: what is stored and not used */
    size_t n_unread;         /* biases that are stored and that the class does not have ... */
    const char *unread;      /* ... and the first of them */
    struct ram_weight embed; /* [vocab, hidden] */
    struct ram_layer *layers;
    const float *norm;            /* [hidden] */
    struct ram_linear head;       /* [vocab, hidden]: embed if tied */
    unsigned embed_unit;          /* also head.unit if tied */
    struct ram_model_unit *units; /* [0] is none; embedding and head first, then by layers */
    size_t n_units, unit_room;
};

/* The checkpoint must outlive the model. RAM_EFORMAT names the tensor that is missing, or whose
 * shape contradicts config.json, and both shapes. */
int ram_model_open(struct ram_model **out, const struct ram_ckpt *ckpt, struct ram_err *err);
void ram_model_close(struct ram_model *model);

/* Weights that the architecture has, however they are coded: what bits per weight divides by. */
uint64_t ram_model_parameters(const struct ram_model *model);

/* Bytes of its weight files. */
uint64_t ram_model_bytes(const struct ram_model *model);

#endif
