/* block_back.c - see block_back.h. */
#include "infer/block_back.h"

#include "base/mem.h"
#include "kern/nn.h"
#include "kern/nn_back.h"

#include <string.h>

enum { ROWS_A_TASK = 32, FLOATS_A_TASK = 1 << 15, MAX_HEAD = RAM_MAX_ROTARY * 4 };

/* ---- memory -----------------------------------------------------------------------------------
 */

static size_t rope_dim(const struct ram_hparams *hp)
{
    return hp->qk_dim - hp->nope_dim;
}

static size_t latent_floats(const struct ram_hparams *hp)
{
    return hp->mla ? 2 * hp->q_rank + 3 * hp->kv_rank + 2 * rope_dim(hp) : 0;
}

size_t ram_back_row(const struct ram_hparams *hp)
{
    return (hp->norms_after ? 5 : 3) * hp->hidden +
           2 * (hp->n_heads + hp->n_kv_heads) * hp->qk_dim + hp->n_kv_heads * hp->v_dim +
           ram_widest_attended(hp) + latent_floats(hp) + ram_fused_width(hp) +
           ram_delta_back_row(hp) + hp->moe.top_k + hp->moe.n_experts;
}

size_t ram_back_mlp_row(const struct ram_hparams *hp)
{
    return 3 * ram_widest_mlp(hp) + 2 * hp->hidden;
}

static void make_latent(struct ram_back *b, struct ram_arena *arena, size_t rows,
                        struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const size_t wide = hp->kv_rank + rope_dim(hp);

    b->q_latent = ram_arena_floats(arena, rows * hp->q_rank, err);
    b->dq_latent = ram_arena_floats(arena, rows * hp->q_rank, err);
    b->kv_wide = ram_arena_floats(arena, rows * wide, err);
    b->dkv_wide = ram_arena_floats(arena, rows * wide, err);
    b->dkv_latent = ram_arena_floats(arena, rows * hp->kv_rank, err);
}

int ram_back_make(struct ram_back *b, struct ram_arena *arena, size_t positions,
                  struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_scratch *s = &b->block.scratch;
    const size_t rows = s->rows, heads = hp->n_heads, kv = hp->n_kv_heads;
    const size_t threads = ram_pool_threads(b->block.compute.pool);
    const size_t raw_rows = hp->norms_after ? rows : 0;

    b->raw = ram_arena_floats(arena, raw_rows * hp->hidden, err);
    b->draw = ram_arena_floats(arena, raw_rows * hp->hidden, err);
    b->normed = ram_arena_floats(arena, rows * hp->hidden, err);
    b->mid = ram_arena_floats(arena, rows * hp->hidden, err);
    b->dnormed = ram_arena_floats(arena, rows * hp->hidden, err);
    b->dq = ram_arena_floats(arena, rows * heads * hp->qk_dim, err);
    b->q_raw = ram_arena_floats(arena, rows * heads * hp->qk_dim, err);
    b->dk = ram_arena_floats(arena, rows * kv * hp->qk_dim, err);
    b->k_raw = ram_arena_floats(arena, rows * kv * hp->qk_dim, err);
    b->dv = ram_arena_floats(arena, rows * kv * hp->v_dim, err);
    b->dattended = ram_arena_floats(arena, rows * ram_widest_attended(hp), err);
    b->dfused = ram_arena_floats(arena, rows * ram_fused_width(hp), err);
    if (hp->delta.n_v_heads && ram_delta_back_make(b, arena, err))
        return err->status;
    b->dshare = ram_arena_floats(arena, rows * hp->moe.top_k, err);
    b->drouter = ram_arena_floats(arena, rows * hp->moe.n_experts, err);
    b->active = ram_arena_floats(arena, s->mlp_rows * ram_widest_mlp(hp), err);
    b->dgate = ram_arena_floats(arena, s->mlp_rows * ram_widest_mlp(hp), err);
    b->dup = ram_arena_floats(arena, s->mlp_rows * ram_widest_mlp(hp), err);
    b->dpart = ram_arena_floats(arena, s->mlp_rows * hp->hidden, err);
    b->din = ram_arena_floats(arena, s->mlp_rows * hp->hidden, err);
    b->scores = ram_arena_floats(arena, threads * 2 * b->longest * b->longest, err);
    if (hp->mla)
        make_latent(b, arena, rows, err);
    for (size_t r = 0; !err->status && r < hp->n_ropes; r++) {
        const size_t angles = positions * hp->ropes[r].n_pairs;
        b->minus_sine[r] = ram_arena_floats(arena, angles, err);
        for (size_t i = 0; b->minus_sine[r] && i < angles; i++)
            b->minus_sine[r][i] = -s->sine[r][i];
    }
    return err->status;
}

/* ---- row loops ----------------------------------------------------------------------------------
 */

struct norm_job {
    const float *x, *weight, *dy;
    size_t x_stride, n, width, dx_stride;
    double eps;
    float *dx;
};

static int norm_back(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct norm_job *job = ctx;
    const size_t last = (i + 1) * ROWS_A_TASK < job->n ? (i + 1) * ROWS_A_TASK : job->n;

    (void)worker;
    (void)err;
    for (size_t row = i * ROWS_A_TASK; row < last; row++)
        ram_rmsnorm_back(job->x + row * job->x_stride, job->weight, job->width, job->eps,
                         job->dy + row * job->width, job->dx + row * job->dx_stride);
    return RAM_OK;
}

int ram_norm_rows_back(struct ram_pool *pool, const float *x, size_t x_stride, const float *weight,
                       size_t n, size_t width, double eps, const float *dy, float *dx,
                       size_t dx_stride, struct ram_err *err)
{
    struct norm_job job = {x, weight, dy, x_stride, n, width, dx_stride, eps, dx};
    return ram_pool_for(pool, (n + ROWS_A_TASK - 1) / ROWS_A_TASK, norm_back, &job, err);
}

struct swiglu_job {
    struct ram_back *b;
    size_t n;
};

/* The product's input, and from the derivative by it (in dup) those by gate and up. */
static int swiglu_back(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct swiglu_job *job = ctx;
    const struct ram_scratch *s = &job->b->block.scratch;
    const size_t at = i * FLOATS_A_TASK, left = job->n - at;
    const size_t n = left < FLOATS_A_TASK ? left : FLOATS_A_TASK;

    (void)worker;
    (void)err;
    ram_swiglu_back(s->gate + at, s->up + at, n, job->b->dup + at, job->b->dgate + at,
                    job->b->dup + at);
    return RAM_OK;
}

/* Derivatives of rotated, normed heads become those of what the projection gave. */
struct heads_job {
    const struct ram_back *b;
    const struct ram_place *place;
    struct ram_heads heads; /* x: the derivative */
    const float *raw;       /* what was normed, if there is a norm */
};

/* What a head was before its norm, if it was turned before it. */
static void turn_again(const struct heads_job *job, const float *raw, size_t at, float *turned)
{
    const struct ram_heads *h = &job->heads;
    const struct ram_hparams *hp = &job->b->block.model->hp;
    const struct ram_scratch *s = &job->b->block.scratch;

    memcpy(turned, raw, h->dim * sizeof *turned);
    if (h->rope != RAM_LAYER_NO_ROPE)
        ram_nn()->rotate(turned + h->rotary_at, s->cosine[h->rope] + at, s->sine[h->rope] + at,
                         hp->ropes[h->rope].n_pairs, hp->ropes[h->rope].interleaved);
}

static void turn_back(const struct heads_job *job, size_t at, float *d)
{
    const struct ram_heads *h = &job->heads;
    const struct ram_hparams *hp = &job->b->block.model->hp;

    if (h->rope != RAM_LAYER_NO_ROPE)
        ram_nn()->rotate(d + h->rotary_at, job->b->block.scratch.cosine[h->rope] + at,
                         job->b->minus_sine[h->rope] + at, hp->ropes[h->rope].n_pairs,
                         hp->ropes[h->rope].interleaved);
}

/* d = the derivative through the norm of x. */
static void norm_head_back(const struct heads_job *job, const float *x, float *d)
{
    const struct ram_heads *h = &job->heads;
    float normed[MAX_HEAD];

    memcpy(normed, d, h->dim * sizeof *d);
    memset(d, 0, h->dim * sizeof *d);
    ram_rmsnorm_back(x, h->norm, h->dim, job->b->block.model->hp.norm_eps, normed, d);
}

static int heads_back(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct heads_job *job = ctx;
    const struct ram_heads *h = &job->heads;
    const struct ram_hparams *hp = &job->b->block.model->hp;
    const size_t n_pairs = h->rope == RAM_LAYER_NO_ROPE ? 0 : hp->ropes[h->rope].n_pairs;
    const size_t at = (job->place->position + i) * n_pairs;
    float turned[MAX_HEAD];

    (void)worker;
    if (h->norm && h->dim > MAX_HEAD)
        return ram_fail(err, RAM_EUNSUPPORTED, "heads of %zu dimensions", h->dim);
    for (size_t head = 0; head < h->n_heads; head++) {
        const size_t from = ((job->place->row + i) * h->n_heads + head) * h->dim;
        if (h->norm && hp->turns_first) {
            turn_again(job, job->raw + from, at, turned);
            norm_head_back(job, turned, h->x + from);
        }
        turn_back(job, at, h->x + from);
        if (h->norm && !hp->turns_first)
            norm_head_back(job, job->raw + from, h->x + from);
    }
    return RAM_OK;
}

static int rotate_back(const struct ram_back *b, const struct ram_place *places, size_t n_places,
                       struct ram_heads heads, const float *raw, struct ram_err *err)
{
    struct heads_job job = {.b = b, .heads = heads, .raw = raw};
    int status = RAM_OK;

    for (size_t p = 0; !status && p < n_places; p++) {
        job.place = &places[p];
        status = ram_pool_for(b->block.compute.pool, places[p].n, heads_back, &job, err);
    }
    return status;
}

/* ---- one matrix ---------------------------------------------------------------------------------
 */

int ram_back_see(const struct ram_back *b, const struct ram_linear *linear, const float *x,
                 size_t n, const float *dy, size_t dy_stride, struct ram_err *err)
{
    const struct ram_sight sight = {
        .linear = linear, .x = x, .dy = dy, .dy_stride = dy_stride, .n = n, .first = b->first};
    return b->see(b->ctx, &sight, err);
}

int ram_back_linear(const struct ram_back *b, const struct ram_linear *linear, const float *x,
                    size_t n, const float *dy, size_t dy_stride, float *dx, bool accumulate,
                    struct ram_err *err)
{
    const int status = ram_back_see(b, linear, x, n, dy, dy_stride, err);
    return status ? status
                  : ram_linear_back(&b->block.compute, linear, dy, n, dy_stride, dx, linear->in,
                                    accumulate, err);
}

/* ---- MLP ----------------------------------------------------------------------------------------
 */

int ram_mlp_back(struct ram_back *b, const struct ram_mlp *mlp, const float *x, size_t n,
                 const float *dy, size_t first, const uint32_t *members, float *dx,
                 struct ram_err *err)
{
    struct ram_scratch *s = &b->block.scratch;
    struct ram_compute c = b->block.compute;
    const size_t hidden = mlp->gate.in, width = mlp->gate.out, floats = n * width;
    struct swiglu_job job = {b, floats};
    struct ram_sight sight = {.n = n, .first = first, .members = members};
    int status;

    c.unit_of = NULL;
    if ((status = ram_linear_apply(&c, &mlp->gate, x, n, s->gate, width, err)) ||
        (status = ram_linear_apply(&c, &mlp->up, x, n, s->up, width, err)))
        return status;
    ram_nn()->swiglu(s->gate, s->up, floats, b->active);
    if (members && (status = ram_linear_apply(&c, &mlp->down, b->active, n, s->part, hidden, err)))
        return status;
    sight = (struct ram_sight){&mlp->down, b->active, dy, hidden, n, first, members};
    if ((status = b->see(b->ctx, &sight, err)) ||
        (status = ram_linear_back(&c, &mlp->down, dy, n, hidden, b->dup, width, false, err)) ||
        (status = ram_pool_for(c.pool, (floats + FLOATS_A_TASK - 1) / FLOATS_A_TASK, swiglu_back,
                               &job, err)))
        return status;
    sight = (struct ram_sight){&mlp->gate, x, b->dgate, width, n, first, members};
    if ((status = b->see(b->ctx, &sight, err)))
        return status;
    sight.linear = &mlp->up;
    sight.dy = b->dup;
    if ((status = b->see(b->ctx, &sight, err)) ||
        (status = ram_linear_back(&c, &mlp->gate, b->dgate, n, width, dx, hidden, false, err)))
        return status;
    return ram_linear_back(&c, &mlp->up, b->dup, n, width, dx, hidden, true, err);
}

static int dense_back(struct ram_back *b, const struct ram_mlp *mlp, size_t n, const float *dy,
                      struct ram_err *err)
{
    const size_t hidden = b->block.model->hp.hidden, step = b->block.scratch.mlp_rows;
    int status = RAM_OK;

    for (size_t row = 0; !status && row < n; row += step) {
        const size_t rows = n - row < step ? n - row : step;
        status =
            ram_mlp_back(b, mlp, b->block.scratch.normed + row * hidden, rows, dy + row * hidden,
                         b->first + row, NULL, b->dnormed + row * hidden, err);
    }
    return status;
}

/* ---- queries, keys, values ----------------------------------------------------------------------
 */

/* d [n, width] becomes the derivative through a norm over the whole width of raw; room [n, width]
 * is used up. */
static int wide_norm_back(const struct ram_back *b, const float *raw, const float *norm, size_t n,
                          size_t width, float *d, float *room, struct ram_err *err)
{
    memcpy(room, d, n * width * sizeof *d);
    memset(d, 0, n * width * sizeof *d);
    return ram_norm_rows_back(b->block.compute.pool, raw, width, norm, n, width,
                              b->block.model->hp.norm_eps, room, d, width, err);
}

/* dattended becomes the derivative by what attention gives before its gates, of which that by the
 * gates goes to dfused, behind the place of each query's. */
static void gates_back(const struct ram_back *b, size_t n)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_scratch *s = &b->block.scratch;
    const size_t dim = hp->v_dim;

    for (size_t i = 0; i < n * hp->n_heads; i++)
        for (size_t j = 0; j < dim; j++) {
            const size_t at = i * dim + j;
            const float open = 1 / (1 + ram_nn_exp(-s->gates[at]));
            b->dfused[(2 * i + 1) * dim + j] = b->dattended[at] * s->attended[at] * (1 - open);
            b->dattended[at] *= open;
        }
}

static int queries_back(const struct ram_back *b, const struct ram_layer *layer, size_t n,
                        struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_linear *q = &layer->attention.q;
    const size_t dim = hp->qk_dim;

    for (size_t i = 0; hp->gated && i < n * hp->n_heads; i++)
        memcpy(b->dfused + 2 * i * dim, b->dq + i * dim, dim * sizeof *b->dq);
    return ram_back_linear(b, q, b->normed, n, hp->gated ? b->dfused : b->dq, q->out, b->dnormed,
                           false, err);
}

/* From dq, dk, dv to dnormed. Queries and keys in scratch are used up. */
static int plain_back(struct ram_back *b, const struct ram_layer *layer,
                      const struct ram_place *places, size_t n_places, size_t n,
                      struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_attention_weights *a = &layer->attention;
    const struct ram_scratch *s = &b->block.scratch;
    const bool wide = a->q_norm && hp->wide_qk_norm;
    const struct ram_heads queries = {
        b->dq, wide ? NULL : a->q_norm, hp->n_heads, hp->qk_dim, 0, layer->rope};
    const struct ram_heads keys = {
        b->dk, wide ? NULL : a->k_norm, hp->n_kv_heads, hp->qk_dim, 0, layer->rope};
    int status;

    if ((status = rotate_back(b, places, n_places, queries, b->q_raw, err)) ||
        (status = rotate_back(b, places, n_places, keys, b->k_raw, err)))
        return status;
    if (wide && ((status = wide_norm_back(b, b->q_raw, a->q_norm, n, a->q.out, b->dq, s->q, err)) ||
                 (status = wide_norm_back(b, b->k_raw, a->k_norm, n, a->k.out, b->dk, s->k, err))))
        return status;
    if ((status = queries_back(b, layer, n, err)) ||
        (status = ram_back_linear(b, &a->k, b->normed, n, b->dk, a->k.out, b->dnormed, true, err)))
        return status;
    return ram_back_linear(b, &a->v, b->normed, n, b->dv, a->v.out, b->dnormed, true, err);
}

/* Derivatives by keys and values of all heads become those by the latent they were made of. */
static int latent_kv_back(struct ram_back *b, const struct ram_attention_weights *a, size_t n,
                          struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    struct ram_scratch *s = &b->block.scratch;
    const size_t k_stride = hp->n_heads * hp->qk_dim, v_stride = hp->n_heads * hp->v_dim;
    const size_t rope = rope_dim(hp), wide = hp->kv_rank + rope;
    int status = RAM_OK;

    memset(b->dkv_wide, 0, n * wide * sizeof *b->dkv_wide);
    for (size_t h = 0; !status && h < hp->n_heads; h++) {
        const float *dk = b->dk + h * hp->qk_dim;
        status = ram_back_linear(b, &a->k_heads[h], s->latent_kv, n, dk, k_stride, b->dkv_latent,
                                 h > 0, err);
        if (!status)
            status = ram_back_linear(b, &a->v_heads[h], s->latent_kv, n, b->dv + h * hp->v_dim,
                                     v_stride, b->dkv_latent, true, err);
        for (size_t i = 0; i < n; i++) /* the rotary part is common to all heads */
            ram_nn()->axpy(1, dk + i * k_stride + hp->nope_dim, rope,
                           b->dkv_wide + i * wide + hp->kv_rank);
    }
    if (status)
        return status;
    status =
        ram_norm_rows_back(b->block.compute.pool, b->kv_wide, wide, a->kv_a_norm, n, hp->kv_rank,
                           hp->latent_norm_eps, b->dkv_latent, b->dkv_wide, wide, err);
    return status ? status
                  : ram_back_linear(b, &a->kv_a, b->normed, n, b->dkv_wide, wide, b->dnormed, false,
                                    err);
}

static int latent_back(struct ram_back *b, const struct ram_layer *layer,
                       const struct ram_place *places, size_t n_places, size_t n,
                       struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    struct ram_scratch *s = &b->block.scratch;
    const struct ram_attention_weights *a = &layer->attention;
    struct ram_heads heads = {b->dq, NULL, hp->n_heads, hp->qk_dim, hp->nope_dim, layer->rope};

    int status = rotate_back(b, places, n_places, heads, NULL, err);
    heads.x = b->dk;
    if (status || (status = rotate_back(b, places, n_places, heads, NULL, err)) ||
        (status = latent_kv_back(b, a, n, err)))
        return status;
    if (!hp->q_rank)
        return ram_back_linear(b, &a->q, b->normed, n, b->dq, a->q.out, b->dnormed, true, err);
    status = ram_back_linear(b, &a->q, s->latent, n, b->dq, a->q.out, s->latent, false, err);
    memset(b->dq_latent, 0, n * hp->q_rank * sizeof *b->dq_latent);
    if (!status)
        status = ram_norm_rows_back(b->block.compute.pool, b->q_latent, hp->q_rank, a->q_a_norm, n,
                                    hp->q_rank, hp->latent_norm_eps, s->latent, b->dq_latent,
                                    hp->q_rank, err);
    return status ? status
                  : ram_back_linear(b, &a->q_a, b->normed, n, b->dq_latent, hp->q_rank, b->dnormed,
                                    true, err);
}

/* What the norms of heads, or of latents, were applied to; scratch.latent becomes the query's
 * latent. */
static int project_again(struct ram_back *b, const struct ram_attention_weights *a, size_t n,
                         struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_compute *c = &b->block.compute;
    struct ram_scratch *s = &b->block.scratch;
    const float *x = b->normed;
    int status = RAM_OK;

    if (a->q_norm)
        status = ram_linear_apply(c, &a->q, x, n, hp->gated ? s->fused : b->q_raw, a->q.out, err);
    for (size_t i = 0; a->q_norm && hp->gated && !status && i < n * hp->n_heads; i++)
        memcpy(b->q_raw + i * hp->qk_dim, s->fused + 2 * i * hp->qk_dim,
               hp->qk_dim * sizeof *b->q_raw);
    if (!status && a->k_norm)
        status = ram_linear_apply(c, &a->k, x, n, b->k_raw, a->k.out, err);
    if (!status && hp->mla)
        status = ram_linear_apply(c, &a->kv_a, x, n, b->kv_wide, a->kv_a.out, err);
    if (status || !hp->mla || !hp->q_rank)
        return status;
    status = ram_linear_apply(c, &a->q_a, x, n, b->q_latent, hp->q_rank, err);
    return status ? status
                  : ram_norm_rows(c->pool, b->q_latent, hp->q_rank, a->q_a_norm, n, hp->q_rank,
                                  hp->latent_norm_eps, s->latent, err);
}

/* ---- the layer ----------------------------------------------------------------------------------
 */

/* b->normed, scratch.q, k, v and attended, b->mid, and in scratch.normed what the MLP is given. */
static int forward_again(struct ram_back *b, const struct ram_layer *layer,
                         const struct ram_place *places, size_t n_places, const float *x, size_t n,
                         struct ram_err *err)
{
    const struct ram_compute *c = &b->block.compute;
    struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden;
    int status;

    status = ram_block_norm(&b->block, layer->before_attention, x, n, s->normed, err);
    if (status)
        return status;
    memcpy(b->normed, s->normed, n * hidden * sizeof *s->normed);
    if ((status = ram_block_mix(&b->block, layer, places, n_places, n, err)) ||
        (!layer->recurs && (status = project_again(b, &layer->attention, n, err))) ||
        (status = ram_linear_apply(c, &layer->attention.o, s->attended, n, b->mid, hidden, err)) ||
        (layer->after_attention &&
         (status = ram_block_norm(&b->block, layer->after_attention, b->mid, n, b->mid, err))) ||
        (status = ram_add_into(c->pool, x, n * hidden, b->mid, err)))
        return status;
    return ram_block_norm(&b->block, layer->before_mlp, b->mid, n, s->normed, err);
}

/* The derivative by the hidden state x, of which normed was made: dx += that of dnormed. */
static int before_back(const struct ram_back *b, const float *norm, const float *x, size_t n,
                       float *dx, struct ram_err *err)
{
    const size_t hidden = b->block.model->hp.hidden;

    return norm ? ram_norm_rows_back(b->block.compute.pool, x, hidden, norm, n, hidden,
                                     b->block.model->hp.norm_eps, b->dnormed, dx, hidden, err)
                : ram_add_into(b->block.compute.pool, b->dnormed, n * hidden, dx, err);
}

/* What the MLP gives, to b->raw. */
static int mlp_again(struct ram_back *b, const struct ram_layer *layer, size_t n,
                     struct ram_err *err)
{
    struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden, step = s->mlp_rows;
    int status = layer->experts ? ram_sparse_apply(&b->block, layer, n, err) : RAM_OK;

    if (!status && layer->experts)
        memcpy(b->raw, s->sum, n * hidden * sizeof *b->raw);
    for (size_t row = 0; !layer->experts && !status && row < n; row += step) {
        const size_t rows = n - row < step ? n - row : step;
        status = ram_mlp_apply(&b->block, &layer->mlp, s->normed + row * hidden, s->unit_of + row,
                               rows, err);
        memcpy(b->raw + row * hidden, s->part, rows * hidden * sizeof *b->raw);
    }
    return status;
}

/* *dy, the derivative by what a norm gives, becomes that by b->raw, which it was given. */
static int after_back(struct ram_back *b, const float *norm, size_t n, const float **dy,
                      struct ram_err *err)
{
    const size_t hidden = b->block.model->hp.hidden;
    const float *given = *dy;

    memset(b->draw, 0, n * hidden * sizeof *b->draw);
    *dy = b->draw;
    return ram_norm_rows_back(b->block.compute.pool, b->raw, hidden, norm, n, hidden,
                              b->block.model->hp.norm_eps, given, b->draw, hidden, err);
}

static int mlp_part_back(struct ram_back *b, const struct ram_layer *layer, size_t n, float *dx,
                         struct ram_err *err)
{
    const float *dy = dx;
    int status = RAM_OK;

    if (layer->after_mlp && ((status = mlp_again(b, layer, n, err)) ||
                             (status = after_back(b, layer->after_mlp, n, &dy, err))))
        return status;
    status = layer->experts ? ram_sparse_back(b, layer, n, dy, err)
                            : dense_back(b, &layer->mlp, n, dy, err);
    return status ? status : before_back(b, layer->before_mlp, b->mid, n, dx, err);
}

/* From dattended to dnormed. */
static int mix_back(struct ram_back *b, const struct ram_layer *layer,
                    const struct ram_place *places, size_t n_places, size_t n, struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;

    if (layer->recurs)
        return ram_delta_layer_back(b, layer, places, n_places, n, err);
    if (hp->gated)
        gates_back(b, n);
    const int status = ram_attention_back(b, layer->window, places, n_places, err);
    if (status)
        return status;
    return hp->mla ? latent_back(b, layer, places, n_places, n, err)
                   : plain_back(b, layer, places, n_places, n, err);
}

int ram_block_back(struct ram_back *b, const struct ram_layer *layer,
                   const struct ram_place *places, size_t n_places, const float *x, float *dx,
                   struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_linear *o = &layer->attention.o;
    const float *attended = b->block.scratch.attended, *dy = dx;
    const size_t n = places[n_places - 1].row + places[n_places - 1].n;
    int status = forward_again(b, layer, places, n_places, x, n, err);

    if (!status)
        status = mlp_part_back(b, layer, n, dx, err);
    if (!status && layer->after_attention)
        status = ram_linear_apply(&b->block.compute, o, attended, n, b->raw, hp->hidden, err);
    if (!status && layer->after_attention)
        status = after_back(b, layer->after_attention, n, &dy, err);
    if (!status)
        status = ram_back_linear(b, o, attended, n, dy, hp->hidden, b->dattended, false, err);
    if (!status)
        status = mix_back(b, layer, places, n_places, n, err);
    return status ? status : before_back(b, layer->before_attention, x, n, dx, err);
}
