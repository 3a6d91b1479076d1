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

#include "kern/dense.h"
#include "analyze/spectrum_product.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/coarse.h"
#include "kern/sketch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { Q = RAM_SPECTRUM_RANK, HALF = Q / 2 };

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

/* ---- bases --------------------------------------------------------------------------------- */

/* m2 = x^T x. */
static int columns_gram(const struct ram_spectrum_work *work, enum ram_gemm_mode mode,
                        struct ram_err *err)
{
    return ram_gram(mode, Q, work->m, ram_transposed(ram_floats(work->x, Q)), work->m2, Q, false,
                    work->job->pool, err);
}

/* w with w^T s w = 1, s of f32 sums (ram_dense_whiten). */
static double whiten(const struct ram_spectrum_work *work, const float *s, double drop)
{
    ram_dense_widen(s, Q, work->scratch);
    return ram_dense_whiten(work->scratch, Q, drop, work->w, work->scratch + (size_t)Q * Q);
}

/* The same for s = x^T x, x [m, Q], in f64 sums. */
static double whiten_columns(const struct ram_spectrum_work *work, const float *x)
{
    ram_dense_gram(x, work->m, Q, work->scratch);
    return ram_dense_whiten(work->scratch, Q, LEAST_PIVOT, work->w, work->scratch + (size_t)Q * Q);
}

/* to = from w, [rows, Q]; w is upper triangular, so its left half has only its upper half. */
static int recombine(const struct ram_spectrum_work *work, enum ram_gemm_mode mode, size_t rows,
                     struct ram_mat from, float *to, struct ram_err *err)
{
    struct ram_pool *pool = work->job->pool;
    const int status =
        ram_gemm(mode, rows, HALF, HALF, from, ram_floats(work->w, Q), to, Q, false, pool, err);
    return status ? status
                  : ram_gemm(mode, rows, HALF, Q, from, ram_floats(work->w + HALF, Q), to + HALF, Q,
                             false, pool, err);
}

/* x becomes z, a basis of its columns that is orthonormal but for its rounding to bf16, if they
 * are clear enough for that; *easy says so. */
static int condition(const struct ram_spectrum_work *work, bool *easy, struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_BF16;
    const int status = columns_gram(work, mode, err);

    *easy = !status && whiten(work, work->m2, LEAST_PIVOT) >= EASY_PIVOT;
    return *easy ? recombine(work, mode, work->m, ram_floats(work->x, Q), work->z, err) : status;
}

/* The same for all columns; x is lost. Ill-conditioned ones take two rounds in f64 (CholeskyQR2,
 * Yamamoto et al., 2015). */
static int orthonormalise(const struct ram_spectrum_work *work, struct ram_err *err)
{
    int status = columns_gram(work, RAM_GEMM_F32, err);

    if (status)
        return status;
    if (whiten(work, work->m2, LEAST_PIVOT) >= CLEAR_PIVOT)
        return recombine(work, RAM_GEMM_F32, work->m, ram_floats(work->x, Q), work->z, err);
    whiten_columns(work, work->x);
    status = recombine(work, RAM_GEMM_F32, work->m, ram_floats(work->x, Q), work->z, err);
    if (status)
        return status;
    whiten_columns(work, work->z);
    status = recombine(work, RAM_GEMM_F32, work->m, ram_floats(work->z, Q), work->x, err);
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
static int quotient(const struct ram_spectrum_work *work, struct ram_dense_spectrum *out,
                    struct ram_err *err)
{
    int status = columns_gram(work, RAM_GEMM_F32, err);

    if (status)
        return status;
    leave_out_weak(work->m1);
    whiten(work, work->m1, NEW_PIVOT);
    /* m1 and m2 have done their work: they take m2 w and w^T m2 w = (w^T m2) w. */
    status = recombine(work, RAM_GEMM_F32, Q, ram_floats(work->m2, Q), work->m1, err);
    if (!status)
        status = recombine(work, RAM_GEMM_F32, Q, ram_transposed(ram_floats(work->m1, Q)), work->m2,
                           err);
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
static bool is_level(const struct ram_spectrum_work *work, double limit)
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
static void carry_on(const struct ram_spectrum_work *work)
{
    for (size_t i = 0; i < work->m * Q; i++)
        work->z[i] = work->x[i] * work->unit;
}

/*
 * From x = A^T A f to z, another basis of the span of x. As it is, but for its scale, if it is the
 * first and will do; else orthonormal, which is tried in bf16. Where that is too coarse, so is a
 * product with G in bf16: the last one is done again (its z is still there) and f->mode raised.
 */
static int next_basis(const struct ram_spectrum_work *work, struct ram_factor *f,
                      struct ram_err *err)
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
        if (f->z && work->way == RAM_WAY_GRAM)
            status = ram_spectrum_multiply(work, *f, false, err);
        if (status)
            return status;
    }
    return orthonormalise(work, err);
}

static double mean_energy(const struct ram_spectrum_work *work)
{
    return work->job->rms * work->job->rms * (double)work->n;
}

/* x = G R; in 8 bits if that will do. */
static int first_power(struct ram_spectrum_work *work, struct ram_factor f, struct ram_err *err)
{
    double lost = 0;
    int status = work->coarse ? ram_spectrum_measure(work, &lost, err) : RAM_OK;

    work->coarse = work->coarse && lost < COARSE_LOSS * mean_energy(work) * (double)work->m;
    if (!status)
        status = ram_spectrum_multiply(work, f, false, err);
    if (status || !work->coarse || is_level(work, COARSE_LEVEL))
        return status;
    work->coarse = false;
    return ram_spectrum_multiply(work, f, false, err);
}

static int randomised(struct ram_spectrum_work *work, struct ram_dense_spectrum *out,
                      struct ram_err *err)
{
    struct ram_factor f = {.mode = RAM_GEMM_BF16, .places = work->places};

    ram_sketch_draw(ram_rng_for(work->job->seed, work->job->name), work->m, work->places);
    int status = first_power(work, f, err);
    for (int power = 1; power <= RAM_SPECTRUM_POWERS && !status; power++) {
        status = next_basis(work, &f, err);
        f.z = work->z;
        if (!status)
            status = ram_spectrum_multiply(work, f, power == RAM_SPECTRUM_POWERS, err);
    }
    if (!status)
        status = quotient(work, out, err);
    if (status || !work->coarse || out->smallest >= mean_energy(work))
        return status;
    work->coarse = false;
    return randomised(work, out, err);
}

/* ---- choice, room -------------------------------------------------------------------------- */

static enum ram_spectrum_way way_of(size_t n, size_t m)
{
    if (m <= RAM_SPECTRUM_EXACT)
        return RAM_WAY_ALL;
    /* Products: n m^2 / 2 for G and two of m x m x Q, or five tall ones, which pack more. */
    const double gram = 0.5 * (double)n * (double)m + 2.0 * (double)m * Q;
    return gram < 0.9 * 5.0 * (double)n * Q ? RAM_WAY_GRAM : RAM_WAY_DIRECT;
}

static void *carve(char *base, size_t *used, size_t n, size_t size)
{
    char *p = base ? base + *used : NULL;
    *used += (n * size + 63) / 64 * 64;
    return p;
}

/* Shape, way and buffers; returns the bytes that they take. */
static size_t plan(struct ram_spectrum_work *work, const struct ram_view *view, bool in_place,
                   char *base)
{
    size_t used = 0;

    work->view = *view;
    work->wide = view->rows < view->cols;
    work->n = work->wide ? view->cols : view->rows;
    work->m = work->wide ? view->rows : view->cols;
    work->way = way_of(work->n, work->m);
    work->in_place = in_place;
    work->scale = work->unit = 1;
    work->step = ram_spectrum_step(view, work->way, in_place);
    if (!in_place)
        work->block = carve(base, &used, work->step * view->cols, sizeof *work->block);
    if (work->way == RAM_WAY_ALL) {
        work->g = carve(base, &used, work->m * ram_dense_stride(work->m), sizeof *work->g);
        return used;
    }
    if (work->way == RAM_WAY_GRAM)
        work->g = carve(base, &used, work->m * work->m, sizeof *work->g);
    else
        work->t = carve(base, &used, (work->wide ? work->n : work->step) * Q, sizeof *work->t);
    work->coarse =
        work->way == RAM_WAY_DIRECT && in_place && view->col_stride == 1 && ram_coarse_pays();
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
    struct ram_spectrum_work work;
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
    const enum ram_spectrum_way way = way_of(n, view->rows + view->cols - n);

    return ram_spectrum_step(view, way, bf16) * view->cols * size;
}

int ram_spectrum(const struct ram_spectrum_job *job, double *out, struct ram_err *err)
{
    struct ram_spectrum_work work = {.job = job};
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
    if (work.way == RAM_WAY_ALL) {
        const size_t stride = ram_dense_stride(work.m), k = work.m / 10;
        memset(work.g, 0, work.m * stride * sizeof *work.g);
        status = ram_spectrum_gram(&work, stride, err);
        if (!status)
            ram_dense_eigen(work.g, work.m, k ? k : 1, &found);
    } else {
        status = work.way == RAM_WAY_GRAM ? ram_spectrum_gram(&work, work.m, err) : RAM_OK;
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
