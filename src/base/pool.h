/*
 * pool.h - a fixed set of threads for loops whose iterations are independent.
 *
 * The result of a loop does not depend on the number of threads: iteration i writes only to its own
 * data, the caller combines these in index order, and of several failures the one with the lowest
 * index is reported.
 */
#ifndef RAM_BASE_POOL_H
#define RAM_BASE_POOL_H

#include "base/err.h"

struct ram_pool;

/* worker: 0 .. ram_pool_threads - 1, for per-thread scratch. */
typedef int ram_pool_fn(void *ctx, size_t i, unsigned worker, struct ram_err *err);

/* threads: 0 means one for each processor this process may use. */
int ram_pool_new(struct ram_pool **out, unsigned threads, struct ram_err *err);
void ram_pool_free(struct ram_pool *pool);
unsigned ram_pool_threads(const struct ram_pool *pool); /* 1 for NULL */

/*
 * fn(ctx, i, ...) for i in [0, n), indices handed out in order; the caller's thread works too.
 * After a failure no new index is begun. pool may be NULL (run here), and a call made from inside
 * an iteration runs in that iteration's thread, as worker 0 of its own.
 */
int ram_pool_for(struct ram_pool *pool, size_t n, ram_pool_fn *fn, void *ctx, struct ram_err *err);

#endif
