/*
 * dense.c - see dense.h; the loops are in dense_lanes.inc.
 *
 * Whitening: Cholesky of the matrix scaled to a unit diagonal, in f64, then the inverse of the
 * factor; both in panels of eight rows, so that a vector loaded serves eight products.
 *
 * Eigenvalues: Householder tridiagonalisation in f32 (its backward error is a few units in the
 * last place of the norm, Golub and Van Loan, section 8.3), the update of one step and the
 * matrix-vector product of the next fused into one pass over the matrix; then bisection with
 * Sturm counts in f64, many eigenvalues side by side (section 8.4).
 */
#include "kern/dense_table.h"

#include "base/cpu.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Bisections: an eigenvalue is known to about 2^-STEPS of the norm, far better than an f32 sum. */
enum { STEPS = 36 };

static const struct ram_dense_table *table(void)
{
#if defined(__x86_64__)
    if (ram_cpu()->avx512)
        return &ram_dense_avx512;
    if (ram_cpu()->avx2)
        return &ram_dense_avx2;
#endif
    return &ram_dense_base;
}

/* Vectors are loaded and stored whole. */
static bool is_aligned(const void *p)
{
    return (uintptr_t)p % 64 == 0;
}

size_t ram_dense_stride(size_t n)
{
    return (n + 15) / 16 * 16;
}

void ram_dense_gram(const float *x, size_t rows, size_t n, double *s)
{
    assert(n % 8 == 0 && is_aligned(x) && is_aligned(s));
    table()->gram(x, rows, n, s);
}

void ram_dense_widen(const float *s, size_t n, double *out)
{
    table()->widen(s, n, out);
}

double ram_dense_whiten(double *s, size_t n, double drop, float *w, double *scratch)
{
    _Alignas(64) double scale[RAM_DENSE_MAX];

    assert(n % 8 == 0 && n <= RAM_DENSE_MAX);
    assert(is_aligned(s) && is_aligned(w) && is_aligned(scratch));
    for (size_t i = 0; i < n; i++) {
        const double x = s[i * n + i];
        scale[i] = x > 0 && isfinite(x) ? 1 / sqrt(x) : 0;
    }
    table()->balance(s, n, scale);
    const double smallest = table()->cholesky(s, n, drop);
    memset(scratch, 0, n * n * sizeof *scratch);
    table()->invert(s, n, scratch);
    table()->narrow(scratch, n, scale, w);
    return smallest;
}

/* Eigenvalues number first .. first + m - 1 (0 is the largest), m <= RAM_DENSE_SHIFTS, all between
 * lo and hi, to about 2^-STEPS of the larger of the two. */
static void bisect(const double *d, const double *e2, size_t n, const size_t *which, size_t m,
                   double lo, double hi, double *out)
{
    _Alignas(64) double low[RAM_DENSE_SHIFTS], high[RAM_DENSE_SHIFTS], mid[RAM_DENSE_SHIFTS],
        count[RAM_DENSE_SHIFTS];

    for (size_t i = 0; i < RAM_DENSE_SHIFTS; i++) {
        low[i] = lo;
        high[i] = hi;
    }
    for (int step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < RAM_DENSE_SHIFTS; i++)
            mid[i] = 0.5 * (low[i] + high[i]);
        table()->count_above(d, e2, n, mid, count);
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
    double d[RAM_DENSE_MAX] = {0}, e[RAM_DENSE_MAX] = {0}, found[RAM_DENSE_SHIFTS];
    size_t which[RAM_DENSE_SHIFTS];

    assert(1 <= k && k <= n && n <= RAM_DENSE_MAX && is_aligned(a));
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
    table()->tridiagonal(a, n, d, e);

    double lo = d[0], hi = d[0];
    for (size_t i = 0; i < n; i++) {
        const double r = (i ? fabs(e[i - 1]) : 0) + (i + 1 < n ? fabs(e[i]) : 0);
        lo = fmin(lo, d[i] - r);
        hi = fmax(hi, d[i] + r);
    }
    for (size_t i = 0; i < n; i++)
        e[i] *= e[i];
    /* The smallest comes along as number n - 1. */
    for (size_t i = 0; i <= k; i += RAM_DENSE_SHIFTS) {
        size_t m = 0;
        for (; m < RAM_DENSE_SHIFTS && i + m <= k; m++)
            which[m] = i + m < k ? i + m : n - 1;
        bisect(d, e, n, which, m, lo, hi, found);
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
