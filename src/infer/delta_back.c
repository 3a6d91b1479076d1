/*
 * delta_back.c - the derivative of a delta rule.
 *
 * The recurrence runs backward from states that are computed again, a block of positions at a time,
 * from the state at the block's begin. Work is cut by place and head of keys: the heads that share
 * it add to its derivative in turn.
 */
#include "infer/block_back.h"
#include "infer/delta.h"
#include "kern/nn.h"
#include "kern/nn_back.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 16, ROWS_A_TASK = 32 };

/* ---- memory ------------------------------------------------------------------------------- */

static size_t head_floats(const struct ram_delta_shape *d)
{
    return d->k_dim * d->v_dim;
}

size_t ram_delta_back_row(const struct ram_hparams *hp)
{
    const struct ram_delta_shape *d = &hp->delta;
    return 2 * ram_delta_width(d) + d->n_v_heads * (2 * d->v_dim + 4);
}

size_t ram_delta_back_room(const struct ram_hparams *hp, size_t longest)
{
    const struct ram_delta_shape *d = &hp->delta;
    const size_t blocks = (longest + BLOCK - 1) / BLOCK;
    const size_t recurrence = (blocks + BLOCK + 2) * head_floats(d) + (BLOCK + 2) * d->v_dim;
    const size_t row = 4 * ram_delta_width(d);

    return recurrence > row ? recurrence : row;
}

int ram_delta_back_make(struct ram_back *b, struct ram_arena *arena, struct ram_err *err)
{
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_delta_shape *d = &hp->delta;
    const size_t rows = b->block.scratch.rows, values = d->n_v_heads * d->v_dim;
    const size_t threads = ram_pool_threads(b->block.compute.pool);

    b->dmixed = ram_arena_floats(arena, rows * ram_delta_width(d), err);
    b->dconvolved = ram_arena_floats(arena, rows * ram_delta_width(d), err);
    b->dz = ram_arena_floats(arena, rows * values, err);
    b->recurred = ram_arena_floats(arena, rows * values, err);
    b->dba = ram_arena_floats(arena, rows * 2 * d->n_v_heads, err);
    b->dfused_ba = ram_arena_floats(arena, rows * 2 * d->n_v_heads, err);
    b->rooms = ram_arena_floats(arena, threads * ram_delta_back_room(hp, b->longest), err);
    return err->status;
}

struct job {
    struct ram_back *b;
    const struct ram_layer *layer;
    const struct ram_place *places, *place;
};

/* ---- recurrence --------------------------------------------------------------------------- */

/* A head of values of a place. */
struct head {
    const struct job *job;
    size_t index;
    float *begins;  /* [blocks, k_dim, v_dim]: the state before each block ... */
    float *states;  /* ... and [BLOCK + 1, k_dim, v_dim] before and behind the positions of one */
    float *changes; /* [BLOCK, v_dim] */
    float *dstate, *dout, *room;
};

static struct head head_in(const struct job *job, size_t index, float *room)
{
    const struct ram_delta_shape *d = &job->b->block.model->hp.delta;
    const size_t floats = head_floats(d), blocks = (job->b->longest + BLOCK - 1) / BLOCK;
    struct head h = {.job = job, .index = index, .begins = room};

    h.states = h.begins + blocks * floats;
    h.dstate = h.states + (BLOCK + 1) * floats;
    h.changes = h.dstate + floats;
    h.dout = h.changes + BLOCK * d->v_dim;
    h.room = h.dout + d->v_dim;
    return h;
}

/* Where a row's part of this head lies in [rows, heads of values, v_dim]. */
static size_t part_of(const struct head *h, size_t row)
{
    const struct ram_delta_shape *d = &h->job->b->block.model->hp.delta;
    return (row * d->n_v_heads + h->index) * d->v_dim;
}

static struct ram_delta_step step_at(const struct head *h, size_t row)
{
    return ram_delta_step_at(&h->job->b->block, h->job->layer, row, h->index);
}

/* Forward again: the states before blocks, and what the recurrence gives. */
static void recur_again(const struct head *h)
{
    struct ram_back *b = h->job->b;
    const size_t floats = head_floats(&b->block.model->hp.delta);
    const struct ram_place *place = h->job->place;
    float *state = h->states;

    memset(state, 0, floats * sizeof *state);
    for (size_t t = 0; t < place->n; t++) {
        const struct ram_delta_step step = step_at(h, place->row + t);
        if (t % BLOCK == 0)
            memcpy(h->begins + t / BLOCK * floats, state, floats * sizeof *state);
        ram_nn()->delta(&step, state, h->changes, b->recurred + part_of(h, place->row + t));
    }
}

/* The derivative by what the recurrence gives at a row, through its norm and its gate: to h->dout;
 * and that by the gate. */
static void gate_back(const struct head *h, size_t row)
{
    struct ram_back *b = h->job->b;
    const struct ram_hparams *hp = &b->block.model->hp;
    const float *norm = h->job->layer->delta.norm;
    const size_t n = hp->delta.v_dim, at = part_of(h, row);

    ram_nn()->rmsnorm(b->recurred + at, norm, n, hp->norm_eps, h->room);
    ram_swiglu_back(b->block.scratch.z + at, h->room, n, b->dattended + at, b->dz + at, h->room);
    memset(h->dout, 0, n * sizeof *h->dout);
    ram_rmsnorm_back(b->recurred + at, norm, n, hp->norm_eps, h->room, h->dout);
}

/* Derivatives by decay and correction become those by what the projections gave. */
static void keep_gates(const struct head *h, size_t row, const struct ram_delta_step *step,
                       const struct ram_delta_back *d)
{
    struct ram_back *b = h->job->b;
    const struct ram_delta_weights *w = &h->job->layer->delta;
    const size_t n = b->block.model->hp.delta.n_v_heads, head = h->index;
    const double a = (double)b->block.scratch.ba[row * 2 * n + n + head] + (double)w->step[head];
    const double rate = exp((double)w->decay[head]) / (1 + exp(-a)); /* of -log(decay) with a */
    const double beta = (double)step->beta;

    b->dba[row * 2 * n + head] = (float)(d->dbeta * beta * (1 - beta));
    b->dba[row * 2 * n + n + head] = (float)(-d->ddecay * (double)step->decay * rate);
}

/* Positions [first, last) of a block, the last first. */
static void block_back(const struct head *h, size_t first, size_t last)
{
    struct ram_back *b = h->job->b;
    const struct ram_delta_shape *d = &b->block.model->hp.delta;
    const size_t floats = head_floats(d), width = ram_delta_width(d);
    const size_t keys = d->n_k_heads * d->k_dim, row = h->job->place->row;
    const size_t k_head = h->index / (d->n_v_heads / d->n_k_heads);

    memcpy(h->states, h->begins + first / BLOCK * floats, floats * sizeof *h->states);
    for (size_t t = first; t < last; t++) {
        const struct ram_delta_step step = step_at(h, row + t);
        float *const state = h->states + (t - first + 1) * floats;
        memcpy(state, state - floats, floats * sizeof *state);
        ram_nn()->delta(&step, state, h->changes + (t - first) * d->v_dim, h->room);
    }
    for (size_t t = last; t-- > first;) {
        const struct ram_delta_step step = step_at(h, row + t);
        float *const to = b->dconvolved + (row + t) * width;
        const float *const before = h->states + (t - first) * floats;
        struct ram_delta_back back = {.dq = to + k_head * d->k_dim,
                                      .dk = to + keys + k_head * d->k_dim,
                                      .dv = to + 2 * keys + h->index * d->v_dim};
        gate_back(h, row + t);
        ram_delta_back(&step, before, before + floats, h->changes + (t - first) * d->v_dim, h->dout,
                       h->dstate, h->room, &back);
        keep_gates(h, row + t, &step, &back);
    }
}

/* All heads of values that share a head of keys. */
static int heads_back(void *ctx, size_t k_head, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    struct ram_back *b = job->b;
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_delta_shape *d = &hp->delta;
    const size_t shared = d->n_v_heads / d->n_k_heads, n = job->place->n;
    float *const room = b->rooms + (size_t)worker * ram_delta_back_room(hp, b->longest);

    (void)err;
    for (size_t row = job->place->row; row < job->place->row + n; row++) {
        float *to = b->dconvolved + row * ram_delta_width(d) + k_head * d->k_dim;
        memset(to, 0, d->k_dim * sizeof *to);
        memset(to + d->n_k_heads * d->k_dim, 0, d->k_dim * sizeof *to);
    }
    for (size_t i = 0; i < shared; i++) {
        const struct head h = head_in(job, k_head * shared + i, room);
        recur_again(&h);
        memset(h.dstate, 0, head_floats(d) * sizeof *h.dstate);
        for (size_t end = n; end > 0; end = (end - 1) / BLOCK * BLOCK)
            block_back(&h, (end - 1) / BLOCK * BLOCK, end);
    }
    return RAM_OK;
}

/* ---- convolution -------------------------------------------------------------------------- */

/* dconvolved becomes the derivative by what the convolution gives, before its activation. */
static int activation_back(void *ctx, size_t task, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    struct ram_back *b = job->b;
    const struct ram_hparams *hp = &b->block.model->hp;
    const struct ram_delta_shape *d = &hp->delta;
    const struct ram_scratch *s = &b->block.scratch;
    const size_t width = ram_delta_width(d), keys = d->n_k_heads * d->k_dim;
    const size_t first = task * ROWS_A_TASK, n = job->place->n;
    const size_t last = first + ROWS_A_TASK < n ? first + ROWS_A_TASK : n;
    const double eps = ram_delta_length_eps(hp);
    float *const x = b->rooms + (size_t)worker * ram_delta_back_room(hp, b->longest);
    float *const active = x + width, *const dactive = active + width, *const none = dactive + width;

    (void)err;
    for (size_t at = first; at < last; at++) {
        float *dy = b->dconvolved + (job->place->row + at) * width;
        ram_delta_convolve(&b->block, job->layer, job->places, job->place, at, x);
        ram_nn()->swiglu(x, s->ones, width, active);
        memset(dactive, 0, 2 * keys * sizeof *dactive);
        memcpy(dactive + 2 * keys, dy + 2 * keys, (width - 2 * keys) * sizeof *dactive);
        for (size_t h = 0; h < 2 * d->n_k_heads; h++)
            ram_rmsnorm_back(active + h * d->k_dim, h < d->n_k_heads ? s->q_length : s->k_length,
                             d->k_dim, eps, dy + h * d->k_dim, dactive + h * d->k_dim);
        ram_swiglu_back(x, s->ones, width, dactive, dy, none);
    }
    return RAM_OK;
}

/* A position was seen by itself and the kernel - 1 that follow. */
static int kernel_back(void *ctx, size_t task, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    struct ram_back *b = job->b;
    const struct ram_delta_shape *d = &b->block.model->hp.delta;
    const size_t width = ram_delta_width(d), first = task * ROWS_A_TASK, n = job->place->n;
    const size_t last = first + ROWS_A_TASK < n ? first + ROWS_A_TASK : n;

    (void)worker;
    (void)err;
    for (size_t at = first; at < last; at++) {
        float *dx = b->dmixed + (job->place->row + at) * width;
        memset(dx, 0, width * sizeof *dx);
        for (size_t later = 0; later < d->kernel && at + later < n; later++) {
            const float *w = job->layer->delta.kernel + (d->kernel - 1 - later) * width;
            const float *dy = b->dconvolved + (job->place->row + at + later) * width;
            for (size_t i = 0; i < width; i++)
                dx[i] += w[i] * dy[i];
        }
    }
    return RAM_OK;
}

/* ---- projections -------------------------------------------------------------------------- */

/* The rows of a fused projection, put together from their parts. */
static void join(const struct ram_back *b, const struct ram_layer *layer, size_t n)
{
    const struct ram_delta_shape *d = &b->block.model->hp.delta;
    const size_t width = ram_delta_width(d), values = d->n_v_heads * d->v_dim;

    for (size_t i = 0; i < n; i++)
        ram_delta_join_row(d, b->dmixed + i * width, b->dz + i * values,
                           b->dba + i * 2 * d->n_v_heads, b->dfused + i * layer->delta.qkvz.out,
                           b->dfused_ba + i * 2 * d->n_v_heads);
}

static int projections_back(struct ram_back *b, const struct ram_layer *layer, size_t n,
                            struct ram_err *err)
{
    const struct ram_delta_weights *w = &layer->delta;
    const size_t heads = b->block.model->hp.delta.n_v_heads, both = 2 * heads;
    const float *x = b->normed;
    int status;

    if (w->qkvz.out) {
        join(b, layer, n);
        status = ram_back_linear(b, &w->qkvz, x, n, b->dfused, w->qkvz.out, b->dnormed, false, err);
        return status ? status
                      : ram_back_linear(b, &w->ba, x, n, b->dfused_ba, both, b->dnormed, true, err);
    }
    if ((status =
             ram_back_linear(b, &w->qkv, x, n, b->dmixed, w->qkv.out, b->dnormed, false, err)) ||
        (status = ram_back_linear(b, &w->z, x, n, b->dz, w->z.out, b->dnormed, true, err)) ||
        (status = ram_back_linear(b, &w->b, x, n, b->dba, both, b->dnormed, true, err)))
        return status;
    return ram_back_linear(b, &w->a, x, n, b->dba + heads, both, b->dnormed, true, err);
}

int ram_delta_layer_back(struct ram_back *b, const struct ram_layer *layer,
                         const struct ram_place *places, size_t n_places, size_t n,
                         struct ram_err *err)
{
    struct ram_pool *pool = b->block.compute.pool;
    struct job job = {b, layer, places, NULL};
    int status = RAM_OK;

    for (size_t p = 0; !status && p < n_places; p++) {
        const size_t tasks = (places[p].n + ROWS_A_TASK - 1) / ROWS_A_TASK;
        job.place = &places[p];
        if ((status =
                 ram_pool_for(pool, b->block.model->hp.delta.n_k_heads, heads_back, &job, err)) ||
            (status = ram_pool_for(pool, tasks, activation_back, &job, err)))
            return status;
        status = ram_pool_for(pool, tasks, kernel_back, &job, err);
    }
    return status ? status : projections_back(b, layer, n, err);
}
