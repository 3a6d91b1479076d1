/* spectrum_product.c - see spectrum_product.h. */
#include "analyze/spectrum_product.h"

#include "kern/coarse.h"
#include "kern/nn.h"
#include "kern/sketch.h"

enum {
    Q = RAM_SPECTRUM_RANK,
    HALF = Q / 2,
    /* Weights in a block of rows: of a matrix that is multiplied where it lies; of a wide one,
     * whose products pack all of T anew for every block, so that blocks are larger; of a matrix
     * that is first widened to f32, for which 4 Mi weights take 16 MiB. */
    IN_PLACE_BLOCK = 1 << 24,
    WIDE_BLOCK = 1 << 27,
    COPIED_BLOCK = 1 << 22
};

/* ---- weights ------------------------------------------------------------------------------- */

size_t ram_spectrum_step(const struct ram_view *view, enum ram_spectrum_way way, bool in_place)
{
    size_t weights = COPIED_BLOCK;

    if (in_place)
        weights = way == RAM_WAY_DIRECT && view->rows < view->cols ? WIDE_BLOCK : IN_PLACE_BLOCK;
    size_t step = weights / view->cols;
    step = step >= 256 ? step / 256 * 256 : step >= 16 ? step / 16 * 16 : 16;
    return step > view->rows ? view->rows : step;
}

/* Rows [row, row + n) and all columns, or (n = all rows) a window of columns. */
static int load(const struct ram_spectrum_work *work, const struct ram_view *view, size_t row,
                size_t n, struct ram_mat *out, struct ram_err *err)
{
    if (work->in_place) {
        const size_t first = view->first + row * view->row_stride;
        *out = (struct ram_mat){view->tensor->data + 2 * first, RAM_ELEM_BF16, view->row_stride,
                                view->col_stride};
        return RAM_OK;
    }
    const int status = ram_view_read(view, row, n, work->block, err);
    for (size_t i = 0; work->scale != 1 && i < n * view->cols; i++)
        work->block[i] = (float)((double)work->block[i] * work->scale);
    *out = (struct ram_mat){work->block, RAM_ELEM_F32, view->cols, 1};
    return status;
}

static void forget(const struct ram_spectrum_work *work, const struct ram_view *view, size_t row,
                   size_t n)
{
    if (work->job->frugal)
        ram_view_forget(work->job->ckpt, view, row, n);
}

static struct ram_factor rows_from(struct ram_factor f, size_t row)
{
    if (f.z)
        f.z += row * Q;
    else
        f.places += row * RAM_SKETCH_PLACES;
    return f;
}

/* to [n, Q] = a [n, k] times f, or +=. */
static int times(const struct ram_spectrum_work *work, size_t n, size_t k, struct ram_mat a,
                 struct ram_factor f, float *to, bool add, struct ram_err *err)
{
    struct ram_pool *pool = work->job->pool;

    if (!f.z)
        return ram_sketch(n, k, a, f.places, to, add, pool, err);
    if (f.mode == RAM_GEMM_INT8)
        return ram_coarse(n, k, (struct ram_coarse_weights){a, work->largest + f.row}, f.z, to, add,
                          work->product, pool, err);
    return ram_gemm(f.mode, n, Q, k, a, ram_floats(f.z, Q), to, Q, add, pool, err);
}

int ram_spectrum_gram(const struct ram_spectrum_work *work, size_t stride, struct ram_err *err)
{
    const struct ram_spectrum_job *job = work->job;
    const enum ram_gemm_mode mode = work->in_place ? RAM_GEMM_BF16 : RAM_GEMM_F32;
    const size_t length = work->wide ? work->view.cols : work->view.rows;
    /* G sums over the long side of the view: rows of a tall view, columns of a wide one. Blocks are
     * cut from that side. */
    const size_t step = work->wide ? work->step * work->view.cols / work->view.rows : work->step;
    int status = RAM_OK;

    for (size_t i = 0; i < length && !status; i += step) {
        const size_t n = length - i < step ? length - i : step;
        struct ram_view view = work->view;
        struct ram_mat a;
        if (work->wide) {
            view.first += i * view.col_stride;
            view.cols = n;
        } else {
            view.first += i * view.row_stride;
            view.rows = n;
        }
        status = load(work, &view, 0, view.rows, &a, err);
        if (!status)
            status = ram_gram(mode, work->m, n, work->wide ? a : ram_transposed(a), work->g, stride,
                              i > 0, job->pool, err);
        forget(work, &view, 0, view.rows);
    }
    return status;
}

/* ---- A^T A on 256 columns ------------------------------------------------------------------ */

/* m1 += T^T T for n rows of T. */
static int add_m1(const struct ram_spectrum_work *work, enum ram_gemm_mode mode, size_t n, bool add,
                  struct ram_err *err)
{
    return ram_gram(mode, Q, n, ram_transposed(ram_floats(work->t, Q)), work->m1, Q, add,
                    work->job->pool, err);
}

/* A is the view: each block of rows gives its rows of T = A f, and adds to x = A^T T at once, so
 * that the weights are read only once. */
static int multiply_tall(const struct ram_spectrum_work *work, struct ram_factor f,
                         struct ram_factor t, bool with_m1, struct ram_err *err)
{
    const struct ram_view *view = &work->view;
    int status = RAM_OK;

    for (size_t row = 0; row < view->rows && !status; row += work->step) {
        const size_t n = view->rows - row < work->step ? view->rows - row : work->step;
        struct ram_mat a;
        f.row = t.row = row;
        status = load(work, view, row, n, &a, err);
        if (!status)
            status = times(work, n, work->m, a, f, work->t, false, err);
        if (!status && with_m1)
            status = add_m1(work, t.mode, n, row > 0, err);
        if (!status)
            status = times(work, work->m, n, ram_transposed(a), t, work->x, row > 0, err);
        forget(work, view, row, n);
    }
    return status;
}

/* A is the transpose of the view: a block of rows adds to all of T = A f, so that T is complete
 * only when all blocks were read. A second pass over the weights gives x = A^T T, block by block.
 */
static int multiply_wide(const struct ram_spectrum_work *work, struct ram_factor f,
                         struct ram_factor t, bool with_m1, struct ram_err *err)
{
    const struct ram_view *view = &work->view;
    int status = RAM_OK;

    for (int pass = 0; pass < 2 && !status; pass++) {
        for (size_t row = 0; row < view->rows && !status; row += work->step) {
            const size_t n = view->rows - row < work->step ? view->rows - row : work->step;
            struct ram_mat a;
            f.row = t.row = row;
            status = load(work, view, row, n, &a, err);
            if (!status && pass == 0)
                status = times(work, work->n, n, ram_transposed(a), rows_from(f, row), work->t,
                               row > 0, err);
            else if (!status)
                status = times(work, n, work->n, a, t, work->x + row * Q, false, err);
            forget(work, view, row, n);
        }
        if (!status && pass == 0 && with_m1)
            status = add_m1(work, t.mode, work->n, false, err);
    }
    return status;
}

/* m1 = z^T x = (A z)^T (A z), which is symmetric. Only its upper triangle is used, so the lower
 * left quarter is not computed. */
static int cross_gram(const struct ram_spectrum_work *work, struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_F32;
    struct ram_pool *pool = work->job->pool;
    struct ram_mat left = ram_transposed(ram_floats(work->z, Q)), right = ram_floats(work->x, Q);

    int status = ram_gemm(mode, HALF, Q, work->m, left, right, work->m1, Q, false, pool, err);
    left.data = work->z + HALF;
    right.data = work->x + HALF;
    return status ? status
                  : ram_gemm(mode, HALF, HALF, work->m, left, right, work->m1 + HALF * Q + HALF, Q,
                             false, pool, err);
}

/* Rounds z to the values that a product in bf16 uses, so that m1 = z^T x, which is computed in f32,
 * belongs to the same z as x = G z does. */
static void round_columns(const struct ram_spectrum_work *work)
{
    for (size_t i = 0; i < work->m; i++) {
        uint16_t row[Q];
        ram_kern()->narrow_bf16(work->z + i * Q, Q, row);
        ram_kern()->widen_bf16(row, Q, work->z + i * Q);
    }
}

/*
 * Adds to x = G z what rounding the diagonal of G to bf16 took from it. The errors of the other
 * elements average out over a direction. Those of the diagonal do not if a direction is a
 * coordinate: without this correction the metric of a diagonal matrix was off by 8e-5, and that of
 * one with the tails of Student's t by 9e-5.
 */
static void restore_diagonal(const struct ram_spectrum_work *work)
{
    for (size_t i = 0; i < work->m; i++) {
        const float exact = work->g[i * work->m + i];
        uint16_t narrow;
        float rounded;

        ram_kern()->narrow_bf16(&exact, 1, &narrow);
        ram_kern()->widen_bf16(&narrow, 1, &rounded);
        ram_nn()->axpy(exact - rounded, work->z + i * Q, Q, work->x + i * Q);
    }
}

int ram_spectrum_multiply(const struct ram_spectrum_work *work, struct ram_factor f, bool with_m1,
                          struct ram_err *err)
{
    if (work->way == RAM_WAY_GRAM) {
        const struct ram_mat g = ram_floats(work->g, work->m);
        const bool rounded = f.z && f.mode == RAM_GEMM_BF16;
        if (rounded)
            round_columns(work);
        const int status = times(work, work->m, work->m, g, f, work->x, false, err);
        if (rounded)
            restore_diagonal(work);
        return status || !with_m1 ? status : cross_gram(work, err);
    }
    /* Errors in the iterations, and in T, only rotate the subspace, which changes the metric by
     * their square. The last product with A^T belongs to the quotient, where errors count fully. */
    struct ram_factor t = {.mode = work->in_place || !with_m1 ? RAM_GEMM_BF16 : RAM_GEMM_F32,
                           .z = work->t};
    f.mode = work->coarse ? RAM_GEMM_INT8 : t.mode;
    t.mode = with_m1 ? t.mode : f.mode;
    return work->wide ? multiply_wide(work, f, t, with_m1, err)
                      : multiply_tall(work, f, t, with_m1, err);
}

/* ---- 8 bits ---------------------------------------------------------------------------------- */

int ram_spectrum_measure(const struct ram_spectrum_work *work, double *lost, struct ram_err *err)
{
    const struct ram_view *view = &work->view;
    int status = RAM_OK;

    *lost = 0;
    for (size_t row = 0; row < view->rows && !status; row += work->step) {
        const size_t n = view->rows - row < work->step ? view->rows - row : work->step;
        struct ram_mat a;
        status = load(work, view, row, n, &a, err);
        if (!status)
            status = ram_coarse_measure(a, n, view->cols, work->largest + row, lost,
                                        work->job->pool, err);
        forget(work, view, row, n);
    }
    return status;
}
