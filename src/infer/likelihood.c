/* likelihood.c - see likelihood.h. */
#include "infer/likelihood.h"

#include "kern/nn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BLOCK = 512 }; /* rows whose logits are held at once */

struct run {
    struct ram_forward *forwards[2]; /* the model; the reference or NULL */
    size_t n_forwards, vocab;
    uint64_t n_tokens; /* of all spans and both checkpoints, for progress */
    const struct ram_query *queries;
    struct ram_answer *answers;
    size_t block;     /* rows of logits that memory allows */
    float *logits[2]; /* [block, vocab] */
    size_t rows[MAX_BLOCK];
    size_t first[MAX_BLOCK + 1]; /* queries [first[i], first[i + 1]) are about rows[i] */
};

/* ---- one block of positions ------------------------------------------------------------- */

static int answer_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct run *run = ctx;
    const float *x = run->logits[0] + i * run->vocab;
    size_t top, top_reference = 0;
    double lse_reference = 0, kld = 0;

    (void)worker;
    const double lse = ram_nn()->log_sum_exp(x, run->vocab, &top);
    const struct ram_query *query = &run->queries[run->first[i]];
    if (!isfinite(lse))
        return ram_fail(err, RAM_EFORMAT, "logits are not finite: sequence %zu, token %zu",
                        query->span, query->at);
    const float *y = run->n_forwards > 1 ? run->logits[1] + i * run->vocab : NULL;
    if (y) {
        lse_reference = ram_nn()->log_sum_exp(y, run->vocab, &top_reference);
        if (!isfinite(lse_reference))
            return ram_fail(err, RAM_EFORMAT,
                            "the reference's logits are not finite: sequence %zu, token %zu",
                            query->span, query->at);
        kld = fmax(0, ram_nn()->divergence(y, lse_reference, x, lse, run->vocab));
    }
    for (size_t q = run->first[i]; q < run->first[i + 1]; q++) {
        const uint32_t token = run->queries[q].token;
        run->answers[q] =
            (struct ram_answer){.nll = lse - (double)x[token],
                                .greedy = top == token,
                                .kld = kld,
                                .nll_reference = y ? lse_reference - (double)y[token] : 0,
                                .same_top = y && top == top_reference};
    }
    return RAM_OK;
}

/* Rows of the next block, from query q on; returns the query after it. */
static size_t gather_block(struct run *run, size_t q, size_t n_queries, size_t *n_rows)
{
    size_t n = 0;

    while (q < n_queries) {
        const struct ram_query *query = &run->queries[q];
        const size_t row = ram_forward_row(run->forwards[0], query->span) + query->at;
        if (n == 0 || run->rows[n - 1] != row) {
            if (n == run->block)
                break;
            run->rows[n] = row;
            run->first[n++] = q;
        }
        q++;
    }
    run->first[n] = q;
    *n_rows = n;
    return q;
}

/* ---- all of them ------------------------------------------------------------------------ */

/* Progress is told in tokens: each layer counts as its share of them. */
static int report(const struct run *run, size_t layer, size_t n_layers,
                  const struct ram_likelihood_opts *opts, struct ram_err *err)
{
    char item[64] = "head";

    if (layer < n_layers)
        snprintf(item, sizeof item, "layer %zu of %zu", layer + 1, n_layers);
    const struct ram_progress p = {.stage = "evaluate",
                                   .item = item,
                                   .done = run->n_tokens * layer / (n_layers + 1),
                                   .total = run->n_tokens,
                                   .unit = RAM_IN_TOKENS};
    return ram_exec_report(opts->exec, &p, err);
}

static int run_layers(struct run *run, size_t n_layers, const struct ram_likelihood_opts *opts,
                      struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t layer = 0; !status && layer < n_layers; layer++) {
        status = report(run, layer, n_layers, opts, err);
        for (size_t k = 0; !status && k < run->n_forwards; k++)
            status = ram_forward_layer(run->forwards[k], layer, err);
    }
    return status ? status : report(run, n_layers, n_layers, opts, err);
}

static int run_head(struct run *run, size_t n_queries, const struct ram_likelihood_opts *opts,
                    struct ram_err *err)
{
    int status = RAM_OK;
    size_t n_rows;

    for (size_t q = 0; !status && q < n_queries;) {
        q = gather_block(run, q, n_queries, &n_rows);
        for (size_t k = 0; !status && k < run->n_forwards; k++)
            status =
                ram_forward_logits(run->forwards[k], run->rows, n_rows, NULL, run->logits[k], err);
        if (!status)
            status = ram_pool_for(opts->exec->pool, n_rows, answer_row, run, err);
    }
    return status;
}

static int check(const struct ram_model *model, const struct ram_model *reference,
                 const struct ram_span *spans, size_t n_spans, const struct ram_query *queries,
                 size_t n_queries, struct ram_err *err)
{
    if (reference &&
        (reference->hp.vocab != model->hp.vocab || reference->hp.n_layers != model->hp.n_layers))
        return ram_fail(err, RAM_EUSAGE,
                        "the reference %s has %zu layers and a vocabulary of %zu, %s has %zu and "
                        "%zu: they cannot be compared",
                        reference->ckpt->name, reference->hp.n_layers, reference->hp.vocab,
                        model->ckpt->name, model->hp.n_layers, model->hp.vocab);
    for (size_t q = 0; q < n_queries; q++)
        if (queries[q].span >= n_spans || queries[q].at >= spans[queries[q].span].n ||
            queries[q].token >= model->hp.vocab)
            return ram_fail(err, RAM_ERANGE, "query %zu: token %u at %zu of sequence %zu", q,
                            queries[q].token, queries[q].at, queries[q].span);
    return RAM_OK;
}

int ram_likelihood(const struct ram_model *model, const struct ram_model *reference,
                   const struct ram_span *spans, size_t n_spans, const struct ram_query *queries,
                   size_t n_queries, const struct ram_likelihood_opts *opts,
                   struct ram_answer *answers, struct ram_err *err)
{
    const struct ram_model *models[2] = {model, reference};
    const uint64_t budget = opts->exec->max_memory;
    int status = check(model, reference, spans, n_spans, queries, n_queries, err);
    if (status)
        return status;
    struct run *run = ram_calloc(1, sizeof *run, err);
    if (!run)
        return RAM_ENOMEM;
    run->n_forwards = reference ? 2 : 1;
    run->vocab = model->hp.vocab;
    run->queries = queries;
    run->answers = answers;
    const uint64_t row = (uint64_t)run->n_forwards * run->vocab * sizeof(float);
    run->block = budget / 8 / row < MAX_BLOCK ? (size_t)(budget / 8 / row) : MAX_BLOCK;
    run->block = run->block ? run->block : 1;
    const uint64_t left = budget > run->block * row ? budget - run->block * row : 0;
    const struct ram_exec share = ram_exec_share(opts->exec, left / run->n_forwards);
    const struct ram_forward_opts forward_opts = {.f32 = opts->f32, .exec = &share};
    for (size_t k = 0; !status && k < run->n_forwards; k++) {
        for (size_t i = 0; i < n_spans; i++)
            run->n_tokens += spans[i].n;
        status = ram_forward_new(&run->forwards[k], models[k], spans, n_spans, &forward_opts, err);
        run->logits[k] = ram_calloc(run->block * run->vocab, sizeof(float), err);
        if (!run->logits[k])
            status = RAM_ENOMEM;
    }
    if (!status)
        status = run_layers(run, model->hp.n_layers, opts, err);
    if (!status)
        status = run_head(run, n_queries, opts, err);
    for (size_t k = 0; k < 2; k++) {
        ram_forward_free(run->forwards[k]);
        free(run->logits[k]);
    }
    free(run);
    return status;
}
