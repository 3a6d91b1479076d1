/*
 * gptq_rows.h - the passes of gptq.h over some rows of a matrix, side by side. For gptq.c.
 *
 * Everything is kept column after column, rows next to each other: a column of 16 rows is a vector
 * (the tile kernels of kern.h), and what columns ask of each other is a matrix product.
 */
#ifndef RAM_CODEC_GPTQ_ROWS_H
#define RAM_CODEC_GPTQ_ROWS_H

#include "codec/gptq.h"

enum { RAM_GPTQ_SPAN = 512 };

struct ram_gptq_rows {
    const struct ram_gptq *how;
    size_t cols, group, n_groups;
    size_t m, ld;           /* rows, in whole tiles; floats from a column to the next */
    size_t n;               /* rows that are of the matrix */
    float *w, *q;           /* [cols, ld] weights, codes */
    uint16_t *e;            /* [cols, ld] what a reader sees, less the weight, in bf16 */
    float *part;            /* [RAM_GPTQ_SPAN, ld] what the other columns ask of those of a span */
    float *scales, *biases; /* [n_groups, ld] as a reader sees them */
    double *errors;         /* [ld] e H e^T, as the passes find it */
};

/* Floats from a column of m rows to the next. Not a multiple of 128 bytes: columns that are would
 * compete for a few sets of the first cache. */
size_t ram_gptq_ld(size_t m);

/* All columns, from the first to the last: fills q, e, scales and biases, and errors. */
int ram_gptq_code(struct ram_gptq_rows *s, struct ram_err *err);

/* Scales, biases and codes once more, with everything else as it is. */
int ram_gptq_sweep(struct ram_gptq_rows *s, struct ram_err *err);

#endif
