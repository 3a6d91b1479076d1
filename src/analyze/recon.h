/*
 * recon.h - the `error` metric: how well 4-bit round-to-nearest reproduces a matrix.
 *
 * Groups of 128 weights along a row (the last one may be short, nothing is padded), each on 16
 * levels between its minimum and maximum: x = w - min, step = max((max - min) / 15, 1e-12),
 * code = rint(x / step) in f32, error = step * code - x rounded once. The metric is the root mean
 * square of the errors over that of w (docs/metrics.md).
 */
#ifndef RAM_ANALYZE_RECON_H
#define RAM_ANALYZE_RECON_H

#include "analyze/moment.h"

/*
 * Sum of squared errors over w [rows, cols]: f32 sums of blocks of 1024 columns (kern.h) are added
 * in f64 to the sum of their row, and rows in order. Sums of row blocks are to be added in index
 * order. Weights are finite.
 */
double ram_recon_block(const float *w, size_t rows, size_t cols);

/* The metric from the sum over a whole matrix and the moments of the same; 0 if rms is 0. */
double ram_recon_nrmse(double sum, const struct ram_moments *m);

#endif
