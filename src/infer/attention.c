/* attention.c - see attention.h. */
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
    float *scores; /* a tile's for each thread: [TILE, all keys] */
};

/* scores [rows, seen] of one head's tile against the first `seen` keys of both runs. */
static int tile_scores(const struct job *job, size_t head, size_t first, size_t rows, size_t seen,
                       float *scores, struct ram_err *err)
{
    const struct ram_attention *a = job->a;
    const size_t kv_head = head / (a->n_heads / a->n_kv_heads);
    const size_t k_stride = a->n_kv_heads * a->qk_dim;
    const struct ram_mat q = {job->q + first * a->n_heads * a->qk_dim + head * a->qk_dim,
                              RAM_ELEM_F32, a->n_heads * a->qk_dim, 1};
    int status = RAM_OK;

    for (size_t run = 0, at = 0; run < 2 && !status && at < seen; run++) {
        const size_t left = seen - at, n = job->keys[run].n < left ? job->keys[run].n : left;
        if (n == 0)
            continue;
        const struct ram_mat k = {job->keys[run].k + kv_head * a->qk_dim, RAM_ELEM_F32, 1,
                                  k_stride};
        status = ram_gemm(a->mode, rows, n, a->qk_dim, q, k, scores + at, seen, false, NULL, err);
        at += n;
    }
    return status;
}

/* Softmax of every row over the keys that its query may see; the others become 0. */
static void tile_softmax(const struct ram_attention *a, size_t rows, size_t seen, float *scores)
{
    for (size_t i = 0; i < rows; i++) {
        float *row = scores + i * seen;
        const size_t end = seen - (rows - 1 - i);
        const size_t begin = a->window && end > a->window ? end - a->window : 0;
        memset(row, 0, begin * sizeof *row);
        ram_nn()->softmax(row + begin, end - begin, a->scale);
        memset(row + end, 0, (seen - end) * sizeof *row);
    }
}

static int tile_values(const struct job *job, size_t head, size_t first, size_t rows, size_t seen,
                       const float *scores, struct ram_err *err)
{
    const struct ram_attention *a = job->a;
    const size_t kv_head = head / (a->n_heads / a->n_kv_heads);
    const size_t v_stride = a->n_kv_heads * a->v_dim, out_stride = a->n_heads * a->v_dim;
    float *out = job->out + first * out_stride + head * a->v_dim;
    int status = RAM_OK;

    for (size_t run = 0, at = 0; run < 2 && !status && at < seen; run++) {
        const size_t left = seen - at, n = job->keys[run].n < left ? job->keys[run].n : left;
        if (n == 0)
            continue;
        const struct ram_mat p = {scores + at, RAM_ELEM_F32, seen, 1};
        const struct ram_mat v = {job->keys[run].v + kv_head * a->v_dim, RAM_ELEM_F32, v_stride, 1};
        status = ram_gemm(a->mode, rows, a->v_dim, n, p, v, out, out_stride, at > 0, NULL, err);
        at += n;
    }
    return status;
}

static int attend(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    const size_t all = job->keys[0].n + job->keys[1].n;
    const size_t head = i / job->n_tiles, first = i % job->n_tiles * TILE;
    const size_t rows = job->n - first < TILE ? job->n - first : TILE;
    const size_t seen = all - job->n + first + rows; /* by the tile's last query */
    float *scores = job->scores + (size_t)worker * TILE * all;

    int status = tile_scores(job, head, first, rows, seen, scores, err);
    if (status)
        return status;
    tile_softmax(job->a, rows, seen, scores);
    return tile_values(job, head, first, rows, seen, scores, err);
}

int ram_attention_apply(const struct ram_attention *a, const float *q, size_t n,
                        const struct ram_keys keys[2], float *out, struct ram_pool *pool,
                        struct ram_err *err)
{
    const size_t all = keys[0].n + keys[1].n;
    size_t tile;

    if (n == 0)
        return RAM_OK;
    if (all < n || !ram_mul_size(all, (size_t)TILE * ram_pool_threads(pool), &tile))
        return ram_fail(err, RAM_EINTERNAL, "%zu queries over %zu keys", n, all);
    struct job job = {.a = a,
                      .q = q,
                      .n = n,
                      .n_tiles = (n + TILE - 1) / TILE,
                      .keys = keys,
                      .out = out,
                      .scores = ram_calloc(tile, sizeof(float), err)};
    if (!job.scores)
        return RAM_ENOMEM;
    const int status = ram_pool_for(pool, a->n_heads * job.n_tiles, attend, &job, err);
    free(job.scores);
    return status;
}
