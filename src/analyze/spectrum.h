/*
 * spectrum.h - the `svd` metric: how much of a matrix's energy its largest singular values hold.
 *
 * This is the published metric, including its bias: up to min(m, n) = 512 the exact singular
 * values, above that a randomised SVD of rank 256 with two power iterations and no oversampling, as
 * torch.svd_lowrank(W, q=256, niter=2) computes it. docs/metrics.md derives the form used here.
 */
#ifndef RAM_ANALYZE_SPECTRUM_H
#define RAM_ANALYZE_SPECTRUM_H

#include "base/pool.h"
#include "ckpt/ckpt.h"

enum {
    RAM_SPECTRUM_RANK = 256,
    RAM_SPECTRUM_POWERS = 2,
    RAM_SPECTRUM_EXACT = 512 /* min(m, n) up to which every singular value is computed */
};

struct ram_spectrum_job {
    const struct ram_ckpt *ckpt;
    struct ram_view view; /* finite weights */
    double rms;           /* of the weights, from which scales are chosen */
    uint64_t seed;
    const char *name;      /* together with the seed, this determines the test matrix */
    bool frugal;           /* release the pages of every row block as soon as it was used */
    struct ram_pool *pool; /* NULL: use the calling thread only */
    void *workspace;       /* ram_spectrum_workspace bytes, 64-byte aligned */
};

/* Bytes of working memory for a view; depends on its shape and type only. */
size_t ram_spectrum_workspace(const struct ram_view *view);

/* Bytes of the largest block of weights that is in memory at once if frugal. */
size_t ram_spectrum_block(const struct ram_view *view);

/* *out: the energy of the top tenth of the retained singular values over that of all retained ones;
 * 0 if that energy is below 1e-12. The result has the same bits for any number of threads. */
int ram_spectrum(const struct ram_spectrum_job *job, double *out, struct ram_err *err);

#endif
