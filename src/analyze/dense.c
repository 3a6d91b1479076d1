/*
 * dense.c - see dense.h.
 *
 * Whitening: Cholesky of the matrix scaled to a unit diagonal, in f64, then the inverse of the
 * factor; both in panels of eight rows, so that a vector loaded serves eight products.
 *
 * Eigenvalues: Householder tridiagonalisation in f32 (its backward error is a few units in the
 * last place of the norm, Golub and Van Loan, section 8.3), the update of one step and the
 * matrix-vector product of the next fused into one pass over the matrix; then bisection with
 * Sturm counts in f64, many eigenvalues side by side (section 8.4).
 */
#include "analyze/dense.h"

#include "base/cpu.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float hf __attribute__((vector_size(32), may_alias));
typedef float vf __attribute__((vector_size(64), may_alias));
typedef int32_t vi __attribute__((vector_size(64), may_alias));
typedef double vd __attribute__((vector_size(64), may_alias));
typedef int64_t vl __attribute__((vector_size(64), may_alias));

enum { F = 16, D = 8, PANEL = 8, LANES = 64 };

#define BODY static inline __attribute__((always_inline)) void

size_t ram_dense_stride(size_t n)
{
    return (n + F - 1) / F * F;
}

/* ---- Gram matrix -------------------------------------------------------------------------- */

/* s (upper triangle, by tiles) = x^T x; rows in order, so that each element is one f64 chain. */
BODY gram(const float *x, size_t rows, size_t n, double *s)
{
    for (size_t i = 0; i < n; i += PANEL) {
        for (size_t j = i; j < n; j += D) {
            vd sum[PANEL] = {{0}};
            for (size_t row = 0; row < rows; row++) {
                const float *a = x + row * n + i;
                const vd b = __builtin_convertvector(*(const hf *)(x + row * n + j), vd);
                for (size_t r = 0; r < PANEL; r++)
                    sum[r] += (double)a[r] * b;
            }
            for (size_t r = 0; r < PANEL; r++)
                *(vd *)(s + (i + r) * n + j) = sum[r];
        }
    }
}

/* ---- whitening ---------------------------------------------------------------------------- */

/* a = u^T u in place, u upper triangular; rows of dropped pivots become zero. What lies below the
 * diagonal means nothing afterwards. */
BODY cholesky(double *a, size_t n, double drop, double *smallest)
{
    *smallest = 1;
    for (size_t k0 = 0; k0 < n; k0 += PANEL) {
        for (size_t k = k0; k < k0 + PANEL; k++) {
            double *row = a + k * n;
            for (size_t p = k0; p < k; p++) {
                const double f = a[p * n + k];
                for (size_t j = k0; j < n; j += D)
                    *(vd *)(row + j) -= f * *(const vd *)(a + p * n + j);
            }
            const double pivot = row[k];
            const double scale = pivot > drop ? 1 / sqrt(pivot) : 0;
            *smallest = pivot < *smallest ? pivot : *smallest;
            for (size_t j = k0; j < n; j += D)
                *(vd *)(row + j) *= scale;
        }
        for (size_t i = k0 + PANEL; i < n; i++) {
            const double *u = a + k0 * n;
            for (size_t j = i / D * D; j < n; j += D) {
                vd sum = *(const vd *)(a + i * n + j);
                for (size_t p = 0; p < PANEL; p++)
                    sum -= u[p * n + i] * *(const vd *)(u + p * n + j);
                *(vd *)(a + i * n + j) = sum;
            }
        }
    }
}

/* v = u^-1, both upper triangular; a zero row of u gives a zero row and column of v. v is zero to
 * begin with. */
BODY invert(const double *u, size_t n, double *v)
{
    for (size_t i0 = n; i0;) {
        i0 -= PANEL;
        for (size_t j = i0; j < n; j += D) {
            vd sum[PANEL] = {{0}};
            for (size_t p = i0 + PANEL; p < j + D; p++) {
                const vd x = *(const vd *)(v + p * n + j);
                for (size_t r = 0; r < PANEL; r++)
                    sum[r] += u[(i0 + r) * n + p] * x;
            }
            for (size_t r = PANEL; r-- > 0;) {
                const size_t i = i0 + r;
                vd x = -sum[r];
                for (size_t s = r + 1; s < PANEL; s++)
                    x -= u[i * n + i0 + s] * *(const vd *)(v + (i0 + s) * n + j);
                if (i >= j && i < j + D)
                    x[i - j] += 1;
                const double pivot = u[i * n + i];
                *(vd *)(v + i * n + j) = x * (pivot > 0 ? 1 / pivot : 0);
            }
        }
    }
}

/* ---- tridiagonalisation ------------------------------------------------------------------- */

struct pair {
    _Alignas(64) float v[RAM_DENSE_MAX], w[RAM_DENSE_MAX];
};

#define FOLD(x)                                                                                    \
    do {                                                                                           \
        for (size_t half = F / 2; half; half /= 2)                                                 \
            for (size_t lane = 0; lane < half; lane++)                                             \
                x[lane] += x[lane + half];                                                         \
    } while (0)

/* Entries of a row of a matrix of norm one whose squares sum to less than this are zero. */
static const double nothing = 1e-30;

/* The reflector 1 - v v^T that clears x [k + 1, n) of row k up to its first entry, which becomes
 * *e. v is zero up to k, and all zero if x is. */
static inline __attribute__((always_inline)) void reflector(const float *row, size_t k, size_t n,
                                                            float *v, double *e)
{
    double sum = 0; /* n additions of a matrix of n^3 work: no need for lanes */

    for (size_t j = k + 1; j < n; j++)
        sum += (double)row[j] * (double)row[j];
    memset(v, 0, n * sizeof *v);
    *e = 0;
    if (!(sum > nothing))
        return;
    const double first = (double)row[k + 1], alpha = -copysign(sqrt(sum), first);
    const double scale = 1 / sqrt(sum - alpha * first);
    for (size_t j = k + 1; j < n; j++)
        v[j] = (float)(scale * (double)row[j]);
    v[k + 1] = (float)(scale * (first - alpha));
    *e = alpha;
}

/* row -= v_i w + w_i v, and its product with next, over columns [j0, stride). */
BODY update_row(float *row, size_t i, size_t j0, size_t stride, const struct pair *pair,
                const float *next, float *dot)
{
    const float vi_ = pair->v[i], wi_ = pair->w[i];
    vf sum = {0};

    for (size_t j = j0; j < stride; j += F) {
        const vf v = *(const vf *)(pair->v + j), w = *(const vf *)(pair->w + j);
        const vf x = *(const vf *)(row + j) - (vi_ * w + wi_ * v);
        *(vf *)(row + j) = x;
        sum += x * *(const vf *)(next + j);
    }
    FOLD(sum);
    *dot = sum[0];
}

/* d [n], e [n - 1]: diagonal and off-diagonal of a similar tridiagonal matrix. */
BODY tridiagonal(float *a, size_t n, double *d, double *e)
{
    const size_t stride = (n + F - 1) / F * F;
    struct pair pairs[2];
    _Alignas(64) float dots[RAM_DENSE_MAX];

    memset(pairs, 0, sizeof pairs);
    for (size_t k = 0; k < n; k++) {
        struct pair *old = &pairs[k % 2], *new = &pairs[(k + 1) % 2];
        float *row = a + k * stride, unused;
        const size_t j0 = (k + 1) / F * F;
        double product = 0;

        memset(new, 0, sizeof *new);
        update_row(row, k, k / F * F, stride, old, new->v, &unused);
        d[k] = (double)row[k];
        if (k + 1 == n)
            break;
        reflector(row, k, n, new->v, &e[k]);
        for (size_t i = k + 1; i < n; i++) {
            update_row(a + i * stride, i, j0, stride, old, new->v, &dots[i]);
            product += (double)dots[i] * (double)new->v[i];
        }
        const float shift = (float)(0.5 * product);
        for (size_t i = k + 1; i < n; i++)
            new->w[i] = dots[i] - shift *new->v[i];
    }
}

/* ---- bisection ---------------------------------------------------------------------------- */

/* Of LANES numbers x: how many eigenvalues lie above each (e2: squares of the off-diagonal). */
BODY count_above(const double *d, const double *e2, size_t n, const double *x, double *count)
{
    vd q[LANES / D];
    vl above[LANES / D];

    for (size_t i = 0; i < LANES / D; i++) {
        q[i] = d[0] - *(const vd *)(x + i * D);
        above[i] = q[i] > 0;
    }
    for (size_t k = 1; k < n; k++) {
        for (size_t i = 0; i < LANES / D; i++) {
            /* A zero was counted as not above: it becomes the smallest of negative numbers. */
            const vl zero = q[i] == 0;
            q[i] -= (vd)(zero & (vl)((vd){0} + 0x1p-500));
            q[i] = (d[k] - *(const vd *)(x + i * D)) - e2[k - 1] / q[i];
            above[i] += q[i] > 0;
        }
    }
    for (size_t i = 0; i < LANES / D; i++)
        for (size_t lane = 0; lane < D; lane++)
            count[i * D + lane] = (double)-above[i][lane];
}

/* ---- the instruction sets ------------------------------------------------------------------ */

#define VARIANT(suffix, attribute)                                                                 \
    attribute static void gram_##suffix(const float *x, size_t rows, size_t n, double *s)          \
    {                                                                                              \
        gram(x, rows, n, s);                                                                       \
    }                                                                                              \
    attribute static void whiten_##suffix(double *a, size_t n, double drop, double *v,             \
                                          double *least)                                           \
    {                                                                                              \
        cholesky(a, n, drop, least);                                                               \
        invert(a, n, v);                                                                           \
    }                                                                                              \
    attribute static void tridiagonal_##suffix(float *a, size_t n, double *d, double *e)           \
    {                                                                                              \
        tridiagonal(a, n, d, e);                                                                   \
    }                                                                                              \
    attribute static void count_##suffix(const double *d, const double *e2, size_t n,              \
                                         const double *x, double *count)                           \
    {                                                                                              \
        count_above(d, e2, n, x, count);                                                           \
    }

VARIANT(base, )
#if defined(__x86_64__)
VARIANT(avx2, __attribute__((target("avx2"))))
VARIANT(avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))))
#endif

struct variant {
    void (*gram)(const float *x, size_t rows, size_t n, double *s);
    void (*whiten)(double *a, size_t n, double drop, double *v, double *least);
    void (*tridiagonal)(float *a, size_t n, double *d, double *e);
    void (*count)(const double *d, const double *e2, size_t n, const double *x, double *count);
};

static struct variant variant(void)
{
#if defined(__x86_64__)
    if (ram_cpu()->avx512)
        return (struct variant){gram_avx512, whiten_avx512, tridiagonal_avx512, count_avx512};
    if (ram_cpu()->avx2)
        return (struct variant){gram_avx2, whiten_avx2, tridiagonal_avx2, count_avx2};
#endif
    return (struct variant){gram_base, whiten_base, tridiagonal_base, count_base};
}

/* ---- the two functions --------------------------------------------------------------------- */

void ram_dense_gram(const float *x, size_t rows, size_t n, double *s)
{
    variant().gram(x, rows, n, s);
}

double ram_dense_whiten(double *s, size_t n, double drop, float *w, double *scratch)
{
    double scale[RAM_DENSE_MAX], smallest;

    for (size_t i = 0; i < n; i++) {
        const double x = s[i * n + i];
        scale[i] = x > 0 && isfinite(x) ? 1 / sqrt(x) : 0;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++)
            s[i * n + j] *= scale[i] * scale[j];
    memset(scratch, 0, n * n * sizeof *scratch);
    variant().whiten(s, n, drop, scratch, &smallest);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            w[i * n + j] = (float)(scale[i] * scratch[i * n + j]);
    return smallest;
}

/* Eigenvalues number first .. first + m - 1 (0 is the largest), m <= LANES, all between lo and
 * hi, to about 2^-44 of the larger of the two. */
static void bisect(const struct variant *v, const double *d, const double *e2, size_t n,
                   const size_t *which, size_t m, double lo, double hi, double *out)
{
    _Alignas(64) double low[LANES], high[LANES], mid[LANES], count[LANES];

    for (size_t i = 0; i < LANES; i++) {
        low[i] = lo;
        high[i] = hi;
    }
    for (int step = 0; step < 46; step++) {
        for (size_t i = 0; i < LANES; i++)
            mid[i] = 0.5 * (low[i] + high[i]);
        v->count(d, e2, n, mid, count);
        for (size_t i = 0; i < m; i++) {
            if (count[i] > (double)which[i])
                low[i] = mid[i];
            else
                high[i] = mid[i];
        }
    }
    for (size_t i = 0; i < m; i++)
        out[i] = 0.5 * (low[i] + high[i]);
}

void ram_dense_eigen(float *a, size_t n, size_t k, struct ram_dense_spectrum *out)
{
    const struct variant v = variant();
    double d[RAM_DENSE_MAX] = {0}, e[RAM_DENSE_MAX] = {0}, found[LANES];
    size_t which[LANES];

    *out = (struct ram_dense_spectrum){0};
    const size_t stride = ram_dense_stride(n);
    for (size_t i = 0; i < n; i++)
        out->all += (double)a[i * stride + i];
    if (!(fabs(out->all) > 0) || !isfinite(out->all))
        return;
    /* To the order of one, so that no square under- or overflows. */
    int exponent;
    frexp(out->all, &exponent);
    const float scale = ldexpf(1, -exponent);
    for (size_t i = 0; i < n * stride; i++)
        a[i] *= scale;
    v.tridiagonal(a, n, d, e);

    double lo = d[0], hi = d[0];
    for (size_t i = 0; i < n; i++) {
        const double r = (i ? fabs(e[i - 1]) : 0) + (i + 1 < n ? fabs(e[i]) : 0);
        lo = fmin(lo, d[i] - r);
        hi = fmax(hi, d[i] + r);
    }
    for (size_t i = 0; i < n; i++)
        e[i] *= e[i];
    /* The smallest comes along as number n - 1. */
    for (size_t i = 0; i <= k; i += LANES) {
        size_t m = 0;
        for (; m < LANES && i + m <= k; m++)
            which[m] = i + m < k ? i + m : n - 1;
        bisect(&v, d, e, n, which, m, lo, hi, found);
        for (size_t j = 0; j < m && i + j < k; j++)
            out->top += found[j];
        if (i == 0)
            out->largest = found[0];
        out->smallest = found[m - 1];
    }
    out->top = ldexp(out->top, exponent);
    out->largest = ldexp(out->largest, exponent);
    out->smallest = ldexp(out->smallest, exponent);
}
