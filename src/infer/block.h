/*
 * block.h - one transformer layer over one chunk of rows: attention and MLP with their norms and
 * residuals. forward.c cuts the rows into chunks.
 */
#ifndef RAM_INFER_BLOCK_H
#define RAM_INFER_BLOCK_H

#include "infer/forward.h"
#include "infer/linear.h"

/* Where a span of the chunk lies. */
struct ram_place {
    size_t row, n;   /* rows [row, row + n) of the chunk */
    size_t position; /* of its first token */
    size_t parent;   /* a place of the same chunk, or RAM_NO_PARENT */
    unsigned unit;   /* that is as if stored otherwise: 0 none, or RAM_ALL_UNITS */
};

/* Everything that flows through a layer, for at most `rows` rows. */
struct ram_scratch {
    size_t rows, mlp_rows;
    float *x;          /* [rows, hidden], when activations are spilled */
    float *normed;     /* [rows, hidden] */
    float *q, *k, *v;  /* [rows, heads x dimensions] */
    float *attended;   /* [rows, n_heads x v_dim] */
    float *latent;     /* MLA: [rows, max(q_rank, kv_rank + rotary)] */
    float *latent_kv;  /* MLA: [rows, kv_rank] */
    unsigned *unit_of; /* [rows], of their places */
    float *sum;        /* sparse: [rows, hidden] */
    float *router;     /* sparse: [rows, n_experts] */
    uint32_t *chosen;  /* sparse: [rows, top_k] */
    float *share;      /* sparse: [rows, top_k], the chosen experts' weights */
    uint32_t *members; /* sparse: [rows], the rows of one expert */
    float *member_share;
    float *gathered;         /* [mlp_rows, hidden] */
    unsigned *gathered_unit; /* [mlp_rows] */
    float *gate, *up;        /* [mlp_rows, widest MLP] */
    float *part;             /* [mlp_rows, hidden] */
    float *cosine, *sine;    /* [positions, n_pairs] */
};

struct ram_block {
    const struct ram_model *model;
    struct ram_compute compute;
    struct ram_scratch scratch;
    struct ram_kv *kv; /* of this layer, or NULL */
};

/* x [rows of all places, hidden] becomes the layer's output. */
int ram_block_apply(struct ram_block *block, const struct ram_layer *layer,
                    const struct ram_place *places, size_t n_places, float *x, struct ram_err *err);

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
