/*
 * affine_search.h - MLX affine quantisation with scales and biases that are searched for.
 *
 * The output is the format of affine.h and does not show how it was made. For every group, the
 * squared error (weighted, if importance is given) is at most that of MLX's own encoding;
 * kern/search_grid.h describes what is tried. It takes 25 to 70 times as long as ram_affine_encode:
 * 10, 16 and 26 ns per weight with groups of 64 on one core of Zen 4.
 */
#ifndef RAM_CODEC_AFFINE_SEARCH_H
#define RAM_CODEC_AFFINE_SEARCH_H

#include "codec/affine.h"

struct ram_search {
    unsigned effort; /* 1 fast, 2, 3 thorough; 0: 2 */
    /* [cols] the weights of squared errors in each column, >= 0 and finite: the diagonal of a
     * Hessian, for instance. NULL: 1 everywhere. */
    const float *importance;
};

/* As ram_affine_encode, with a search. The sum that it returns is of the unweighted squares. */
double ram_search_encode(const struct ram_affine *f, const struct ram_search *how, const float *w,
                         size_t n, size_t cols, uint8_t *codes, uint8_t *scales, uint8_t *biases);

#endif
