/*
 * gptq_rows.h - the passes of gptq.h over some rows of a matrix, side by side. Used by gptq.c only.
 *
 * Everything is kept column after column, with rows next to each other: 16 rows of a column are a
 * vector (the tile kernels of kern.h), and the corrections between columns are a matrix product.
 */
#ifndef RAM_CODEC_GPTQ_ROWS_H
#define RAM_CODEC_GPTQ_ROWS_H

#include "codec/gptq.h"

/* Columns whose corrections are computed by one product: enough of them for the product to be fast.
 * With 256 rows, their corrections take 512 KiB. */
enum { RAM_GPTQ_SPAN = 512 };

struct ram_gptq_rows {
    const struct ram_gptq *how;
    size_t cols, group, n_groups;
    size_t m, ld;           /* rows in whole tiles; elements from one column to the next */
    size_t n;               /* rows that belong to the matrix; n <= m */
    float *w, *q;           /* [cols, ld] weights, codes */
    uint16_t *e;            /* [cols, ld] the decoded weight minus the weight, in bf16 */
    float *part;            /* [RAM_GPTQ_SPAN, ld] e R, or e H, for the columns of a span */
    float *scales, *biases; /* [n_groups, ld] as a reader sees them, after rounding */
    double *errors;         /* [ld] e H e^T of each row, with the rounding of bf16 products */
};

/* Elements from one column of m rows to the next: an odd multiple of 16. If columns were an even
 * number of cache lines apart, they would compete for a few sets of the first cache. */
size_t ram_gptq_ld(size_t m);

/* GPTQ and settling, from the first column to the last: fills q, e, scales, biases and errors. */
int ram_gptq_code(struct ram_gptq_rows *s, struct ram_err *err);

/* One sweep: improves scales, biases and codes of each group while all others are fixed. */
int ram_gptq_sweep(struct ram_gptq_rows *s, struct ram_err *err);

#endif
