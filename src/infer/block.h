/*
 * block.h - one transformer layer over one chunk of rows: attention and MLP with their norms and
 * residuals. forward.c cuts the rows into chunks.
 */
#ifndef RAM_INFER_BLOCK_H
#define RAM_INFER_BLOCK_H

#include "infer/linear.h"
#include "infer/span.h"

/* Where a span of the chunk lies. */
struct ram_place {
    size_t row, n;   /* rows [row, row + n) of the chunk */
    size_t position; /* of its first token */
    size_t parent;   /* a place of the same chunk, or RAM_NO_PARENT */
    unsigned unit;   /* unit perturbed in this span; 0: none, or RAM_ALL_UNITS */
};

/* Everything that flows through a layer, for at most `rows` rows. */
struct ram_scratch {
    size_t rows, mlp_rows;
    float *x;         /* [rows, hidden], when activations are spilled */
    float *normed;    /* [rows, hidden] */
    float *q, *k, *v; /* [rows, heads x dimensions] */
    float *attended;  /* [rows, widest attended]: n_heads x v_dim floats a row */
    float *gates;     /* gated attention: [rows, n_heads x v_dim] */
    float *fused;     /* what a fused projection gives: [rows, its width] */
    /* A delta rule: what its convolution is given and what it gives [rows, channels], gates [rows,
     * heads x v_dim], of each head its b and of each its a [rows, 2, heads], ... */
    float *mixed, *convolved, *z, *ba, *fused_ba;
    float *ones, *q_length, *k_length; /* ... constants: [channels], [k_dim], [k_dim], ... */
    float *states;                     /* ... and [threads, ram_delta_room] */
    float *latent;                     /* MLA: [rows, max(q_rank, kv_rank + rotary)] */
    float *latent_kv;                  /* MLA: [rows, kv_rank] */
    unsigned *unit_of;                 /* [rows], of their places */
    float *sum;                        /* sparse: [rows, hidden] */
    float *router;                     /* sparse: [rows, n_experts] */
    uint32_t *chosen;                  /* sparse: [rows, top_k] */
    float *share;                      /* sparse: [rows, top_k], the chosen experts' weights */
    uint32_t *members;                 /* sparse: [rows], the rows of one expert */
    float *member_share;
    float *gathered;                                /* [mlp_rows, hidden] */
    unsigned *gathered_unit;                        /* [mlp_rows] */
    float *gate, *up;                               /* [mlp_rows, widest MLP] */
    float *part;                                    /* [mlp_rows, hidden] */
    float *shared_share;                            /* sparse: [mlp_rows] */
    float *cosine[RAM_N_ROPES], *sine[RAM_N_ROPES]; /* [positions, n_pairs] of each embedding */
};

/* Floats of scratch for a row of a chunk, and for a row of the MLP. */
size_t ram_scratch_row(const struct ram_hparams *hp, bool spilled);
size_t ram_scratch_mlp_row(const struct ram_hparams *hp);
size_t ram_widest_mlp(const struct ram_hparams *hp);

/* Floats of a row of queries with their gates, or of all that a delta rule is given. */
size_t ram_fused_width(const struct ram_hparams *hp);

/* Floats in which a thread computes heads of a delta rule. */
size_t ram_delta_room(const struct ram_delta_shape *delta);

/* Floats of keys and of values of `positions` positions of a sequence in this layer; of a layer
 * with a delta rule those of its state and of the last inputs of its convolution. */
void ram_kv_floats(const struct ram_hparams *hp, size_t layer, size_t positions, size_t *k,
                   size_t *v);

/* Floats of the smallest tile: a few rows of any matrix, and a transposed one as a whole. */
size_t ram_least_tile(const struct ram_hparams *hp);

struct ram_block {
    const struct ram_model *model;
    struct ram_compute compute;
    struct ram_scratch scratch;
    struct ram_kv *kv; /* [places] of this layer, or NULL */
};

/* Scratch for chunks of `rows` rows, and a tile of compute.tile_size floats; cosines and sines of
 * positions 0 to positions - 1, in f32 as transformers computes them. All of it in arena. */
int ram_scratch_make(struct ram_block *block, struct ram_arena *arena, size_t rows, size_t mlp_rows,
                     bool spilled, struct ram_err *err);
int ram_scratch_rotary(struct ram_block *block, struct ram_arena *arena, size_t positions,
                       struct ram_err *err);
float *ram_arena_floats(struct ram_arena *arena, size_t n, struct ram_err *err);

/* x [rows of all places, hidden] becomes the layer's output. */
int ram_block_apply(struct ram_block *block, const struct ram_layer *layer,
                    const struct ram_place *places, size_t n_places, float *x, struct ram_err *err);

/* Its parts, for derivatives. Every row: shares and numbers of the experts it is given to, from
 * scratch.normed [n, hidden] to scratch.chosen and share; scratch.router has the probabilities. */
int ram_sparse_route(struct ram_block *block, const struct ram_layer *layer, size_t n,
                     struct ram_err *err);

/* Of n rows x [n, hidden]: the weight of the shared expert, where a router gives it. */
int ram_sparse_shared_share(struct ram_block *block, const struct ram_layer *layer, const float *x,
                            size_t n, float *share, struct ram_err *err);

/* The rows that chose an expert, to scratch.members and member_share; returns their number. */
size_t ram_sparse_members(const struct ram_block *block, size_t expert, size_t n);

/* Norm (NULL: none) of each head of x [rows, n_heads x dim], and rotation of the dimensions from
 * rotary_at by position, in the order that the model has. */
struct ram_heads {
    float *x;
    const float *norm;
    size_t n_heads, dim, rotary_at;
    enum ram_layer_rope rope;
};
int ram_block_rotate(const struct ram_block *block, const struct ram_place *places, size_t n_places,
                     struct ram_heads heads, struct ram_err *err);

/* scratch.normed [n, hidden] -> scratch.q, k, v: projected, normed, rotated. */
int ram_block_project(struct ram_block *block, const struct ram_layer *layer,
                      const struct ram_place *places, size_t n_places, size_t n,
                      struct ram_err *err);

/* out [n, hidden] = x, normed if there is a norm. */
int ram_block_norm(const struct ram_block *block, const float *norm, const float *x, size_t n,
                   float *out, struct ram_err *err);

/* scratch.normed -> scratch.attended: all of attention, or the delta rule in its place, before the
 * output projection. */
int ram_block_mix(struct ram_block *block, const struct ram_layer *layer,
                  const struct ram_place *places, size_t n_places, size_t n, struct ram_err *err);

/* The same for a layer with a delta rule (delta.h). */
int ram_delta_apply(struct ram_block *block, const struct ram_layer *layer,
                    const struct ram_place *places, size_t n_places, size_t n, struct ram_err *err);

/* scratch.q, k, v -> scratch.attended. window: keys that a query sees at most; 0: all. */
int ram_block_attend(struct ram_block *block, size_t window, const struct ram_place *places,
                     size_t n_places, struct ram_err *err);

/* The sparse MLP: normed [n, hidden] -> sum [n, hidden], both in scratch. */
int ram_sparse_apply(struct ram_block *block, const struct ram_layer *layer, size_t n,
                     struct ram_err *err);

/* scratch.gate/up/part: down(silu(gate(x)) * up(x)) of n <= mlp_rows rows of x, into part; unit_of
 * [n] as linear.h has it. */
int ram_mlp_apply(struct ram_block *block, const struct ram_mlp *mlp, const float *x,
                  const unsigned *unit_of, size_t n, struct ram_err *err);

/* to += from, both [n] floats, shared out over the pool; the same bits for any number of threads,
 * since every element is one sum. */
int ram_add_into(struct ram_pool *pool, const float *from, size_t n, float *to,
                 struct ram_err *err);

/* out = norm of every row of x [n, width], rows shared out over the pool. */
int ram_norm_rows(struct ram_pool *pool, const float *x, size_t x_stride, const float *weight,
                  size_t n, size_t width, double eps, float *out, struct ram_err *err);

#endif
