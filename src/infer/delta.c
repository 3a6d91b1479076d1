/* delta.c - see delta.h. */
#include "infer/delta.h"

#include "kern/nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_A_TASK = 32 };

/* ---- projections -------------------------------------------------------------------------- */

/*
 * One matrix gives, for each head of keys, its query, its key, and values and gates of the heads
 * that share it; another one their b and their a. The parts of a head, of which each lies at
 * `apart` in a tensor of its own and at `fused` in the row that has them all.
 */
struct parts {
    size_t n[6], apart[6], fused[6];
};

static struct parts parts_of(const struct ram_delta_shape *d, size_t head)
{
    const size_t shared = d->n_v_heads / d->n_k_heads, values = shared * d->v_dim;
    const size_t keys = d->n_k_heads * d->k_dim, all = head * 2 * (d->k_dim + values);

    return (struct parts){
        .n = {d->k_dim, d->k_dim, values, values, shared, shared},
        .apart = {head * d->k_dim, keys + head * d->k_dim, 2 * keys + head * values, head * values,
                  head * shared, d->n_v_heads + head * shared},
        .fused = {all, all + d->k_dim, all + 2 * d->k_dim, all + 2 * d->k_dim + values,
                  head * 2 * shared, (head * 2 + 1) * shared},
    };
}

static void divide_row(const struct ram_delta_shape *d, const float *qkvz, const float *ba,
                       float *mixed, float *z, float *b_a)
{
    float *const to[] = {mixed, mixed, mixed, z, b_a, b_a};

    for (size_t h = 0; h < d->n_k_heads; h++) {
        const struct parts p = parts_of(d, h);
        for (size_t i = 0; i < 6; i++)
            memcpy(to[i] + p.apart[i], (i < 4 ? qkvz : ba) + p.fused[i], p.n[i] * sizeof *mixed);
    }
}

void ram_delta_join_row(const struct ram_delta_shape *d, const float *mixed, const float *z,
                        const float *b_a, float *qkvz, float *ba)
{
    const float *const from[] = {mixed, mixed, mixed, z, b_a, b_a};

    for (size_t h = 0; h < d->n_k_heads; h++) {
        const struct parts p = parts_of(d, h);
        for (size_t i = 0; i < 6; i++)
            memcpy((i < 4 ? qkvz : ba) + p.fused[i], from[i] + p.apart[i], p.n[i] * sizeof *ba);
    }
}

static int project_fused(struct ram_block *b, const struct ram_layer *layer, size_t n,
                         struct ram_err *err)
{
    const struct ram_delta_shape *d = &b->model->hp.delta;
    const struct ram_delta_weights *w = &layer->delta;
    struct ram_scratch *s = &b->scratch;
    const size_t wide = w->qkvz.out, heads = 2 * d->n_v_heads, values = d->n_v_heads * d->v_dim;
    int status = ram_linear_apply(&b->compute, &w->qkvz, s->normed, n, s->fused, wide, err);

    if (!status)
        status = ram_linear_apply(&b->compute, &w->ba, s->normed, n, s->fused_ba, heads, err);
    for (size_t i = 0; !status && i < n; i++)
        divide_row(d, s->fused + i * wide, s->fused_ba + i * heads, s->mixed + i * (wide - values),
                   s->z + i * values, s->ba + i * heads);
    return status;
}

int ram_delta_project(struct ram_block *b, const struct ram_layer *layer, size_t n,
                      struct ram_err *err)
{
    const struct ram_delta_weights *w = &layer->delta;
    const struct ram_compute *c = &b->compute;
    struct ram_scratch *s = &b->scratch;
    const size_t heads = b->model->hp.delta.n_v_heads;
    int status;

    if (w->qkvz.out)
        return project_fused(b, layer, n, err);
    if ((status = ram_linear_apply(c, &w->qkv, s->normed, n, s->mixed, w->qkv.out, err)) ||
        (status = ram_linear_apply(c, &w->z, s->normed, n, s->z, w->z.out, err)) ||
        (status = ram_linear_apply(c, &w->b, s->normed, n, s->ba, 2 * heads, err)))
        return status;
    return ram_linear_apply(c, &w->a, s->normed, n, s->ba + heads, 2 * heads, err);
}

/* ---- convolution -------------------------------------------------------------------------- */

/* What the convolution is given `back` positions before row `at` of a place; NULL: zeros, which
 * stand before the text. */
static const float *given(const struct ram_block *b, const struct ram_place *places,
                          const struct ram_place *place, size_t at, size_t back)
{
    const struct ram_delta_shape *d = &b->model->hp.delta;
    const size_t width = ram_delta_width(d), tail = d->kernel - 1;

    if (back <= at)
        return b->scratch.mixed + (place->row + at - back) * width;
    back -= at; /* from the first row on */
    if (b->kv) {
        const struct ram_kv *kv = &b->kv[place - places];
        return kv->n ? kv->v + (tail - back) * width : NULL;
    }
    if (place->parent == RAM_NO_PARENT || back > places[place->parent].n)
        return NULL;
    const struct ram_place *parent = &places[place->parent];
    return b->scratch.mixed + (parent->row + parent->n - back) * width;
}

void ram_delta_convolve(const struct ram_block *b, const struct ram_layer *layer,
                        const struct ram_place *places, const struct ram_place *place, size_t at,
                        float *out)
{
    const struct ram_delta_shape *d = &b->model->hp.delta;
    const size_t width = ram_delta_width(d);

    memset(out, 0, width * sizeof *out);
    for (size_t j = 0; j < d->kernel; j++) {
        const float *x = given(b, places, place, at, d->kernel - 1 - j);
        const float *w = layer->delta.kernel + j * width;
        for (size_t i = 0; x && i < width; i++)
            out[i] += w[i] * x[i];
    }
}

struct rows_job {
    struct ram_block *b;
    const struct ram_layer *layer;
    const struct ram_place *places;
    size_t n_places, n;
};

/* The place that a row of the chunk belongs to. */
static const struct ram_place *place_of(const struct rows_job *job, size_t row)
{
    size_t low = 0, high = job->n_places;

    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (job->places[middle].row <= row)
            low = middle;
        else
            high = middle;
    }
    return &job->places[low];
}

double ram_delta_length_eps(const struct ram_hparams *hp)
{
    return 1e-6 / (double)hp->delta.k_dim;
}

/* Rows through the convolution and its activation; queries and keys are made of length
 * 1, queries then divided by the root of their width. */
static int convolve_task(void *ctx, size_t task, unsigned worker, struct ram_err *err)
{
    const struct rows_job *job = ctx;
    const struct ram_hparams *hp = &job->b->model->hp;
    const struct ram_delta_shape *d = &hp->delta;
    const struct ram_scratch *s = &job->b->scratch;
    const size_t width = ram_delta_width(d), first = task * ROWS_A_TASK;
    const size_t last = first + ROWS_A_TASK < job->n ? first + ROWS_A_TASK : job->n;
    const double eps = ram_delta_length_eps(hp);

    (void)worker;
    (void)err;
    for (size_t i = first; i < last; i++) {
        const struct ram_place *place = place_of(job, i);
        float *row = s->convolved + i * width;
        ram_delta_convolve(job->b, job->layer, job->places, place, i - place->row, row);
        ram_nn()->swiglu(row, s->ones, width, row);
        for (size_t h = 0; h < 2 * d->n_k_heads; h++)
            ram_nn()->rmsnorm(row + h * d->k_dim, h < d->n_k_heads ? s->q_length : s->k_length,
                              d->k_dim, eps, row + h * d->k_dim);
    }
    return RAM_OK;
}

/* ---- recurrence --------------------------------------------------------------------------- */

/* In f64, so that the processor's exp makes no difference. */
struct ram_delta_gates ram_delta_gates(const struct ram_block *b, const struct ram_layer *layer,
                                       size_t row, size_t head)
{
    const size_t n = b->model->hp.delta.n_v_heads;
    const float *ba = b->scratch.ba + row * 2 * n;
    const double step = (double)ba[n + head] + (double)layer->delta.step[head];
    const double softplus = step > 0 ? step + log1p(exp(-step)) : log1p(exp(step));

    return (struct ram_delta_gates){
        .decay = (float)exp(-exp((double)layer->delta.decay[head]) * softplus),
        .beta = (float)(1 / (1 + exp(-(double)ba[head]))),
    };
}

struct ram_delta_step ram_delta_step_at(const struct ram_block *b, const struct ram_layer *layer,
                                        size_t row, size_t head)
{
    const struct ram_delta_shape *d = &b->model->hp.delta;
    const struct ram_delta_gates gates = ram_delta_gates(b, layer, row, head);
    const float *x = b->scratch.convolved + row * ram_delta_width(d);
    const size_t keys = d->n_k_heads * d->k_dim, k_head = head / (d->n_v_heads / d->n_k_heads);

    return (struct ram_delta_step){.q = x + k_head * d->k_dim,
                                   .k = x + keys + k_head * d->k_dim,
                                   .v = x + 2 * keys + head * d->v_dim,
                                   .k_dim = d->k_dim,
                                   .v_dim = d->v_dim,
                                   .decay = gates.decay,
                                   .beta = gates.beta};
}

struct recur_job {
    struct ram_block *b;
    const struct ram_layer *layer;
    const struct ram_place *places;
    size_t n_places;
    const size_t *roots; /* places without a parent */
};

/* A place through one head; room: [v_dim]. */
static void recur(const struct recur_job *job, const struct ram_place *place, size_t head,
                  float *state, float *room)
{
    const struct ram_hparams *hp = &job->b->model->hp;
    const struct ram_delta_shape *d = &hp->delta;
    const struct ram_scratch *s = &job->b->scratch;

    for (size_t row = place->row; row < place->row + place->n; row++) {
        const struct ram_delta_step step = ram_delta_step_at(job->b, job->layer, row, head);
        float *out = s->attended + (row * d->n_v_heads + head) * d->v_dim;
        ram_nn()->delta(&step, state, room, out);
        ram_nn()->rmsnorm(out, job->layer->delta.norm, d->v_dim, hp->norm_eps, out);
        float *z = s->z + (row * d->n_v_heads + head) * d->v_dim;
        ram_nn()->swiglu(z, out, d->v_dim, out);
    }
}

/* A head of a place without parent and, from the state that it leaves, of all that continue it. */
static int recur_task(void *ctx, size_t task, unsigned worker, struct ram_err *err)
{
    const struct recur_job *job = ctx;
    const struct ram_delta_shape *d = &job->b->model->hp.delta;
    const size_t root = job->roots[task / d->n_v_heads], head = task % d->n_v_heads;
    const size_t floats = d->k_dim * d->v_dim;
    float *room = job->b->scratch.states + (size_t)worker * ram_delta_room(d);
    float *state = room + d->v_dim, *branch = state + floats;

    (void)err;
    if (job->b->kv) {
        recur(job, &job->places[root], head, job->b->kv[root].k + head * floats, room);
        return RAM_OK;
    }
    memset(state, 0, floats * sizeof *state);
    recur(job, &job->places[root], head, state, room);
    for (size_t p = root + 1; p < job->n_places && job->places[p].parent == root; p++) {
        memcpy(branch, state, floats * sizeof *branch);
        recur(job, &job->places[p], head, branch, room);
    }
    return RAM_OK;
}

/* ---- sequences that grow ------------------------------------------------------------------- */

/* The state of a sequence that begins here is 0. */
static int begin_state(const struct ram_delta_shape *d, struct ram_kv *kv, struct ram_err *err)
{
    const size_t state = ram_delta_state(d), tail = (d->kernel - 1) * ram_delta_width(d);

    if (kv->n)
        return RAM_OK;
    if (!kv->room) {
        kv->k = ram_alloc(state, sizeof *kv->k, err);
        kv->v = kv->k ? ram_alloc(tail + 1, sizeof *kv->v, err) : NULL;
        if (!kv->v)
            return RAM_ENOMEM;
        kv->room = SIZE_MAX;
    }
    memset(kv->k, 0, state * sizeof *kv->k);
    memset(kv->v, 0, tail * sizeof *kv->v);
    return RAM_OK;
}

/* The last inputs of the convolution are kept for the positions that follow. */
static void keep_tail(const struct ram_block *b, const struct ram_place *place, struct ram_kv *kv)
{
    const struct ram_delta_shape *d = &b->model->hp.delta;
    const size_t width = ram_delta_width(d), tail = d->kernel - 1;
    const size_t n = place->n < tail ? place->n : tail;

    memmove(kv->v, kv->v + n * width, (tail - n) * width * sizeof *kv->v);
    memcpy(kv->v + (tail - n) * width, b->scratch.mixed + (place->row + place->n - n) * width,
           n * width * sizeof *kv->v);
    kv->n += place->n;
}

int ram_delta_apply(struct ram_block *b, const struct ram_layer *layer,
                    const struct ram_place *places, size_t n_places, size_t n, struct ram_err *err)
{
    const struct ram_delta_shape *d = &b->model->hp.delta;
    struct ram_pool *pool = b->compute.pool;
    struct rows_job rows = {b, layer, places, n_places, n};
    struct recur_job job = {b, layer, places, n_places, NULL};
    size_t n_roots = 0;
    int status = ram_delta_project(b, layer, n, err);

    size_t *roots = status ? NULL : ram_calloc(n_places, sizeof *roots, err);
    if (!roots)
        return err->status;
    for (size_t p = 0; !status && p < n_places; p++) {
        if (places[p].parent == RAM_NO_PARENT)
            roots[n_roots++] = p;
        if (b->kv)
            status = begin_state(d, &b->kv[p], err);
    }
    if (!status)
        status = ram_pool_for(pool, (n + ROWS_A_TASK - 1) / ROWS_A_TASK, convolve_task, &rows, err);
    job.roots = roots;
    if (!status)
        status = ram_pool_for(pool, n_roots * d->n_v_heads, recur_task, &job, err);
    for (size_t p = 0; b->kv && !status && p < n_places; p++)
        keep_tail(b, &places[p], &b->kv[p]);
    free(roots);
    return status;
}
