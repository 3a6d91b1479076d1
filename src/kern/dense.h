/*
 * dense.h - the two small symmetric problems at the end of a randomised SVD: a basis made
 * orthonormal through its Gram matrix, and the largest eigenvalues of a symmetric matrix.
 *
 * Why not LAPACK: these must give the same bits on every processor and be safe in many threads at
 * once, and OpenBLAS promises neither; nor is it faster at this size (docs/speed.md). Every loop
 * is written over vectors of fixed width without reassociation, so it may be compiled for any
 * instruction set.
 */
#ifndef RAM_KERN_DENSE_H
#define RAM_KERN_DENSE_H

#include <stddef.h>

enum { RAM_DENSE_MAX = 512 };

/* Floats to a row of a matrix of n columns: whole vectors. */
size_t ram_dense_stride(size_t n);

/* s [n, n] = x^T x for x [rows, n], with f64 sums (n a multiple of 8); only the upper triangle
 * means something. All pointers here are 64-byte aligned. */
void ram_dense_gram(const float *x, size_t rows, size_t n, double *s);

/* The upper triangle of s [n, n] as f64. */
void ram_dense_widen(const float *s, size_t n, double *out);

/*
 * w [n, n]: upper triangular with w^T s w = 1, for the upper triangle s [n, n] of a symmetric,
 * positive semidefinite matrix; s is destroyed, scratch holds n^2 doubles, n is a multiple of 8.
 * Columns with a pivot of at most `drop` become zero. A pivot is what of a column of s, scaled to
 * a unit diagonal, lies outside the span of those before it; the smallest is returned.
 */
double ram_dense_whiten(double *s, size_t n, double drop, float *w, double *scratch);

struct ram_dense_spectrum {
    double top; /* sum of the k largest eigenvalues */
    double all; /* of all: the trace */
    double largest, smallest;
};

/*
 * Of a symmetric matrix a [n, stride], 1 <= k <= n <= RAM_DENSE_MAX, columns n .. stride zero;
 * destroyed. 64-byte aligned. Entries far below the largest, by 2^-24 of it, may be lost.
 */
void ram_dense_eigen(float *a, size_t n, size_t k, struct ram_dense_spectrum *out);

#endif
