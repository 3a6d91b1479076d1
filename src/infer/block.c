/*
 * block.c - see block.h. The order of operations is the forward pass as docs/models.md writes it.
 */
#include "infer/block.h"

#include "base/mem.h"
#include "infer/attention.h"
#include "kern/nn.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_A_TASK = 32, FLOATS_A_TASK = 1 << 15 };

/* ---- row loops over the pool ------------------------------------------------------------ */

struct norm_job {
    const float *x, *weight;
    size_t x_stride, n, width;
    double eps;
    float *out;
};

static int norm_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct norm_job *job = ctx;
    const size_t last = (i + 1) * ROWS_A_TASK < job->n ? (i + 1) * ROWS_A_TASK : job->n;

    (void)worker;
    (void)err;
    for (size_t row = i * ROWS_A_TASK; row < last; row++)
        ram_nn()->rmsnorm(job->x + row * job->x_stride, job->weight, job->width, job->eps,
                          job->out + row * job->width);
    return RAM_OK;
}

int ram_norm_rows(struct ram_pool *pool, const float *x, size_t x_stride, const float *weight,
                  size_t n, size_t width, double eps, float *out, struct ram_err *err)
{
    struct norm_job job = {x, weight, x_stride, n, width, eps, out};
    return ram_pool_for(pool, (n + ROWS_A_TASK - 1) / ROWS_A_TASK, norm_task, &job, err);
}

struct head_job {
    const struct ram_block *block;
    const struct ram_place *place;
    struct ram_heads heads;
};

/* Per head: norm over its dimensions and rotation by position. */
static int head_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct head_job *job = ctx;
    const struct ram_heads *heads = &job->heads;
    const struct ram_hparams *hp = &job->block->model->hp;
    const bool turns = heads->rope != RAM_LAYER_NO_ROPE;
    const struct ram_rope *rope = &hp->ropes[turns ? heads->rope : 0];
    const struct ram_scratch *s = &job->block->scratch;
    const float *cosine = s->cosine[turns ? heads->rope : 0];
    const float *sine = s->sine[turns ? heads->rope : 0];
    const size_t last =
        (i + 1) * ROWS_A_TASK < job->place->n ? (i + 1) * ROWS_A_TASK : job->place->n;
    (void)worker;
    (void)err;
    for (size_t row = i * ROWS_A_TASK; row < last; row++) {
        const size_t at = (job->place->position + row) * rope->n_pairs;
        for (size_t h = 0; h < heads->n_heads; h++) {
            float *x = heads->x + ((job->place->row + row) * heads->n_heads + h) * heads->dim;
            if (heads->norm && !hp->turns_first)
                ram_nn()->rmsnorm(x, heads->norm, heads->dim, hp->norm_eps, x);
            if (turns)
                ram_nn()->rotate(x + heads->rotary_at, cosine + at, sine + at, rope->n_pairs,
                                 rope->interleaved);
            if (heads->norm && hp->turns_first)
                ram_nn()->rmsnorm(x, heads->norm, heads->dim, hp->norm_eps, x);
        }
    }
    return RAM_OK;
}

int ram_block_rotate(const struct ram_block *block, const struct ram_place *places, size_t n_places,
                     struct ram_heads heads, struct ram_err *err)
{
    struct head_job job = {.block = block, .heads = heads};
    int status = RAM_OK;

    if (!heads.norm && heads.rope == RAM_LAYER_NO_ROPE)
        return RAM_OK;
    for (size_t p = 0; !status && p < n_places; p++) {
        job.place = &places[p];
        status = ram_pool_for(block->compute.pool, (places[p].n + ROWS_A_TASK - 1) / ROWS_A_TASK,
                              head_task, &job, err);
    }
    return status;
}

/* One operation on each element: to is also an operand. */
struct each_job {
    const float *from;
    size_t n;
    float *to;
};

static size_t part_of(const struct each_job *job, size_t i)
{
    const size_t left = job->n - i * FLOATS_A_TASK;
    return left < FLOATS_A_TASK ? left : FLOATS_A_TASK;
}

static int add_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct each_job *job = ctx;
    const size_t at = i * FLOATS_A_TASK;

    (void)worker;
    (void)err;
    ram_nn()->axpy(1, job->from + at, part_of(job, i), job->to + at);
    return RAM_OK;
}

static int swiglu_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct each_job *job = ctx;
    const size_t at = i * FLOATS_A_TASK;

    (void)worker;
    (void)err;
    ram_nn()->swiglu(job->to + at, job->from + at, part_of(job, i), job->to + at);
    return RAM_OK;
}

static int each(struct ram_pool *pool, ram_pool_fn *task, const float *from, size_t n, float *to,
                struct ram_err *err)
{
    struct each_job job = {from, n, to};
    return ram_pool_for(pool, (n + FLOATS_A_TASK - 1) / FLOATS_A_TASK, task, &job, err);
}

int ram_add_into(struct ram_pool *pool, const float *from, size_t n, float *to, struct ram_err *err)
{
    return each(pool, add_task, from, n, to, err);
}

/* ---- queries, keys, values -------------------------------------------------------------- */

/* Queries, of which each stands before its gate where attention has one. */
static int project_queries(struct ram_block *b, const struct ram_linear *q, size_t n,
                           struct ram_err *err)
{
    const struct ram_hparams *hp = &b->model->hp;
    struct ram_scratch *s = &b->scratch;
    const size_t dim = hp->qk_dim;

    if (!hp->gated)
        return ram_linear_apply(&b->compute, q, s->normed, n, s->q, q->out, err);
    const int status = ram_linear_apply(&b->compute, q, s->normed, n, s->fused, q->out, err);
    for (size_t i = 0; !status && i < n * hp->n_heads; i++) {
        memcpy(s->q + i * dim, s->fused + 2 * i * dim, dim * sizeof *s->q);
        memcpy(s->gates + i * dim, s->fused + (2 * i + 1) * dim, dim * sizeof *s->gates);
    }
    return status;
}

static int project_plain(struct ram_block *b, const struct ram_layer *layer,
                         const struct ram_place *places, size_t n_places, size_t n,
                         struct ram_err *err)
{
    const struct ram_hparams *hp = &b->model->hp;
    const struct ram_attention_weights *a = &layer->attention;
    struct ram_scratch *s = &b->scratch;
    struct ram_pool *pool = b->compute.pool;
    const bool wide = a->q_norm && hp->wide_qk_norm;
    const struct ram_heads queries = {.x = s->q,
                                      .norm = wide ? NULL : a->q_norm,
                                      .n_heads = hp->n_heads,
                                      .dim = hp->qk_dim,
                                      .rope = layer->rope};
    const struct ram_heads keys = {.x = s->k,
                                   .norm = wide ? NULL : a->k_norm,
                                   .n_heads = hp->n_kv_heads,
                                   .dim = hp->qk_dim,
                                   .rope = layer->rope};
    int status;

    if ((status = project_queries(b, &a->q, n, err)) ||
        (status = ram_linear_apply(&b->compute, &a->k, s->normed, n, s->k, a->k.out, err)) ||
        (status = ram_linear_apply(&b->compute, &a->v, s->normed, n, s->v, a->v.out, err)))
        return status;
    if (wide && ((status = ram_norm_rows(pool, s->q, a->q.out, a->q_norm, n, a->q.out, hp->norm_eps,
                                         s->q, err)) ||
                 (status = ram_norm_rows(pool, s->k, a->k.out, a->k_norm, n, a->k.out, hp->norm_eps,
                                         s->k, err))))
        return status;
    status = ram_block_rotate(b, places, n_places, queries, err);
    return status ? status : ram_block_rotate(b, places, n_places, keys, err);
}

/* MLA: keys and values of every head from a latent of kv_rank; the rotary part of the keys is
 * common to all heads and is not normed. */
static int project_latent(struct ram_block *b, const struct ram_layer *layer,
                          const struct ram_place *places, size_t n_places, size_t n,
                          struct ram_err *err)
{
    const struct ram_hparams *hp = &b->model->hp;
    const struct ram_attention_weights *a = &layer->attention;
    struct ram_scratch *s = &b->scratch;
    const size_t rope_dim = hp->qk_dim - hp->nope_dim, wide = hp->kv_rank + rope_dim;
    const size_t k_stride = hp->n_heads * hp->qk_dim, v_stride = hp->n_heads * hp->v_dim;
    const struct ram_compute *c = &b->compute;
    const float *x = s->normed;
    int status;

    if (hp->q_rank) {
        if ((status = ram_linear_apply(c, &a->q_a, x, n, s->latent, hp->q_rank, err)) ||
            (status = ram_norm_rows(c->pool, s->latent, hp->q_rank, a->q_a_norm, n, hp->q_rank,
                                    hp->latent_norm_eps, s->latent, err)))
            return status;
        x = s->latent;
    }
    if ((status = ram_linear_apply(c, &a->q, x, n, s->q, k_stride, err)) ||
        (status = ram_linear_apply(c, &a->kv_a, s->normed, n, s->latent, wide, err)) ||
        (status = ram_norm_rows(c->pool, s->latent, wide, a->kv_a_norm, n, hp->kv_rank,
                                hp->latent_norm_eps, s->latent_kv, err)))
        return status;
    for (size_t h = 0; h < hp->n_heads; h++) {
        if ((status = ram_linear_apply(c, &a->k_heads[h], s->latent_kv, n, s->k + h * hp->qk_dim,
                                       k_stride, err)) ||
            (status = ram_linear_apply(c, &a->v_heads[h], s->latent_kv, n, s->v + h * hp->v_dim,
                                       v_stride, err)))
            return status;
        for (size_t i = 0; i < n; i++)
            memcpy(s->k + i * k_stride + h * hp->qk_dim + hp->nope_dim,
                   s->latent + i * wide + hp->kv_rank, rope_dim * sizeof *s->k);
    }
    struct ram_heads heads = {.x = s->q,
                              .n_heads = hp->n_heads,
                              .dim = hp->qk_dim,
                              .rotary_at = hp->nope_dim,
                              .rope = layer->rope};
    status = ram_block_rotate(b, places, n_places, heads, err);
    heads.x = s->k;
    return status ? status : ram_block_rotate(b, places, n_places, heads, err);
}

int ram_block_project(struct ram_block *b, const struct ram_layer *layer,
                      const struct ram_place *places, size_t n_places, size_t n,
                      struct ram_err *err)
{
    return b->model->hp.mla ? project_latent(b, layer, places, n_places, n, err)
                            : project_plain(b, layer, places, n_places, n, err);
}

/* ---- attention -------------------------------------------------------------------------- */

/* Appends a place's rows of keys and values in scratch to its cache. */
static int extend_cache(const struct ram_block *b, const struct ram_place *place, struct ram_kv *kv,
                        struct ram_err *err)
{
    const struct ram_hparams *hp = &b->model->hp;
    const size_t k_width = hp->n_kv_heads * hp->qk_dim, v_width = hp->n_kv_heads * hp->v_dim;
    const size_t n = place->n;

    if (kv->n + n > kv->room) {
        const size_t room = 2 * (kv->n + n);
        float *k = realloc(kv->k, room * k_width * sizeof *k);
        if (k)
            kv->k = k;
        float *v = k ? realloc(kv->v, room * v_width * sizeof *v) : NULL;
        if (!v)
            return ram_fail(err, RAM_ENOMEM, "no memory for the keys of %zu positions", room);
        kv->v = v;
        kv->room = room;
    }
    memcpy(kv->k + kv->n * k_width, b->scratch.k + place->row * k_width,
           n * k_width * sizeof *kv->k);
    memcpy(kv->v + kv->n * v_width, b->scratch.v + place->row * v_width,
           n * v_width * sizeof *kv->v);
    kv->n += n;
    return RAM_OK;
}

static struct ram_keys keys_of(const struct ram_block *b, const struct ram_place *place)
{
    const struct ram_hparams *hp = &b->model->hp;
    return (struct ram_keys){.k = b->scratch.k + place->row * hp->n_kv_heads * hp->qk_dim,
                             .v = b->scratch.v + place->row * hp->n_kv_heads * hp->v_dim,
                             .n = place->n};
}

struct attend_job {
    struct ram_block *block;
    const struct ram_attention *attention;
    const struct ram_place *places;
};

static int attend_place(void *ctx, size_t p, unsigned worker, struct ram_err *err)
{
    const struct attend_job *job = ctx;
    struct ram_block *b = job->block;
    const struct ram_hparams *hp = &b->model->hp;
    const struct ram_place *place = &job->places[p];
    struct ram_keys keys[2] = {{0}};

    (void)worker;
    if (b->kv) {
        const int status = extend_cache(b, place, &b->kv[p], err);
        if (status)
            return status;
        keys[0] = (struct ram_keys){.k = b->kv[p].k, .v = b->kv[p].v, .n = b->kv[p].n};
    } else {
        keys[0] = keys_of(b, place);
    }
    if (place->parent != RAM_NO_PARENT) {
        keys[1] = keys[0];
        keys[0] = keys_of(b, &job->places[place->parent]);
    }
    return ram_attention_apply(
        job->attention, b->scratch.q + place->row * hp->n_heads * hp->qk_dim, place->n, keys,
        b->scratch.attended + place->row * hp->n_heads * hp->v_dim, b->compute.pool, err);
}

int ram_block_attend(struct ram_block *b, size_t window, const struct ram_place *places,
                     size_t n_places, struct ram_err *err)
{
    const struct ram_hparams *hp = &b->model->hp;
    const struct ram_attention a = {.n_heads = hp->n_heads,
                                    .n_kv_heads = hp->n_kv_heads,
                                    .qk_dim = hp->qk_dim,
                                    .v_dim = hp->v_dim,
                                    .window = window,
                                    .scale = (float)hp->attention_scale,
                                    .mode = b->compute.mode};
    struct attend_job job = {b, &a, places};
    int status = RAM_OK;

    /* Many sequences that grow by a token have little to do each: threads take whole ones. */
    if (b->kv && n_places > 1)
        return ram_pool_for(b->compute.pool, n_places, attend_place, &job, err);
    for (size_t p = 0; !status && p < n_places; p++)
        status = attend_place(&job, p, 0, err);
    return status;
}

static int gate_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct each_job *job = ctx;
    const size_t at = i * FLOATS_A_TASK, n = part_of(job, i);

    (void)worker;
    (void)err;
    for (size_t j = at; j < at + n; j++)
        job->to[j] *= 1 / (1 + ram_nn_exp(-job->from[j]));
    return RAM_OK;
}

int ram_block_mix(struct ram_block *b, const struct ram_layer *layer,
                  const struct ram_place *places, size_t n_places, size_t n, struct ram_err *err)
{
    const struct ram_scratch *s = &b->scratch;

    if (layer->recurs)
        return ram_delta_apply(b, layer, places, n_places, n, err);
    int status = ram_block_project(b, layer, places, n_places, n, err);
    if (!status)
        status = ram_block_attend(b, layer->window, places, n_places, err);
    if (!status && b->model->hp.gated)
        status =
            each(b->compute.pool, gate_task, s->gates, n * layer->attention.o.in, s->attended, err);
    return status;
}

/* ---- the layer -------------------------------------------------------------------------- */

int ram_mlp_apply(struct ram_block *b, const struct ram_mlp *mlp, const float *x,
                  const unsigned *unit_of, size_t n, struct ram_err *err)
{
    struct ram_scratch *s = &b->scratch;
    struct ram_compute c = b->compute;
    const size_t width = mlp->gate.out;
    int status;

    c.unit_of = unit_of;
    if ((status = ram_linear_apply(&c, &mlp->gate, x, n, s->gate, width, err)) ||
        (status = ram_linear_apply(&c, &mlp->up, x, n, s->up, width, err)) ||
        (status = each(c.pool, swiglu_task, s->up, n * width, s->gate, err)))
        return status;
    return ram_linear_apply(&c, &mlp->down, s->gate, n, s->part, mlp->down.out, err);
}

static int dense_mlp(struct ram_block *b, const struct ram_layer *layer, size_t n, float *x,
                     struct ram_err *err)
{
    const size_t hidden = b->model->hp.hidden, step = b->scratch.mlp_rows;
    float *part = b->scratch.part;
    int status = RAM_OK;

    for (size_t row = 0; !status && row < n; row += step) {
        const size_t rows = n - row < step ? n - row : step;
        status = ram_mlp_apply(b, &layer->mlp, b->scratch.normed + row * hidden,
                               b->scratch.unit_of + row, rows, err);
        if (!status && layer->after_mlp)
            status = ram_block_norm(b, layer->after_mlp, part, rows, part, err);
        if (!status)
            status = ram_add_into(b->compute.pool, part, rows * hidden, x + row * hidden, err);
    }
    return status;
}

static int sparse_mlp(struct ram_block *b, const struct ram_layer *layer, size_t n, float *x,
                      struct ram_err *err)
{
    float *sum = b->scratch.sum;
    int status = ram_sparse_apply(b, layer, n, err);

    if (!status && layer->after_mlp)
        status = ram_block_norm(b, layer->after_mlp, sum, n, sum, err);
    return status ? status : ram_add_into(b->compute.pool, sum, n * b->model->hp.hidden, x, err);
}

int ram_block_norm(const struct ram_block *b, const float *norm, const float *x, size_t n,
                   float *out, struct ram_err *err)
{
    const size_t hidden = b->model->hp.hidden;

    if (norm)
        return ram_norm_rows(b->compute.pool, x, hidden, norm, n, hidden, b->model->hp.norm_eps,
                             out, err);
    memcpy(out, x, n * hidden * sizeof *out);
    return RAM_OK;
}

int ram_block_apply(struct ram_block *b, const struct ram_layer *layer,
                    const struct ram_place *places, size_t n_places, float *x, struct ram_err *err)
{
    struct ram_scratch *s = &b->scratch;
    const size_t n = places[n_places - 1].row + places[n_places - 1].n;
    const size_t hidden = b->model->hp.hidden;
    int status;

    status = ram_block_norm(b, layer->before_attention, x, n, s->normed, err);
    if (!status)
        status = ram_block_mix(b, layer, places, n_places, n, err);
    if (!status)
        status = ram_linear_apply(&b->compute, &layer->attention.o, s->attended, n, s->normed,
                                  hidden, err);
    if (!status && layer->after_attention)
        status = ram_block_norm(b, layer->after_attention, s->normed, n, s->normed, err);
    if (!status)
        status = ram_add_into(b->compute.pool, s->normed, n * hidden, x, err);
    if (!status)
        status = ram_block_norm(b, layer->before_mlp, x, n, s->normed, err);
    if (status)
        return status;
    return layer->experts ? sparse_mlp(b, layer, n, x, err) : dense_mlp(b, layer, n, x, err);
}
