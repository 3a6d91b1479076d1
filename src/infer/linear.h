/* linear.h - y = x W^T + bias for a matrix that is still in its file. */
#ifndef RAM_INFER_LINEAR_H
#define RAM_INFER_LINEAR_H

#include "infer/model.h"
#include "kern/gemm.h"

/* Is called with the inputs of every linear layer before it is computed: x [n, linear->in]. shares
 * [n]: what an expert's rows are multiplied by when they are added up; NULL outside of experts. */
struct ram_observer {
    void *ctx;
    int (*see)(void *ctx, const struct ram_linear *linear, const float *x, const float *shares,
               size_t n, struct ram_err *err);
};

/* How to compute: threads, precision, perturbed units, and a buffer for decoded weights. */
struct ram_compute {
    const struct ram_ckpt *ckpt;
    struct ram_pool *pool;
    enum ram_gemm_mode mode;
    bool forget; /* release a matrix's pages once it was used, if the model exceeds the memory */
    /* [n_units] the quantised form that replaces each unit; none: the unit stays as it is. NULL:
     * all units stay as they are. */
    const struct ram_storage *as_if;
    /* [rows of x] the unit that is replaced in each row: 0 for none, or RAM_ALL_UNITS. NULL: all
     * units are replaced in all rows. */
    const unsigned *unit_of;
    const struct ram_observer *observer; /* or NULL */
    const float *shares;                 /* for the observer */
    float *tile;                         /* [tile_size]: holds at least one row of any matrix */
    size_t tile_size;
};

/* y = x W^T + bias for x [n, in]; y [n, out] has y_stride floats in a row. */
int ram_linear_apply(const struct ram_compute *compute, const struct ram_linear *linear,
                     const float *x, size_t n, float *y, size_t y_stride, struct ram_err *err);

/* The derivative: dx [n, in], with dx_stride floats a row, = dy W for dy [n, out] with dy_stride;
 * or dx += dy W. Perturbations are not applied, and the observer is not called. */
int ram_linear_back(const struct ram_compute *compute, const struct ram_linear *linear,
                    const float *dy, size_t n, size_t dy_stride, float *dx, size_t dx_stride,
                    bool accumulate, struct ram_err *err);

/* Replaces w [n, cols] by its quantised form, decoded again, as a probe of its unit uses it. Rows
 * that no form fits stay as they are. */
int ram_linear_perturb(const struct ram_storage *as, float *w, size_t n, size_t cols,
                       struct ram_err *err);

#endif
