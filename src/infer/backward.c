/*
 * backward.c - see backward.h.
 *
 * The forward pass keeps the input of every layer. Backward, a layer is read once: its chunks of
 * whole sequences are computed forward again from their inputs and then backward, and what is kept
 * between two layers is one row of derivatives a token.
 */
#include "infer/backward.h"

#include "base/rng.h"
#include "infer/block_back.h"
#include "infer/rows.h"
#include "kern/nn.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_ROWS = 4096, /* of a chunk */
    MLP_ROWS = 512,
    LOGIT_ROWS = 128,
    TILE_FLOATS = 4 * 1024 * 1024,
    WORKER_BYTES = 24 * 1024 * 1024 /* packing of a thread */
};

struct pass {
    const struct ram_model *model;
    const struct ram_backward_opts *opts;
    const struct ram_span *spans;
    size_t n_spans, n_rows, longest;
    struct ram_back back;
    struct ram_place *places;    /* [n_spans] */
    struct ram_rows inputs;      /* [n_layers + 1, n_rows]: of every layer, and of the final norm */
    struct ram_rows dx;          /* [n_rows] */
    float *x_buffer, *dx_buffer; /* [chunk rows, hidden] */
    uint64_t memory;
    struct ram_arena arena;
    size_t n_done, n_steps;
};

static int step(struct pass *p, struct ram_err *err)
{
    const struct ram_backward_opts *opts = p->opts;
    return opts->step ? opts->step(opts->ctx, ++p->n_done, p->n_steps, err) : RAM_OK;
}

/* ---- memory -------------------------------------------------------------------------------------
 */

static int find_places(struct pass *p, struct ram_err *err)
{
    p->places = ram_arena_alloc(&p->arena, p->n_spans * sizeof *p->places, err);
    for (size_t i = 0; p->places && i < p->n_spans; i++) {
        if (p->spans[i].n == 0 || p->spans[i].parent != RAM_NO_PARENT)
            return ram_fail(err, RAM_EUSAGE, "span %zu is empty or has a parent", i);
        p->places[i] =
            (struct ram_place){.row = p->n_rows, .n = p->spans[i].n, .parent = RAM_NO_PARENT};
        p->n_rows += p->spans[i].n;
        p->longest = p->longest > p->spans[i].n ? p->longest : p->spans[i].n;
    }
    return err->status;
}

static int open_store(struct pass *p, struct ram_err *err)
{
    const struct ram_hparams *hp = &p->model->hp;
    const uint64_t all = (uint64_t)(hp->n_layers + 1) * p->n_rows * hp->hidden * sizeof(float);
    const uint64_t rows = (uint64_t)p->n_rows * hp->hidden * sizeof(float);
    size_t n;

    if (!ram_mul_size(hp->n_layers + 1, p->n_rows, &n))
        return ram_fail(err, RAM_ENOMEM, "no memory for the inputs of %zu layers", hp->n_layers);
    const int status = ram_rows_new(&p->inputs, n, hp->hidden, all > p->memory / 4, err);
    return status ? status : ram_rows_new(&p->dx, p->n_rows, hp->hidden, rows > p->memory / 8, err);
}

/* A chunk, a tile and what threads pack, in half of the memory: the inputs of layers and the rows
 * of derivatives have the other. */
static int open_back(struct pass *p, struct ram_err *err)
{
    const struct ram_hparams *hp = &p->model->hp;
    struct ram_back *b = &p->back;
    const size_t least = ram_least_tile(hp), usual = (size_t)(p->memory / 64 / sizeof(float));
    const size_t tile = usual < TILE_FLOATS ? usual : TILE_FLOATS;
    const uint64_t row = 4 * ((uint64_t)ram_scratch_row(hp, true) + ram_back_row(hp) + hp->hidden);
    const uint64_t mlp_row = 4 * ((uint64_t)ram_scratch_mlp_row(hp) + ram_back_mlp_row(hp));
    size_t mlp_rows = MLP_ROWS;

    b->block.compute.tile_size = tile > least ? tile : least;
    b->longest = p->longest;
    while (mlp_rows > 32 && mlp_rows * mlp_row > p->memory / 8)
        mlp_rows /= 2;
    const uint64_t threads = ram_pool_threads(p->opts->exec->pool);
    const uint64_t fixed = b->block.compute.tile_size * sizeof(float) + mlp_rows * mlp_row +
                           threads * (WORKER_BYTES + 8 * (uint64_t)p->longest * p->longest +
                                      4 * (uint64_t)ram_delta_back_room(hp, p->longest));
    const uint64_t left = p->memory / 2 > fixed ? p->memory / 2 - fixed : 0;
    size_t rows = left / row < MAX_ROWS ? (size_t)(left / row) : MAX_ROWS;
    rows = rows < p->n_rows ? rows : p->n_rows;
    if (rows < p->longest && p->longest * row + fixed > p->memory * 3 / 4)
        return ram_fail(err, RAM_ENOMEM,
                        "derivatives of sequences of %zu tokens need %.1f MiB with this model, "
                        "%.1f MiB are allowed",
                        p->longest, (double)(p->longest * row + fixed) * 4 / 3 / 1048576,
                        (double)p->memory / 1048576);
    rows = rows > p->longest ? rows : p->longest;
    b->block.compute.forget = ram_model_bytes(p->model) + p->memory / 2 > p->memory;
    int status =
        ram_scratch_make(&b->block, &p->arena, rows, mlp_rows < rows ? mlp_rows : rows, true, err);
    if (!status)
        status = ram_scratch_rotary(&b->block, &p->arena, p->longest, err);
    p->x_buffer = b->block.scratch.x;
    p->dx_buffer = ram_arena_floats(&p->arena, rows * hp->hidden, err);
    return status ? status : ram_back_make(b, &p->arena, p->longest, err);
}

/* ---- forward ------------------------------------------------------------------------------------
 */

static int keep_inputs(struct pass *p, struct ram_forward *forward, size_t layer,
                       struct ram_err *err)
{
    const size_t step = p->back.block.scratch.rows;
    int status = RAM_OK;

    for (size_t row = 0; !status && row < p->n_rows; row += step) {
        const size_t n = p->n_rows - row < step ? p->n_rows - row : step;
        const size_t at = layer * p->n_rows + row;
        float *to;
        status = ram_forward_read(forward, row, n, p->x_buffer, err);
        if (!status && p->inputs.memory) {
            status = ram_rows_load(&p->inputs, at, n, p->dx_buffer, &to, err);
            memcpy(to, p->x_buffer, n * p->model->hp.hidden * sizeof *to);
        } else if (!status) {
            status = ram_rows_store(&p->inputs, at, n, p->x_buffer, err);
        }
    }
    return status;
}

static int run_forward(struct pass *p, struct ram_err *err)
{
    const struct ram_exec half = ram_exec_share(p->opts->exec, p->memory / 2);
    const struct ram_forward_opts opts = {.f32 = true, .exec = &half};
    struct ram_forward *forward = NULL;

    int status = ram_forward_new(&forward, p->model, p->spans, p->n_spans, &opts, err);
    for (size_t layer = 0; !status && layer < p->model->hp.n_layers; layer++) {
        status = keep_inputs(p, forward, layer, err);
        if (!status)
            status = ram_forward_layer(forward, layer, err);
        if (!status)
            status = step(p, err);
    }
    if (!status)
        status = keep_inputs(p, forward, p->model->hp.n_layers, err);
    ram_forward_free(forward);
    return status;
}

/* ---- the head -----------------------------------------------------------------------------------
 */

struct label_job {
    const struct pass *p;
    size_t first;
    float *logits; /* [n, vocab]: becomes p - 1 at the label */
};

static int label_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct label_job *job = ctx;
    const struct ram_backward_opts *opts = job->p->opts;
    const size_t vocab = job->p->model->hp.vocab, row = job->first + i;
    float *p = job->logits + i * vocab;

    (void)worker;
    ram_nn()->softmax(p, vocab, 1);
    const uint32_t label =
        opts->labels ? opts->labels[row]
                     : (uint32_t)ram_rng_draw(
                           p, vocab, ram_rng_uniform(ram_rng_for(opts->seed, "labels"), row));
    if (label >= vocab)
        return ram_fail(err, RAM_ERANGE, "label %u, the vocabulary has %zu", label, vocab);
    p[label] -= 1;
    return RAM_OK;
}

static int head_rows(struct pass *p, size_t first, size_t n, float *logits, struct ram_err *err)
{
    const struct ram_hparams *hp = &p->model->hp;
    struct ram_back *b = &p->back;
    const struct ram_compute *c = &b->block.compute;
    struct label_job job = {p, first, logits};
    float *x, *dx;
    int status;

    b->first = first;
    if ((status = ram_rows_load(&p->inputs, hp->n_layers * p->n_rows + first, n, p->x_buffer, &x,
                                err)) ||
        (status = ram_norm_rows(c->pool, x, hp->hidden, p->model->norm, n, hp->hidden, hp->norm_eps,
                                b->normed, err)) ||
        (status = ram_linear_apply(c, &p->model->head, b->normed, n, logits, hp->vocab, err)) ||
        (status = ram_pool_for(c->pool, n, label_row, &job, err)) ||
        (status = ram_back_see(b, &p->model->head, b->normed, n, logits, hp->vocab, err)) ||
        (status = ram_linear_back(c, &p->model->head, logits, n, hp->vocab, b->dnormed, hp->hidden,
                                  false, err)) ||
        (status = ram_rows_load(&p->dx, first, n, p->dx_buffer, &dx, err)))
        return status;
    memset(dx, 0, n * hp->hidden * sizeof *dx);
    status = ram_norm_rows_back(c->pool, x, hp->hidden, p->model->norm, n, hp->hidden, hp->norm_eps,
                                b->dnormed, dx, hp->hidden, err);
    return status ? status : ram_rows_store(&p->dx, first, n, dx, err);
}

static int run_head(struct pass *p, struct ram_err *err)
{
    const size_t vocab = p->model->hp.vocab, chunk = p->back.block.scratch.rows;
    const size_t fits = (size_t)(p->memory / 8 / (vocab * sizeof(float)));
    size_t rows = fits > LOGIT_ROWS ? LOGIT_ROWS : fits ? fits : 1;
    int status = RAM_OK;

    rows = rows < chunk ? rows : chunk;
    float *logits = ram_calloc(rows * vocab, sizeof *logits, err);
    if (!logits)
        return RAM_ENOMEM;
    for (size_t first = 0; !status && first < p->n_rows; first += rows)
        status =
            head_rows(p, first, p->n_rows - first < rows ? p->n_rows - first : rows, logits, err);
    free(logits);
    return status ? status : step(p, err);
}

/* ---- the layers ---------------------------------------------------------------------------------
 */

/* Places [begin, end) through a layer; the embedding is seen below the first. */
static int chunk_back(struct pass *p, size_t layer, size_t begin, size_t end, struct ram_err *err)
{
    const size_t first = p->places[begin].row, n_places = end - begin;
    const size_t n = p->places[end - 1].row + p->places[end - 1].n - first;
    struct ram_place *places = ram_calloc(n_places, sizeof *places, err);
    float *x, *dx;

    if (!places)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n_places; i++) {
        places[i] = p->places[begin + i];
        places[i].row -= first;
    }
    p->back.first = first;
    int status = ram_rows_load(&p->inputs, layer * p->n_rows + first, n, p->x_buffer, &x, err);
    if (!status)
        status = ram_rows_load(&p->dx, first, n, p->dx_buffer, &dx, err);
    if (!status)
        status = ram_block_back(&p->back, &p->model->layers[layer], places, n_places, x, dx, err);
    if (!status && layer == 0)
        status = ram_back_see(&p->back, NULL, NULL, n, dx, p->model->hp.hidden, err);
    if (!status)
        status = ram_rows_store(&p->dx, first, n, dx, err);
    free(places);
    return status;
}

static int layer_back(struct pass *p, size_t layer, struct ram_err *err)
{
    const size_t limit = p->back.block.scratch.rows;
    int status = RAM_OK;

    for (size_t begin = 0, end; !status && begin < p->n_spans; begin = end) {
        size_t rows = p->places[begin].n;
        for (end = begin + 1; end < p->n_spans && rows + p->places[end].n <= limit; end++)
            rows += p->places[end].n;
        status = chunk_back(p, layer, begin, end, err);
    }
    return status ? status : step(p, err);
}

int ram_backward(const struct ram_model *model, const struct ram_span *spans, size_t n_spans,
                 const struct ram_backward_opts *opts, struct ram_err *err)
{
    struct pass p = {.model = model,
                     .spans = spans,
                     .n_spans = n_spans,
                     .opts = opts,
                     .memory = opts->exec->max_memory,
                     .inputs = {.fd = -1},
                     .dx = {.fd = -1},
                     .n_steps = 2 * model->hp.n_layers + 1};

    p.back.see = opts->see;
    p.back.ctx = opts->ctx;
    p.back.block.model = model;
    p.back.block.compute =
        (struct ram_compute){.ckpt = model->ckpt, .pool = opts->exec->pool, .mode = RAM_GEMM_F32};
    int status = find_places(&p, err);
    if (!status && p.n_rows == 0)
        status = ram_fail(err, RAM_EUSAGE, "there is nothing to run");
    if (!status)
        status = open_store(&p, err);
    if (!status)
        status = open_back(&p, err);
    if (!status)
        status = run_forward(&p, err);
    if (!status)
        status = run_head(&p, err);
    for (size_t layer = model->hp.n_layers; !status && layer-- > 0;)
        status = layer_back(&p, layer, err);
    ram_rows_release(&p.inputs);
    ram_rows_release(&p.dx);
    ram_arena_release(&p.arena);
    return status;
}
