/*
 * moment.h - population moments of a matrix that is read in row blocks.
 *
 * Each block is summarised alone and the summaries are merged in index order, so that blocks may
 * be computed by any thread: the result depends on where the matrix is cut, and not on which
 * thread computed a block. Places to cut at must depend on the matrix only.
 *
 * Moments are kept about the mean, which is sound however far the mean lies from zero (Pebay,
 * "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
 * statistical moments", Sandia report SAND2008-6212).
 */
#ifndef RAM_ANALYZE_MOMENT_H
#define RAM_ANALYZE_MOMENT_H

#include "record/manifest.h"

/* A zeroed struct is the summary of no weights. */
struct ram_moments {
    uint64_t n; /* weights */
    double mean;
    double m2, m3, m4; /* sums of (w - mean)^2, ^3, ^4 */
    float min, max;
    /* NaN and infinities: how many, and the index of the first (counted from the first weight of
     * the first block merged). If there are any, the figures above mean nothing. */
    uint64_t n_bad, first_bad;
};

/* Summary of w [n]: rows of a matrix, one after the other. */
void ram_moments_block(const float *w, size_t n, struct ram_moments *out);

/* Appends what follows: *into becomes the summary of both. */
void ram_moments_merge(struct ram_moments *into, const struct ram_moments *next);

/* Mean, population standard deviation, root mean square, smallest, largest; zeros for nothing. */
void ram_moments_stats(const struct ram_moments *m, struct ram_stats *out);

/* Excess kurtosis mean(((w - mean) / std)^4) - 3 of the population; 0 if all weights are equal.
 * The raw figure: the rule that a tiny variance scores 0 belongs to the score. */
double ram_moments_kurtosis(const struct ram_moments *m);

/* The `output` metric in closed form, (max - min) / (16 sqrt(12) rms); 0 if rms is 0. */
double ram_moments_output(const struct ram_moments *m);

#endif
