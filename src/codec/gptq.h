/*
 * gptq.h - MLX affine quantisation that minimises the error of a layer's output, not of its
 * weights: for a matrix W whose inputs x have the second moments H = sum x x^T, the trace of
 * E H E^T with E = Q(W) - W.
 *
 * The output is the format of affine.h and nothing in it tells how it was made. Four steps:
 *
 *   GPTQ (Frantar et al., 2210.17323)  columns one after the other, each correcting what the ones
 *       before it did wrong; a group's scale and bias are searched for when the group is reached,
 *       on the corrected weights
 *   settling  before GPTQ goes on: the group's scale and bias by least squares, rounded to their
 *       stored type, then each code in turn to its best value, under what the columns that follow
 *       cannot make up for
 *   sweeps  the same for group after group under H, with everything else as it is. No step may
 *       raise the error.
 *   guard   a row that is not better under H than the plain search (affine_search.h) keeps that
 *
 * GPTQ needs no inverse here. With H = R R^T, R upper triangular, the error of a row e is
 * |e R|^2, and its term j contains e_0 .. e_j only: column j is corrected by -(e R)_j / R_jj with
 * e_j = 0. That is the published recursion, whose factor of the inverse is R^-1.
 */
#ifndef RAM_CODEC_GPTQ_H
#define RAM_CODEC_GPTQ_H

#include "base/pool.h"
#include "codec/affine.h"

enum { RAM_GPTQ_BLOCK = 128 };

/* What is known of the inputs of a matrix: made once, read by all matrices that share them. */
struct ram_gptq_factor {
    size_t cols;
    float *importance; /* [cols] what an error in a column costs: H's diagonal */
    float *r;          /* [cols, cols] the factor of the damped H, upper triangle. NULL: only the
                        * importance is known, and encoding is the search weighted by it */
    float *squares;    /* [cols / 128 rounded up, 128, 128] diagonal blocks of the damped H */
    float *inverse;    /* the same of r, inverted */
    float *pivots;     /* [cols] squares of r's diagonal */
    uint16_t *h;       /* [cols, cols] the damped H in bf16, and ... */
    uint16_t *turned;  /* ... R^T in bf16: for what only steers */
};

/*
 * h [cols, cols], symmetric, from ram_calloc: it belongs to the factor, after a failure too. damp:
 * what is added to the diagonal, in parts of its mean. RAM_EFORMAT, with name, if an element is not
 * finite or a diagonal one negative. An H of zeros knows nothing: *out is NULL then.
 */
int ram_gptq_factor_new(struct ram_gptq_factor **out, const char *name, float *h, size_t cols,
                        double damp, struct ram_pool *pool, struct ram_err *err);
int ram_gptq_factor_diagonal(struct ram_gptq_factor **out, const char *name, const float *diagonal,
                             size_t cols, struct ram_err *err);
void ram_gptq_factor_free(struct ram_gptq_factor *factor);

/* Bytes that a factor of so many columns takes. */
uint64_t ram_gptq_factor_size(size_t cols);

struct ram_gptq {
    struct ram_affine form;
    const struct ram_gptq_factor *factor; /* NULL: the plain search */
    unsigned effort;                      /* of the search: affine_search.h */
    unsigned sweeps;                      /* 0: GPTQ alone */
};

/* The sweeps that are worth their time (docs/notebook.md, Encoders). */
enum { RAM_GPTQ_SWEEPS = 1 };

struct ram_gptq_bytes {
    uint8_t *codes, *scales, *biases; /* as ram_affine_encode has them */
};

/* Rows of so many columns that are encoded side by side: with fewer, reading the factor takes
 * longer than using it. At most so many bytes a weight of those rows are needed. */
size_t ram_gptq_batch(size_t cols);
enum { RAM_GPTQ_WEIGHT_BYTES = 12 };

/*
 * Encodes n rows of w [n, cols]. Rows do not depend on each other: a caller may cut a matrix as it
 * likes and gets the same bytes. *squared_error: the plain sum of squares, as ram_affine_encode
 * returns it. Only memory fails.
 */
int ram_gptq_encode(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                    const struct ram_gptq_bytes *out, double *squared_error, struct ram_err *err);

/* Sum over n rows of e H e^T, for errors e [n, cols]; factor NULL: of e e^T; of a diagonal factor:
 * weighted by it. Only memory fails. */
int ram_gptq_error(const struct ram_gptq_factor *factor, const float *e, size_t n, size_t cols,
                   double *error, struct ram_err *err);

#endif
