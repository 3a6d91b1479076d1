/*
 * measure.h - everything that is measured of one matrix, in two or three readings of its bytes.
 *
 * First reading: moments, `error`, sampled `output`, and the squared error of every form in which
 * the output could store it; row blocks are cut by the shape alone and folded in order. The other
 * readings are the spectrum's, which multiplies the weights where they lie.
 */
#ifndef RAM_ANALYZE_MEASURE_H
#define RAM_ANALYZE_MEASURE_H

#include "base/pool.h"
#include "format/layout.h"
#include "record/manifest.h"

struct ram_measure {
    const struct ram_ckpt *ckpt;
    const struct ram_source *source;
    uint64_t seed;
    unsigned probes;       /* columns of the sampled `output`; 0: closed form */
    bool no_svd;           /* leave out the spectrum, which takes most of the time */
    bool frugal;           /* release weights block by block, instead of at the end */
    struct ram_pool *pool; /* NULL: use the calling thread only */
    void *workspace;       /* ram_measure_workspace bytes, 64-byte aligned */
};

/* Bytes of working memory (less if the matrix is only checked), and of mapped weights that are
 * resident at once. `threads` is what the pool has. */
size_t ram_measure_workspace(const struct ram_measure *job, bool scored, unsigned threads);
size_t ram_measure_mapped(const struct ram_measure *job, unsigned threads);

/* Fills in metrics, stats and errors of an entry. The number of threads changes no bit. */
int ram_measure(const struct ram_measure *job, struct ram_entry *entry, struct ram_err *err);

/* Reads a source that is not scored, only to refuse NaN and infinities. */
int ram_measure_check(const struct ram_measure *job, struct ram_err *err);

#endif
