/*
 * layout.h - what a checkpoint's tensors are, and what becomes of them in an output.
 *
 * Two lists over the same tensors. `sources` are the matrices that the method scores: role, layer,
 * expert, and the unit under which a plan decides them. `targets` are the tensors of the output,
 * each a sequence of views of sources, in the names that the loader of the format looks for.
 * docs/models.md tells the rules of every architecture; an unknown one has sources and no targets.
 */
#ifndef RAM_FORMAT_LAYOUT_H
#define RAM_FORMAT_LAYOUT_H

#include "arch/role.h"
#include "format/format.h"

struct ram_source {
    const struct ram_tensor *tensor;
    struct ram_view view;    /* what is scored: usually ram_view_whole */
    enum ram_role role;      /* as records have it */
    int layer, expert;       /* -1: none */
    const char *unit;        /* "model.layers.3.mlp.experts.*.up_proj.weight" */
    bool dropped;            /* the output leaves it out: MTP layer, tied head, FP8 scale */
    const char *why_dropped; /* "scales of FP8 weights", ...; NULL if it is not */
    bool fixed;  /* no loader has a coded form of it, though it has several dimensions */
    bool missed; /* dropped, although a runtime of the source would have used it: to be said */
    /* How the output stores it: one view, or two for kv_b_proj, each of `blocks` matrices that
     * differ by `block_stride` elements. None if it is dropped. Of an unknown architecture: as it
     * is. A matrix's groups run along the rows of these views. */
    enum ram_dtype stored_dtype; /* when it is not quantised */
    int n_stored;
    struct ram_stored_view {
        struct ram_view view; /* of block 0 */
        size_t blocks, block_stride;
    } stored[2];
};

struct ram_target {
    const char *module; /* "model.layers.3.mlp.switch_mlp.up_proj": the key of config overrides */
    const char
        *suffix;      /* "weight", "bias", "e_score_correction_bias" or "" : name = module.suffix */
    const char *unit; /* whose decision it obeys */
    int n_dims;
    uint64_t shape[RAM_CKPT_MAX_DIMS];
    struct ram_view *views; /* their rows, one after the other, are the tensor's rows */
    size_t n_views;
    bool copy;            /* holds once more what another target holds: the head of a tied GLM */
    bool quantizable;     /* the loader has a quantised form for this module */
    enum ram_dtype dtype; /* when it is stored as it is */
};

struct ram_layout {
    struct ram_arena arena;
    const struct ram_ckpt *ckpt;
    const struct ram_format *format;
    struct ram_config config; /* what config.json says of shapes and types */
    const char *model_type;   /* as config.json says */
    bool known;               /* of an architecture that we know */
    bool moe;
    bool tied; /* the head is the embedding */
    /* Notes for conversions: what the output leaves out, or what its reader does differently. */
    struct ram_notes notes;
    bool quantized; /* codes already: nothing to analyse, nothing to convert */
    /* Why there are no targets, or why they are not the whole checkpoint: one sentence for the
     * message of a conversion. NULL: it can be converted. */
    const char *obstacle;
    struct ram_source *sources; /* order of ckpt->tensors, experts of a fused stack in turn */
    size_t n_sources;
    struct ram_target *targets; /* order of the slots of the family */
    size_t n_targets;
};

/* RAM_EFORMAT if a known architecture lacks a tensor or a shape contradicts config.json. What is
 * merely not convertible (an architecture we do not know, tensors it should not have, codes of
 * another quantiser) is laid out, with the reason in `obstacle`. ckpt is borrowed. */
int ram_layout_new(struct ram_layout **out, const struct ram_ckpt *ckpt,
                   const struct ram_format *format, struct ram_err *err);

/* The same for those who only look: what would be RAM_EFORMAT or RAM_ERANGE is an obstacle too, so
 * that any checkpoint can be laid out. */
int ram_layout_look(struct ram_layout **out, const struct ram_ckpt *ckpt,
                    const struct ram_format *format, struct ram_err *err);
void ram_layout_free(struct ram_layout *layout);

#endif
