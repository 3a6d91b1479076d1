/* gradients.c - see gradients.h. */
#include "probe/gradients.h"

#include "base/mem.h"
#include "codec/gptq_coupled.h"
#include "infer/backward.h"
#include "infer/rows.h"
#include "kern/gemm.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 1024 /* floats of a row of the store */, SEED = 42, MOST_OF_A_LAYER = 16 };

/* Where the moments of a unit are: blocks of b rows, [b, b] each, the last of what is left. */
struct moments {
    size_t out, block; /* rows of the matrix, and of a block; out 0: nothing is known */
    size_t at;         /* row of the store */
};

struct ram_gradients {
    const struct ram_model *model;
    struct ram_exec exec;
    struct moments *of; /* [n_units] */
    struct ram_rows store;
    float *layer; /* the moments of the layer whose derivatives are being made */
    size_t layer_rows, first_row, now; /* its rows of the store, the first of them, its number */
    struct ram_gptq_factor **made;
    size_t n_made, room;
};

/* ---- where moments are ------------------------------------------------------------------ */

static size_t rows_of_block(const struct moments *m, size_t row)
{
    return m->out - row < m->block ? m->out - row : m->block;
}

/* Floats of the blocks before the one that begins at `row`. */
static size_t floats_before(const struct moments *m, size_t row)
{
    return row / m->block * m->block * m->block;
}

static size_t floats_of(const struct moments *m)
{
    const size_t last = m->out % m->block;
    return floats_before(m, m->out) + last * last;
}

/* The matrices of a layer whose rows are coupled. */
static size_t coupled_linears(const struct ram_layer *layer,
                              const struct ram_linear *out[MOST_OF_A_LAYER])
{
    const struct ram_attention_weights *a = &layer->attention;
    const struct ram_mlp *mlp = layer->experts ? &layer->shared : &layer->mlp;
    const struct ram_linear *const all[] = {&a->q,    &a->k,      &a->v,    &a->o,     &a->q_a,
                                            &a->kv_a, &mlp->gate, &mlp->up, &mlp->down};
    size_t n = 0;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->unit && all[i]->out && !all[i]->transposed)
            out[n++] = all[i];
    return n;
}

/* Rows of the store, of all layers; *most: of the layer with the most. */
static int find_rows(struct ram_gradients *g, size_t *all, size_t *most, struct ram_err *err)
{
    const struct ram_linear *linears[MOST_OF_A_LAYER];

    *all = *most = 0;
    for (size_t l = 0; l < g->model->hp.n_layers; l++) {
        const size_t n = coupled_linears(&g->model->layers[l], linears);
        const size_t before = *all;
        for (size_t i = 0; i < n; i++) {
            struct moments *m = &g->of[linears[i]->unit];
            *m = (struct moments){linears[i]->out, ram_gptq_block(linears[i]->in), *all};
            *all += (floats_of(m) + WIDTH - 1) / WIDTH;
        }
        *most = *all - before > *most ? *all - before : *most;
    }
    return *all <= SIZE_MAX / WIDTH / sizeof(float)
               ? RAM_OK
               : ram_fail(err, RAM_ENOMEM, "no memory for moments of derivatives");
}

/* ---- the pass --------------------------------------------------------------------------- */

static int put_layer(struct ram_gradients *g, struct ram_err *err)
{
    if (g->now == SIZE_MAX)
        return RAM_OK;
    if (g->store.memory) {
        memcpy(g->store.memory + g->first_row * WIDTH, g->layer,
               g->layer_rows * WIDTH * sizeof *g->layer);
        return RAM_OK;
    }
    return ram_rows_store(&g->store, g->first_row, g->layer_rows, g->layer, err);
}

static int begin_layer(struct ram_gradients *g, size_t layer, struct ram_err *err)
{
    const struct ram_linear *linears[MOST_OF_A_LAYER];
    const size_t n = coupled_linears(&g->model->layers[layer], linears);
    const struct moments *last = &g->of[linears[n - 1]->unit];
    const int status = put_layer(g, err);

    g->now = layer;
    g->first_row = g->of[linears[0]->unit].at;
    g->layer_rows = last->at + (floats_of(last) + WIDTH - 1) / WIDTH - g->first_row;
    memset(g->layer, 0, g->layer_rows * WIDTH * sizeof *g->layer);
    return status;
}

/* A chain of sums over tokens in their order, however many are seen at a time. */
static int see(void *ctx, const struct ram_sight *sight, struct ram_err *err)
{
    struct ram_gradients *g = ctx;
    const struct ram_linear *linear = sight->linear;
    const struct moments *m = linear ? &g->of[linear->unit] : NULL;
    int status = RAM_OK;

    if (!m || m->out != linear->out || sight->members || linear == &g->model->head)
        return RAM_OK;
    if (g->model->units[linear->unit].layer != g->now)
        status = begin_layer(g, g->model->units[linear->unit].layer, err);
    for (size_t row = 0; !status && row < m->out; row += m->block) {
        const size_t n = rows_of_block(m, row);
        const struct ram_mat dy = {sight->dy + row, RAM_ELEM_F32, 1, sight->dy_stride};
        float *to = g->layer + (m->at - g->first_row) * WIDTH + floats_before(m, row);
        status = ram_gram(RAM_GEMM_F32, n, sight->n, dy, to, n, true, g->exec.pool, err);
    }
    return status;
}

static int step(void *ctx, size_t done, size_t total, struct ram_err *err)
{
    const struct ram_gradients *g = ctx;

    return ram_exec_report(&g->exec,
                           &(struct ram_progress){.stage = "derive",
                                                  .item = "derivatives by what matrices give",
                                                  .done = done,
                                                  .total = total,
                                                  .unit = RAM_IN_LAYERS},
                           err);
}

static int run(struct ram_gradients *g, struct ram_sequences on, uint64_t memory,
               struct ram_err *err)
{
    const struct ram_exec share = ram_exec_share(&g->exec, memory);
    const struct ram_backward_opts opts = {
        .exec = &share, .seed = SEED, .see = see, .step = step, .ctx = g};
    struct ram_span *spans = ram_calloc(on.n, sizeof *spans, err);

    for (size_t i = 0; spans && i < on.n; i++)
        spans[i] = (struct ram_span){on.tokens + i * on.length, on.length, RAM_NO_PARENT};
    int status = spans ? ram_backward(g->model, spans, on.n, &opts, err) : RAM_ENOMEM;
    if (!status)
        status = put_layer(g, err);
    free(spans);
    return status;
}

/* ---- face ------------------------------------------------------------------------------- */

size_t ram_gradients_of(size_t tokens, uint64_t bytes)
{
    const size_t most = bytes <= 1000000000 ? tokens : bytes <= 8000000000 ? 4096 : 1024;

    return tokens < most ? tokens : most;
}

struct ram_sequences ram_gradients_tokens(const struct ram_hessians *hessians, uint64_t bytes)
{
    struct ram_sequences on = ram_hessians_sequences(hessians);

    on.n = ram_gradients_of(on.n * on.length, bytes) / on.length;
    on.n = on.n ? on.n : 1;
    return on;
}

static int make(struct ram_gradients *g, struct ram_sequences on, struct ram_err *err)
{
    const uint64_t memory = g->exec.max_memory;
    size_t all, most;

    int status = find_rows(g, &all, &most, err);
    if (status || all == 0)
        return status;
    const uint64_t row = WIDTH * sizeof(float);
    status = ram_rows_new(&g->store, all, WIDTH, all * row > memory / 4, err);
    g->layer = status ? NULL : ram_calloc(most, row, err);
    if (!status && !g->layer)
        status = RAM_ENOMEM;
    const uint64_t taken = most * row + (g->store.memory ? all * row : 0);
    if (!status)
        status = run(g, on, taken < memory / 2 ? memory - taken : memory / 2, err);
    free(g->layer);
    g->layer = NULL;
    return status;
}

int ram_gradients_open(struct ram_gradients **out, const struct ram_model *model,
                       struct ram_sequences on, const struct ram_exec *exec, struct ram_err *err)
{
    struct ram_gradients *g = ram_calloc(1, sizeof *g, err);

    if (!g)
        return RAM_ENOMEM;
    *g =
        (struct ram_gradients){.model = model, .exec = *exec, .now = SIZE_MAX, .store = {.fd = -1}};
    g->of = ram_calloc(model->n_units, sizeof *g->of, err);
    int status = g->of ? RAM_OK : RAM_ENOMEM;
    if (!status && on.n)
        status = make(g, on, err);
    if (status)
        ram_gradients_close(g);
    else
        *out = g;
    return status;
}

void ram_gradients_close(struct ram_gradients *g)
{
    if (!g)
        return;
    ram_gradients_forget(g);
    ram_rows_release(&g->store);
    free(g->of);
    free(g->made);
    free(g);
}

static const struct moments *find(const struct ram_gradients *g, const char *unit)
{
    for (size_t u = 1; u < g->model->n_units; u++)
        if (g->of[u].out && !strcmp(g->model->units[u].name, unit))
            return &g->of[u];
    return NULL;
}

/* The block's moments, which begin at a float of the store that need not begin a row. */
static int read_block(struct ram_gradients *g, const struct moments *m, size_t row, float *to,
                      struct ram_err *err)
{
    const size_t n = rows_of_block(m, row), from = floats_before(m, row);
    const size_t first = from / WIDTH, n_rows = (from % WIDTH + n * n + WIDTH - 1) / WIDTH;
    float *buffer = ram_calloc(n_rows, WIDTH * sizeof *buffer, err), *at = NULL;
    const int status =
        buffer ? ram_rows_load(&g->store, m->at + first, n_rows, buffer, &at, err) : RAM_ENOMEM;

    if (!status)
        memcpy(to, at + from % WIDTH, n * n * sizeof *to);
    free(buffer);
    return status;
}

int ram_gradients_factor(struct ram_gradients *g, const char *unit, size_t row, size_t n,
                         const struct ram_gptq_factor **out, struct ram_err *err)
{
    const struct moments *m = find(g, unit);

    *out = NULL;
    if (!m || row >= m->out || row % m->block || n != rows_of_block(m, row))
        return RAM_OK;
    float *moments = ram_calloc(n, n * sizeof *moments, err);
    struct ram_gptq_factor *factor = NULL;
    int status = moments ? read_block(g, m, row, moments, err) : RAM_ENOMEM;
    if (!status)
        status = ram_grow(&g->made, sizeof *g->made, g->n_made, &g->room, err);
    if (!status)
        status = ram_gptq_coupling_new(&factor, unit, moments, n, g->exec.pool, err);
    free(moments);
    if (status || !factor)
        return status;
    *out = g->made[g->n_made++] = factor;
    return RAM_OK;
}

void ram_gradients_forget(struct ram_gradients *g)
{
    while (g->n_made)
        ram_gptq_factor_free(g->made[--g->n_made]);
}
