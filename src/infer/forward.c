/*
 * forward.c - see forward.h.
 *
 * Rows are cut into chunks of whole families (a span and those that continue it). The chunk is
 * as large as the memory allows, since a larger one decodes a quantised matrix less often.
 */
#include "infer/forward.h"

#include "infer/block.h"
#include "infer/rows.h"
#include "kern/nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_GROUPS = 256,   /* of experts, see sparse.c */
    CHUNK_ROWS = 16384, /* beyond this a larger chunk gains nothing */
    MLP_ROWS = 1024,
    CHECK_ROWS = 128,
    FORGET_ROWS = 1024, /* embeddings looked up; each may bring 64 KiB of its file into memory */
    TILE_FLOATS = 4 * 1024 * 1024,
    WORKER_BYTES = 24 * 1024 * 1024 /* packing and scores of a thread */
};

struct ram_forward {
    const struct ram_model *model;
    struct ram_block block;
    struct ram_kv *kv;        /* [n_layers, n_places] or NULL */
    size_t positions;         /* whose angles there are */
    struct ram_place *places; /* of all spans; row counts from the start of all rows */
    size_t n_places, n_rows;
    struct ram_rows rows;
    struct ram_arena arena; /* scratch that lives as long as this */
};

/* ---- set-up ----------------------------------------------------------------------------- */

/* Rows of the chunk that begins at place i and ends before last: whole families, at most limit if
 * one fits; *end is the place after it. */
static size_t chunk_rows(const struct ram_forward *f, size_t i, size_t last, size_t limit,
                         size_t *end)
{
    size_t rows = 0;

    for (size_t next; i < last; i = next) {
        size_t family = f->places[i].n;
        for (next = i + 1; next < last && f->places[next].parent != RAM_NO_PARENT; next++)
            family += f->places[next].n;
        if (rows && rows + family > limit)
            break;
        rows += family;
    }
    *end = i;
    return rows;
}

/* Divides the memory: activations (or a file), one chunk's scratch, a tile, the threads' own. */
static int divide_memory(struct ram_forward *f, const struct ram_forward_opts *opts,
                         struct ram_err *err)
{
    const struct ram_hparams *hp = &f->model->hp;
    const uint64_t budget = opts->exec->max_memory;
    const uint64_t all = (uint64_t)f->n_rows * hp->hidden * sizeof(float);
    const bool spill = all > budget / 4;
    const size_t least = ram_least_tile(hp), usual = (size_t)(budget / 64 / sizeof(float));
    size_t mlp_rows = MLP_ROWS, largest = 0, end;

    const size_t tile = usual < TILE_FLOATS ? usual : TILE_FLOATS;
    f->block.compute.tile_size = tile > least ? tile : least;
    while (mlp_rows > 32 &&
           (uint64_t)mlp_rows * ram_scratch_mlp_row(hp) * sizeof(float) > budget / 8)
        mlp_rows /= 2;
    const uint64_t fixed = (spill ? 0 : all) + (uint64_t)f->block.compute.tile_size * 4 +
                           (uint64_t)mlp_rows * ram_scratch_mlp_row(hp) * 4 +
                           (WORKER_BYTES + (uint64_t)ram_delta_room(&hp->delta) * sizeof(float)) *
                               ram_pool_threads(opts->exec->pool);
    const uint64_t row = (uint64_t)ram_scratch_row(hp, spill) * sizeof(float);
    const uint64_t left = budget * 3 / 4 > fixed ? budget * 3 / 4 - fixed : 0;
    const size_t limit = left / row < CHUNK_ROWS ? (size_t)(left / row) : CHUNK_ROWS;

    f->block.scratch.rows = limit;
    for (size_t i = 0; i < f->n_places; i = end) {
        const size_t rows = chunk_rows(f, i, f->n_places, limit, &end);
        largest = rows > largest ? rows : largest;
    }
    if (largest > limit && largest * row + fixed > budget)
        return ram_fail(err, RAM_ENOMEM,
                        "sequences of %zu tokens need %.1f MiB with this model, %.1f are allowed",
                        largest, (double)(largest * row + fixed) / 1048576,
                        (double)budget / 1048576);
    f->block.compute.forget = ram_model_bytes(f->model) + fixed + largest * row > budget;
    int status = ram_rows_new(&f->rows, f->n_rows, hp->hidden, spill, err);
    if (!status)
        status = ram_scratch_make(&f->block, &f->arena, largest,
                                  mlp_rows < largest ? mlp_rows : largest, spill, err);
    f->block.scratch.rows = limit > largest ? limit : largest;
    return status;
}

static int copy_spans(struct ram_forward *f, const struct ram_span *spans, struct ram_err *err)
{
    const struct ram_hparams *hp = &f->model->hp;
    size_t family = 0; /* the place that children continue */

    f->places = ram_arena_alloc(&f->arena, f->n_places * sizeof *f->places, err);
    if (!f->places)
        return RAM_ENOMEM;
    for (size_t i = 0; i < f->n_places; i++) {
        const bool child = spans[i].parent != RAM_NO_PARENT;
        if (!child)
            family = i;
        if (spans[i].n == 0 || (child && (i == 0 || spans[i].parent != family || f->kv)))
            return ram_fail(err, RAM_EUSAGE, "span %zu is empty or out of order", i);
        f->places[i] = (struct ram_place){.row = f->n_rows,
                                          .n = spans[i].n,
                                          .position = child   ? spans[family].n
                                                      : f->kv ? f->kv[i].n
                                                              : 0,
                                          .parent = spans[i].parent};
        if (f->places[i].position + spans[i].n > hp->max_positions)
            return ram_fail(err, RAM_ERANGE, "a sequence of %zu tokens, the model can hold %zu",
                            f->places[i].position + spans[i].n, hp->max_positions);
        f->n_rows += spans[i].n;
    }
    return RAM_OK;
}

void ram_forward_as_if(struct ram_forward *f, const struct ram_storage *as_if,
                       const unsigned *unit_of)
{
    f->block.compute.as_if = as_if;
    for (size_t i = 0; i < f->n_places; i++)
        f->places[i].unit = unit_of[i];
}

int ram_forward_embed(struct ram_forward *f, size_t span, const uint32_t *tokens,
                      struct ram_err *err)
{
    const struct ram_hparams *hp = &f->model->hp;
    const struct ram_place *place = &f->places[span];
    const unsigned unit = f->model->embed_unit;
    const bool other = place->unit == unit || place->unit == RAM_ALL_UNITS;
    const struct ram_storage *as_if = f->block.compute.as_if;
    const struct ram_storage *form = as_if && other && as_if[unit].form ? &as_if[unit] : NULL;
    float *buffer = f->block.scratch.normed, *row;
    int status = RAM_OK;

    for (size_t t = 0; !status && t < place->n; t++) {
        const size_t at = place->row + t;
        if (tokens[t] >= hp->vocab)
            return ram_fail(err, RAM_ERANGE, "token %u, the vocabulary has %zu", tokens[t],
                            hp->vocab);
        status = ram_rows_load(&f->rows, at, 1, buffer, &row, err);
        if (!status)
            status = ram_weight_read(&f->model->embed, tokens[t], 1, row, err);
        if (!status && form)
            status = ram_linear_perturb(form, row, 1, hp->hidden, err);
        if (!status)
            status = ram_rows_store(&f->rows, at, 1, row, err);
        if (f->block.compute.forget && (at + 1) % FORGET_ROWS == 0)
            ram_weight_forget(f->model->ckpt, &f->model->embed, 0, hp->vocab);
    }
    return status;
}

int ram_forward_new(struct ram_forward **out, const struct ram_model *model,
                    const struct ram_span *spans, size_t n_spans,
                    const struct ram_forward_opts *opts, struct ram_err *err)
{
    if (n_spans == 0)
        return ram_fail(err, RAM_EUSAGE, "there is nothing to run");
    if (model->hp.moe.n_groups > MAX_GROUPS)
        return ram_fail(err, RAM_EUNSUPPORTED, "%zu groups of experts, at most %d are supported",
                        model->hp.moe.n_groups, MAX_GROUPS);
    struct ram_forward *f = ram_calloc(1, sizeof *f, err);
    if (!f)
        return RAM_ENOMEM;
    f->model = model;
    f->n_places = n_spans;
    f->kv = opts->kv;
    f->rows.fd = -1;
    f->block.model = model;
    f->block.compute = (struct ram_compute){.ckpt = model->ckpt,
                                            .pool = opts->exec->pool,
                                            .mode = opts->f32 ? RAM_GEMM_F32 : RAM_GEMM_BF16};
    size_t positions = opts->positions;
    int status = copy_spans(f, spans, err);
    for (size_t i = 0; !status && i < n_spans; i++)
        if (f->places[i].position + f->places[i].n > positions)
            positions = f->places[i].position + f->places[i].n;
    f->positions = positions;
    if (!status)
        status = ram_scratch_rotary(&f->block, &f->arena, positions, err);
    if (!status)
        status = divide_memory(f, opts, err);
    for (size_t i = 0; !status && i < n_spans; i++)
        status = ram_forward_embed(f, i, spans[i].tokens, err);
    if (f->block.compute.forget)
        ram_weight_forget(model->ckpt, &model->embed, 0, model->hp.vocab);
    if (status) {
        ram_forward_free(f);
        return status;
    }
    *out = f;
    return RAM_OK;
}

int ram_forward_next(struct ram_forward *f, const uint32_t *tokens, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; !status && i < f->n_places; i++) {
        struct ram_place *place = &f->places[i];
        place->position = f->kv ? f->kv[i].n : f->positions;
        if (place->n != 1 || place->position >= f->positions)
            return ram_fail(err, RAM_EINTERNAL, "span %zu of %zu tokens cannot grow beyond %zu", i,
                            place->n, f->positions);
        status = ram_forward_embed(f, i, &tokens[i], err);
    }
    return status;
}

void ram_forward_free(struct ram_forward *f)
{
    if (!f)
        return;
    ram_rows_release(&f->rows);
    ram_arena_release(&f->arena);
    free(f);
}

/* ---- running ---------------------------------------------------------------------------- */

struct finite_job {
    const struct ram_forward *f;
    size_t layer, first_row, n;
    const float *x;
};

static int finite_task(void *ctx, size_t task, unsigned worker, struct ram_err *err)
{
    const struct finite_job *job = ctx;
    const struct ram_forward *f = job->f;
    const size_t hidden = f->model->hp.hidden;
    const size_t last = (task + 1) * CHECK_ROWS < job->n ? (task + 1) * CHECK_ROWS : job->n;

    (void)worker;
    for (size_t i = task * CHECK_ROWS; i < last; i++) {
        float sum = 0; /* 0 x anything finite is 0; the rest is NaN */
        for (size_t j = 0; j < hidden; j++)
            sum += 0 * job->x[i * hidden + j];
        if (sum == 0)
            continue;
        const size_t row = job->first_row + i;
        size_t p = 0;
        while (p + 1 < f->n_places && f->places[p + 1].row <= row)
            p++;
        return ram_fail(err, RAM_EFORMAT,
                        "%s: layer %zu gives a value that is not finite (sequence %zu, token %zu)",
                        f->model->ckpt->name, job->layer, p, row - f->places[p].row);
    }
    return RAM_OK;
}

/* The first that is not is named: of tasks that fail the one of the lowest index counts. */
static int check_finite(const struct ram_forward *f, size_t layer, size_t first_row, size_t n,
                        const float *x, struct ram_err *err)
{
    struct finite_job job = {f, layer, first_row, n, x};
    return ram_pool_for(f->block.compute.pool, (n + CHECK_ROWS - 1) / CHECK_ROWS, finite_task, &job,
                        err);
}

static int run_chunk(struct ram_forward *f, size_t layer, size_t begin, size_t end,
                     struct ram_err *err)
{
    const size_t row = f->places[begin].row, n_places = end - begin;
    const size_t n = f->places[end - 1].row + f->places[end - 1].n - row;
    float *x;

    struct ram_place *places = ram_calloc(n_places, sizeof *places, err);
    if (!places)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n_places; i++) {
        places[i] = f->places[begin + i];
        places[i].row -= row;
        for (size_t t = 0; t < places[i].n; t++)
            f->block.scratch.unit_of[places[i].row + t] = places[i].unit;
        if (places[i].parent != RAM_NO_PARENT)
            places[i].parent -= begin;
    }
    f->block.kv = f->kv ? &f->kv[layer * f->n_places + begin] : NULL;
    int status = ram_rows_load(&f->rows, row, n, f->block.scratch.x, &x, err);
    if (!status)
        status = ram_block_apply(&f->block, &f->model->layers[layer], places, n_places, x, err);
    if (!status)
        status = check_finite(f, layer, row, n, x, err);
    if (!status)
        status = ram_rows_store(&f->rows, row, n, x, err);
    free(places);
    return status;
}

int ram_forward_part(struct ram_forward *f, size_t layer, size_t n, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0, end; !status && i < n; i = end) {
        chunk_rows(f, i, n, f->block.scratch.rows, &end);
        status = run_chunk(f, layer, i, end, err);
    }
    return status;
}

int ram_forward_layer(struct ram_forward *f, size_t layer, struct ram_err *err)
{
    return ram_forward_part(f, layer, f->n_places, err);
}

/* Row t of two spans of the same length. */
static int load_pair(struct ram_forward *f, size_t from, size_t to, size_t t, float **x, float **y,
                     struct ram_err *err)
{
    const struct ram_place *a = &f->places[from], *b = &f->places[to];

    if (a->n != b->n)
        return ram_fail(err, RAM_EINTERNAL, "spans of %zu and %zu", a->n, b->n);
    const int status = ram_rows_load(&f->rows, a->row + t, 1, f->block.scratch.normed, x, err);
    return status ? status : ram_rows_load(&f->rows, b->row + t, 1, f->block.scratch.part, y, err);
}

int ram_forward_copy(struct ram_forward *f, size_t from, size_t to, struct ram_err *err)
{
    float *x, *y;
    int status = RAM_OK;

    for (size_t t = 0; !status && t < f->places[from].n; t++) {
        status = load_pair(f, from, to, t, &x, &y, err);
        if (status)
            return status;
        memcpy(y, x, f->model->hp.hidden * sizeof *y);
        status = ram_rows_store(&f->rows, f->places[to].row + t, 1, y, err);
    }
    return status;
}

int ram_forward_read(struct ram_forward *f, size_t first, size_t n, float *out, struct ram_err *err)
{
    float *x;

    const int status = ram_rows_load(&f->rows, first, n, out, &x, err);
    if (!status && x != out)
        memcpy(out, x, n * f->model->hp.hidden * sizeof *out);
    return status;
}

int ram_forward_distance(struct ram_forward *f, size_t from, size_t to, double *difference,
                         double *energy, struct ram_err *err)
{
    float *x, *y;
    int status = RAM_OK;

    *difference = *energy = 0;
    for (size_t t = 0; !status && t < f->places[from].n; t++) {
        status = load_pair(f, from, to, t, &x, &y, err);
        for (size_t j = 0; !status && j < f->model->hp.hidden; j++) {
            const double apart = (double)y[j] - (double)x[j];
            *difference += apart * apart;
            *energy += (double)x[j] * (double)x[j];
        }
    }
    return status;
}

int ram_forward_get_row(struct ram_forward *f, size_t row, float *out, struct ram_err *err)
{
    float *x;

    if (row >= f->n_rows)
        return ram_fail(err, RAM_EINTERNAL, "row %zu of %zu", row, f->n_rows);
    const int status = ram_rows_load(&f->rows, row, 1, f->block.scratch.normed, &x, err);
    if (!status)
        memcpy(out, x, f->model->hp.hidden * sizeof *out);
    return status;
}

int ram_forward_set_row(struct ram_forward *f, size_t row, const float *x, struct ram_err *err)
{
    const size_t hidden = f->model->hp.hidden;

    if (row >= f->n_rows)
        return ram_fail(err, RAM_EINTERNAL, "row %zu of %zu", row, f->n_rows);
    if (f->rows.memory)
        memcpy(f->rows.memory + row * hidden, x, hidden * sizeof *x);
    return ram_rows_store(&f->rows, row, 1, x, err);
}

size_t ram_forward_row(const struct ram_forward *f, size_t span)
{
    return f->places[span].row;
}

void ram_forward_observe(struct ram_forward *f, const struct ram_observer *observer)
{
    f->block.compute.observer = observer;
}

int ram_forward_normed(struct ram_forward *f, const size_t *rows, size_t n, float *out,
                       struct ram_err *err)
{
    const size_t hidden = f->model->hp.hidden;
    struct ram_scratch *s = &f->block.scratch;
    int status = RAM_OK;

    for (size_t done = 0, step; !status && done < n; done += step) {
        step = n - done < s->mlp_rows ? n - done : s->mlp_rows;
        for (size_t i = 0; !status && i < step; i++) {
            float *x, *to = s->part + i * hidden;
            status = ram_rows_load(&f->rows, rows[done + i], 1, to, &x, err);
            if (!status && x != to)
                memcpy(to, x, hidden * sizeof *to);
        }
        if (!status)
            status = ram_norm_rows(f->block.compute.pool, s->part, hidden, f->model->norm, step,
                                   hidden, f->model->hp.norm_eps, out + done * hidden, err);
    }
    return status;
}

int ram_forward_logits(struct ram_forward *f, const size_t *rows, size_t n,
                       const struct ram_storage *as_if, float *logits, struct ram_err *err)
{
    const size_t vocab = f->model->hp.vocab;
    struct ram_scratch *s = &f->block.scratch;
    struct ram_compute c = f->block.compute;
    int status = RAM_OK;

    c.as_if = as_if;
    c.unit_of = NULL;
    for (size_t done = 0, step; !status && done < n; done += step) {
        step = n - done < s->mlp_rows ? n - done : s->mlp_rows;
        status = ram_forward_normed(f, rows + done, step, s->gathered, err);
        if (!status)
            status = ram_linear_apply(&c, &f->model->head, s->gathered, step, logits + done * vocab,
                                      vocab, err);
    }
    return status;
}
