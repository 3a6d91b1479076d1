/*
 * spectrum_product.h - the working memory of a spectrum (spectrum.c), and its products with the
 * weights: G = A^T A, and A^T A times 256 columns. Weights are read in blocks of rows, and in place
 * if they are bf16.
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
    bool coarse;        /* all tall products but the last are in 8 bits */
    float *largest;     /* if coarse: the largest absolute weight of each row of the view */
    float *product;     /* if coarse: scratch, [rows of the largest product, Q] */
    double scale;       /* a power of two that copied weights are multiplied by; of denormals, it
                         * is beyond the range of f32 */
    float unit;         /* a power of two, about the inverse of an eigenvalue of A^T A */
    size_t step;        /* rows of the view in a block */
    float *block;       /* [step, cols] copied weights; unused if in place */
    float *g;           /* [m, stride] */
    uint16_t *places;   /* the test matrix (ram_sketch_draw) */
    float *x, *z;       /* [m, Q] */
    float *t;           /* [n, Q] if wide, else [step, Q] */
    float *m1, *m2, *w; /* [Q, Q] */
    double *scratch;    /* 2 Q^2 */
};

/* The right factor of a product with A or G: z [., Q] or, if z is NULL, the test matrix. */
struct ram_factor {
    enum ram_gemm_mode mode;
    const float *z;
    const uint16_t *places;
    size_t row; /* the row of the view at which A begins */
};

static inline struct ram_mat ram_transposed(struct ram_mat a)
{
    return (struct ram_mat){a.data, a.elem, a.col_stride, a.row_stride};
}

static inline struct ram_mat ram_floats(const float *data, size_t stride)
{
    return (struct ram_mat){data, RAM_ELEM_F32, stride, 1};
}

/* The number of rows of the view in a block. */
size_t ram_spectrum_step(const struct ram_view *view, enum ram_spectrum_way way, bool in_place);

/* g = A^T A, both triangles. */
int ram_spectrum_gram(const struct ram_spectrum_work *work, size_t stride, struct ram_err *err);

/* x = A^T A z; if with_m1, also m1 = (A z)^T (A z) = z^T x. f.mode is the precision of products
 * with G. */
int ram_spectrum_multiply(const struct ram_spectrum_work *work, struct ram_factor f, bool with_m1,
                          struct ram_err *err);

/* Sets work->largest, and *lost to the squared error that rounding A to 8 bits is expected to make.
 */
int ram_spectrum_measure(const struct ram_spectrum_work *work, double *lost, struct ram_err *err);

#endif
