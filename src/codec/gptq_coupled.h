/*
 * gptq_coupled.h - rows of a matrix whose errors are corrected for each other, as those of columns
 * are.
 *
 * A model's loss depends on what a matrix gives through derivatives g, whose second moments G = sum
 * g g^T say how the errors of two outputs add up or cancel. With the moments H of the inputs, an
 * error E costs tr(G E H E^T) (the Kronecker-factored curvature of Martens and Grosse, 1503.05671;
 * rounding under it: Tseng et al., 2505.22988). With G = R R^T, R upper triangular, that is
 * |R^T E|^2 under H, and its term r contains the rows 0 .. r only. So rows are coded in phases, and
 * the weights of a phase are first moved by what the errors of the phases before it ask for; the
 * rows of a phase do not know of each other.
 */
#ifndef RAM_CODEC_GPTQ_COUPLED_H
#define RAM_CODEC_GPTQ_COUPLED_H

#include "codec/gptq.h"

/* The factor of n rows' moments g [n, n], symmetric, which are left as they are; NULL for zeros. It
 * is what struct ram_gptq has as its `outputs`. Few tokens give G a false certainty, hence the
 * damping by half of its mean diagonal (docs/notebook.md, Encoders). */
int ram_gptq_coupling_new(struct ram_gptq_factor **out, const char *name, const float *g, size_t n,
                          struct ram_pool *pool, struct ram_err *err);

/* ram_gptq_encode for how->outputs that is not NULL. */
int ram_gptq_encode_coupled(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                            const struct ram_gptq_bytes *out, double *squared_error,
                            struct ram_err *err);

#endif
