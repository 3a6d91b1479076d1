/*
 * gptq_factor.c - the triangular factor of gptq.h.
 *
 * H = R R^T with R upper is a Cholesky factorisation that begins at the last column. Blocks of 128
 * columns: a panel is H less the product of what is already factored (a matrix product, where the
 * time goes), its diagonal block is factored and inverted in f64, the rest is one more product.
 */
#include "codec/gptq.h"

#include "base/mem.h"
#include "kern/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = RAM_GPTQ_BLOCK };

/* ---- factor ----------------------------------------------------------------------------- */

/* a [n, n] of BLOCK doubles a row becomes R, upper, with a = R R^T. No pivot is below `least`: the
 * damping says so exactly, rounding may say otherwise. */
static void factor_block(double *a, size_t n, double least)
{
    for (size_t c = n; c-- > 0;) {
        double *row = a + c * BLOCK;
        double pivot = row[c];
        for (size_t d = c + 1; d < n; d++)
            pivot -= row[d] * row[d];
        row[c] = sqrt(pivot > least ? pivot : least);
        for (size_t i = 0; i < c; i++) {
            double sum = a[i * BLOCK + c];
            for (size_t d = c + 1; d < n; d++)
                sum -= a[i * BLOCK + d] * row[d];
            a[i * BLOCK + c] = sum / row[c];
        }
        for (size_t d = 0; d < c; d++)
            row[d] = 0;
    }
}

/* u = a^-1, both upper. */
static void invert_block(const double *a, size_t n, double *u)
{
    memset(u, 0, BLOCK * BLOCK * sizeof *u);
    for (size_t j = 0; j < n; j++) {
        u[j * BLOCK + j] = 1 / a[j * BLOCK + j];
        for (size_t i = j; i-- > 0;) {
            double sum = 0;
            for (size_t d = i + 1; d <= j; d++)
                sum += a[i * BLOCK + d] * u[d * BLOCK + j];
            u[i * BLOCK + j] = -sum / a[i * BLOCK + i];
        }
    }
}

struct work {
    float panel[BLOCK * BLOCK]; /* the diagonal block */
    double block[BLOCK * BLOCK], inverse[BLOCK * BLOCK];
    float *product; /* [cols, BLOCK] */
};

/* Columns [at, at + n) of r, whose later columns are done. */
static int factor_columns(struct ram_gptq_factor *f, size_t at, size_t n, double least,
                          struct work *work, struct ram_pool *pool, struct ram_err *err)
{
    const size_t cols = f->cols, end = at + n;
    float *const r = f->r, *const inverse = f->inverse + at / BLOCK * BLOCK * BLOCK;
    int status = RAM_OK;

    memset(work->product, 0, end * BLOCK * sizeof *work->product);
    if (end < cols) {
        const struct ram_mat a = {r + end, RAM_ELEM_F32, cols, 1};
        const struct ram_mat b = {r + at * cols + end, RAM_ELEM_F32, 1, cols};
        status = ram_gemm(RAM_GEMM_F32, end, n, cols - end, a, b, work->product, BLOCK, false, pool,
                          err);
    }
    for (size_t i = 0; i < end; i++)
        for (size_t j = 0; j < n; j++)
            work->product[i * BLOCK + j] = f->h[i * cols + at + j] - work->product[i * BLOCK + j];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            work->block[i * BLOCK + j] = (double)work->product[(at + i) * BLOCK + j];
    factor_block(work->block, n, least);
    invert_block(work->block, n, work->inverse);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            r[(at + i) * cols + at + j] = (float)work->block[i * BLOCK + j];
            inverse[i * BLOCK + j] = (float)work->inverse[i * BLOCK + j];
        }
    if (!status && at > 0) {
        const struct ram_mat a = {work->product, RAM_ELEM_F32, BLOCK, 1};
        const struct ram_mat b = {inverse, RAM_ELEM_F32, 1, BLOCK};
        status = ram_gemm(RAM_GEMM_F32, at, n, n, a, b, r + at, cols, false, pool, err);
    }
    return status;
}

static int factor(struct ram_gptq_factor *f, double least, struct ram_pool *pool,
                  struct ram_err *err)
{
    int status = RAM_OK;
    struct work *work = ram_calloc(1, sizeof *work, err);
    float *product = ram_calloc(f->cols, BLOCK * sizeof *product, err);

    if (!work || !product)
        status = RAM_ENOMEM;
    else
        work->product = product;
    for (size_t end = f->cols; !status && end > 0;) {
        const size_t at = (end - 1) / BLOCK * BLOCK;
        status = factor_columns(f, at, end - at, least, work, pool, err);
        end = at;
    }
    for (size_t j = 0; !status && j < f->cols; j++)
        f->pivots[j] = f->r[j * f->cols + j] * f->r[j * f->cols + j];
    free(product);
    free(work);
    return status;
}

/* ---- both kinds ------------------------------------------------------------------------- */

/* The mean of the diagonal, 0 if it knows nothing; row_stride 0: h is the diagonal. */
static int check(const char *name, const float *h, size_t cols, size_t row_stride, double *mean,
                 struct ram_err *err)
{
    const size_t n = row_stride ? cols * cols : cols, step = row_stride ? cols + 1 : 1;

    *mean = 0;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(h[i]) || (i % step == 0 && h[i] < 0))
            return ram_fail(err, RAM_EFORMAT,
                            "%s: the inputs' second moment %zu of %zu is %g, expected a finite "
                            "number%s",
                            name, i, n, (double)h[i], i % step ? "" : " from 0");
    for (size_t j = 0; j < cols; j++)
        *mean += (double)h[j * step];
    *mean /= cols ? (double)cols : 1;
    return RAM_OK;
}

/* In parts of the mean, so that any scale of inputs gives numbers of ordinary size. */
static struct ram_gptq_factor *start(const float *h, size_t cols, size_t step, double mean,
                                     struct ram_err *err)
{
    struct ram_gptq_factor *f = ram_calloc(1, sizeof *f, err);

    if (!f)
        return NULL;
    f->cols = cols;
    f->importance = ram_calloc(cols, sizeof *f->importance, err);
    for (size_t j = 0; f->importance && j < cols; j++)
        f->importance[j] = (float)((double)h[j * step] / mean);
    if (!f->importance) {
        ram_gptq_factor_free(f);
        return NULL;
    }
    return f;
}

int ram_gptq_factor_diagonal(struct ram_gptq_factor **out, const char *name, const float *diagonal,
                             size_t cols, struct ram_err *err)
{
    double mean;
    const int status = check(name, diagonal, cols, 0, &mean, err);

    *out = NULL;
    if (status || mean == 0)
        return status;
    *out = start(diagonal, cols, 1, mean, err);
    return *out ? RAM_OK : RAM_ENOMEM;
}

static int fill(struct ram_gptq_factor *f, double damp, double mean, struct ram_pool *pool,
                struct ram_err *err)
{
    const size_t cols = f->cols, n_blocks = (cols + BLOCK - 1) / BLOCK;
    size_t n;

    if (!ram_mul_size(cols, cols, &n))
        return ram_fail(err, RAM_ENOMEM, "second moments of %zu columns", cols);
    f->r = ram_calloc(n, sizeof *f->r, err);
    f->inverse = ram_calloc(n_blocks * BLOCK, BLOCK * sizeof *f->inverse, err);
    f->pivots = ram_calloc(cols, sizeof *f->pivots, err);
    if (!f->r || !f->inverse || !f->pivots)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n; i++)
        f->h[i] = (float)((double)f->h[i] / mean);
    for (size_t j = 0; j < cols; j++)
        f->h[j * cols + j] += (float)damp;
    return factor(f, damp / 2, pool, err);
}

int ram_gptq_factor_new(struct ram_gptq_factor **out, const char *name, float *h, size_t cols,
                        double damp, struct ram_pool *pool, struct ram_err *err)
{
    double mean;
    int status = check(name, h, cols, cols, &mean, err);

    *out = NULL;
    if (!status && mean > 0) {
        struct ram_gptq_factor *f = start(h, cols, cols + 1, mean, err);
        if (!f) {
            free(h);
            return RAM_ENOMEM;
        }
        f->h = h;
        h = NULL;
        status = fill(f, damp, mean, pool, err);
        if (status)
            ram_gptq_factor_free(f);
        else
            *out = f;
    }
    free(h);
    return status;
}

void ram_gptq_factor_free(struct ram_gptq_factor *f)
{
    if (!f)
        return;
    free(f->importance);
    free(f->h);
    free(f->r);
    free(f->inverse);
    free(f->pivots);
    free(f);
}

uint64_t ram_gptq_factor_size(size_t cols)
{
    const uint64_t n = cols;
    return 2 * n * n * sizeof(float) + n * (RAM_GPTQ_BLOCK + 4) * sizeof(float);
}
