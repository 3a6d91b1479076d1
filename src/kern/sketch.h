/*
 * sketch.h - the product with a sparse random matrix of signs, which replaces a Gaussian matrix
 * where only the span of the product matters (docs/metrics.md compares the two).
 *
 * A row of S [k, 256] has a random sign at 12 random places; a place that is drawn twice counts
 * twice. A product costs 12 additions for each element of A instead of 256 multiplications. For a
 * diagonal matrix, the hardest case, the metric is too large by 5e-4 with 4 places, by 7e-5 with 8,
 * and by nothing that can be seen with 12. Sparse sign matrices are described by Martinsson and
 * Tropp, "Randomized numerical linear algebra" (2020), section 9.2, with 8 independent signs in
 * each row. One sign for all places of a row is as good: it only makes the sum of all columns,
 * which is one direction of the span, longer than the others.
 *
 * Every element of a product is one chain of f32 additions over k in increasing order, so it has
 * the same bits on every processor and for any number of threads.
 */
#ifndef RAM_KERN_SKETCH_H
#define RAM_KERN_SKETCH_H

#include "base/rng.h"
#include "kern/gemm.h"
#include "kern/kern.h"

enum { RAM_SKETCH_COLS = 256, RAM_SKETCH_PLACES = RAM_KERN_PLACES };

/* The first k rows of the matrix that belongs to rng: their places [k, RAM_SKETCH_PLACES], as
 * ram_kern's `scatter` takes them. */
void ram_sketch_draw(struct ram_rng rng, size_t k, uint16_t *places);

/* C [n, 256] = A [n, k] S, or +=. The only failure is RAM_ENOMEM. */
int ram_sketch(size_t n, size_t k, struct ram_mat a, const uint16_t *places, float *c,
               bool accumulate, struct ram_pool *pool, struct ram_err *err);

#endif
