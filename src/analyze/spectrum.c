/*
 * spectrum.c - see spectrum.h.
 *
 * Let A be the matrix turned so that it is tall (n x m, n >= m), as torch turns it, G = A^T A, and
 * R an m x 256 Gaussian matrix. torch orthonormalises A R, then A^T of that, and so on; since an
 * orthonormalisation changes a basis but not its span, its Q spans A G^2 R, and its singular
 * values squared are the eigenvalues of Q^T A A^T Q. With X a basis of G^2 R and T = A X these are
 * the eigenvalues of the pencil
 *
 *     M2 = T^T A A^T T = (A^T T)^T (A^T T)    over    M1 = T^T T
 *
 * so that only the short side (m x 256) is ever orthonormalised, through its 256 x 256 Gram matrix
 * (CholeskyQR), and everything large is a matrix product. Three ways to get there:
 *
 *     all     min <= 512: eigenvalues of G itself
 *     gram    m small against n: G is computed once and stands for A^T A
 *     direct  six tall products, A read in place
 *
 * Weights that bf16 holds exactly are multiplied where they lie, in bf16 with f32 sums. X and T are
 * rounded to bf16 on the way, which moves the span by 2^-9 of a random direction; M1 and M2 belong
 * to the rounded T, so the quotient itself is that of a true subspace (docs/metrics.md, figures).
 */
#include "analyze/spectrum.h"

#include "analyze/dense.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/gemm.h"
#include "kern/kern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    Q = RAM_SPECTRUM_RANK,
    HALF = Q / 2,
    TABLE = 1 << 15,
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

/* If no column of G^2 R comes closer to the span of the others than this, bf16 is good enough for
 * all products with G, and one orthonormalisation for both powers: the metric then differs by less
 * than 1e-5 from what the careful way makes of the same R (docs/metrics.md). */
#define EASY_PIVOT 1e-2

/* A column of T whose square lies to 1 - 1e-4 in the span of the others adds nothing to that span
 * but its own rounding to bf16 (2^-18 / 3). */
#define NEW_PIVOT 1e-4

/* A direction with less than this of the largest direction's energy is left out: G, of f32 sums,
 * does not know its energy. All 255 together would change the metric by less than 3e-5. */
#define LEAST_ENERGY 1e-7

enum way { WAY_ALL, WAY_GRAM, WAY_DIRECT };

struct work {
    const struct ram_spectrum_job *job;
    struct ram_view view;
    bool wide;   /* rows < cols: A is the transpose of the view */
    size_t n, m; /* of A */
    enum way way;
    bool in_place;      /* bf16, multiplied where it lies */
    float scale;        /* of copied weights: a power of two */
    float unit;         /* about the inverse of an eigenvalue of A^T A: a power of two */
    size_t step;        /* rows of the view to a block */
    float *block;       /* [step, cols] unless in place */
    float *g;           /* [m, stride] */
    float *x, *z;       /* [m, Q] */
    float *t;           /* [n, Q] if wide, else [step, Q] */
    float *m1, *m2, *w; /* [Q, Q] */
    double *scratch;    /* 2 Q^2 */
};

/* ---- the test matrix ----------------------------------------------------------------------- */

/* x with P(N > x) = p, 0 < p < 1/2. The tail is convex, so Newton's method climbs from 0. */
static double quantile(double p)
{
    double x = 0;

    for (int i = 0; i < 100; i++) {
        const double tail = 0.5 * erfc(x * M_SQRT1_2);
        const double density = exp(-0.5 * x * x) / sqrt(2 * M_PI);
        const double move = (tail - p) / density;
        x += move;
        if (fabs(move) < 1e-12)
            break;
    }
    return x;
}

/*
 * The positive half of the normal distribution in 2^15 equal parts, each by its median, in bf16:
 * the test matrix is rounded to bf16 anyway, and a table makes it fifty times faster than
 * logarithms and cosines do (0.2 of 3.5 ns a weight of a 768 x 2048 matrix).
 */
uint16_t *ram_spectrum_table(struct ram_err *err)
{
    uint16_t *table = ram_calloc(TABLE, sizeof *table, err);

    for (size_t i = 0; table && i < TABLE; i++) {
        const float x = (float)quantile(0.5 * ((double)i + 0.5) / TABLE);
        ram_kern()->narrow_bf16(&x, 1, &table[i]);
    }
    return table;
}

/* The test matrix [m, Q], where z is needed later: each 64-bit draw gives four values of 15 bits
 * and a sign. */
static struct ram_mat draw(const struct work *work)
{
    const struct ram_rng rng = ram_rng_for(work->job->seed, work->job->name);
    const uint16_t *table = work->job->table;
    uint16_t *r = (uint16_t *)(void *)work->z;

    for (size_t i = 0; i < work->m * Q; i += 4) {
        uint64_t bits = ram_rng_u64(rng, i / 4);
        for (size_t j = 0; j < 4; j++, bits >>= 16)
            r[i + j] = (uint16_t)(table[bits & (TABLE - 1)] | (bits & TABLE));
    }
    return (struct ram_mat){r, RAM_ELEM_BF16, Q, 1};
}

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

static struct ram_mat rows_from(struct ram_mat a, size_t row)
{
    const size_t size = a.elem == RAM_ELEM_F32 ? sizeof(float) : sizeof(uint16_t);

    a.data = (const char *)a.data + row * a.row_stride * size;
    return a;
}

static struct ram_mat floats(const float *data, size_t stride)
{
    return (struct ram_mat){data, RAM_ELEM_F32, stride, 1};
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

static int multiply_tall(const struct work *work, enum ram_gemm_mode mode, struct ram_mat z,
                         bool with_m1, struct ram_err *err)
{
    const struct ram_view *view = &work->view;
    struct ram_pool *pool = work->job->pool;
    const struct ram_mat t = floats(work->t, Q);
    int status = RAM_OK;

    for (size_t row = 0; row < view->rows && !status; row += work->step) {
        const size_t n = view->rows - row < work->step ? view->rows - row : work->step;
        struct ram_mat a;
        status = load(work, view, row, n, &a, err);
        if (!status)
            status = ram_gemm(mode, n, Q, work->m, a, z, work->t, Q, false, pool, err);
        if (!status && with_m1)
            status = add_m1(work, mode, n, row > 0, err);
        if (!status)
            status =
                ram_gemm(mode, work->m, Q, n, transposed(a), t, work->x, Q, row > 0, pool, err);
        forget(work, view, row, n);
    }
    return status;
}

static int multiply_wide(const struct work *work, enum ram_gemm_mode mode, struct ram_mat z,
                         bool with_m1, struct ram_err *err)
{
    const struct ram_view *view = &work->view;
    struct ram_pool *pool = work->job->pool;
    int status = RAM_OK;

    for (int pass = 0; pass < 2 && !status; pass++) {
        for (size_t row = 0; row < view->rows && !status; row += work->step) {
            const size_t n = view->rows - row < work->step ? view->rows - row : work->step;
            struct ram_mat a;
            status = load(work, view, row, n, &a, err);
            if (!status && pass == 0)
                status = ram_gemm(mode, work->n, Q, n, transposed(a), rows_from(z, row), work->t, Q,
                                  row > 0, pool, err);
            else if (!status)
                status = ram_gemm(mode, n, Q, work->n, a, floats(work->t, Q), work->x + row * Q, Q,
                                  false, pool, err);
            forget(work, view, row, n);
        }
        if (!status && pass == 0 && with_m1)
            status = add_m1(work, mode, work->n, false, err);
    }
    return status;
}

/* m1 = z^T x, the upper triangle: what lies in its lower left quarter means nothing. */
static int cross_gram(const struct work *work, enum ram_gemm_mode mode, struct ram_mat z,
                      struct ram_err *err)
{
    struct ram_pool *pool = work->job->pool;
    struct ram_mat left = transposed(z), right = floats(work->x, Q);

    int status = ram_gemm(mode, HALF, Q, work->m, left, right, work->m1, Q, false, pool, err);
    left = rows_from(left, HALF);
    right.data = work->x + HALF;
    return status ? status
                  : ram_gemm(mode, HALF, HALF, work->m, left, right, work->m1 + HALF * Q + HALF, Q,
                             false, pool, err);
}

/* x = A^T A z; with_m1 as well m1 = (A z)^T (A z) = z^T x. mode: of the products with G. */
static int multiply(const struct work *work, enum ram_gemm_mode mode, struct ram_mat z,
                    bool with_m1, struct ram_err *err)
{
    if (work->way == WAY_GRAM) {
        const int status = ram_gemm(mode, work->m, Q, work->m, floats(work->g, work->m), z, work->x,
                                    Q, false, work->job->pool, err);
        return status || !with_m1 ? status : cross_gram(work, mode, z, err);
    }
    /* The iterations only turn the subspace; in the last product every digit counts. */
    mode = work->in_place || !with_m1 ? RAM_GEMM_BF16 : RAM_GEMM_F32;
    return work->wide ? multiply_wide(work, mode, z, with_m1, err)
                      : multiply_tall(work, mode, z, with_m1, err);
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

/* x becomes z, an orthonormal basis of its columns; x is lost. Ill-conditioned columns take two
 * rounds in f64 (CholeskyQR2, Yamamoto et al., 2015). */
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

/* Eigenvalues of m2 = x^T x over m1, from x = A^T T and m1. */
static int quotient(const struct work *work, enum ram_gemm_mode mode,
                    struct ram_dense_spectrum *out, struct ram_err *err)
{
    int status = columns_gram(work, mode, err);

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

/* z = x, back to the order of one. */
static void carry_on(const struct work *work)
{
    for (size_t i = 0; i < work->m * Q; i++)
        work->z[i] = work->x[i] * work->unit;
}

/* With G, in bf16, if that is good enough; *done says so. */
static int easily(const struct work *work, struct ram_dense_spectrum *out, bool *done,
                  struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_BF16;
    const struct ram_mat z = floats(work->z, Q);

    *done = false;
    int status = multiply(work, mode, draw(work), false, err);
    for (int power = 1; power < RAM_SPECTRUM_POWERS && !status; power++) {
        carry_on(work);
        status = multiply(work, mode, z, false, err);
    }
    if (!status)
        status = columns_gram(work, mode, err);
    if (status || whiten(work, work->m2, LEAST_PIVOT) < EASY_PIVOT)
        return status;
    *done = true;
    status = recombine(work, mode, work->m, floats(work->x, Q), work->z, err);
    if (!status)
        status = multiply(work, mode, z, true, err);
    return status ? status : quotient(work, mode, out, err);
}

static int randomised(const struct work *work, struct ram_dense_spectrum *out, struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_F32;
    bool done = false;

    int status = work->way == WAY_GRAM ? easily(work, out, &done, err) : RAM_OK;
    if (status || done)
        return status;
    status = multiply(work, mode, draw(work), false, err);
    for (int power = 1; power <= RAM_SPECTRUM_POWERS && !status; power++) {
        status = orthonormalise(work, err);
        if (!status)
            status = multiply(work, mode, floats(work->z, Q), power == RAM_SPECTRUM_POWERS, err);
    }
    return status ? status : quotient(work, mode, out, err);
}

/* ---- choice, room -------------------------------------------------------------------------- */

static enum way way_of(size_t n, size_t m)
{
    if (m <= RAM_SPECTRUM_EXACT)
        return WAY_ALL;
    /* Products: n m^2 / 2 for G and three of m x m x Q in f32 (twice the price), or six tall. */
    const double gram = 0.5 * (double)n * (double)m + 6.0 * (double)m * Q;
    return gram < 0.9 * 6.0 * (double)n * Q ? WAY_GRAM : WAY_DIRECT;
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
