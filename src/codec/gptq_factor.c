/*
 * gptq_factor.c - the triangular factor of gptq.h.
 *
 * H = R R^T with R upper is a Cholesky factorisation that begins at the last column. It takes the
 * place of H, by panels of 512 columns and in them by blocks of 128: what is already factored is
 * taken off a panel as one product, where the time goes, and off a block as a small one; the
 * block's square on the diagonal is factored and inverted in f64, and the inverse gives the rest.
 */
#include "codec/gptq.h"

#include "base/mem.h"
#include "codec/float.h"
#include "kern/gemm.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = RAM_GPTQ_BLOCK, PANEL = 4 * BLOCK, TURN = 64 };

/* ---- factor ----------------------------------------------------------------------------- */

/* a [n, n] of BLOCK doubles a row becomes R, upper, with a = R R^T. No pivot is below `least`: the
 * damping says so exactly, rounding may say otherwise. */
static void factor_square(double *a, size_t n, double least)
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
static void invert_square(const double *a, size_t n, double *u)
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
    struct ram_gptq_factor *f;
    double damp, mean;
    double square[BLOCK * BLOCK], inverse[BLOCK * BLOCK];
    float minus_inverse[BLOCK * BLOCK];
    float *column; /* [cols, BLOCK] */
};

/*
 * Rows before `end` of columns [at, end) take in the product of columns [from, to), which are
 * factored, with themselves. It should be taken off, and products only add: until a column is
 * factored, what stands in its place has the other sign.
 */
static int take_off(const struct ram_gptq_factor *f, size_t at, size_t end, size_t from, size_t to,
                    struct ram_pool *pool, struct ram_err *err)
{
    const struct ram_mat a = {f->r + from, RAM_ELEM_F32, f->cols, 1};
    const struct ram_mat b = {f->r + at * f->cols + from, RAM_ELEM_F32, 1, f->cols};

    return ram_gemm(RAM_GEMM_F32, end, end - at, to - from, a, b, f->r + at, f->cols, true, pool,
                    err);
}

/* Columns [at, at + n) from what stands there. */
static int factor_block(struct work *work, size_t at, size_t n, struct ram_pool *pool,
                        struct ram_err *err)
{
    struct ram_gptq_factor *const f = work->f;
    const size_t cols = f->cols;
    float *const r = f->r + at, *const inverse = f->inverse + at * BLOCK;
    const struct ram_mat a = {work->column, RAM_ELEM_F32, BLOCK, 1};
    const struct ram_mat b = {work->minus_inverse, RAM_ELEM_F32, 1, BLOCK};

    for (size_t i = 0; i < at; i++)
        memcpy(work->column + i * BLOCK, r + i * cols, n * sizeof *r);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            work->square[i * BLOCK + j] = -(double)r[(at + i) * cols + j];
    factor_square(work->square, n, work->damp / 2);
    invert_square(work->square, n, work->inverse);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            r[(at + i) * cols + j] = (float)work->square[i * BLOCK + j];
            inverse[i * BLOCK + j] = (float)work->inverse[i * BLOCK + j];
            work->minus_inverse[i * BLOCK + j] = -inverse[i * BLOCK + j];
        }
    for (size_t i = at + n; i < cols; i++)
        memset(r + i * cols, 0, n * sizeof *r);
    for (size_t i = at; i < at + n; i++)
        f->pivots[i] = f->r[i * (cols + 1)] * f->r[i * (cols + 1)];
    return ram_gemm(RAM_GEMM_F32, at, n, n, a, b, r, cols, false, pool, err);
}

static int factor(struct work *work, struct ram_pool *pool, struct ram_err *err)
{
    const size_t cols = work->f->cols;
    int status = RAM_OK;

    for (size_t end = cols, start; !status && end > 0; end = start) {
        start = (end - 1) / PANEL * PANEL;
        status = take_off(work->f, start, end, end, cols, pool, err);
        for (size_t last = end, at; !status && last > start; last = at) {
            at = (last - 1) / BLOCK * BLOCK;
            status = take_off(work->f, at, last, last, end, pool, err);
            if (!status)
                status = factor_block(work, at, last - at, pool, err);
        }
    }
    return status;
}

/* ---- what is made beside it ------------------------------------------------------------- */

/* H in f->r in parts of its mean and damped; what steers is taken from it, and its sign changed. */
static int scale_rows(void *ctx, size_t block, unsigned worker, struct ram_err *err)
{
    const struct work *const work = ctx;
    struct ram_gptq_factor *const f = work->f;
    const size_t cols = f->cols, at = block * BLOCK, n = cols - at < BLOCK ? cols - at : BLOCK;
    const double inverse = 1 / work->mean;

    (void)worker, (void)err;
    for (size_t i = at; i < at + n; i++) {
        float *const line = f->r + i * cols;
        for (size_t j = 0; j < cols; j++)
            line[j] = (float)((double)line[j] * inverse);
        line[i] += (float)work->damp;
        ram_float_narrow(RAM_FLOAT_BF16, line, cols, f->h + i * cols);
        memcpy(f->squares + i * BLOCK, line + at, n * sizeof *line);
        for (size_t j = 0; j < cols; j++)
            line[j] = -line[j];
    }
    return RAM_OK;
}

/* Columns of r to bf16 rows; r is read in squares that stay in the first cache. */
static int turn_columns(void *ctx, size_t block, unsigned worker, struct ram_err *err)
{
    const struct work *const work = ctx;
    const struct ram_gptq_factor *const f = work->f;
    const size_t cols = f->cols, at = block * BLOCK;
    const size_t end = cols - at < BLOCK ? cols : at + BLOCK;

    (void)worker, (void)err;
    for (size_t i0 = 0; i0 < end; i0 += TURN)
        for (size_t j = at; j < end; j++) {
            float line[TURN];
            const size_t n = end - i0 < TURN ? end - i0 : TURN;
            for (size_t i = 0; i < n; i++)
                line[i] = f->r[(i0 + i) * cols + j];
            ram_float_narrow(RAM_FLOAT_BF16, line, n, f->turned + j * cols + i0);
        }
    return RAM_OK;
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

static int fill(struct ram_gptq_factor *f, double damp, double mean, struct ram_pool *pool,
                struct ram_err *err)
{
    const size_t cols = f->cols, n_blocks = (cols + BLOCK - 1) / BLOCK;
    struct work *work = NULL;
    int status = RAM_ENOMEM;
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
    work = ram_calloc(1, sizeof *work, err);
    float *const column = ram_calloc(cols, BLOCK * sizeof *column, err);
    if (!work || !column)
        goto done;
    work->f = f;
    work->damp = damp;
    work->mean = mean;
    work->column = column;
    status = ram_pool_for(pool, n_blocks, scale_rows, work, err);
    if (!status)
        status = factor(work, pool, err);
    if (!status)
        status = ram_pool_for(pool, n_blocks, turn_columns, work, err);
done:
    free(column);
    free(work);
    return status;
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
