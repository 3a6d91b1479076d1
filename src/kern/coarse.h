/*
 * coarse.h - the product with a matrix of weights as 8-bit integers, for subspace iteration, where
 * an error only rotates the basis (docs/metrics.md has the effect). It is twice as fast as bf16 on
 * processors that have an instruction for it.
 *
 * Every row of the weights, as they lie in memory, is divided by its largest element and rounded to
 * one of 255 values, and so is every column of the other factor. The product of the two is exact
 * except for the f32 rounding of sums over 2,048 terms and more. It has the same bits for any
 * number of threads.
 */
#ifndef RAM_KERN_COARSE_H
#define RAM_KERN_COARSE_H

#include "kern/gemm.h"

enum { RAM_COARSE_COLS = 256 };

/* Whether it is faster than RAM_GEMM_BF16 on this processor. */
bool ram_coarse_pays(void);

/* largest [rows] becomes the largest absolute value of each row of a bf16 matrix whose elements are
 * adjacent in each row. Adds to *lost the squared error that rounding these rows is expected to
 * make.
 */
int ram_coarse_measure(struct ram_mat a, size_t rows, size_t cols, float *largest, double *lost,
                       struct ram_pool *pool, struct ram_err *err);

/* Weights whose rows (for a transpose: columns) are contiguous in memory and were measured. */
struct ram_coarse_weights {
    struct ram_mat mat; /* bf16, finite */
    const float *largest;
};

/* C [n, 256] = A [n, k] F [k, 256], or +=; F is finite. scratch [n, 256]. The only failure is
 * RAM_ENOMEM. */
int ram_coarse(size_t n, size_t k, struct ram_coarse_weights a, const float *f, float *c,
               bool accumulate, float *scratch, struct ram_pool *pool, struct ram_err *err);

#endif
