/*
 * block_back.h - the derivative of one transformer layer over one chunk of rows. The layer is
 * computed forward again from its input, then backward through the same parts in reverse.
 */
#ifndef RAM_INFER_BLOCK_BACK_H
#define RAM_INFER_BLOCK_BACK_H

#include "infer/block.h"
#include "infer/sight.h"

struct ram_back {
    struct ram_block block;
    /* Is shown every matrix, from the calling thread. */
    int (*see)(void *ctx, const struct ram_sight *sight, struct ram_err *err);
    void *ctx;
    size_t first;                   /* of the chunk's rows among all rows */
    float *minus_sine[RAM_N_ROPES]; /* [positions, n_pairs] */
    float *normed;                  /* [rows, hidden]: the first norm's output */
    float *mid;                     /* [rows, hidden]: between attention and MLP */
    float *dnormed;                 /* [rows, hidden] */
    float *dq, *dk, *dv, *dattended;
    float *q_raw, *k_raw;      /* before the norms of heads */
    float *raw, *draw;         /* [rows, hidden]: before a norm behind attention or the MLP */
    float *q_latent, *kv_wide; /* MLA: before their norms */
    float *dq_latent, *dkv_wide, *dkv_latent;
    float *dfused; /* of fused projections: [rows, their width] */
    /* Of a delta rule: what delta.h keeps of rows, what the recurrence gives, and for threads. */
    float *dmixed, *dconvolved, *dz, *dba, *dfused_ba, *recurred, *rooms;
    float *dshare;               /* sparse: [rows, top_k] */
    float *drouter;              /* sparse: [rows, n_experts] */
    float *active, *dgate, *dup; /* [mlp_rows, widest MLP] */
    float *dpart, *din;          /* [mlp_rows, hidden] */
    float *scores;               /* [threads, 2, longest, longest] */
    size_t longest;              /* place */
};

/* Floats that a row takes beside the scratch of the forward pass. */
size_t ram_back_row(const struct ram_hparams *hp);
size_t ram_back_mlp_row(const struct ram_hparams *hp);

/* block.compute and block.scratch are there already. */
int ram_back_make(struct ram_back *back, struct ram_arena *arena, size_t positions,
                  struct ram_err *err);

/* x [rows of all places, hidden] is the layer's input; dx, the derivative by its output, becomes
 * that by its input. */
int ram_block_back(struct ram_back *back, const struct ram_layer *layer,
                   const struct ram_place *places, size_t n_places, const float *x, float *dx,
                   struct ram_err *err);

/* Tells the observer. */
int ram_back_see(const struct ram_back *back, const struct ram_linear *linear, const float *x,
                 size_t n, const float *dy, size_t dy_stride, struct ram_err *err);

/* The same, and dx [n, linear->in] = or += dy W. */
int ram_back_linear(const struct ram_back *back, const struct ram_linear *linear, const float *x,
                    size_t n, const float *dy, size_t dy_stride, float *dx, bool accumulate,
                    struct ram_err *err);

/* From scratch.q, k, v (rotated) and dattended: dq, dk, dv. Places have no parents. */
int ram_attention_back(struct ram_back *back, size_t window, const struct ram_place *places,
                       size_t n_places, struct ram_err *err);

/* x, dy, dx [n, hidden] of an MLP: dx = its derivative. members: NULL, or the rows' numbers. */
int ram_mlp_back(struct ram_back *back, const struct ram_mlp *mlp, const float *x, size_t n,
                 const float *dy, size_t first, const uint32_t *members, float *dx,
                 struct ram_err *err);

/* The sparse MLP: scratch.normed [n, hidden] flows in, dy [n, hidden] is the derivative by what
 * comes out; dnormed [n, hidden] = the derivative by what flows in. */
int ram_sparse_back(struct ram_back *back, const struct ram_layer *layer, size_t n, const float *dy,
                    struct ram_err *err);

/* Of a delta rule: floats for a row, and for a thread where the longest place is of this length. */
size_t ram_delta_back_row(const struct ram_hparams *hp);
size_t ram_delta_back_room(const struct ram_hparams *hp, size_t longest);

/* Memory for the derivatives, where the model has such layers. */
int ram_delta_back_make(struct ram_back *back, struct ram_arena *arena, struct ram_err *err);

/* From what the forward pass left in scratch and dattended [n, heads of values x v_dim] to dnormed
 * [n, hidden]. Places have no parents. */
int ram_delta_layer_back(struct ram_back *back, const struct ram_layer *layer,
                         const struct ram_place *places, size_t n_places, size_t n,
                         struct ram_err *err);

/* Rows over the pool: dx += derivative of the norm. */
int ram_norm_rows_back(struct ram_pool *pool, const float *x, size_t x_stride, const float *weight,
                       size_t n, size_t width, double eps, const float *dy, float *dx,
                       size_t dx_stride, struct ram_err *err);

#endif
