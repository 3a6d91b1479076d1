/*
 * family.h - a model family as data: the keys of config.json that its class reads in transformers
 * 5, what they mean where they are absent or null, and what the loader does with them; its tensors
 * (slot.h); and of its block what neither keys nor slots say.
 *
 * The loader is the program that reads config.json and tensors of outputs (src/format), and has a
 * class of its own for the family: mlx_lm 0.32. What it does with a key stands in the row of the
 * key, so that a family is one file; what follows from that for outputs, the format works out.
 *
 * Where the norms of a block stand, whether queries and keys are normed and over what, and whether
 * attention has a latent, the slots say: a norm that is not in the list is not computed.
 *
 * A family is one file, family_<model_type>.c, which defines ram_family_<model_type>. The build
 * collects the files (CMakeLists.txt), so that adding or deleting the file adds or deletes the
 * family. Read against transformers 5.24 and mlx_lm 0.32; tests/unit/arch_config.c and
 * format_mlx.c hold the same figures a second time.
 */
#ifndef RAM_ARCH_FAMILY_H
#define RAM_ARCH_FAMILY_H

#include "arch/slot.h"

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

/* What the loader's class does with the key. */
enum ram_loader_use {
    RAM_LOADER_NEEDS,    /* cannot do without it */
    RAM_LOADER_WRITTEN,  /* reads it; it is always written, whatever an absent key means */
    RAM_LOADER_DEFAULTS, /* reads it, and takes loader_value if it is absent */
    RAM_LOADER_FIXED,    /* does not read it and computes as for loader_value */
    RAM_LOADER_FREE,     /* has no use for it */
    RAM_LOADER_ALONE     /* reads it although the class of transformers does not: where it stands,
                          * loader_value is written, which is what we compute */
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
    enum ram_loader_use loader;
    double loader_value;
};

/* What says which layers are without experts. */
enum ram_layers_by {
    RAM_LAYERS_PLAIN,  /* there are no experts */
    RAM_LAYERS_SPARSE, /* all layers have some */
    RAM_LAYERS_LISTED, /* decoder_sparse_step and mlp_only_layers */
    RAM_LAYERS_LEADING /* first_k_dense_replace */,
    RAM_LAYERS_NAMED /* mlp_layer_types, else first_k_dense_replace and moe_layer_freq */
};

/* What says which layers see a window only. */
enum ram_window_by {
    RAM_WINDOW_NEVER,
    RAM_WINDOW_ALWAYS,   /* sliding_window, for all layers or those of layer_types (mistral) */
    RAM_WINDOW_SAID,     /* sliding_window, for all layers; none if nothing is said */
    RAM_WINDOW_SWITCHED, /* if use_sliding_window, for all layers */
    RAM_WINDOW_EVEN,     /* if use_sliding_window, even layers below max_window_layers, or by
                          * layer_types */
    RAM_WINDOW_LAYERED,  /* if use_sliding_window, from max_window_layers on or by layer_types */
    RAM_WINDOW_FOURTH,   /* by layer_types, else all but every fourth layer */
    RAM_WINDOW_PATTERN,  /* by layer_types, else all but every sliding_window_pattern-th */
    RAM_WINDOW_UNTURNED  /* by layer_types, else, if use_sliding_window, layers without rotation */
};

/* What the loader's class reads of windows. */
enum ram_loader_windows {
    RAM_LOADER_WINDOWS_NONE,
    RAM_LOADER_WINDOWS_TYPES,  /* layer_types and sliding_window */
    RAM_LOADER_WINDOWS_BOTH,   /* the same; it fails unless there are layers of both kinds */
    RAM_LOADER_WINDOWS_PATTERN /* sliding_window_pattern as letters, L for a window and G for none;
                                * the same failure where there is a pattern */
};

/* What else is to be known of the loader's class. */
struct ram_loader_class {
    bool own_head;      /* it has a head even where the embedding is the head */
    bool partial;       /* it reads partial_rotary_factor, from the top level */
    bool scales_rope;   /* it reads rope_scaling beyond the plain embedding */
    bool sparse_only;   /* it has experts in every layer */
    bool whole_gains;   /* it multiplies by what is stored where the class here adds 1 to it */
    const char *prefix; /* before the names of all modules; NULL: none. Keys are then read from
                         * "text_config", if there is one */
    /* Before the names of a vision tower, as published; it passes over "vision_tower." in outputs.
     * NULL: it knows no tower. */
    const char *tower;
    bool rope_parameters; /* it reads the rotary embedding from "rope_parameters" only */
    enum ram_loader_windows windows;
};

/* How experts are chosen. */
enum ram_router { RAM_ROUTER_SOFTMAX, RAM_ROUTER_SIGMOID };

/* Which layers turn queries and keys by position. */
enum ram_turns_by {
    RAM_TURNS_ALL,
    RAM_TURNS_LISTED, /* no_rope_layers, else all but every no_rope_layer_interval-th */
    RAM_TURNS_SLIDING /* those that see a window, if any may; else all */
};

struct ram_family {
    const char *model_type;
    const char *also; /* what transformers calls the same where it stands alone, or NULL */
    const struct ram_param *params; /* at most 64 rows */
    size_t n_params;
    const struct ram_slot *slots; /* of a decoder layer, in the order of outputs */
    size_t n_slots;
    const struct ram_slot *embed, *norm, *head; /* before and behind the layers */
    const char *layer_prefix;                   /* "model.layers." */
    enum ram_layers_by layers;
    enum ram_window_by windows;
    enum ram_router router;
    enum ram_turns_by turns;
    bool neighbours;    /* queries and keys are turned in pairs of neighbours, not of halves */
    bool rotary_dim;    /* knows rotary_dim, the dimensions of a head that are turned */
    unsigned leading;   /* of RAM_LAYERS_LEADING: layers without experts if nothing is said */
    bool recurs;        /* a delta rule stands in place of attention, but in every n-th layer */
    bool normalises;    /* shares of chosen experts always have the sum 1 */
    bool turns_first;   /* queries and keys are turned before their norms, not after */
    bool has_mtp;       /* layers behind the counted ones predict several tokens */
    bool ties;          /* the head is the embedding if config.json does not say */
    double theta;       /* of the rotary embedding if nothing is said; 0: 10000 */
    bool two_ropes;     /* layers with a window have a rotary embedding of their own */
    bool rope_alpha;    /* knows RAM_ROPE_ALPHA; so does the loader's class, and no other scaling */
    double partial;     /* part of the dimensions that is rotated if nothing is said ... */
    bool reads_partial; /* ... and whether partial_rotary_factor is read at all */
    struct ram_loader_class loader;
    int router_bits, router_group; /* what stock converters give a router that they quantise; 0: no
                                    * width of its own */
};

/* What a row's field holds. */
double ram_param_value(const struct ram_config *config, const struct ram_param *param);

const struct ram_family *ram_family_find(const char *model_type);

/* "glm4_moe, llama, ... and qwen3_moe", for messages. Returns out. */
enum { RAM_FAMILY_NAMES = 512 };
const char *ram_family_names(char out[RAM_FAMILY_NAMES]);

/* Number i of the families, in the order of their names; NULL: there are no more. */
const struct ram_family *ram_family_at(size_t i);

/* The rows of a model whose family is unknown: no defaults, and nothing is refused for null. Its
 * embedding, last norm and head have the usual names; it has no slots. */
extern const struct ram_family ram_family_unknown;

/* The family of a configuration, or the unknown one. */
const struct ram_family *ram_family_of(const struct ram_config *config);

/* ---- its slots ---------------------------------------------------------------------------- */

/* The slot of a layer's matrix of this role, NULL if the layer has none; and the bias of that
 * matrix, or the norm of this role. */
const struct ram_slot *ram_family_matrix(const struct ram_config *config, enum ram_role role,
                                         uint64_t layer);
const struct ram_slot *ram_family_vector(const struct ram_config *config, enum ram_role role,
                                         uint64_t layer);

/* Does some layer of some model of this family have a tensor of this role? */
bool ram_family_has(const struct ram_family *family, enum ram_role role);

/* Are keys and values of its attention made of a latent (MLA)? */
bool ram_family_is_latent(const struct ram_family *family);

/* Does its attention have a gate? */
bool ram_family_is_gated(const struct ram_family *family);

/* The slot of a tensor, by its published name: NULL if the family has none of this name. */
const struct ram_slot *ram_family_slot(const struct ram_config *config, const char *name);

/* What config.json must say before any of this makes sense: RAM_EFORMAT names the key. */
int ram_family_check(const struct ram_config *config, const char *where, struct ram_err *err);

/* What stock converters do with a router when everything else becomes uniform: bits and group of
 * its own, or 16 and 0 where loaders hold it as a plain array. false: it is a matrix like others,
 * or the model_type is unknown. */
bool ram_family_router(const char *model_type, int *bits, int *group);

#endif
