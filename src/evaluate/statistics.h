/*
 * statistics.h - the few statistics that a score reports. Sums run in index order; resampling uses
 * base/rng.h, so a figure depends on the data and the seed alone.
 */
#ifndef RAM_EVALUATE_STATISTICS_H
#define RAM_EVALUATE_STATISTICS_H

#include "base/err.h"

struct ram_mean {
    double mean, stderr_mean; /* sample standard deviation (n - 1) / sqrt(n); NAN for n < 2 */
};

struct ram_mean ram_mean_of(const double *x, size_t n);

/* Sorts x. Quantile p in [0, 1] of sorted values, linear interpolation (numpy's default); n >= 1.
 */
void ram_sort(double *x, size_t n);
double ram_quantile(const double *sorted, size_t n, double p);

/* Mean of sorted values without the floor(share * n) smallest and as many largest. */
double ram_trimmed_mean(const double *sorted, size_t n, double share);

struct ram_interval {
    double low, high; /* 95 % */
};

/*
 * Bootstrap over n units (windows): unit i has sums a[i] and b[i]. Intervals of
 * (sum a - sum b) / (n * weight) and of sum a / sum b, percentile method, 10,000 resamples.
 * weight: tokens of a unit.
 */
int ram_bootstrap_pairs(const double *a, const double *b, size_t n, double weight, uint64_t seed,
                        struct ram_interval *difference, struct ram_interval *ratio,
                        struct ram_err *err);

/* McNemar's exact test, two-sided: of n01 + n10 discordant pairs, how likely is a split at least
 * this uneven if both are equally good? */
double ram_mcnemar(uint64_t n01, uint64_t n10);

#endif
