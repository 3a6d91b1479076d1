/* sample.c - see sample.h. */
#include "infer/sample.h"

#include "base/rng.h"
#include "infer/block.h"
#include "kern/nn.h"

#include <stdlib.h>
#include <string.h>

/* Shares of the memory: keys and values get a third, logits an eighth, the forward pass the rest.
 */
enum { KEYS_SHARE = 3, LOGITS_SHARE = 8, MAX_ROWS = 256 };

/* The sequences [first, first + n) that grow together. */
struct group {
    const struct ram_model *model;
    const struct ram_sample_opts *opts;
    struct ram_rng rng;
    size_t first, n;
    uint32_t *tokens;   /* [n, length] */
    size_t *known;      /* [n] tokens so far */
    struct ram_kv *kv;  /* [n_layers, n] */
    float *keys;        /* what kv points into */
    float *logits;      /* [block, vocab] */
    size_t block;       /* rows of logits at a time */
    size_t drawing;     /* the sequence of logits[0] */
    uint64_t memory;    /* of the forward pass */
    size_t done_before; /* tokens of earlier groups */
};

/* ---- memory -----------------------------------------------------------------------------------
 */

/* Floats of keys and values of a sequence in all layers. */
static size_t sequence_floats(const struct ram_model *model, size_t length)
{
    size_t sum = 0, k, v;

    for (size_t layer = 0; layer < model->hp.n_layers; layer++) {
        ram_kv_floats(&model->hp, layer, length, &k, &v);
        sum += k + v;
    }
    return sum;
}

/* Sequences whose keys and values fit at once: at least one. */
static size_t group_size(const struct ram_model *model, const struct ram_sample_opts *opts)
{
    const uint64_t sequence = (uint64_t)sequence_floats(model, opts->length) * sizeof(float);
    const uint64_t fits = opts->exec->max_memory / KEYS_SHARE / (sequence ? sequence : 1);
    const size_t most = opts->at_once && opts->at_once < opts->n ? opts->at_once : opts->n;

    return fits > most ? most : fits ? (size_t)fits : 1;
}

static int open_keys(struct group *g, struct ram_err *err)
{
    const struct ram_hparams *hp = &g->model->hp;
    const size_t length = g->opts->length, n_kv = hp->n_layers * g->n;
    const size_t all = sequence_floats(g->model, length);
    size_t at = 0, k, v;

    g->kv = ram_calloc(n_kv, sizeof *g->kv, err);
    g->keys = g->kv ? ram_calloc(g->n, all * sizeof *g->keys, err) : NULL;
    if (!g->keys)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n_kv; i++) {
        ram_kv_floats(hp, i / g->n, length, &k, &v);
        g->kv[i] = (struct ram_kv){g->keys + at, g->keys + at + k, 0, length};
        at += k + v;
    }
    return RAM_OK;
}

static int open_group(struct group *g, struct ram_err *err)
{
    const size_t vocab = g->model->hp.vocab;
    const uint64_t memory = g->opts->exec->max_memory;
    const size_t fits = (size_t)(memory / LOGITS_SHARE / (vocab * sizeof(float)));

    g->block = fits > MAX_ROWS ? MAX_ROWS : fits ? fits : 1;
    g->block = g->block > g->n ? g->n : g->block;
    g->memory = memory - memory / KEYS_SHARE - memory / LOGITS_SHARE;
    g->known = ram_calloc(g->n, sizeof *g->known, err);
    g->logits = ram_calloc(g->block * vocab, sizeof *g->logits, err);
    for (size_t i = 0; !err->status && i < g->n; i++) {
        const struct ram_span *start = &g->opts->starts[g->first + i];
        g->known[i] = start->n;
        memcpy(g->tokens + i * g->opts->length, start->tokens, start->n * sizeof *g->tokens);
    }
    return err->status ? err->status : open_keys(g, err);
}

static void close_group(struct group *g)
{
    free(g->known);
    free(g->logits);
    free(g->keys);
    free(g->kv);
}

/* ---- one step ----------------------------------------------------------------------------------
 */

static int draw(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct group *g = ctx;
    const size_t sequence = g->drawing + i, length = g->opts->length, vocab = g->model->hp.vocab;
    const size_t position = g->known[sequence];
    float *logits = g->logits + i * vocab;
    size_t top;

    (void)worker;
    if (position == length)
        return RAM_OK;
    const double lse = ram_nn()->log_sum_exp(logits, vocab, &top);
    if (lse != lse)
        return ram_fail(err, RAM_EFORMAT, "%s: logits are not finite (sequence %zu, token %zu)",
                        g->model->ckpt->name, g->first + sequence, position);
    ram_nn()->softmax(logits, vocab, 1);
    const double u = ram_rng_uniform(g->rng, (g->first + sequence) * length + position);
    g->tokens[sequence * length + position] = (uint32_t)ram_rng_draw(logits, vocab, u);
    g->known[sequence]++;
    return RAM_OK;
}

/* All layers, then the next token of every sequence from its last row. */
static int run_step(struct group *g, struct ram_forward *forward, const size_t *rows,
                    struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t layer = 0; !status && layer < g->model->hp.n_layers; layer++)
        status = ram_forward_layer(forward, layer, err);
    for (g->drawing = 0; !status && g->drawing < g->n; g->drawing += g->block) {
        const size_t left = g->n - g->drawing, n = left < g->block ? left : g->block;
        status = ram_forward_logits(forward, rows + g->drawing, n, NULL, g->logits, err);
        if (!status)
            status = ram_pool_for(g->opts->exec->pool, n, draw, g, err);
    }
    return status;
}

static int report(const struct group *g, struct ram_err *err)
{
    size_t done = g->done_before;

    for (size_t i = 0; i < g->n; i++)
        done += g->known[i];
    return g->opts->step ? g->opts->step(g->opts->ctx, done, err) : RAM_OK;
}

static bool is_done(const struct group *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->known[i] < g->opts->length)
            return false;
    return true;
}

/* The starts, of different lengths, fill the keys. */
static int read_starts(struct group *g, const struct ram_forward_opts *how, size_t *rows,
                       struct ram_err *err)
{
    struct ram_forward *forward = NULL;

    int status = ram_forward_new(&forward, g->model, g->opts->starts + g->first, g->n, how, err);
    for (size_t i = 0; !status && i < g->n; i++)
        rows[i] = ram_forward_row(forward, i) + g->known[i] - 1;
    if (!status)
        status = run_step(g, forward, rows, err);
    ram_forward_free(forward);
    return status;
}

/* The last token of each sequence, next [n], is read next. A sequence that is complete while others
 * grow reads its last token again, in the place of its last keys; its rows count for nothing. */
static void last_tokens(struct group *g, uint32_t *next)
{
    const size_t length = g->opts->length, n_kv = g->model->hp.n_layers * g->n;

    for (size_t i = 0; i < g->n; i++)
        next[i] = g->tokens[i * length + g->known[i] - 1];
    for (size_t i = 0; i < n_kv; i++)
        if (g->kv[i].n == length)
            g->kv[i].n = length - 1;
}

static int grow(struct group *g, const struct ram_forward_opts *how, size_t *rows, uint32_t *next,
                struct ram_err *err)
{
    struct ram_span *spans = ram_calloc(g->n, sizeof *spans, err);
    struct ram_forward *forward = NULL;
    int status = RAM_ENOMEM;

    if (!spans)
        return status;
    for (size_t i = 0; i < g->n; i++) {
        spans[i] = (struct ram_span){&next[i], 1, RAM_NO_PARENT};
        rows[i] = i;
    }
    last_tokens(g, next);
    status = ram_forward_new(&forward, g->model, spans, g->n, how, err);
    while (!status) {
        status = run_step(g, forward, rows, err);
        if (!status)
            status = report(g, err);
        if (status || is_done(g))
            break;
        last_tokens(g, next);
        status = ram_forward_next(forward, next, err);
    }
    ram_forward_free(forward);
    free(spans);
    return status;
}

static int run_group(struct group *g, struct ram_err *err)
{
    size_t *rows = ram_calloc(g->n, sizeof *rows, err);
    uint32_t *next = ram_calloc(g->n, sizeof *next, err);
    int status = rows && next ? open_group(g, err) : RAM_ENOMEM;
    const struct ram_exec share = ram_exec_share(g->opts->exec, g->memory);
    const struct ram_forward_opts how = {
        .f32 = true, .exec = &share, .kv = g->kv, .positions = g->opts->length};

    if (!status && !is_done(g))
        status = read_starts(g, &how, rows, err);
    if (!status)
        status = report(g, err);
    if (!status && !is_done(g))
        status = grow(g, &how, rows, next, err);
    close_group(g);
    free(rows);
    free(next);
    return status;
}

int ram_sample(const struct ram_model *model, const struct ram_sample_opts *opts, uint32_t *tokens,
               struct ram_err *err)
{
    const size_t size = group_size(model, opts);
    int status = RAM_OK;

    for (size_t i = 0; i < opts->n; i++)
        if (opts->starts[i].n == 0 || opts->starts[i].n > opts->length)
            return ram_fail(err, RAM_EUSAGE, "sequence %zu starts with %zu of %zu tokens", i,
                            opts->starts[i].n, opts->length);
    for (size_t first = 0; !status && first < opts->n; first += size) {
        struct group g = {.model = model,
                          .opts = opts,
                          .rng = ram_rng_for(opts->seed, "sample"),
                          .first = first,
                          .n = opts->n - first < size ? opts->n - first : size,
                          .tokens = tokens + first * opts->length,
                          .done_before = first * opts->length};
        status = run_group(&g, err);
    }
    return status;
}
