/* dense_table.h - the loops of dense.c, one table for each instruction set; for src/kern/dense*
 * only. What they do is said in dense_lanes.inc. */
#ifndef RAM_KERN_DENSE_TABLE_H
#define RAM_KERN_DENSE_TABLE_H

#include "kern/dense.h"

#include <stdint.h>

enum { RAM_DENSE_SHIFTS = 32 };

struct ram_dense_table {
    void (*gram)(const float *x, size_t rows, size_t n, double *s);
    void (*widen)(const float *s, size_t n, double *out);
    void (*balance)(double *s, size_t n, const double *scale);
    double (*cholesky)(double *a, size_t n, double drop);
    void (*invert)(const double *u, size_t n, double *v);
    void (*narrow)(const double *v, size_t n, const double *scale, float *w);
    void (*tridiagonal)(float *a, size_t n, double *d, double *e);
    void (*count_above)(const double *d, const double *e2, size_t n, const double *x,
                        double *count);
};

extern const struct ram_dense_table ram_dense_base, ram_dense_avx2, ram_dense_avx512;

#endif
