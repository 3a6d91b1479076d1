/*
 * gptq.h - MLX affine quantisation that minimises the error of a layer's output, not of its
 * weights: for a matrix W whose inputs x have the second moments H = sum x x^T, the trace of
 * E H E^T with E = Q(W) - W.
 *
 * The output is the format of affine.h and does not show how it was made. There are four steps:
 *
 *   GPTQ (Frantar et al., 2210.17323)  Columns are coded one after another, and each is corrected
 *       for the errors of the columns before it. A group's scale and bias are searched for when the
 *       group is reached, on the corrected weights: fixed in advance, they fit weights that are no
 *       longer there.
 *   settling  Before GPTQ goes on to the next group, the group's scale and bias are fitted by least
 *       squares and rounded to their stored type, and each code in turn takes its best value. The
 *       error that this minimises is the part that later columns cannot compensate.
 *   sweeps  The same is done for one group after another under the whole H, with all other groups
 *       fixed. No step may raise the error.
 *   guard   A row whose error under H is not lower than that of the plain search (affine_search.h)
 *       keeps the result of the search: GPTQ is greedy, so that nothing else guarantees it.
 *
 * GPTQ needs no inverse here. With H = R R^T, R upper triangular, the error of a row e is
 * |e R|^2, and its term j contains e_0 .. e_j only: it is 0 if column j is corrected by
 * -(e R)_j / R_jj, where e_j is taken as 0. That is the published recursion, in which the factor of
 * the inverse is R^-1.
 */
#ifndef RAM_CODEC_GPTQ_H
#define RAM_CODEC_GPTQ_H

#include "base/pool.h"
#include "codec/affine.h"

enum { RAM_GPTQ_BLOCK = 128 };

/* The second moments H of a matrix's inputs and what is derived from them. All matrices that have
 * the same inputs share one factor, which they only read. */
struct ram_gptq_factor {
    size_t cols;
    float *importance; /* [cols] H's diagonal: the cost of an error in each column */
    float *r;          /* [cols, cols] the factor of the damped H, upper triangle. NULL: only the
                        * importance is known, and encoding is the search weighted by it */
    float *squares;    /* [cols / 128 rounded up, 128, 128] diagonal blocks of the damped H */
    float *inverse;    /* diagonal blocks of r, inverted, in the same layout */
    float *pivots;     /* [cols] squares of r's diagonal */
    uint16_t *h;       /* [cols, cols] the damped H in bf16, for approximate products only */
    uint16_t *turned;  /* [cols, cols] R^T in bf16, for approximate products only */
};

/*
 * h [cols, cols], symmetric, from ram_calloc: the factor takes ownership, even if it fails. damp is
 * added to the diagonal, as a fraction of the diagonal's mean. RAM_EFORMAT, with name, if an
 * element is not finite or one of the diagonal is negative. For an H of zeros, *out is NULL.
 */
int ram_gptq_factor_new(struct ram_gptq_factor **out, const char *name, float *h, size_t cols,
                        double damp, struct ram_pool *pool, struct ram_err *err);
int ram_gptq_factor_diagonal(struct ram_gptq_factor **out, const char *name, const float *diagonal,
                             size_t cols, struct ram_err *err);
void ram_gptq_factor_free(struct ram_gptq_factor *factor);

/* The memory that a factor takes, in bytes. */
uint64_t ram_gptq_factor_size(size_t cols);

struct ram_gptq {
    struct ram_affine form;               /* ram_codec.gptq sets it */
    const struct ram_gptq_factor *factor; /* NULL: the plain search */
    unsigned effort;                      /* of the search: affine_search.h */
    unsigned sweeps;                      /* 0: GPTQ alone */
    /* Of the derivatives by what these very rows give, from ram_gptq_coupling_new
     * (gptq_coupled.h): their errors are corrected for each other. NULL: rows do not depend on each
     * other. */
    const struct ram_gptq_factor *outputs;
};

/* Since groups are settled before GPTQ goes on, a second sweep gains nothing that can be measured,
 * and takes 2 operations per weight and column (docs/notebook.md, Encoders). */
enum { RAM_GPTQ_SWEEPS = 1 };

struct ram_gptq_bytes {
    uint8_t *codes, *scales, *biases; /* as ram_affine_encode has them */
};

/* The number of rows that callers should encode at a time: those whose errors are corrected for
 * each other. Encoding them needs at most RAM_GPTQ_WEIGHT_BYTES for each of their weights. */
size_t ram_gptq_block(size_t cols);
enum { RAM_GPTQ_WEIGHT_BYTES = 12 };

/*
 * Encodes n rows of w [n, cols]. Without `outputs` rows do not depend on each other: a caller may
 * divide a matrix into any blocks of rows and gets the same bytes. *squared_error is the plain sum
 * of squares, as ram_affine_encode returns it. The only failure is RAM_ENOMEM, or a factor of other
 * columns.
 */
int ram_gptq_encode(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                    const struct ram_gptq_bytes *out, double *squared_error, struct ram_err *err);

/* *error is the sum over n rows of e H e^T, for errors e [n, cols]. If factor is NULL, H is the
 * identity; if only the importance is known, H is that diagonal. The only failure is RAM_ENOMEM. */
int ram_gptq_error(const struct ram_gptq_factor *factor, const float *e, size_t n, size_t cols,
                   double *error, struct ram_err *err);

#endif
