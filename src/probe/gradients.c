/* gradients.c - see gradients.h. */
#include "probe/gradients.h"

#include "base/mem.h"
#include "base/rng.h"
#include "codec/gptq_coupled.h"
#include "infer/backward.h"
#include "infer/rows.h"
#include "kern/gemm.h"

#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 1024, /* floats of a row of the store */
    SEED = 42,
    MOST_OF_A_LAYER = 16,
    N_STACKS = 3 /* of the experts of a layer: down, gate, up */
};

/* Where the moments of a unit are: for each of its matrices blocks of b rows, [b, b] each, the last
 * of what is left. All experts of a stack share one. */
struct moments {
    size_t out, block; /* rows of a matrix, and of a block; out 0: nothing is known */
    size_t at;         /* row of the store */
    size_t n, each;    /* matrices with moments of their own, and rows of the store of each */
    unsigned stack;    /* of experts: which of the layer's, from 1 */
};

/*
 * The derivatives by what experts give: of each token those of one of the experts that it met,
 * drawn at random. A stack has one matrix of moments, because an expert sees too few tokens for one
 * of its own, and because those of 128 experts would take more memory than the model. Experts are
 * computed one after another, as many tokens at a time as there is memory for: rows in the order of
 * tokens make the sum the same whatever that number is.
 */
struct drawn {
    float *dy;                /* [n_drawn, out]; zeros if the token met none */
    double *ticket;           /* [n_drawn] of the expert that dy is of: the highest so far */
    const struct moments *of; /* in the present layer; NULL: of no unit */
};

/* A factor that was handed out. */
struct made {
    const struct moments *of;
    size_t which, row;
    struct ram_gptq_factor *factor; /* NULL: nothing is known */
};

struct ram_gradients {
    const struct ram_model *model;
    struct ram_exec exec;
    struct moments *of; /* [n_units] */
    struct ram_rows store;
    float *layer; /* the moments of the layer whose derivatives are being made */
    size_t layer_rows, first_row, now; /* its rows of the store, the first of them, its number */
    struct drawn drawn[N_STACKS];
    size_t n_drawn; /* tokens, the first ones */
    struct made *made;
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
    const struct ram_mlp *expert = layer->experts;
    const struct ram_linear *const all[] = {&a->q,
                                            &a->k,
                                            &a->v,
                                            &a->o,
                                            &a->q_a,
                                            &a->kv_a,
                                            a->v_heads,
                                            &mlp->gate,
                                            &mlp->up,
                                            &mlp->down,
                                            expert ? &expert->down : NULL,
                                            expert ? &expert->gate : NULL,
                                            expert ? &expert->up : NULL};
    size_t n = 0;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && all[i]->unit && all[i]->out && !all[i]->transposed)
            out[n++] = all[i];
    return n;
}

static unsigned stack_of(const struct ram_layer *layer, const struct ram_linear *linear)
{
    const struct ram_mlp *expert = layer->experts;

    return !expert                   ? 0
           : linear == &expert->down ? 1
           : linear == &expert->gate ? 2
           : linear == &expert->up   ? 3
                                     : 0;
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
            *m = (struct moments){.out = linears[i]->out,
                                  .block = ram_gptq_block(linears[i]->in),
                                  .at = *all,
                                  .stack = stack_of(&g->model->layers[l], linears[i])};
            m->n = m->stack ? 1 : g->model->units[linears[i]->unit].n;
            m->each = (floats_of(m) + WIDTH - 1) / WIDTH;
            *all += m->n * m->each;
        }
        *most = *all - before > *most ? *all - before : *most;
    }
    return *all <= SIZE_MAX / WIDTH / sizeof(float)
               ? RAM_OK
               : ram_fail(err, RAM_ENOMEM, "no memory for moments of derivatives");
}

/* ---- the pass --------------------------------------------------------------------------- */

/* A chain of sums over tokens in their order, however many are seen at a time. */
static int add(struct ram_gradients *g, const struct moments *m, size_t which, const float *dy,
               size_t stride, size_t n_tokens, struct ram_err *err)
{
    float *moments = g->layer + (m->at + which * m->each - g->first_row) * WIDTH;
    int status = RAM_OK;

    for (size_t row = 0; !status && row < m->out; row += m->block) {
        const size_t n = rows_of_block(m, row);
        const struct ram_mat rows = {dy + row, RAM_ELEM_F32, 1, stride};
        status = ram_gram(RAM_GEMM_F32, n, n_tokens, rows, moments + floats_before(m, row), n, true,
                          g->exec.pool, err);
    }
    return status;
}

/* Whatever the present layer's experts have left, which is forgotten for the next. */
static int add_drawn(struct ram_gradients *g, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; !status && i < N_STACKS; i++) {
        struct drawn *d = &g->drawn[i];
        if (!d->of)
            continue;
        status = add(g, d->of, 0, d->dy, d->of->out, g->n_drawn, err);
        memset(d->dy, 0, g->n_drawn * d->of->out * sizeof *d->dy);
        memset(d->ticket, 0, g->n_drawn * sizeof *d->ticket);
        d->of = NULL;
    }
    return status;
}

static int put_layer(struct ram_gradients *g, struct ram_err *err)
{
    if (g->now == SIZE_MAX)
        return RAM_OK;
    const int status = add_drawn(g, err);
    if (status)
        return status;
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
    g->layer_rows = last->at + last->n * last->each - g->first_row;
    memset(g->layer, 0, g->layer_rows * WIDTH * sizeof *g->layer);
    return status;
}

/* Of the tokens of an expert those for which it holds the highest ticket so far. */
static void draw(struct ram_gradients *g, const struct moments *m, size_t expert,
                 const struct ram_sight *sight)
{
    const struct ram_rng rng = ram_rng_for(SEED, "experts");
    struct drawn *d = &g->drawn[m->stack - 1];

    d->of = m;
    for (size_t i = 0; i < sight->n; i++) {
        const size_t token = sight->first + sight->members[i];
        const double ticket =
            ram_rng_uniform(rng, token * g->model->hp.moe.n_experts + expert) + 0x1p-60;
        if (token >= g->n_drawn || ticket <= d->ticket[token])
            continue;
        d->ticket[token] = ticket;
        memcpy(d->dy + token * m->out, sight->dy + i * sight->dy_stride, m->out * sizeof *d->dy);
    }
}

static int see(void *ctx, const struct ram_sight *sight, struct ram_err *err)
{
    struct ram_gradients *g = ctx;
    const struct ram_linear *linear = sight->linear;
    const struct moments *m = linear ? &g->of[linear->unit] : NULL;
    int status = RAM_OK;

    if (!m || !m->out || linear == &g->model->head)
        return RAM_OK;
    const struct ram_model_unit *unit = &g->model->units[linear->unit];
    size_t which = 0;
    while (which < unit->n && ram_unit_matrix(unit, which) != linear)
        which++;
    if (which == unit->n) /* the other half of a unit that is stored in two */
        return RAM_OK;
    if (unit->layer != g->now)
        status = begin_layer(g, unit->layer, err);
    if (status)
        return status;
    if (!m->stack)
        return add(g, m, which, sight->dy, sight->dy_stride, sight->n, err);
    draw(g, m, which, sight);
    return RAM_OK;
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

/* For so many tokens, fewer if they took more than an eighth of the memory. */
static int make_drawn(struct ram_gradients *g, size_t n, uint64_t *taken, struct ram_err *err)
{
    const struct ram_hparams *hp = &g->model->hp;
    const size_t widths[N_STACKS] = {hp->hidden, hp->moe.hidden, hp->moe.hidden};
    const uint64_t token = (hp->hidden + 2 * hp->moe.hidden) * sizeof(float);

    if (!hp->moe.n_experts)
        return RAM_OK;
    g->n_drawn = n * token <= g->exec.max_memory / 8 ? n : g->exec.max_memory / 8 / token;
    *taken += g->n_drawn * token;
    for (size_t i = 0; i < N_STACKS; i++) {
        g->drawn[i].dy = ram_calloc(g->n_drawn, widths[i] * sizeof(float), err);
        g->drawn[i].ticket = ram_calloc(g->n_drawn, sizeof(double), err);
        if (!g->drawn[i].dy || !g->drawn[i].ticket)
            return RAM_ENOMEM;
    }
    return RAM_OK;
}

static void free_drawn(struct ram_gradients *g)
{
    for (size_t i = 0; i < N_STACKS; i++) {
        free(g->drawn[i].dy);
        free(g->drawn[i].ticket);
        g->drawn[i] = (struct drawn){0};
    }
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
    uint64_t taken = most * row + (g->store.memory ? all * row : 0);
    if (!status)
        status = make_drawn(g, on.n * on.length, &taken, err);
    if (!status)
        status = run(g, on, taken < memory / 2 ? memory - taken : memory / 2, err);
    free(g->layer);
    g->layer = NULL;
    free_drawn(g);
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
static int read_block(struct ram_gradients *g, const struct moments *m, size_t which, size_t row,
                      float *to, struct ram_err *err)
{
    const size_t n = rows_of_block(m, row), from = floats_before(m, row);
    const size_t first = from / WIDTH, n_rows = (from % WIDTH + n * n + WIDTH - 1) / WIDTH;
    float *buffer = ram_calloc(n_rows, WIDTH * sizeof *buffer, err), *at = NULL;
    const int status =
        buffer ? ram_rows_load(&g->store, m->at + which * m->each + first, n_rows, buffer, &at, err)
               : RAM_ENOMEM;

    if (!status)
        memcpy(to, at + from % WIDTH, n * n * sizeof *to);
    free(buffer);
    return status;
}

int ram_gradients_factor(struct ram_gradients *g, const char *unit, size_t matrix, size_t row,
                         size_t n, const struct ram_gptq_factor **out, struct ram_err *err)
{
    const struct moments *m = find(g, unit);
    const size_t which = m && m->stack ? 0 : matrix;

    *out = NULL;
    if (!m || which >= m->n || row >= m->out || row % m->block || n != rows_of_block(m, row))
        return RAM_OK;
    for (size_t i = 0; i < g->n_made; i++)
        if (g->made[i].of == m && g->made[i].which == which && g->made[i].row == row) {
            *out = g->made[i].factor;
            return RAM_OK;
        }
    float *moments = ram_calloc(n, n * sizeof *moments, err);
    struct ram_gptq_factor *factor = NULL;
    int status = moments ? read_block(g, m, which, row, moments, err) : RAM_ENOMEM;
    if (!status)
        status = ram_grow(&g->made, sizeof *g->made, g->n_made, &g->room, err);
    if (!status)
        status = ram_gptq_coupling_new(&factor, unit, moments, n, g->exec.pool, err);
    free(moments);
    if (status)
        return status;
    g->made[g->n_made++] = (struct made){m, which, row, factor};
    *out = factor;
    return RAM_OK;
}

size_t ram_gradients_drawn(const struct ram_gradients *g)
{
    return g->n_drawn;
}

void ram_gradients_forget(struct ram_gradients *g)
{
    while (g->n_made)
        ram_gptq_factor_free(g->made[--g->n_made].factor);
}
