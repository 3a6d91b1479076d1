/*
 * spectrum.c - see spectrum.h.
 *
 * Let A be the matrix, transposed if necessary so that it is tall (n x m, n >= m), as in torch,
 * G = A^T A, and R a random m x 256 matrix, which in torch is Gaussian. torch orthonormalises A R,
 * then A^T times that, and so on. An orthonormalisation changes a basis but not its span, so that
 * torch's Q spans A G^2 R, and the squares of its singular values are the eigenvalues of
 * Q^T A A^T Q. For any basis X of G^2 R, with T = A X, these are the eigenvalues of the pencil
 *
 *     M2 = T^T A A^T T = (A^T T)^T (A^T T)    over    M1 = T^T T
 *
 * Only X, m x 256, is ever orthonormalised, through its 256 x 256 Gram matrix (CholeskyQR), and all
 * other large operations are matrix products. The result depends on R only through its span. R need
 * therefore not be Gaussian: with a sparse matrix of signs (kern/sketch.h) the metric has the same
 * distribution, and the first product becomes 12 additions per element. There are three ways:
 *
 *     all     min(m, n) <= 512: the eigenvalues of G itself
 *     gram    m is small compared with n: G is computed once and replaces A^T A
 *     direct  a sketch and five tall products, with A read in place
 *
 * Weights in bf16 are multiplied where they lie, with f32 sums. X and T are rounded to bf16 on the
 * way, which tilts the span by 2^-9 in a random direction. M1 and M2 are computed from the rounded
 * T, so that the quotient is that of a true subspace, and a tilt changes it only by its square.
 * Where no direction stands out, 8 bits are enough for the tall products before the last
 * (kern/coarse.h). docs/metrics.md has the measurements for all of this.
 */
#include "analyze/spectrum.h"

#include "analyze/spectrum_product.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/coarse.h"
#include "kern/dense.h"
#include "kern/sketch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { Q = RAM_SPECTRUM_RANK, HALF = Q / 2 };

/* If the norm of a typical column is outside of 2^-15 .. 2^15, the weights are multiplied by a
 * power of two first, so that their fourth powers, which M2 consists of, stay well inside the range
 * of a float. Otherwise they can be read in place. */
enum { PLAIN_EXPONENT = 15 };

/* The sums of a Gram matrix in f32 are right to about 1e-5, so that a pivot from 1e-3 on is right
 * to a percent. If one is smaller, the matrix is computed again with f64 sums. Those are of columns
 * in f32, whose relative error of 6e-8 makes pivots below about its square, LEAST_PIVOT,
 * meaningless. */
#define CLEAR_PIVOT 1e-3
#define LEAST_PIVOT 1e-14

/* The pivot of a column is the share of its square that lies outside the span of the columns before
 * it. If none is below this bound, bf16 is good enough for the basis of G R or G^2 R and for
 * products with G: on the matrices of docs/metrics.md the metric then agrees with a computation in
 * f32 to 4e-6. */
#define EASY_PIVOT 1e-2

/* The spread of the columns of G R in length from which they have to be orthonormalised before the
 * next product (is_level). */
#define LEVEL 0.1

/* 8 bits are used only if the columns of G R differ in length by less than COARSE_LEVEL, if
 * rounding A is expected to lose less than COARSE_LOSS of its energy, and if no retained direction
 * has less energy than the mean of all. Rounding adds about the same energy to all directions, so
 * that it would show in a direction that is weaker. Under these conditions the metric moved by
 * 2.4e-6 at most on 16 matrices, and by 7e-5 from one seed to the next (docs/metrics.md). */
#define COARSE_LEVEL 0.03
#define COARSE_LOSS  2e-4

/* If all but 1e-4 of a column's square lies in the span of the others, what the column adds to the
 * span is mostly its own rounding to bf16, whose square is 2^-18 / 3. Such a column is left out. */
#define NEW_PIVOT 1e-4

/* Directions with less than this share of the largest direction's energy are left out. G consists
 * of f32 sums and is wrong by some 6e-7 of that energy, and a quotient of two such errors can have
 * any value: with 1e-7 instead, a matrix of rank 30 was off by 6e-4 with one seed of twelve. All
 * 255 directions together would change the metric by less than 3e-4; for matrices of rank 10 under
 * noise the change was 1.4e-5. */
#define LEAST_ENERGY 1e-6

/* ---- bases --------------------------------------------------------------------------------- */

/* m2 = x^T x. */
static int columns_gram(const struct ram_spectrum_work *work, enum ram_gemm_mode mode,
                        struct ram_err *err)
{
    return ram_gram(mode, Q, work->m, ram_transposed(ram_floats(work->x, Q)), work->m2, Q, false,
                    work->job->pool, err);
}

/* w with w^T s w = 1, for s in f32. Returns the smallest pivot (ram_dense_whiten). */
static double whiten(const struct ram_spectrum_work *work, const float *s, double drop)
{
    ram_dense_widen(s, Q, work->scratch);
    return ram_dense_whiten(work->scratch, Q, drop, work->w, work->scratch + (size_t)Q * Q);
}

/* The same for s = x^T x, x [m, Q], summed in f64. */
static double whiten_columns(const struct ram_spectrum_work *work, const float *x)
{
    ram_dense_gram(x, work->m, Q, work->scratch);
    return ram_dense_whiten(work->scratch, Q, LEAST_PIVOT, work->w, work->scratch + (size_t)Q * Q);
}

/* to = from w, [rows, Q]. w is upper triangular, so that the lower left quarter of it is 0 and is
 * left out of the products. */
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

/* If the columns of x are far enough from dependent (*easy), z becomes a basis of their span that
 * is orthonormal except for its rounding to bf16. */
static int condition(const struct ram_spectrum_work *work, bool *easy, struct ram_err *err)
{
    const enum ram_gemm_mode mode = RAM_GEMM_BF16;
    const int status = columns_gram(work, mode, err);

    *easy = !status && whiten(work, work->m2, LEAST_PIVOT) >= EASY_PIVOT;
    return *easy ? recombine(work, mode, work->m, ram_floats(work->x, Q), work->z, err) : status;
}

/* z becomes an orthonormal basis whatever the columns of x are; x is overwritten. If they are
 * ill-conditioned, one round of CholeskyQR leaves a basis that is far from orthonormal, so there
 * are two with f64 sums (CholeskyQR2, Yamamoto et al., 2015). Without them, one singular value of
 * 75,000 times the others hid these, and the metric was off by 2e-3. */
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

/* The eigenvalues of m2 = x^T x over m1, from x = A^T T and m1. Both are in f32: rounding x to bf16
 * averages out over a direction with many coordinates, but where directions are coordinates, as in
 * a diagonal matrix, rounding showed by up to 8e-5 of the metric. */
static int quotient(const struct ram_spectrum_work *work, struct ram_dense_spectrum *out,
                    struct ram_err *err)
{
    int status = columns_gram(work, RAM_GEMM_F32, err);

    if (status)
        return status;
    leave_out_weak(work->m1);
    whiten(work, work->m1, NEW_PIVOT);
    /* m1 is not needed any more and takes m2 w; then m2 takes w^T m2 w = (m2 w)^T w. */
    status = recombine(work, RAM_GEMM_F32, Q, ram_floats(work->m2, Q), work->m1, err);
    if (!status)
        status = recombine(work, RAM_GEMM_F32, Q, ram_transposed(ram_floats(work->m1, Q)), work->m2,
                           err);
    if (!status)
        ram_dense_eigen(work->m2, Q, Q / 10, out);
    return status;
}

/*
 * Whether the columns of x = G R can be multiplied with G once more, in bf16, without being
 * orthonormalised first. If one direction dominates, all columns become nearly parallel to it, and
 * rounding hides the others. The squared length of a column is a sum of lambda_i^2 r_i^2 over the
 * directions i, with random r_i. Its variance over the square of its mean is about
 * 2 sum(lambda^4) / sum(lambda^2)^2, which is 2 divided by the effective number of directions. So
 * the spread of the lengths, which costs m x 256 operations, tells how flat the spectrum is: a
 * limit of 0.1 stands for 20 directions, and 0.03 for 67.
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

/* z = x, scaled so that its elements are of the order of one. */
static void carry_on(const struct ram_spectrum_work *work)
{
    for (size_t i = 0; i < work->m * Q; i++)
        work->z[i] = work->x[i] * work->unit;
}

/*
 * From x = A^T A f to z, another basis of the span of x. After the first power, x itself serves if
 * it is level. Otherwise z is orthonormal, which is first tried in bf16. If bf16 is not enough for
 * the basis, it was not enough for the product with G either: f->mode becomes f32, and the last
 * product is repeated in it, which is possible because its z is still there.
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

/* The mean of all m eigenvalues of A^T A. */
static double mean_energy(const struct ram_spectrum_work *work)
{
    return work->job->rms * work->job->rms * (double)work->n;
}

/* x = G R, in 8 bits if the first two conditions of COARSE_LOSS hold; the third is known only at
 * the end (randomised). */
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

/* ---- choice of a way, memory --------------------------------------------------------------- */

static enum ram_spectrum_way way_of(size_t n, size_t m)
{
    if (m <= RAM_SPECTRUM_EXACT)
        return RAM_WAY_ALL;
    /* Multiplications, divided by m: n m / 2 for G, which is symmetric, and 2 m Q for two products
     * with it; or 5 n Q for five tall products. G is computed where that saves at least a tenth. */
    const double gram = 0.5 * (double)n * (double)m + 2.0 * (double)m * Q;
    return gram < 0.9 * 5.0 * (double)n * Q ? RAM_WAY_GRAM : RAM_WAY_DIRECT;
}

static void *carve(char *base, size_t *used, size_t n, size_t size)
{
    char *p = base ? base + *used : NULL;
    *used += (n * size + 63) / 64 * 64;
    return p;
}

/* Sets shape, way and buffers, the latter from base if that is not NULL, and returns the bytes that
 * they take. */
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

size_t ram_spectrum_workspace(const struct ram_view *view)
{
    struct ram_spectrum_work work;
    const size_t copied = plan(&work, view, false, NULL);

    if (view->tensor->dtype != RAM_BF16)
        return copied;
    /* bf16 weights of an unusual magnitude are copied, too, in order to scale them. */
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
    plan(&work, &job->view, plain && job->view.tensor->dtype == RAM_BF16, job->workspace);
    if (plain)
        work.unit = ldexpf(1, -2 * exponent);
    else
        work.scale = ldexp(1, -exponent);
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
    const double energy = found.all / (work.scale * work.scale);
    if (energy >= 1e-12)
        *out = fmin(found.top / found.all, 1);
    return RAM_OK;
}
