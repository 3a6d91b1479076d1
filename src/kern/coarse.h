/*
 * coarse.h - the product with a matrix of weights in whole numbers of 8 bits, for where it only
 * turns a subspace (docs/metrics.md says what that may cost). Twice as fast as bf16 where the
 * processor has an instruction for it.
 *
 * Every row of the weights as they lie in memory is divided by its largest and rounded to one of
 * 255 values, and so is every column of the other factor. The product of the two is exact but for
 * the f32 rounding of sums over 2,048 and more, the same for any number of threads.
 */
#ifndef RAM_KERN_COARSE_H
#define RAM_KERN_COARSE_H

#include "kern/gemm.h"

enum { RAM_COARSE_COLS = 256 };

/* Is it faster here than RAM_GEMM_BF16? */
bool ram_coarse_pays(void);

/* The largest of each row of a bf16 matrix whose rows lie together, [rows]. lost: the squared error
 * that rounding these rows is expected to make is added to it. */
int ram_coarse_measure(struct ram_mat a, size_t rows, size_t cols, float *largest, double *lost,
                       struct ram_pool *pool, struct ram_err *err);

/* Weights of which the rows, or for a transpose the columns, lie together and were measured. */
struct ram_coarse_weights {
    struct ram_mat mat; /* bf16, finite */
    const float *largest;
};

/* C [n, 256] = A [n, k] F [k, 256], or +=; F is finite. scratch [n, 256]. The only failure is
 * RAM_ENOMEM. */
int ram_coarse(size_t n, size_t k, struct ram_coarse_weights a, const float *f, float *c,
               bool accumulate, float *scratch, struct ram_pool *pool, struct ram_err *err);

#endif
