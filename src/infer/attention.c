/*
 * attention.c - see attention.h.
 *
 * Scores are computed for a tile of rows at a time. The rows of a tile are consecutive queries of
 * one head, or, where there is a single query (a sequence that grows by a token), the heads that
 * share keys: a product packs the keys once for all rows of its tile. An element of a product does
 * not depend on the rows beside it, so both give the same bits.
 */
#include "infer/attention.h"

#include "base/mem.h"
#include "kern/nn.h"

#include <stdlib.h>
#include <string.h>

enum { TILE = 128 }; /* queries whose scores are held at once */

struct job {
    const struct ram_attention *a;
    const float *q;
    size_t n, n_tiles;
    const struct ram_keys *keys;
    float *out;
    float *scores; /* a tile's for each thread: [tile_rows, all keys] */
    size_t tile_rows;
};

struct tile {
    size_t kv_head, rows;
    size_t seen; /* keys that the last row sees */
    size_t step; /* by how many fewer each row before it sees: 1, or 0 for heads of one query */
    size_t at, stride; /* of its first row and between rows: in q x qk_dim, in out x v_dim */
};

/* scores [rows, seen] of a tile against the first `seen` keys of both runs. */
static int tile_scores(const struct job *job, const struct tile *t, float *scores,
                       struct ram_err *err)
{
    const struct ram_attention *a = job->a;
    const size_t dim = a->qk_dim;
    const struct ram_mat q = {job->q + t->at * dim, RAM_ELEM_F32, t->stride * dim, 1};
    int status = RAM_OK;

    for (size_t run = 0, at = 0; run < 2 && !status && at < t->seen; run++) {
        const size_t left = t->seen - at, n = job->keys[run].n < left ? job->keys[run].n : left;
        if (n == 0)
            continue;
        const struct ram_mat k = {job->keys[run].k + t->kv_head * dim, RAM_ELEM_F32, 1,
                                  a->n_kv_heads * dim};
        status = ram_gemm(a->mode, t->rows, n, dim, q, k, scores + at, t->seen, false, NULL, err);
        at += n;
    }
    return status;
}

/* Softmax of every row over the keys that its query may see; the others become 0. */
static void tile_softmax(const struct ram_attention *a, const struct tile *t, float *scores)
{
    for (size_t i = 0; i < t->rows; i++) {
        float *row = scores + i * t->seen;
        const size_t end = t->seen - (t->rows - 1 - i) * t->step;
        const size_t begin = a->window && end > a->window ? end - a->window : 0;
        memset(row, 0, begin * sizeof *row);
        ram_nn()->softmax(row + begin, end - begin, a->scale);
        memset(row + end, 0, (t->seen - end) * sizeof *row);
    }
}

static int tile_values(const struct job *job, const struct tile *t, const float *scores,
                       struct ram_err *err)
{
    const struct ram_attention *a = job->a;
    const size_t dim = a->v_dim;
    int status = RAM_OK;

    for (size_t run = 0, at = 0; run < 2 && !status && at < t->seen; run++) {
        const size_t left = t->seen - at, n = job->keys[run].n < left ? job->keys[run].n : left;
        if (n == 0)
            continue;
        const struct ram_mat p = {scores + at, RAM_ELEM_F32, t->seen, 1};
        const struct ram_mat v = {job->keys[run].v + t->kv_head * dim, RAM_ELEM_F32,
                                  a->n_kv_heads * dim, 1};
        status = ram_gemm(a->mode, t->rows, dim, n, p, v, job->out + t->at * dim, t->stride * dim,
                          at > 0, NULL, err);
        at += n;
    }
    return status;
}

static struct tile tile_of(const struct job *job, size_t i)
{
    const struct ram_attention *a = job->a;
    const size_t all = job->keys[0].n + job->keys[1].n, shared = a->n_heads / a->n_kv_heads;

    if (job->n == 1)
        return (struct tile){
            .kv_head = i, .rows = shared, .seen = all, .at = i * shared, .stride = 1};
    const size_t head = i / job->n_tiles, first = i % job->n_tiles * TILE;
    const size_t rows = job->n - first < TILE ? job->n - first : TILE;
    return (struct tile){.kv_head = head / shared,
                         .rows = rows,
                         .seen = all - job->n + first + rows,
                         .step = 1,
                         .at = first * a->n_heads + head,
                         .stride = a->n_heads};
}

static int attend(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    const struct tile tile = tile_of(job, i);
    float *scores =
        job->scores + (size_t)worker * job->tile_rows * (job->keys[0].n + job->keys[1].n);

    int status = tile_scores(job, &tile, scores, err);
    if (status)
        return status;
    tile_softmax(job->a, &tile, scores);
    return tile_values(job, &tile, scores, err);
}

int ram_attention_apply(const struct ram_attention *a, const float *q, size_t n,
                        const struct ram_keys keys[2], float *out, struct ram_pool *pool,
                        struct ram_err *err)
{
    const size_t all = keys[0].n + keys[1].n;
    const size_t tile_rows = n == 1 ? a->n_heads / a->n_kv_heads : n < TILE ? n : TILE;
    size_t floats;

    if (n == 0)
        return RAM_OK;
    if (all < n || !ram_mul_size(all, tile_rows * ram_pool_threads(pool), &floats))
        return ram_fail(err, RAM_EINTERNAL, "%zu queries over %zu keys", n, all);
    struct job job = {.a = a,
                      .q = q,
                      .n = n,
                      .n_tiles = (n + TILE - 1) / TILE,
                      .keys = keys,
                      .out = out,
                      .tile_rows = tile_rows,
                      .scores = ram_calloc(floats, sizeof(float), err)};
    if (!job.scores)
        return RAM_ENOMEM;
    const size_t n_tasks = n == 1 ? a->n_kv_heads : a->n_heads * job.n_tiles;
    const int status = ram_pool_for(pool, n_tasks, attend, &job, err);
    free(job.scores);
    return status;
}
