/* coarse.c - see coarse.h. */
#include "kern/coarse.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "kern/gemm_kernel.h"
#include "kern/kern.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    Q = RAM_COARSE_COLS,
    TOP = 127, /* the integer that the largest element of a row or column becomes */
    BAND = 64  /* rows in a task */
};

bool ram_coarse_pays(void)
{
    return ram_cpu()->avx512_vnni && !ram_cpu()->amx_bf16;
}

/* ---- largest elements ----------------------------------------------------------------------- */

struct rows {
    const unsigned char *data;
    size_t n, size, stride;
    float *largest;
};

static int measure_band(void *ctx, size_t band, unsigned worker, struct ram_err *err)
{
    const struct rows *rows = ctx;
    const size_t end = (band + 1) * BAND < rows->n ? (band + 1) * BAND : rows->n;

    (void)worker, (void)err;
    for (size_t i = band * BAND; i < end; i++)
        rows->largest[i] = ram_kern()->largest_bf16(rows->data + 2 * i * rows->stride, rows->size);
    return RAM_OK;
}

int ram_coarse_measure(struct ram_mat a, size_t rows, size_t cols, float *largest, double *lost,
                       struct ram_pool *pool, struct ram_err *err)
{
    struct rows work = {a.data, rows, cols, a.row_stride, largest};
    double sum = 0;

    assert(a.elem == RAM_ELEM_BF16 && a.col_stride == 1);
    const int status = ram_pool_for(pool, (rows + BAND - 1) / BAND, measure_band, &work, err);
    /* Rounding to steps of s has a mean squared error of s^2 / 12. */
    for (size_t i = 0; !status && i < rows; i++)
        sum += (double)largest[i] * (double)largest[i];
    *lost += sum / ((double)TOP * TOP) * (double)cols / 12;
    return status;
}

/* ---- the product ----------------------------------------------------------------------------- */

struct work {
    size_t n, k;
    bool by_rows;  /* the rows of A are contiguous in memory, otherwise its columns */
    size_t n_rows; /* contiguous rows in memory: rows or columns of A */
    const float *f;
    float *ones;              /* [the larger of n and k] */
    float *to, *back;         /* [n_rows]: scales that bring rows to -127 .. 127, and back */
    float *col_to, *col_back; /* [Q]: the same for the columns of F */
    float *product, *c;       /* [n, Q] */
    bool add;
};

/* If the largest element is so small that its inverse overflows, the row counts as zero. */
static void set_scale(float largest, float *to, float *back)
{
    *to = largest > 0x1p-120f ? TOP / largest : 0;
    *back = largest / TOP;
}

/* If k runs over contiguous rows, the scales of these rows are multiplied into F: they cannot be
 * taken out of a sum over k afterwards. */
static void scale_columns(const struct work *w)
{
    float largest[Q] = {0};

    for (size_t i = 0; i < w->k; i++) {
        const float scale = w->by_rows ? 1 : w->back[i];
        for (size_t j = 0; j < Q; j++) {
            const float x = fabsf(w->f[i * Q + j]) * scale;
            largest[j] = x > largest[j] ? x : largest[j];
        }
    }
    for (size_t j = 0; j < Q; j++)
        set_scale(largest[j], &w->col_to[j], &w->col_back[j]);
}

static int multiply(const struct work *w, struct ram_mat a, struct ram_pool *pool,
                    struct ram_err *err)
{
    const struct ram_gemm_kernel *kernels[RAM_GEMM_KERNELS];
    const struct ram_gemm_call call = {
        .mode = RAM_GEMM_INT8,
        .m = w->n,
        .n = Q,
        .k = w->k,
        .a = {a.data, a.elem, a.row_stride, a.col_stride, w->by_rows ? w->to : w->ones,
              w->by_rows ? w->ones : w->to},
        .b = {(const void *)w->f, RAM_ELEM_F32, 1, Q, w->col_to, w->by_rows ? w->ones : w->back},
        .c = w->product,
        .ldc = Q};

    return ram_gemm_run(kernels[ram_gemm_all(RAM_GEMM_INT8, kernels) - 1], &call, pool, err);
}

static int scale_back(void *ctx, size_t band, unsigned worker, struct ram_err *err)
{
    const struct work *w = ctx;
    const size_t end = (band + 1) * BAND < w->n ? (band + 1) * BAND : w->n;

    (void)worker, (void)err;
    for (size_t i = band * BAND; i < end; i++) {
        const float *from = w->product + i * Q, scale = w->by_rows ? w->back[i] : 1;
        float *to = w->c + i * Q;
        for (size_t j = 0; j < Q; j++)
            to[j] = (w->add ? to[j] : 0) + from[j] * scale * w->col_back[j];
    }
    return RAM_OK;
}

int ram_coarse(size_t n, size_t k, struct ram_coarse_weights a, const float *f, float *c,
               bool accumulate, float *scratch, struct ram_pool *pool, struct ram_err *err)
{
    const size_t longest = n > k ? n : k;
    struct work w = {.n = n,
                     .k = k,
                     .by_rows = a.mat.col_stride == 1,
                     .f = f,
                     .product = scratch,
                     .c = c,
                     .add = accumulate};

    assert(a.mat.elem == RAM_ELEM_BF16);
    assert(a.mat.row_stride == 1 || a.mat.col_stride == 1);
    w.n_rows = w.by_rows ? n : k;
    w.ones = ram_alloc(longest + 2 * (w.n_rows + Q), sizeof *w.ones, err);
    if (!w.ones)
        return RAM_ENOMEM;
    w.to = w.ones + longest;
    w.back = w.to + w.n_rows;
    w.col_to = w.back + w.n_rows;
    w.col_back = w.col_to + Q;
    for (size_t i = 0; i < longest; i++)
        w.ones[i] = 1;
    for (size_t i = 0; i < w.n_rows; i++)
        set_scale(a.largest[i], &w.to[i], &w.back[i]);
    scale_columns(&w);
    int status = multiply(&w, a.mat, pool, err);
    if (!status)
        status = ram_pool_for(pool, (n + BAND - 1) / BAND, scale_back, &w, err);
    free(w.ones);
    return status;
}
