/*
 * spectrum.c - see spectrum.h.
 *
 * Let A be the matrix turned so that it is tall (n x m, n >= m), as torch turns it, G = A^T A, and
 * R a random m x 256 matrix, in torch Gaussian. torch orthonormalises A R, then A^T of that, and so
 * on; since an orthonormalisation changes a basis but not its span, its Q spans A G^2 R, and its
 * singular values squared are the eigenvalues of Q^T A A^T Q. With X a basis of G^2 R and T = A X
 * these are the eigenvalues of the pencil
 *
 *     M2 = T^T A A^T T = (A^T T)^T (A^T T)    over    M1 = T^T T
 *
 * so that only the short side (m x 256) is ever orthonormalised, through its 256 x 256 Gram matrix
 * (CholeskyQR), and everything large is a matrix product. Since nothing of R but its span is seen,
 * R need not be Gaussian: a sparse matrix of signs (kern/sketch.h) has the same distribution of the
 * metric, and costs no product. Three ways to get there:
 *
 *     all     min <= 512: eigenvalues of G itself
 *     gram    m small against n: G is computed once and stands for A^T A
 *     direct  a sketch and five tall products, A read in place
 *
 * Weights that bf16 holds exactly are multiplied where they lie, in bf16 with f32 sums. X and T are
 * rounded to bf16 on the way, which moves the span by 2^-9 of a random direction; M1 and M2 belong
 * to the rounded T, so the quotient itself is that of a true subspace (docs/metrics.md, figures).
 * Where the spectrum is flat enough, the tall products before the last need not be better than 8
 * bits (kern/coarse.h).
 */
#include "analyze/spectrum.h"

#include "analyze/dense.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/coarse.h"
#include "kern/nn.h"
#include "kern/sketch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    Q = RAM_SPECTRUM_RANK,
    HALF = Q / 2,
    IN_PLACE_BLOCK = 1 << 24, /* weights of a row block that is multiplied where it lies ... */
    WIDE_BLOCK = 1 << 27,     /* ... of a wide matrix whose blocks each pack all of T again */
    COPIED_BLOCK = 1 << 22    /* weights of a row block that is widened to f32 first */
};

/* Outside of 2^-15 .. 2^15 for the norm of a typical column, weights are scaled (by a power of two)
 * before they are multiplied, so that fourth powers stay well inside the range of a float. */
enum { PLAIN_EXPONENT = 15 };

/* Pivots of a Gram matrix of f32 sums are right to a percent from here on (the sums themselves to
 * about 1e-5); below, it is computed again with f64 sums, whose pivots mean something down to the
 * square of what a float holds. */
#define CLEAR_PIVOT 1e-3
#define LEAST_PIVOT 1e-14

/* If no column of G R, or of G^2 R, comes closer to the span of the others than this, bf16 is good
 * enough for its basis and for products with G (docs/metrics.md, figures). */
#define EASY_PIVOT 1e-2

/* From here on the columns of G R differ too much in length to be a basis as they are (is_level).
 */
#define LEVEL 0.1

/* 8 bits will do if the columns of G R are still closer in length, if what rounding A loses is less
 * than this of its energy, and if no retained direction has less energy than the mean of all, in
 * which the rest of what was lost would show (docs/metrics.md, figures). */
#define COARSE_LEVEL 0.03
#define COARSE_LOSS  2e-4

/* A column of T whose square lies to 1 - 1e-4 in the span of the others adds nothing to that span
 * but its own rounding to bf16 (2^-18 / 3). */
#define NEW_PIVOT 1e-4

/* A direction with less than this of the largest direction's energy is left out: G, of f32 sums, is
 * wrong by some 6e-7 of that, and a quotient of two such errors can be anything. All 255 together
 * would change the metric by less than 3e-4; of matrices of rank 10 with noise it was 1.4e-5. */
#define LEAST_ENERGY 1e-6

enum way { WAY_ALL, WAY_GRAM, WAY_DIRECT };

struct work {
    const struct ram_spectrum_job *job;
    struct ram_view view;
    bool wide;   /* rows < cols: A is the transpose of the view */
    size_t n, m; /* of A */
    enum way way;
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

/* ---- weights ------------------------------------------------------------------------------- */

static size_t step_of(const struct ram_view *view, enum way way, bool in_place)
{
    size_t weights = COPIED_BLOCK;

    if (in_place)
        weights = way == WAY_DIRECT && view->rows < view->cols ? WIDE_BLOCK : IN_PLACE_BLOCK;
    size_t step = weights / view->cols;
    step = step >= 256 ? step / 256 * 256 : step >= 16 ? step / 16 * 16 : 16;
    return step > view->rows ? view->rows : step;
}

/* Rows [row, row + n) and all columns, or (n = all rows) a window of columns. */
static int load(const struct work *work, const struct ram_view *view, size_t row, size_t n,
                struct ram_mat *out, struct ram_err *err)
{
    if (work->in_place) {
        const size_t first = view->first + row * view->row_stride;
        *out = (struct ram_mat){view->tensor->data + 2 * first, RAM_ELEM_BF16, view->row_stride,
                                view->col_stride};
        return RAM_OK;
    }
    const int status = ram_view_read(view, row, n, work->block, err);
    for (size_t i = 0; work->scale != 1 && i < n * view->cols; i++)
        work->block[i] *= work->scale;
    *out = (struct ram_mat){work->block, RAM_ELEM_F32, view->cols, 1};
    return status;
}

static void forget(const struct work *work, const struct ram_view *view, size_t row, size_t n)
{
    if (work->job->frugal)
        ram_view_forget(work->job->ckpt, view, row, n);
}

static struct ram_mat transposed(struct ram_mat a)
{
    return (struct ram_mat){a.data, a.elem, a.col_stride, a.row_stride};
}

static struct ram_mat floats(const float *data, size_t stride)
{
    return (struct ram_mat){data, RAM_ELEM_F32, stride, 1};
}

/* Columns that multiply A or G: z [., Q], or if that is NULL the test matrix. */
struct factor {
    enum ram_gemm_mode mode;
    const float *z;
    const uint16_t *places;
    size_t row; /* of the view that A begins with */
};

static struct factor rows_from(struct factor f, size_t row)
{
    if (f.z)
        f.z += row * Q;
    else
        f.places += row * RAM_SKETCH_PLACES;
    return f;
}

/* to [n, Q] = a [n, k] times f, or +=. */
static int times(const struct work *work, size_t n, size_t k, struct ram_mat a, struct factor f,
                 float *to, bool add, struct ram_err *err)
{
    struct ram_pool *pool = work->job->pool;

    if (!f.z)
        return ram_sketch(n, k, a, f.places, to, add, pool, err);
    if (f.mode == RAM_GEMM_INT8)
        return ram_coarse(n, k, (struct ram_coarse_weights){a, work->largest + f.row}, f.z, to, add,
                          work->product, pool, err);
    return ram_gemm(f.mode, n, Q, k, a, floats(f.z, Q), to, Q, add, pool, err);
}

/* g = A^T A, both triangles. */
static int gram(const struct work *work, size_t stride, struct ram_err *err)
{
    const struct ram_spectrum_job *job = work->job;
    const enum ram_gemm_mode mode = work->in_place ? RAM_GEMM_BF16 : RAM_GEMM_F32;
    const size_t length = work->wide ? work->view.cols : work->view.rows;
    /* What a block holds of the long side: rows of a tall view, columns of a wide one. */
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
            status = ram_gram(mode, work->m, n, work->wide ? a : transposed(a), work->g, stride,
                              i > 0, job->pool, err);
        forget(work, &view, 0, view.rows);
    }
    return status;
}

/* ---- A^T A on 256 columns ------------------------------------------------------------------ */

/* m1 += T^T T for n rows of T. */
static int add_m1(const struct work *work, enum ram_gemm_mode mode, size_t n, bool add,
                  struct ram_err *err)
{
    return ram_gram(mode, Q, n, transposed(floats(work->t, Q)), work->m1, Q, add, work->job->pool,
                    err);
}

static int multiply_tall(const struct work *work, struct factor f, struct factor t, bool with_m1,
                         struct ram_err *err)
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
            status = times(work, work->m, n, transposed(a), t, work->x, row > 0, err);
        forget(work, view, row, n);
    }
    return status;
}

static int multiply_wide(const struct work *work, struct factor f, struct factor t, bool with_m1,
                         struct ram_err *err)
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
                status = times(work, work->n, n, transposed(a), rows_from(f, row), work->t, row > 0,
                               err);
            else if (!status)
                status = times(work, n, work->n, a, t, work->x + row * Q, false, err);
            forget(work, view, row, n);
        }
        if (!status && pass == 0 && with_m1)
            status = add_m1(work, t.mode, work->n, false, err);
    }
    return status;
}

/* m1 = z^T x, the upper triangle: what lies in its lower left quarter means nothing. */
static int cross_gram(const struct work *work, struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_F32;
    struct ram_pool *pool = work->job->pool;
    struct ram_mat left = transposed(floats(work->z, Q)), right = floats(work->x, Q);

    int status = ram_gemm(mode, HALF, Q, work->m, left, right, work->m1, Q, false, pool, err);
    left.data = work->z + HALF;
    right.data = work->x + HALF;
    return status ? status
                  : ram_gemm(mode, HALF, HALF, work->m, left, right, work->m1 + HALF * Q + HALF, Q,
                             false, pool, err);
}

/* z as a product in bf16 sees it, so that m1 = z^T x is of the same z. */
static void round_columns(const struct work *work)
{
    for (size_t i = 0; i < work->m; i++) {
        uint16_t row[Q];
        ram_kern()->narrow_bf16(work->z + i * Q, Q, row);
        ram_kern()->widen_bf16(row, Q, work->z + i * Q);
    }
}

/*
 * x = G z has lost what the diagonal of G lost when it was rounded to bf16. Elsewhere such losses
 * average out over a direction, but a direction may be a coordinate.
 */
static void restore_diagonal(const struct work *work)
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

/* x = A^T A z; with_m1 as well m1 = (A z)^T (A z) = z^T x. f.mode: of products with G. */
static int multiply(const struct work *work, struct factor f, bool with_m1, struct ram_err *err)
{
    if (work->way == WAY_GRAM) {
        const struct ram_mat g = floats(work->g, work->m);
        const bool rounded = f.z && f.mode == RAM_GEMM_BF16;
        if (rounded)
            round_columns(work);
        const int status = times(work, work->m, work->m, g, f, work->x, false, err);
        if (rounded)
            restore_diagonal(work);
        return status || !with_m1 ? status : cross_gram(work, err);
    }
    /* The iterations only turn the subspace, and so does T; in the last product with A^T every
     * digit counts. */
    struct factor t = {.mode = work->in_place || !with_m1 ? RAM_GEMM_BF16 : RAM_GEMM_F32,
                       .z = work->t};
    f.mode = work->coarse ? RAM_GEMM_INT8 : t.mode;
    t.mode = with_m1 ? t.mode : f.mode;
    return work->wide ? multiply_wide(work, f, t, with_m1, err)
                      : multiply_tall(work, f, t, with_m1, err);
}

/* ---- bases --------------------------------------------------------------------------------- */

/* m2 = x^T x. */
static int columns_gram(const struct work *work, enum ram_gemm_mode mode, struct ram_err *err)
{
    return ram_gram(mode, Q, work->m, transposed(floats(work->x, Q)), work->m2, Q, false,
                    work->job->pool, err);
}

/* w with w^T s w = 1, s of f32 sums (ram_dense_whiten). */
static double whiten(const struct work *work, const float *s, double drop)
{
    ram_dense_widen(s, Q, work->scratch);
    return ram_dense_whiten(work->scratch, Q, drop, work->w, work->scratch + (size_t)Q * Q);
}

/* The same for s = x^T x, x [m, Q], in f64 sums. */
static double whiten_columns(const struct work *work, const float *x)
{
    ram_dense_gram(x, work->m, Q, work->scratch);
    return ram_dense_whiten(work->scratch, Q, LEAST_PIVOT, work->w, work->scratch + (size_t)Q * Q);
}

/* to = from w, [rows, Q]; w is upper triangular, so its left half has only its upper half. */
static int recombine(const struct work *work, enum ram_gemm_mode mode, size_t rows,
                     struct ram_mat from, float *to, struct ram_err *err)
{
    struct ram_pool *pool = work->job->pool;
    const int status =
        ram_gemm(mode, rows, HALF, HALF, from, floats(work->w, Q), to, Q, false, pool, err);
    return status ? status
                  : ram_gemm(mode, rows, HALF, Q, from, floats(work->w + HALF, Q), to + HALF, Q,
                             false, pool, err);
}

/* x becomes z, a basis of its columns that is orthonormal but for its rounding to bf16, if they
 * are clear enough for that; *easy says so. */
static int condition(const struct work *work, bool *easy, struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_BF16;
    const int status = columns_gram(work, mode, err);

    *easy = !status && whiten(work, work->m2, LEAST_PIVOT) >= EASY_PIVOT;
    return *easy ? recombine(work, mode, work->m, floats(work->x, Q), work->z, err) : status;
}

/* The same for all columns; x is lost. Ill-conditioned ones take two rounds in f64 (CholeskyQR2,
 * Yamamoto et al., 2015). */
static int orthonormalise(const struct work *work, struct ram_err *err)
{
    int status = columns_gram(work, RAM_GEMM_F32, err);

    if (status)
        return status;
    if (whiten(work, work->m2, LEAST_PIVOT) >= CLEAR_PIVOT)
        return recombine(work, RAM_GEMM_F32, work->m, floats(work->x, Q), work->z, err);
    whiten_columns(work, work->x);
    status = recombine(work, RAM_GEMM_F32, work->m, floats(work->x, Q), work->z, err);
    if (status)
        return status;
    whiten_columns(work, work->z);
    status = recombine(work, RAM_GEMM_F32, work->m, floats(work->z, Q), work->x, err);
    memcpy(work->z, work->x, work->m * Q * sizeof *work->z);
    return status;
}

static void leave_out_weak(float *m1)
{
    float largest = 0;

    for (size_t i = 0; i < Q; i++)
        largest = fmaxf(largest, m1[i * Q + i]);
    for (size_t i = 0; i < Q; i++)
        if (!(m1[i * Q + i] > (float)LEAST_ENERGY * largest))
            m1[i * Q + i] = 0;
}

/* Eigenvalues of m2 = x^T x over m1, from x = A^T T and m1. Where directions are coordinates, what
 * x would lose in bf16 does not average out. */
static int quotient(const struct work *work, struct ram_dense_spectrum *out, struct ram_err *err)
{
    int status = columns_gram(work, RAM_GEMM_F32, err);

    if (status)
        return status;
    leave_out_weak(work->m1);
    whiten(work, work->m1, NEW_PIVOT);
    /* m1 and m2 have done their work: they take m2 w and w^T m2 w = (w^T m2) w. */
    status = recombine(work, RAM_GEMM_F32, Q, floats(work->m2, Q), work->m1, err);
    if (!status)
        status = recombine(work, RAM_GEMM_F32, Q, transposed(floats(work->m1, Q)), work->m2, err);
    if (!status)
        ram_dense_eigen(work->m2, Q, Q / 10, out);
    return status;
}

/*
 * Whether no direction stands out so far that another product with G, in bf16 and without anything
 * orthonormalised before, would drown the others. Each column of x = G R is as long as the root of
 * a sum of lambda_i^2 r_i^2 with r_i random; the variance of its square, over the square of its
 * mean, is about 2 sum(lambda^4) / sum(lambda^2)^2, which is 2 over the number of directions that
 * count.
 */
static bool is_level(const struct work *work, double limit)
{
    float lengths[Q] = {0};
    double sum = 0, squares = 0;

    for (size_t i = 0; i < work->m; i++)
        for (size_t j = 0; j < Q; j++)
            lengths[j] += work->x[i * Q + j] * work->x[i * Q + j];
    for (size_t j = 0; j < Q; j++) {
        sum += (double)lengths[j];
        squares += (double)lengths[j] * (double)lengths[j];
    }
    return squares * Q < (1 + limit) * sum * sum;
}

/* z = x, of the order of one. */
static void carry_on(const struct work *work)
{
    for (size_t i = 0; i < work->m * Q; i++)
        work->z[i] = work->x[i] * work->unit;
}

/*
 * From x = A^T A f to z, another basis of the span of x. As it is, but for its scale, if it is the
 * first and will do; else orthonormal, which is tried in bf16. Where that is too coarse, so is a
 * product with G in bf16: the last one is done again (its z is still there) and f->mode raised.
 */
static int next_basis(const struct work *work, struct factor *f, struct ram_err *err)
{
    bool easy = false;

    if (!f->z && is_level(work, LEVEL)) {
        carry_on(work);
        return RAM_OK;
    }
    if (f->mode == RAM_GEMM_BF16) {
        int status = condition(work, &easy, err);
        if (status || easy)
            return status;
        f->mode = RAM_GEMM_F32;
        if (f->z && work->way == WAY_GRAM)
            status = multiply(work, *f, false, err);
        if (status)
            return status;
    }
    return orthonormalise(work, err);
}

static double mean_energy(const struct work *work)
{
    return work->job->rms * work->job->rms * (double)work->n;
}

/* Whether 8 bits lose little enough of A. */
static int measure_rows(struct work *work, struct ram_err *err)
{
    const struct ram_view *view = &work->view;
    double lost = 0;
    int status = RAM_OK;

    for (size_t row = 0; row < view->rows && !status; row += work->step) {
        const size_t n = view->rows - row < work->step ? view->rows - row : work->step;
        struct ram_mat a;
        status = load(work, view, row, n, &a, err);
        if (!status)
            status = ram_coarse_measure(a, n, view->cols, work->largest + row, &lost,
                                        work->job->pool, err);
        forget(work, view, row, n);
    }
    work->coarse = lost < COARSE_LOSS * mean_energy(work) * (double)work->m;
    return status;
}

/* x = G R; in 8 bits if that will do. */
static int first_power(struct work *work, struct factor f, struct ram_err *err)
{
    int status = work->coarse ? measure_rows(work, err) : RAM_OK;

    if (!status)
        status = multiply(work, f, false, err);
    if (status || !work->coarse || is_level(work, COARSE_LEVEL))
        return status;
    work->coarse = false;
    return multiply(work, f, false, err);
}

static int randomised(struct work *work, struct ram_dense_spectrum *out, struct ram_err *err)
{
    struct factor f = {.mode = RAM_GEMM_BF16, .places = work->places};

    ram_sketch_draw(ram_rng_for(work->job->seed, work->job->name), work->m, work->places);
    int status = first_power(work, f, err);
    for (int power = 1; power <= RAM_SPECTRUM_POWERS && !status; power++) {
        status = next_basis(work, &f, err);
        f.z = work->z;
        if (!status)
            status = multiply(work, f, power == RAM_SPECTRUM_POWERS, err);
    }
    if (!status)
        status = quotient(work, out, err);
    if (status || !work->coarse || out->smallest >= mean_energy(work))
        return status;
    work->coarse = false;
    return randomised(work, out, err);
}

/* ---- choice, room -------------------------------------------------------------------------- */

static enum way way_of(size_t n, size_t m)
{
    if (m <= RAM_SPECTRUM_EXACT)
        return WAY_ALL;
    /* Products: n m^2 / 2 for G and two of m x m x Q, or five tall ones, which pack more. */
    const double gram = 0.5 * (double)n * (double)m + 2.0 * (double)m * Q;
    return gram < 0.9 * 5.0 * (double)n * Q ? WAY_GRAM : WAY_DIRECT;
}

static void *carve(char *base, size_t *used, size_t n, size_t size)
{
    char *p = base ? base + *used : NULL;
    *used += (n * size + 63) / 64 * 64;
    return p;
}

/* Shape, way and buffers; returns the bytes that they take. */
static size_t plan(struct work *work, const struct ram_view *view, bool in_place, char *base)
{
    size_t used = 0;

    work->view = *view;
    work->wide = view->rows < view->cols;
    work->n = work->wide ? view->cols : view->rows;
    work->m = work->wide ? view->rows : view->cols;
    work->way = way_of(work->n, work->m);
    work->in_place = in_place;
    work->scale = work->unit = 1;
    work->step = step_of(view, work->way, in_place);
    if (!in_place)
        work->block = carve(base, &used, work->step * view->cols, sizeof *work->block);
    if (work->way == WAY_ALL) {
        work->g = carve(base, &used, work->m * ram_dense_stride(work->m), sizeof *work->g);
        return used;
    }
    if (work->way == WAY_GRAM)
        work->g = carve(base, &used, work->m * work->m, sizeof *work->g);
    else
        work->t = carve(base, &used, (work->wide ? work->n : work->step) * Q, sizeof *work->t);
    work->coarse = work->way == WAY_DIRECT && in_place && ram_coarse_pays();
    if (work->coarse) {
        const size_t rows = work->wide ? work->n : work->step > work->m ? work->step : work->m;
        work->product = carve(base, &used, rows * Q, sizeof *work->product);
        work->largest = carve(base, &used, view->rows, sizeof *work->largest);
    }
    work->places = carve(base, &used, work->m * RAM_SKETCH_PLACES, sizeof *work->places);
    work->x = carve(base, &used, work->m * Q, sizeof *work->x);
    work->z = carve(base, &used, work->m * Q, sizeof *work->z);
    work->m1 = carve(base, &used, (size_t)Q * Q, sizeof *work->m1);
    work->m2 = carve(base, &used, (size_t)Q * Q, sizeof *work->m2);
    work->w = carve(base, &used, (size_t)Q * Q, sizeof *work->w);
    work->scratch = carve(base, &used, 2 * (size_t)Q * Q, sizeof *work->scratch);
    return used;
}

size_t ram_spectrum_room(const struct ram_view *view)
{
    struct work work;
    const size_t copied = plan(&work, view, false, NULL);

    if (view->tensor->dtype != RAM_BF16)
        return copied;
    /* Weights of an odd size are copied although they are bf16. */
    const size_t in_place = plan(&work, view, true, NULL);
    return copied > in_place ? copied : in_place;
}

size_t ram_spectrum_block(const struct ram_view *view)
{
    const bool bf16 = view->tensor->dtype == RAM_BF16;
    const size_t size = (size_t)ram_dtypes[view->tensor->dtype].bits / 8;

    const size_t n = view->rows > view->cols ? view->rows : view->cols;
    const enum way way = way_of(n, view->rows + view->cols - n);

    return step_of(view, way, bf16) * view->cols * size;
}

int ram_spectrum(const struct ram_spectrum_job *job, double *out, struct ram_err *err)
{
    struct work work = {.job = job};
    struct ram_dense_spectrum found;
    int exponent, status;

    *out = 0;
    const size_t length = job->view.rows > job->view.cols ? job->view.rows : job->view.cols;
    if (!(job->rms > 0) || job->view.rows == 0 || job->view.cols == 0)
        return RAM_OK;
    frexp(job->rms * sqrt((double)length), &exponent);
    const bool plain = abs(exponent) <= PLAIN_EXPONENT;
    plan(&work, &job->view, plain && job->view.tensor->dtype == RAM_BF16, job->room);
    if (plain)
        work.unit = ldexpf(1, -2 * exponent);
    else
        work.scale = ldexpf(1, -exponent);
    if (work.way == WAY_ALL) {
        const size_t stride = ram_dense_stride(work.m), k = work.m / 10;
        memset(work.g, 0, work.m * stride * sizeof *work.g);
        status = gram(&work, stride, err);
        if (!status)
            ram_dense_eigen(work.g, work.m, k ? k : 1, &found);
    } else {
        status = work.way == WAY_GRAM ? gram(&work, work.m, err) : RAM_OK;
        if (!status)
            status = randomised(&work, &found, err);
    }
    if (status)
        return status;
    if (!isfinite(found.top) || !isfinite(found.all))
        return ram_fail(err, RAM_ERANGE, "tensor '%s': the spectrum of weights of rms %g overflows",
                        job->name, job->rms);
    const double energy = found.all / ((double)work.scale * (double)work.scale);
    if (energy >= 1e-12)
        *out = fmin(found.top / found.all, 1);
    return RAM_OK;
}
