/*
 * hparams.h - the numbers of a transformer, from its configuration (arch/config.h), checked for
 * what a forward pass needs; and the table of rotary frequencies that follows from them.
 *
 * What sets a block together is the family's (arch/family.h).
 */
#ifndef RAM_INFER_HPARAMS_H
#define RAM_INFER_HPARAMS_H

#include "arch/family.h"

enum { RAM_MAX_ROTARY = 512 /* rotary pairs of a head */ };

/* What distinguishes a layer from others of its model. */
enum ram_layer_kind {
    RAM_LAYER_SPARSE = 1, /* a mixture of experts, where the model has any */
    RAM_LAYER_SLIDES = 2, /* sees the last sliding_window positions only */
    RAM_LAYER_TURNS = 4,  /* turns queries and keys by position */
    RAM_LAYER_RECURS = 8  /* has a delta rule in place of attention */
};

/* Which rotary embedding a layer has. */
enum ram_layer_rope { RAM_LAYER_ROPE, RAM_LAYER_SLIDING_ROPE, RAM_N_ROPES, RAM_LAYER_NO_ROPE };

struct ram_rope {
    size_t n_pairs;   /* rotated dimensions / 2 */
    bool interleaved; /* pairs (2j, 2j + 1) instead of (j, j + n_pairs) */
    double factor;    /* cos and sin are multiplied by it (yarn) */
    float inv_freq[RAM_MAX_ROTARY];
};

struct ram_moe {
    size_t n_experts, top_k, hidden; /* hidden: width of one expert; n_experts = 0: dense */
    size_t shared;                   /* width of the shared expert, 0: none */
    enum ram_router router;
    bool normalise;              /* chosen weights are divided by their sum */
    double scale;                /* and multiplied by this */
    size_t n_groups, top_groups; /* experts are chosen from the best groups; 1: no groups */
};

/* The delta rule of layers that have one (delta.h). */
struct ram_delta_shape {
    size_t n_k_heads, n_v_heads, k_dim, v_dim; /* n_v_heads 0: no layer has one */
    size_t kernel;                             /* positions that the convolution sees */
};

struct ram_hparams {
    const char *model_type; /* borrowed from the configuration */
    size_t n_layers, hidden, vocab, mlp_hidden;
    size_t n_heads, n_kv_heads;
    size_t qk_dim, v_dim;                 /* of a head */
    size_t max_positions, sliding_window; /* window 0: none */
    double norm_eps, latent_norm_eps;
    double attention_scale;
    bool mla;
    size_t q_rank, kv_rank, nope_dim; /* MLA; q_rank 0: a plain q_proj */
    bool tied;
    enum ram_act act;
    struct ram_rope ropes[RAM_N_ROPES];
    size_t n_ropes;    /* 2: layers with a window have the second */
    bool norms_after;  /* layers have norms behind attention or the MLP */
    bool wide_qk_norm; /* norms of queries and keys are over all heads at once */
    bool turns_first;  /* and stand behind the rotation */
    bool gated;        /* what attention gives is multiplied by the sigmoid of a gate */
    struct ram_delta_shape delta;
    struct ram_moe moe;
    uint8_t layers[RAM_CONFIG_MAX_LAYERS]; /* of ram_layer_kind */
};

/* config: as settled (ckpt/settle.h). RAM_EUNSUPPORTED for a family or a key that is not ours,
 * RAM_EFORMAT or RAM_ERANGE for numbers that are senseless together. */
int ram_hparams_read(struct ram_hparams *out, const struct ram_config *config, struct ram_err *err);

bool ram_layer_is_sparse(const struct ram_hparams *hp, size_t layer);
bool ram_layer_recurs(const struct ram_hparams *hp, size_t layer);

/* The widest input of a layer's output projection. */
size_t ram_widest_attended(const struct ram_hparams *hp);

/* Channels of the convolution: queries, keys and values of all heads. */
size_t ram_delta_width(const struct ram_delta_shape *delta);

/* Floats of the states of all heads. */
size_t ram_delta_state(const struct ram_delta_shape *delta);

enum ram_layer_rope ram_layer_rope(const struct ram_hparams *hp, size_t layer);

/* Positions that a token of this layer sees, its own included; 0: all before it. */
size_t ram_layer_window(const struct ram_hparams *hp, size_t layer);

#endif
