/*
 * spectrum_product.h - the matrices that a spectrum is made of (spectrum.c) and the products with
 * the weights themselves: G = A^T A, and A^T A times 256 columns. Weights are read in blocks of
 * rows, in place where bf16 holds them.
 */
#ifndef RAM_ANALYZE_SPECTRUM_PRODUCT_H
#define RAM_ANALYZE_SPECTRUM_PRODUCT_H

#include "analyze/spectrum.h"
#include "kern/gemm.h"

enum ram_spectrum_way { RAM_WAY_ALL, RAM_WAY_GRAM, RAM_WAY_DIRECT };

struct ram_spectrum_work {
    const struct ram_spectrum_job *job;
    struct ram_view view;
    bool wide;   /* rows < cols: A is the transpose of the view */
    size_t n, m; /* of A */
    enum ram_spectrum_way way;
    bool in_place;      /* bf16, multiplied where it lies */
    bool coarse;        /* all but the last of the tall products are in 8 bits */
    float *largest;     /* for them, of each row of the view ... */
    float *product;     /* ... and [as many rows as a product has, Q] */
    float scale;        /* of copied weights: a power of two */
    float unit;         /* about the inverse of an eigenvalue of A^T A: a power of two */
    size_t step;        /* rows of the view to a block */
    float *block;       /* [step, cols] unless in place */
    float *g;           /* [m, stride] */
    uint16_t *places;   /* of the test matrix (ram_sketch_draw) */
    float *x, *z;       /* [m, Q] */
    float *t;           /* [n, Q] if wide, else [step, Q] */
    float *m1, *m2, *w; /* [Q, Q] */
    double *scratch;    /* 2 Q^2 */
};

/* Columns that multiply A or G: z [., Q], or if that is NULL the test matrix. */
struct ram_factor {
    enum ram_gemm_mode mode;
    const float *z;
    const uint16_t *places;
    size_t row; /* of the view that A begins with */
};

static inline struct ram_mat ram_transposed(struct ram_mat a)
{
    return (struct ram_mat){a.data, a.elem, a.col_stride, a.row_stride};
}

static inline struct ram_mat ram_floats(const float *data, size_t stride)
{
    return (struct ram_mat){data, RAM_ELEM_F32, stride, 1};
}

/* Rows of the view to a block. */
size_t ram_spectrum_step(const struct ram_view *view, enum ram_spectrum_way way, bool in_place);

/* g = A^T A, both triangles. */
int ram_spectrum_gram(const struct ram_spectrum_work *work, size_t stride, struct ram_err *err);

/* x = A^T A z; with_m1 as well m1 = (A z)^T (A z) = z^T x. f.mode: of products with G. */
int ram_spectrum_multiply(const struct ram_spectrum_work *work, struct ram_factor f, bool with_m1,
                          struct ram_err *err);

/* largest, and the squared error that 8 bits make of A. */
int ram_spectrum_measure(const struct ram_spectrum_work *work, double *lost, struct ram_err *err);

#endif
