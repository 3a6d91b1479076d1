/*
 * family.h - model families as data: the keys of config.json that the class of each reads in
 * transformers 5, what they mean where they are absent or null, and what mlx_lm's class does.
 *
 * Adding the parameters of a family means adding rows. Read against transformers 5.24 and mlx_lm
 * 0.32; tests/unit/arch_config.c holds the same figures a second time.
 */
#ifndef RAM_ARCH_FAMILY_H
#define RAM_ARCH_FAMILY_H

#include "arch/config.h"

enum ram_value {
    RAM_VALUE_COUNT, /* an integer, to uint64_t */
    RAM_VALUE_REAL,  /* a number, to double */
    RAM_VALUE_FLAG,  /* true or false, to bool */
    RAM_VALUE_ACT    /* the name of an activation, to enum ram_act */
};

/* What null means. */
enum ram_null {
    RAM_NULL_REFUSED, /* neither reader takes it */
    RAM_NULL_ABSENT,  /* the same as no key */
    RAM_NULL_DERIVED, /* follows from other keys, whatever an absent key means */
    RAM_NULL_ZERO     /* none: 0 or false, and null is how 0 is written */
};

/* What mlx_lm's class does with the key. */
enum ram_mlx_use {
    RAM_MLX_NEEDS,    /* cannot do without it */
    RAM_MLX_WRITTEN,  /* reads it; it is always written, whatever an absent key means */
    RAM_MLX_DEFAULTS, /* reads it, and takes mlx_value if it is absent */
    RAM_MLX_FIXED,    /* does not read it and computes as for mlx_value */
    RAM_MLX_FREE,     /* has no use for it */
    RAM_MLX_ALONE     /* reads it although the class of transformers does not: where it stands,
                       * mlx_value is written, which is what we compute */
};

/* An absent key whose value follows from others: n_kv_heads = n_heads, head_dim = hidden / heads.
 */
#define RAM_DERIVED (-1.0)

struct ram_param {
    const char *key, *also; /* also: another spelling, or NULL */
    size_t offset;          /* in struct ram_config */
    enum ram_value value;
    double min, max;
    double absent; /* what the class of transformers takes */
    enum ram_null null;
    enum ram_mlx_use mlx;
    double mlx_value;
};

/* What says which layers are without experts. */
enum ram_layers_by {
    RAM_LAYERS_PLAIN,  /* there are no experts */
    RAM_LAYERS_LISTED, /* decoder_sparse_step and mlp_only_layers */
    RAM_LAYERS_LEADING /* first_k_dense_replace */,
    RAM_LAYERS_NAMED /* mlp_layer_types, else first_k_dense_replace and moe_layer_freq */
};

/* What says which layers see a window only. */
enum ram_window_by {
    RAM_WINDOW_NEVER,
    RAM_WINDOW_ALWAYS,   /* sliding_window, for all layers or those of layer_types (mistral) */
    RAM_WINDOW_SWITCHED, /* if use_sliding_window, for all layers */
    RAM_WINDOW_LAYERED   /* if use_sliding_window, from max_window_layers on or by layer_types */
};

/* How experts are chosen. */
enum ram_router { RAM_ROUTER_SOFTMAX, RAM_ROUTER_SIGMOID };

struct ram_family {
    const char *model_type; /* and its rows, at most 64 */
    const struct ram_param *params;
    size_t n_params;
    enum ram_layers_by layers;
    enum ram_window_by windows;
    enum ram_router router;
    bool mla;
    bool has_mtp;         /* layers behind the counted ones predict several tokens */
    bool own_head;        /* mlx_lm has an lm_head even where the embedding is the head */
    double partial;       /* part of the dimensions that is rotated if nothing is said ... */
    bool reads_partial;   /* ... and whether partial_rotary_factor is read at all */
    bool mlx_partial;     /* mlx_lm's class reads it, from the top level */
    bool mlx_scales_rope; /* mlx_lm's class reads rope_scaling beyond the plain embedding */
    bool mlx_layer_types; /* mlx_lm's class reads layer_types with sliding_window */
};

const struct ram_family *ram_family_find(const char *model_type);

/* "llama, mistral, ... and glm4_moe_lite", for messages. */
extern const char ram_family_names[];

/* The rows of a model whose family is unknown: no defaults, and nothing is refused for null. */
extern const struct ram_family ram_family_unknown;

#endif
