/* linear.h - y = x W^T + bias for a matrix that is still in its file. */
#ifndef RAM_INFER_LINEAR_H
#define RAM_INFER_LINEAR_H

#include "infer/model.h"
#include "kern/gemm.h"

/* Sees what flows into every linear layer before it is computed: x [n, linear->in]. */
struct ram_observer {
    void *ctx;
    int (*see)(void *ctx, const struct ram_linear *linear, const float *x, size_t n,
               struct ram_err *err);
};

/* What computes: threads, precision, and room for the part of a matrix that is being decoded. */
struct ram_compute {
    const struct ram_ckpt *ckpt;
    struct ram_pool *pool;
    enum ram_gemm_mode mode;
    bool forget; /* let go of a matrix's pages once it was used: the model exceeds memory */
    /* [n_units] how units are computed as if they were stored; bits 0: as they are. NULL: all. */
    const struct ram_affine *as_if;
    /* [rows of x] which unit is meant in a row (0: none, or RAM_ALL_UNITS). NULL: all in all rows.
     */
    const unsigned *unit_of;
    const struct ram_observer *observer; /* or NULL */
    float *tile;                         /* [tile_size]: holds at least one row of any matrix */
    size_t tile_size;
};

/* x [n, in], y [n, out] with y_stride floats a row. */
int ram_linear_apply(const struct ram_compute *compute, const struct ram_linear *linear,
                     const float *x, size_t n, float *y, size_t y_stride, struct ram_err *err);

/* The rows that a probed unit would have: w [n, cols] coded and decoded again, in place. Rows that
 * no group divides stay as they are. */
int ram_linear_perturb(const struct ram_affine *form, float *w, size_t n, size_t cols,
                       struct ram_err *err);

#endif
