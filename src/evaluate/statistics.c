/* statistics.c - see statistics.h. */
#include "evaluate/statistics.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 10000 };

struct ram_mean ram_mean_of(const double *x, size_t n)
{
    struct ram_mean m = {NAN, NAN};
    double sum = 0, squares = 0;

    if (n == 0)
        return m;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    m.mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - m.mean) * (x[i] - m.mean);
    if (n > 1)
        m.stderr_mean = sqrt(squares / (double)(n - 1) / (double)n);
    return m;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void ram_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, ascending);
}

double ram_quantile(const double *sorted, size_t n, double p)
{
    const double at = p * (double)(n - 1);
    const size_t i = (size_t)at;
    const double rest = at - (double)i;

    return i + 1 < n ? sorted[i] + rest * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

double ram_trimmed_mean(const double *sorted, size_t n, double share)
{
    const size_t cut = (size_t)(share * (double)n);
    return ram_mean_of(sorted + cut, n - 2 * cut).mean;
}

int ram_bootstrap_pairs(const double *a, const double *b, size_t n, double weight, uint64_t seed,
                        struct ram_interval *difference, struct ram_interval *ratio,
                        struct ram_err *err)
{
    const struct ram_rng rng = ram_rng_for(seed, "bootstrap");
    double *values = ram_calloc(2 * (size_t)RESAMPLES, sizeof *values, err);

    if (!values)
        return RAM_ENOMEM;
    for (size_t r = 0; r < RESAMPLES; r++) {
        double sum_a = 0, sum_b = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t k = (size_t)(ram_rng_uniform(rng, r * n + i) * (double)n);
            sum_a += a[k];
            sum_b += b[k];
        }
        values[r] = (sum_a - sum_b) / ((double)n * weight);
        values[RESAMPLES + r] = sum_a / sum_b;
    }
    struct ram_interval *out[2] = {difference, ratio};
    for (size_t k = 0; k < 2; k++) {
        double *v = values + k * RESAMPLES;
        ram_sort(v, RESAMPLES);
        *out[k] = (struct ram_interval){ram_quantile(v, RESAMPLES, 0.025),
                                        ram_quantile(v, RESAMPLES, 0.975)};
    }
    free(values);
    return RAM_OK;
}

double ram_mcnemar(uint64_t n01, uint64_t n10)
{
    const uint64_t n = n01 + n10, least = n01 < n10 ? n01 : n10;
    double p = 0;

    /* Twice the lower tail of a binomial distribution with p = 1/2. */
    for (uint64_t k = 0; k <= least; k++)
        p += exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) -
                 (double)n * 0.69314718055994530942);
    return fmin(1, 2 * p);
}
