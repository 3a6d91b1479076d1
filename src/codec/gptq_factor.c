/*
 * gptq_factor.c - the triangular factor of gptq.h.
 *
 * H = R R^T with R upper is a Cholesky factorisation that begins at the last column. Blocks of 128
 * columns: a panel is H less the product of what is already factored (a matrix product, where the
 * time goes), its diagonal block is factored and inverted in f64, the rest is one more product.
 */
#include "codec/gptq.h"

#include "base/mem.h"
#include "codec/float.h"
#include "kern/gemm.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = RAM_GPTQ_BLOCK, TURN = 64 };

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
            work->product[i * BLOCK + j] = r[i * cols + at + j] - work->product[i * BLOCK + j];
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
    for (size_t i = end; i < cols; i++)
        memset(r + i * cols + at, 0, n * sizeof *r);
    if (!status && at > 0) {
        const struct ram_mat a = {work->product, RAM_ELEM_F32, BLOCK, 1};
        const struct ram_mat b = {inverse, RAM_ELEM_F32, 1, BLOCK};
        status = ram_gemm(RAM_GEMM_F32, at, n, n, a, b, r + at, cols, false, pool, err);
    }
    return status;
}

/* Columns [at, at + n) of r to bf16 rows; r is read in squares that stay in the first cache. */
static void turn_columns(struct ram_gptq_factor *f, size_t at, size_t n)
{
    const size_t cols = f->cols, end = at + n;

    for (size_t i0 = 0; i0 < end; i0 += TURN)
        for (size_t j = at; j < end; j++) {
            float line[TURN];
            const size_t count = end - i0 < TURN ? end - i0 : TURN;
            for (size_t i = 0; i < count; i++)
                line[i] = f->r[(i0 + i) * cols + j];
            ram_float_narrow(RAM_FLOAT_BF16, line, count, f->turned + j * cols + i0);
        }
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
        turn_columns(f, at, end - at);
        end = at;
    }
    for (size_t j = 0; !status && j < f->cols; j++)
        f->pivots[j] = f->r[j * f->cols + j] * f->r[j * f->cols + j];
    free(product);
    free(work);
    return status;
}

/* ---- both kinds ------------------------------------------------------------------------- */

/* The mean of the diagonal, 0 if it knows nothing; n rows of cols, n = 1: h is the diagonal. */
static int check(const char *name, const float *h, size_t n, size_t cols, double *mean,
                 struct ram_err *err)
{
    double sum = 0;

    *mean = 0;
    for (size_t i = 0; i < n; i++) {
        bool finite = true;
        for (size_t j = 0; j < cols; j++)
            finite &= fabsf(h[i * cols + j]) <= FLT_MAX;
        for (size_t j = 0; j < cols && !finite; j++)
            if (!isfinite(h[i * cols + j]))
                return ram_fail(err, RAM_EFORMAT,
                                "%s: the inputs' second moment (%zu, %zu) is %g, expected a finite "
                                "number",
                                name, i, j, (double)h[i * cols + j]);
    }
    for (size_t j = 0; j < cols; j++) {
        const float x = h[n > 1 ? j * (cols + 1) : j];
        if (x < 0)
            return ram_fail(err, RAM_EFORMAT,
                            "%s: the inputs' second moment (%zu, %zu) is %g, expected a number "
                            "from 0",
                            name, j, j, (double)x);
        sum += (double)x;
    }
    *mean = cols ? sum / (double)cols : 0;
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
    const int status = check(name, diagonal, 1, cols, &mean, err);

    *out = NULL;
    if (status || mean == 0)
        return status;
    *out = start(diagonal, cols, 1, mean, err);
    return *out ? RAM_OK : RAM_ENOMEM;
}

/* H in f->r is brought to its mean and damped; what steers is taken from it before it is factored.
 */
static void scale(struct ram_gptq_factor *f, double damp, double mean)
{
    const size_t cols = f->cols;
    const double inverse = 1 / mean;

    for (size_t i = 0; i < cols; i++) {
        float *const line = f->r + i * cols;
        const size_t at = i / BLOCK * BLOCK, n = cols - at < BLOCK ? cols - at : BLOCK;
        for (size_t j = 0; j < cols; j++)
            line[j] = (float)((double)line[j] * inverse);
        line[i] += (float)damp;
        ram_float_narrow(RAM_FLOAT_BF16, line, cols, f->h + i * cols);
        memcpy(f->squares + i * BLOCK, line + at, n * sizeof *line);
    }
}

static int fill(struct ram_gptq_factor *f, double damp, double mean, struct ram_pool *pool,
                struct ram_err *err)
{
    const size_t cols = f->cols, n_blocks = (cols + BLOCK - 1) / BLOCK;
    size_t n;

    if (!ram_mul_size(cols, cols, &n))
        return ram_fail(err, RAM_ENOMEM, "second moments of %zu columns", cols);
    f->h = ram_calloc(n, sizeof *f->h, err);
    f->turned = ram_calloc(n, sizeof *f->turned, err);
    f->squares = ram_calloc(n_blocks * BLOCK, BLOCK * sizeof *f->squares, err);
    f->inverse = ram_calloc(n_blocks * BLOCK, BLOCK * sizeof *f->inverse, err);
    f->pivots = ram_calloc(cols, sizeof *f->pivots, err);
    if (!f->h || !f->turned || !f->squares || !f->inverse || !f->pivots)
        return RAM_ENOMEM;
    scale(f, damp, mean);
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
        f->r = h;
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
    free(f->r);
    free(f->h);
    free(f->turned);
    free(f->squares);
    free(f->inverse);
    free(f->pivots);
    free(f);
}

uint64_t ram_gptq_factor_size(size_t cols)
{
    const uint64_t n = cols;
    return n * n * (sizeof(float) + 2 * sizeof(uint16_t)) +
           n * (2 * RAM_GPTQ_BLOCK + 4) * sizeof(float);
}
