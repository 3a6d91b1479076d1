/*
 * gptq_factor.c - the triangular factor of gptq.h.
 *
 * H = R R^T with R upper is a Cholesky factorisation that begins at the last column. R replaces H
 * in memory, in panels of 512 columns and blocks of 128 columns within a panel. The columns that
 * are already factored are subtracted from a panel in one product, which takes most of the time,
 * and from a block in a small one. The block's square on the diagonal is factored and inverted in
 * f64, and the rest of the block's columns is their product with that inverse. The squares are
 * small, so that f64 costs little, and they are where cancellation happens.
 *
 * H is divided by the mean of its diagonal first. Only ratios of errors matter, and thresholds and
 * bf16 then see numbers of ordinary size whatever the scale of the inputs is.
 */
#include "codec/gptq.h"

#include "base/mem.h"
#include "codec/float.h"
#include "kern/gemm.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = RAM_GPTQ_BLOCK,
    PANEL = 4 * BLOCK,
    TURN = 64 /* rows that are transposed at a time, so that both sides stay in the first cache */
};

/* ---- factor ----------------------------------------------------------------------------- */

/* a [n, n], in rows of BLOCK doubles, becomes R, upper, with a = R R^T. In exact arithmetic no
 * pivot of a damped H is below the damping; half of it, `least`, is the bound that catches what
 * rounding in f32 may have left of a pivot. */
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
 * Subtracts the product of columns [from, to), which are factored, with themselves from columns
 * [at, end) in the rows before `end`. ram_gemm can only add, so columns that are not factored yet
 * are stored with the opposite sign, and the product is added to them.
 */
static int take_off(const struct ram_gptq_factor *f, size_t at, size_t end, size_t from, size_t to,
                    struct ram_pool *pool, struct ram_err *err)
{
    const struct ram_mat a = {f->r + from, RAM_ELEM_F32, f->cols, 1};
    const struct ram_mat b = {f->r + at * f->cols + from, RAM_ELEM_F32, 1, f->cols};

    return ram_gemm(RAM_GEMM_F32, end, end - at, to - from, a, b, f->r + at, f->cols, true, pool,
                    err);
}

/* Columns [at, at + n) of R from the remainder of H that is stored there, negated. */
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

/* ---- copies for the passes -------------------------------------------------------------- */

/* Divides H in f->r by its mean and damps it, copies the parts that the passes use, and negates it
 * for take_off. */
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

/* R^T in bf16. r is read in squares of 64 rows and a block of columns, which stay in the first
 * cache, so that each of its lines is loaded once. */
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

/* ---- creation --------------------------------------------------------------------------- */

/* *mean is the mean of the diagonal of h [n, cols], 0 if all inputs were 0. n = 1: h is the
 * diagonal itself. */
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

/* A factor with its importance, the diagonal divided by its mean. step: elements from one element
 * of the diagonal to the next. */
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
