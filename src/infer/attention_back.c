/*
 * attention_back.c - the derivative of causal softmax attention within each place of a chunk. Work
 * is cut by place and head of keys: the heads that share keys add to their derivative in turn.
 */
#include "infer/block_back.h"

#include "kern/gemm.h"
#include "kern/nn.h"
#include "kern/nn_back.h"

#include <string.h>

struct job {
    struct ram_back *b;
    const struct ram_place *places;
    size_t window;
};

/* One head of one place. */
struct head {
    const struct ram_place *place;
    size_t head, kv_head;
    float *p, *dp; /* [n, n] */
};

static struct ram_mat part(const float *x, size_t row, size_t stride, size_t head, size_t dim)
{
    return (struct ram_mat){x + row * stride + head * dim, RAM_ELEM_F32, stride, 1};
}

static struct ram_mat turned(struct ram_mat m)
{
    return (struct ram_mat){m.data, m.elem, m.col_stride, m.row_stride};
}

/* p: the weights of every query over the keys; dp becomes the derivative by the scores. */
static int scores_back(const struct job *job, const struct head *h, struct ram_err *err)
{
    const struct ram_block *block = &job->b->block;
    const struct ram_hparams *hp = &block->model->hp;
    const struct ram_scratch *s = &block->scratch;
    const size_t n = h->place->n, row = h->place->row;
    const size_t q_stride = hp->n_heads * hp->qk_dim, k_stride = hp->n_kv_heads * hp->qk_dim;
    const size_t o_stride = hp->n_heads * hp->v_dim, v_stride = hp->n_kv_heads * hp->v_dim;
    const struct ram_mat q = part(s->q, row, q_stride, h->head, hp->qk_dim);
    const struct ram_mat k = part(s->k, row, k_stride, h->kv_head, hp->qk_dim);
    const struct ram_mat d = part(job->b->dattended, row, o_stride, h->head, hp->v_dim);
    const struct ram_mat v = part(s->v, row, v_stride, h->kv_head, hp->v_dim);

    int status = ram_gemm(RAM_GEMM_F32, n, n, hp->qk_dim, q, turned(k), h->p, n, false, NULL, err);
    if (!status)
        status = ram_gemm(RAM_GEMM_F32, n, n, hp->v_dim, d, turned(v), h->dp, n, false, NULL, err);
    for (size_t i = 0; !status && i < n; i++) {
        const size_t begin = job->window && i + 1 > job->window ? i + 1 - job->window : 0;
        float *p = h->p + i * n, *dp = h->dp + i * n;
        memset(p, 0, begin * sizeof *p);
        memset(dp, 0, begin * sizeof *dp);
        ram_nn()->softmax(p + begin, i + 1 - begin, (float)hp->attention_scale);
        ram_softmax_back(p + begin, i + 1 - begin, (float)hp->attention_scale, dp + begin,
                         dp + begin);
        memset(p + i + 1, 0, (n - i - 1) * sizeof *p);
        memset(dp + i + 1, 0, (n - i - 1) * sizeof *dp);
    }
    return status;
}

static int head_back(const struct job *job, const struct head *h, bool accumulate,
                     struct ram_err *err)
{
    struct ram_back *b = job->b;
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_scratch *s = &b->block.scratch;
    const size_t n = h->place->n, row = h->place->row;
    const size_t q_stride = hp->n_heads * hp->qk_dim, k_stride = hp->n_kv_heads * hp->qk_dim;
    const size_t o_stride = hp->n_heads * hp->v_dim, v_stride = hp->n_kv_heads * hp->v_dim;
    const struct ram_mat p = {h->p, RAM_ELEM_F32, n, 1}, ds = {h->dp, RAM_ELEM_F32, n, 1};
    const struct ram_mat q = part(s->q, row, q_stride, h->head, hp->qk_dim);
    const struct ram_mat k = part(s->k, row, k_stride, h->kv_head, hp->qk_dim);
    const struct ram_mat d = part(b->dattended, row, o_stride, h->head, hp->v_dim);
    float *dq = b->dq + row * q_stride + h->head * hp->qk_dim;
    float *dk = b->dk + row * k_stride + h->kv_head * hp->qk_dim;
    float *dv = b->dv + row * v_stride + h->kv_head * hp->v_dim;

    int status = scores_back(job, h, err);
    if (!status)
        status = ram_gemm(RAM_GEMM_F32, n, hp->qk_dim, n, ds, k, dq, q_stride, false, NULL, err);
    if (!status)
        status = ram_gemm(RAM_GEMM_F32, n, hp->qk_dim, n, turned(ds), q, dk, k_stride, accumulate,
                          NULL, err);
    if (!status)
        status = ram_gemm(RAM_GEMM_F32, n, hp->v_dim, n, turned(p), d, dv, v_stride, accumulate,
                          NULL, err);
    return status;
}

static int attend_back(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    const struct ram_hparams *hp = &job->b->block.model->hp;
    const size_t shared = hp->n_heads / hp->n_kv_heads, square = job->b->longest * job->b->longest;
    struct head h = {.place = &job->places[i / hp->n_kv_heads],
                     .kv_head = i % hp->n_kv_heads,
                     .p = job->b->scores + (size_t)worker * 2 * square};
    int status = RAM_OK;

    h.dp = h.p + square;
    for (size_t j = 0; !status && j < shared; j++) {
        h.head = h.kv_head * shared + j;
        status = head_back(job, &h, j > 0, err);
    }
    return status;
}

int ram_attention_back(struct ram_back *b, size_t window, const struct ram_place *places,
                       size_t n_places, struct ram_err *err)
{
    struct job job = {b, places, window};
    return ram_pool_for(b->block.compute.pool, n_places * b->block.model->hp.n_kv_heads,
                        attend_back, &job, err);
}
