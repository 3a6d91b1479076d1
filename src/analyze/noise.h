/*
 * noise.h - the `output` metric as it was published: by sampling.
 *
 * d = ||E X||_F / ||W X||_F for unit columns X and E uniform in +-range / 32. The expectation has
 * a closed form (moment.h), which is the default; this form is for checking that the two agree.
 * E is made block by block without its range, which scales the result at the end.
 */
#ifndef RAM_ANALYZE_NOISE_H
#define RAM_ANALYZE_NOISE_H

#include "base/err.h"

struct ram_noise {
    uint64_t seed;
    const char *name; /* with the seed, names the random numbers */
    size_t cols, n;   /* x is [cols, n], n <= cols */
    const float *x;
};

/* Random unit columns for noise->x. */
void ram_noise_columns(const struct ram_noise *noise, float *x);

/* Floats of working memory that a block of rows needs. */
size_t ram_noise_workspace(const struct ram_noise *noise, size_t rows);

/* sums[0] = ||U X||^2 for U uniform in [-1, 1), sums[1] = ||W X||^2, over w [rows, cols], which
 * are the rows from first_row on of the whole matrix. */
int ram_noise_block(const struct ram_noise *noise, const float *w, size_t first_row, size_t rows,
                    float *workspace, double sums[2], struct ram_err *err);

/* d from the sums over a whole matrix; range = max - min. 0 for W X = 0. */
double ram_noise_output(const double sums[2], double range);

#endif
