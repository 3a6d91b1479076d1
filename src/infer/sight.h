/* sight.h - what a backward pass shows of a matrix. */
#ifndef RAM_INFER_SIGHT_H
#define RAM_INFER_SIGHT_H

#include "infer/linear.h"

/* Some rows of what flowed through a matrix. */
struct ram_sight {
    const struct ram_linear *linear; /* NULL: the embedding, whose output is dy */
    const float *x;                  /* [n, linear->in]; NULL for the embedding */
    const float *dy;                 /* [n, linear->out], with dy_stride floats a row */
    size_t dy_stride, n;
    size_t first;            /* row i is row first + i of all, ... */
    const uint32_t *members; /* ... or first + members[i], if not NULL (experts) */
};

#endif
