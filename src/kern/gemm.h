/*
 * gemm.h - the one matrix product of the library: C = A B, f32 out, operands f32 or bf16 at any
 * stride, computed in f32 or in bf16 with f32 accumulation.
 *
 * RAM_GEMM_F32: every element is one chain of fused multiply-adds over k in increasing order,
 * begun at 0 or at what C held, so every variant gives the same bits (but for the payload of a
 * NaN). RAM_GEMM_BF16: operands are rounded to bf16 (a no-op for bf16 operands) and multiplied by
 * the best unit there is (AMX, AVX512-BF16, NEON BF16, else widened to f32 and chained as above);
 * products are exact, sums differ between processors within the bound stated in gemm.c. In both an
 * element depends only on its row of A and its column of B: not on the number of threads, and not
 * on how many rows or columns are computed with it.
 *
 * A call needs less than 5 MiB, and less than 1 MiB more for each thread. C must not overlap A or
 * B. The only failure is RAM_ENOMEM.
 */
#ifndef RAM_KERN_GEMM_H
#define RAM_KERN_GEMM_H

#include "base/err.h"
#include "base/pool.h"

enum ram_elem { RAM_ELEM_F32, RAM_ELEM_BF16 };
enum ram_gemm_mode {
    RAM_GEMM_F32,
    RAM_GEMM_BF16,
    RAM_GEMM_INT8 /* needs scales, which the functions below do not take: kern/coarse.h */
};

/* Element (i, j) is data[i * row_stride + j * col_stride]; a transpose swaps the strides. bf16
 * data need not be aligned. */
struct ram_mat {
    const void *data;
    enum ram_elem elem;
    size_t row_stride, col_stride;
};

/* C [m, n], row-major with ldc floats a row, = A [m, k] B [k, n], or += if accumulate. */
int ram_gemm(enum ram_gemm_mode mode, size_t m, size_t n, size_t k, struct ram_mat a,
             struct ram_mat b, float *c, size_t ldc, bool accumulate, struct ram_pool *pool,
             struct ram_err *err);

/* C [m, m] = A [m, k] A^T, or +=: half of the work, on the lower triangle, which is then copied to
 * the upper. */
int ram_gram(enum ram_gemm_mode mode, size_t m, size_t k, struct ram_mat a, float *c, size_t ldc,
             bool accumulate, struct ram_pool *pool, struct ram_err *err);

#endif
