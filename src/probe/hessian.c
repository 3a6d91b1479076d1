/* hessian.c - see hessian.h. */
#include "probe/hessian.h"

#include "infer/linear.h"
#include "probe/kept.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH = 256, /* of a sequence of tokens */
    SEED = 42,
    KAPPA_SHARE = 8,  /* of the columns, in tokens */
    FEW_TOKENS = 8,   /* for a column: with fewer ... */
    UNSEEN_SHARE = 8, /* ... so much of the inputs, the last, is kept back from error curves */
    LEAST_UNSEEN = 16
};

/* With few tokens and many columns, some directions do not occur in the tokens by chance. Errors in
 * them would seem to cost nothing, and the encoder would move its errors there. The damping is
 * therefore at least this x columns / tokens (docs/notebook.md, Hessians from few tokens). */
#define COLUMN_DAMP 0.5

/* The damping of an embedding that is also the head. A lookup gives all columns the same
 * importance, so that H of the head must not decide alone (docs/notebook.md, Encoders). */
#define TIED_DAMP 0.5

/* What a thread of a forward pass packs matrices into, while it runs. */
#define WORKER_BYTES (UINT64_C(24) << 20)

/* Of a unit. */
struct place {
    size_t layer; /* n_layers: the head's */
    enum ram_input input;
    bool is_observed; /* for all units of the layer that have this input */
};

struct rows {
    float *x; /* [n, cols] */
    size_t n, cols;
    size_t room;   /* floats: the next layer may have other columns */
    double weight; /* of experts: the sum of the squares of what rows were multiplied by */
};

/* A factor that was handed out. */
struct made {
    size_t layer;
    enum ram_input input;
    size_t expert;
    struct ram_gptq_factor *factor; /* NULL: nothing is known */
};

struct ram_hessians {
    const struct ram_model *model;
    struct ram_exec exec;
    struct ram_synthetic what;
    double damp;
    enum ram_hessian_use use;
    uint32_t *tokens;     /* [what.n, what.length] */
    struct place *places; /* [model->n_units] */
    struct ram_forward *forward;
    size_t next;  /* the layer that forward has yet to run */
    size_t layer; /* whose inputs are kept; SIZE_MAX: none; n_layers: the head's */
    struct ram_observer observer;
    struct rows rows[RAM_N_INPUTS];
    struct rows *experts, *expert_down; /* [n_experts] */
    float *average[RAM_N_INPUTS];       /* of the experts' inputs: moments of one token */
    struct made *made;
    size_t n_made, made_room;
    struct ram_kept kept;
};

/* ---- places ----------------------------------------------------------------------------- */

static void find_places(struct ram_hessians *h)
{
    const struct ram_model *model = h->model;
    size_t layer = SIZE_MAX;
    bool seen[RAM_N_INPUTS] = {false};

    for (size_t u = 1; u < model->n_units; u++) {
        const struct ram_model_unit *unit = &model->units[u];
        if (unit->layer != layer)
            memset(seen, 0, sizeof seen);
        layer = unit->layer;
        h->places[u] = (struct place){layer == SIZE_MAX ? model->hp.n_layers : layer, unit->input,
                                      !seen[unit->input]};
        seen[unit->input] = true;
    }
}

/* ---- inputs ----------------------------------------------------------------------------- */

static int keep(struct rows *rows, const float *x, size_t n, size_t cols, struct ram_err *err)
{
    size_t floats, size;

    if (!ram_mul_size(rows->n + n, cols, &floats) || !ram_mul_size(floats, 2 * sizeof *x, &size))
        return ram_fail(err, RAM_ENOMEM, "no memory for the inputs of %zu tokens", rows->n + n);
    if (floats > rows->room) {
        const size_t room = rows->n ? 2 * floats : floats;
        float *grown = realloc(rows->x, room * sizeof *grown);
        if (!grown)
            return ram_fail(err, RAM_ENOMEM, "no memory for the inputs of %zu tokens", rows->n + n);
        rows->x = grown;
        rows->room = room;
    }
    memcpy(rows->x + rows->n * cols, x, n * cols * sizeof *x);
    rows->cols = cols;
    rows->n += n;
    return RAM_OK;
}

static bool is_of_expert(enum ram_input input)
{
    return input == RAM_INPUT_EXPERT || input == RAM_INPUT_EXPERT_GATED;
}

/* What an expert gives is multiplied by its share, and so are the consequences of its errors: for
 * an encoder its rows are, too. Error curves go by rows as they are, of which some are kept back.
 */
static int keep_expert(const struct ram_hessians *h, struct rows *rows, const float *x,
                       const float *shares, size_t n, size_t cols, struct ram_err *err)
{
    const bool weighted = h->use == RAM_HESSIAN_ENCODE && shares;
    const size_t before = rows->n;
    const int status = keep(rows, x, n, cols, err);

    for (size_t i = 0; !status && i < n; i++) {
        const float share = weighted ? shares[i] : 1;
        float *row = rows->x + (before + i) * cols;
        rows->weight += (double)share * (double)share;
        for (size_t j = 0; weighted && j < cols; j++)
            row[j] *= share;
    }
    return status;
}

/* Of matrices that have the same input, one is observed: the first of the first unit. All tokens of
 * a sparse MLP pass the router, so that its input is that of the MLP. */
static int see(void *ctx, const struct ram_linear *linear, const float *x, const float *shares,
               size_t n, struct ram_err *err)
{
    struct ram_hessians *h = ctx;
    const struct ram_model_unit *unit = &h->model->units[linear->unit];
    const enum ram_input input = unit->input;

    if (!linear->unit || !h->places[linear->unit].is_observed)
        return RAM_OK;
    if (!is_of_expert(input))
        return linear == unit->first ? keep(&h->rows[input], x, n, linear->in, err) : RAM_OK;
    const size_t expert = (size_t)((const char *)linear - (const char *)unit->first) / unit->stride;
    struct rows *of = input == RAM_INPUT_EXPERT ? h->experts : h->expert_down;
    return keep_expert(h, &of[expert], x, shares, n, linear->in, err);
}

/* Floats that a token leaves behind in a layer. */
static uint64_t floats_a_token(const struct ram_hparams *hp)
{
    const uint64_t dense = hp->mlp_hidden, shared = hp->moe.shared;

    return 2 * hp->hidden + hp->q_rank + hp->kv_rank + ram_widest_attended(hp) +
           (dense > shared ? dense : shared) + hp->moe.top_k * (hp->hidden + hp->moe.hidden);
}

/* ---- the forward pass ------------------------------------------------------------------- */

static void drop_layer(struct ram_hessians *h)
{
    for (size_t i = 0; i < RAM_N_INPUTS; i++) {
        h->rows[i].n = 0;
        free(h->average[i]);
        h->average[i] = NULL;
    }
    for (size_t e = 0; e < h->model->hp.moe.n_experts; e++) {
        h->experts[e].n = h->expert_down[e].n = 0;
        h->experts[e].weight = h->expert_down[e].weight = 0;
    }
    h->layer = SIZE_MAX;
}

static struct ram_kept_pass pass_at(const struct ram_hessians *h)
{
    return (struct ram_kept_pass){.forward = h->forward,
                                  .hidden = h->model->hp.hidden,
                                  .layer = h->next,
                                  .n_rows = h->what.n * h->what.length};
}

/* Before the first layer, or in front of a later one that an earlier run had reached, but of none
 * behind `layer`: its inputs are wanted. */
static int restart(struct ram_hessians *h, size_t layer, struct ram_err *err)
{
    const struct ram_exec share = ram_exec_share(
        &h->exec, h->exec.max_memory / 8 + WORKER_BYTES * ram_pool_threads(h->exec.pool));
    const struct ram_sequences on = ram_hessians_sequences(h);

    ram_forward_free(h->forward);
    h->forward = NULL;
    h->next = 0;
    int status = ram_probe_forward(&h->forward, h->model, on, 1, &share, err);
    struct ram_kept_pass pass = pass_at(h);
    if (status || !ram_kept_find(&h->kept, &pass) || pass.layer > layer ||
        pass.n_rows != pass_at(h).n_rows)
        return status;
    status = ram_kept_load(&h->kept, &pass, err);
    h->next = pass.layer;
    return status;
}

/* One layer further. The activations in front of it are kept first: what is measured of its inputs
 * may take far longer than to run it. */
static int advance(struct ram_hessians *h, struct ram_err *err)
{
    const struct ram_kept_pass pass = pass_at(h);
    int status = h->next ? ram_kept_save(&h->kept, &pass, err) : RAM_OK;

    if (!status)
        status = ram_forward_layer(h->forward, h->next, err);
    h->next++;
    return status;
}

static int keep_head(struct ram_hessians *h, struct ram_err *err)
{
    enum { STEP = 256 };
    const size_t hidden = h->model->hp.hidden, n_rows = h->what.n * h->what.length;
    float *x = ram_calloc(STEP * hidden, sizeof *x, err);
    int status = x ? RAM_OK : RAM_ENOMEM;

    for (size_t row = 0; !status && row < n_rows; row += STEP) {
        const size_t n = n_rows - row < STEP ? n_rows - row : STEP;
        size_t rows[STEP];
        for (size_t i = 0; i < n; i++)
            rows[i] = row + i;
        status = ram_forward_normed(h->forward, rows, n, x, err);
        if (!status)
            status = keep(&h->rows[RAM_INPUT_HEAD], x, n, hidden, err);
    }
    free(x);
    return status;
}

/* The inputs of this layer (n_layers: of the head) are kept, and no others. */
static int go_to(struct ram_hessians *h, size_t layer, struct ram_err *err)
{
    int status = RAM_OK;

    if (h->layer == layer)
        return RAM_OK;
    drop_layer(h);
    if (!h->forward || h->next > layer)
        status = restart(h, layer, err);
    while (!status && h->next < layer)
        status = advance(h, err);
    if (status)
        return status;
    h->layer = layer;
    if (layer == h->model->hp.n_layers)
        return keep_head(h, err);
    ram_forward_observe(h->forward, &h->observer);
    status = advance(h, err);
    ram_forward_observe(h->forward, NULL);
    return status;
}

/* ---- moments ---------------------------------------------------------------------------- */

/* The number of rows that moments are computed from: the first ones. */
static size_t n_seen(const struct ram_hessians *h, const struct rows *rows)
{
    const bool all = h->use == RAM_HESSIAN_ENCODE || rows->n >= FEW_TOKENS * rows->cols;
    return all ? rows->n : rows->n - rows->n / UNSEEN_SHARE;
}

/* h [cols, cols] = or += sum x x^T. */
static int moments(const struct ram_hessians *h, const struct rows *rows, size_t cols, float *out,
                   bool accumulate, struct ram_err *err)
{
    const struct ram_mat a = {rows->x, RAM_ELEM_F32, 1, cols};
    const size_t n = n_seen(h, rows);

    return n == 0 ? RAM_OK
                  : ram_gram(RAM_GEMM_F32, cols, n, a, out, cols, accumulate, h->exec.pool, err);
}

/* Rows that the average of the experts' inputs is made of. */
static size_t average_rows(const struct ram_hessians *h, enum ram_input input)
{
    size_t n = 0;

    if (input == RAM_INPUT_EXPERT)
        return n_seen(h, &h->rows[RAM_INPUT_MLP]);
    for (size_t e = 0; e < h->model->hp.moe.n_experts; e++)
        n += n_seen(h, &h->expert_down[e]);
    return n;
}

/* The square of what a row of an expert was multiplied by, on average. */
static double mean_weight(const struct rows *rows)
{
    return rows->n && rows->weight > 0 ? rows->weight / (double)rows->n : 1;
}

static int average_moments(struct ram_hessians *h, enum ram_input input, size_t cols,
                           struct ram_err *err)
{
    const size_t n_experts = h->model->hp.moe.n_experts;
    double n = input == RAM_INPUT_EXPERT ? (double)average_rows(h, input) : 0;
    int status = RAM_OK;

    if (h->average[input])
        return RAM_OK;
    float *sum = h->average[input] = ram_calloc(cols * cols, sizeof *sum, err);
    if (!sum)
        return RAM_ENOMEM;
    if (input == RAM_INPUT_EXPERT)
        status = moments(h, &h->rows[RAM_INPUT_MLP], cols, sum, false, err);
    for (size_t e = 0; input == RAM_INPUT_EXPERT_GATED && !status && e < n_experts; e++) {
        const struct rows *rows = &h->expert_down[e];
        status = moments(h, rows, cols, sum, true, err);
        n += (double)n_seen(h, rows) * mean_weight(rows);
    }
    for (size_t i = 0; i < cols * cols; i++)
        sum[i] /= (float)(n > 0 ? n : 1);
    return status;
}

/* *tokens: the number of equally weighted tokens whose sum would have the same variance; the
 * damping depends on it. */
static int expert_moments(struct ram_hessians *h, enum ram_input input, size_t expert, size_t cols,
                          float *out, double *tokens, struct ram_err *err)
{
    const struct rows *rows =
        input == RAM_INPUT_EXPERT ? &h->experts[expert] : &h->expert_down[expert];
    const float kappa = (float)cols / KAPPA_SHARE, unit = (float)(1 / mean_weight(rows));
    const double own = (double)n_seen(h, rows), borrowed = (double)kappa;
    const double all = fmax((double)average_rows(h, input), 1);

    int status = average_moments(h, input, cols, err);
    if (!status)
        status = moments(h, rows, cols, out, false, err);
    for (size_t i = 0; !status && i < cols * cols; i++)
        out[i] = unit * out[i] + kappa * h->average[input][i];
    *tokens = (own + borrowed) * (own + borrowed) / (own + borrowed * borrowed / all);
    return status;
}

static int diagonal_factor(const struct rows *rows, size_t n, const char *unit,
                           struct ram_gptq_factor **out, struct ram_err *err)
{
    float *sums = ram_calloc(rows->cols, sizeof *sums, err);

    if (!sums)
        return RAM_ENOMEM;
    for (size_t j = 0; j < rows->cols; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)rows->x[i * rows->cols + j] * (double)rows->x[i * rows->cols + j];
        sums[j] = (float)sum;
    }
    const int status = ram_gptq_factor_diagonal(out, unit, sums, rows->cols, err);
    free(sums);
    return status;
}

static size_t columns(const struct ram_hparams *hp, enum ram_input input)
{
    return input == RAM_INPUT_EXPERT ? hp->hidden : hp->moe.hidden;
}

static int make_factor(struct ram_hessians *h, const char *unit, enum ram_input input,
                       size_t expert, struct ram_gptq_factor **out, struct ram_err *err)
{
    const bool of_expert = is_of_expert(input);
    const bool tied = input == RAM_INPUT_HEAD && h->model->embed_unit == h->model->head.unit;
    const struct rows *rows = &h->rows[input];
    const size_t cols = of_expert ? columns(&h->model->hp, input) : rows->cols;

    if (!of_expert && rows->n == 0)
        return RAM_OK;
    if (ram_gptq_factor_size(cols) > h->exec.max_memory / 8 * 5)
        return of_expert ? RAM_OK : diagonal_factor(rows, n_seen(h, rows), unit, out, err);
    float *sums = ram_calloc(cols * cols, sizeof *sums, err);
    if (!sums)
        return RAM_ENOMEM;
    double tokens = (double)n_seen(h, rows);
    const int status = of_expert ? expert_moments(h, input, expert, cols, sums, &tokens, err)
                                 : moments(h, rows, cols, sums, false, err);
    if (status) {
        free(sums);
        return status;
    }
    const double damp =
        fmax(tied ? TIED_DAMP : h->damp, COLUMN_DAMP * (double)cols / fmax(tokens, 1));
    return ram_gptq_factor_new(out, unit, sums, cols, damp, h->exec.pool, err);
}

struct ram_synthetic ram_hessian_tokens(uint64_t bytes, const char *text)
{
    const size_t tokens = LENGTH * (bytes <= 1000000000 ? 64 : bytes <= 8000000000 ? 32 : 16);
    /* Every step of the samples reads all weights: where that takes longer than to compute,
     * sequences are shorter (docs/notebook.md, Tokens). */
    const size_t length = text || bytes <= 1000000000 ? LENGTH
                          : bytes <= 64000000000      ? LENGTH / 4
                                                      : LENGTH / 8;

    return (struct ram_synthetic){
        .n = tokens / length, .length = length, .seed = SEED, .text = text};
}

/* ---- face ------------------------------------------------------------------------------- */

static struct place find(const struct ram_hessians *h, const char *unit)
{
    struct place at = {0};

    for (size_t u = 1; u < h->model->n_units; u++)
        if (!strcmp(h->model->units[u].name, unit))
            at = h->places[u];
    return at;
}

int ram_hessians_factor(struct ram_hessians *h, const char *unit, size_t expert, bool turned,
                        const struct ram_gptq_factor **out, struct ram_err *err)
{
    const struct ram_model *model = h->model;
    const struct place at = find(h, unit);

    *out = NULL;
    if (turned || at.input == RAM_INPUT_NONE)
        return RAM_OK;
    if (!is_of_expert(at.input))
        expert = 0;
    else if (expert >= model->hp.moe.n_experts)
        return ram_fail(err, RAM_EINTERNAL, "%s: expert %zu of %zu", unit, expert,
                        model->hp.moe.n_experts);
    int status = go_to(h, at.layer, err);
    for (size_t i = 0; !status && i < h->n_made; i++)
        if (h->made[i].layer == at.layer && h->made[i].input == at.input &&
            h->made[i].expert == expert) {
            *out = h->made[i].factor;
            return RAM_OK;
        }
    struct ram_gptq_factor *factor = NULL;
    if (!status)
        status = ram_grow(&h->made, sizeof *h->made, h->n_made, &h->made_room, err);
    if (!status)
        status = make_factor(h, unit, at.input, expert, &factor, err);
    if (status)
        return status;
    h->made[h->n_made++] = (struct made){at.layer, at.input, expert, factor};
    *out = factor;
    return RAM_OK;
}

struct ram_unseen ram_hessians_unseen(const struct ram_hessians *h, const char *unit, size_t expert)
{
    const struct place at = find(h, unit);
    const bool tied = at.input == RAM_INPUT_HEAD && h->model->embed_unit == h->model->head.unit;
    const struct rows *rows = at.input == RAM_INPUT_EXPERT         ? &h->experts[expert]
                              : at.input == RAM_INPUT_EXPERT_GATED ? &h->expert_down[expert]
                                                                   : &h->rows[at.input];

    /* Of an expert that was given too few: what the router saw. */
    if (at.input == RAM_INPUT_EXPERT && rows->n < (size_t)LEAST_UNSEEN * UNSEEN_SHARE)
        rows = &h->rows[RAM_INPUT_MLP];
    const size_t n = h->layer == at.layer ? rows->n - n_seen(h, rows) : 0;
    if (n < LEAST_UNSEEN)
        return (struct ram_unseen){0};
    return (struct ram_unseen){.x = rows->x + n_seen(h, rows) * rows->cols,
                               .n = n,
                               .cols = rows->cols,
                               .damp = tied ? TIED_DAMP : h->damp};
}

/* What all matrices of the layer share may be wanted again; a layer's experts are too many. */
void ram_hessians_forget(struct ram_hessians *h)
{
    uint64_t size = 0;
    size_t n = 0;

    for (size_t i = 0; i < h->n_made; i++) {
        struct made *made = &h->made[i];
        const uint64_t bytes = made->factor ? ram_gptq_factor_size(made->factor->cols) : 0;
        if (made->layer == h->layer && !is_of_expert(made->input) &&
            size + bytes <= h->exec.max_memory / 4) {
            size += bytes;
            h->made[n++] = *made;
        } else {
            ram_gptq_factor_free(made->factor);
        }
    }
    h->n_made = n;
}

const struct ram_synthetic *ram_hessians_tokens(const struct ram_hessians *h)
{
    return &h->what;
}

struct ram_sequences ram_hessians_sequences(const struct ram_hessians *h)
{
    return (struct ram_sequences){h->tokens, h->what.n, h->what.length};
}

/* A forward pass depends on the tokens alone, not on what is made of its inputs: error curves and
 * an encoder share one. */
static void keep_by_tokens(struct ram_hessians *h)
{
    const struct ram_sequences on = ram_hessians_sequences(h);
    struct ram_buf settings = {0};

    ram_sequences_settings(&settings, on);
    h->kept = ram_kept_for(&h->exec, "inputs", settings.data);
    ram_buf_release(&settings);
}

void ram_hessians_settings(const struct ram_hessians *h, struct ram_buf *text)
{
    const struct ram_sequences on = ram_hessians_sequences(h);
    const struct ram_hparams *hp = &h->model->hp;
    const size_t columns_of[] = {
        hp->hidden,     hp->q_rank,     hp->kv_rank,   ram_widest_attended(hp),
        hp->mlp_hidden, hp->moe.hidden, hp->moe.shared};

    ram_sequences_settings(text, on);
    ram_buf_printf(text, " damp %.17g %s", h->damp,
                   h->use == RAM_HESSIAN_ENCODE ? "encode by shares" : "measure");
    /* Not max_memory itself: another limit gives the same, as long as the same factors fit. */
    for (size_t i = 0; i < sizeof columns_of / sizeof *columns_of; i++)
        ram_buf_printf(text, " %d",
                       ram_gptq_factor_size(columns_of[i]) <= h->exec.max_memory / 8 * 5);
}

int ram_hessians_open(struct ram_hessians **out, const struct ram_model *model,
                      const struct ram_synthetic *what, double damp, enum ram_hessian_use use,
                      const struct ram_exec *exec, struct ram_err *err)
{
    const uint64_t token = floats_a_token(&model->hp) * sizeof(float);
    const size_t n_experts = model->hp.moe.n_experts;
    struct ram_hessians *h = ram_calloc(1, sizeof *h, err);

    if (!h)
        return RAM_ENOMEM;
    h->model = model;
    h->exec = *exec;
    h->what = *what;
    h->damp = damp;
    h->use = use;
    h->layer = SIZE_MAX;
    h->observer = (struct ram_observer){h, see};
    while (h->what.n > 1 && token * h->what.n * h->what.length > h->exec.max_memory / 4)
        h->what.n /= 2;
    h->places = ram_calloc(model->n_units + 1, sizeof *h->places, err);
    h->experts = ram_calloc(n_experts, sizeof *h->experts, err);
    h->expert_down = ram_calloc(n_experts, sizeof *h->expert_down, err);
    h->tokens = ram_calloc(h->what.n * h->what.length, sizeof *h->tokens, err);
    int status = h->places && h->experts && h->expert_down && h->tokens ? RAM_OK : RAM_ENOMEM;
    if (!status)
        find_places(h);
    if (!status)
        status = ram_synthetic_tokens(model, &h->what, exec, h->tokens, err);
    if (!status)
        keep_by_tokens(h);
    if (status)
        ram_hessians_close(h);
    else
        *out = h;
    return status;
}

void ram_hessians_close(struct ram_hessians *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->n_made; i++)
        ram_gptq_factor_free(h->made[i].factor);
    for (size_t i = 0; i < RAM_N_INPUTS; i++) {
        free(h->rows[i].x);
        free(h->average[i]);
    }
    for (size_t e = 0; e < h->model->hp.moe.n_experts; e++) {
        if (h->experts)
            free(h->experts[e].x);
        if (h->expert_down)
            free(h->expert_down[e].x);
    }
    ram_forward_free(h->forward);
    free(h->experts);
    free(h->expert_down);
    free(h->places);
    free(h->tokens);
    free(h->made);
    free(h);
}
