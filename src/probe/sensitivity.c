/* sensitivity.c - see sensitivity.h. */
#include "probe/sensitivity.h"

#include "kern/nn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BLOCK = 128, LOGIT_SHARE = 8 };

static const struct ram_affine form = {.bits = RAM_PROBE_BITS,
                                       .group = RAM_PROBE_GROUP,
                                       .profile = RAM_PROFILE_GPU,
                                       .scale_type = RAM_SCALE_BF16};

/*
 * Trajectory 0 is the clean model, trajectory i > 0 the one with order[i] probed; each is n spans
 * of the forward pass. The head, whose probe needs no trajectory of its own, is not among them
 * unless it is tied to the embedding.
 */
struct probes {
    const struct ram_model *model;
    const struct ram_probe_run *how;
    struct ram_forward *forward;
    size_t n, length; /* sequences, tokens of each */
    unsigned *order;  /* [n_trajectories] units by layer */
    size_t n_trajectories;
    double *alpha;
    size_t block;          /* rows of logits at once */
    float *clean, *probed; /* [block, vocab] */
    double clean_lse[MAX_BLOCK];
    double divergence[MAX_BLOCK];
};

/* ---- the layers ------------------------------------------------------------------------- */

static int start_embedding_probe(struct probes *p, const uint32_t *tokens, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; !status && i < p->n; i++)
        status = ram_forward_embed(p->forward, p->n + i, tokens + i * p->length, &form, err);
    return status;
}

/* Probes of this layer leave the clean path; `born` trajectories exist already. */
static int run_layer(struct probes *p, size_t layer, size_t *born, struct ram_err *err)
{
    const struct ram_model *model = p->model;
    const size_t before = *born;
    int status = RAM_OK;

    while (!status && *born < p->n_trajectories && model->units[p->order[*born]].layer == layer) {
        const size_t first = *born * p->n;
        for (size_t i = 0; !status && i < p->n; i++)
            status = ram_forward_copy(p->forward, i, first + i, err);
        if (!status)
            status = ram_forward_part(p->forward, layer, first, p->n, p->order[*born], &form, err);
        ++*born;
    }
    return status ? status : ram_forward_part(p->forward, layer, 0, before * p->n, 0, NULL, err);
}

static int run_layers(struct probes *p, struct ram_err *err)
{
    const size_t n_layers = p->model->hp.n_layers;
    const uint64_t bytes = ram_model_bytes(p->model);
    size_t born = 2; /* the clean one and the embedding's */
    char item[64];
    int status = RAM_OK;

    for (size_t layer = 0; !status && layer < n_layers; layer++) {
        /* Work grows with the trajectories: so does the share of the layers behind. */
        const double at = (double)layer / (double)n_layers;
        snprintf(item, sizeof item, "layer %zu of %zu", layer + 1, n_layers);
        status = ram_probe_report(p->how, "probe", item, (uint64_t)((double)bytes * at * at * 0.7),
                                  bytes, err);
        if (!status)
            status = run_layer(p, layer, &born, err);
    }
    return status;
}

/* ---- the divergences -------------------------------------------------------------------- */

static int clean_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct probes *p = ctx;
    const size_t vocab = p->model->hp.vocab;
    size_t top;

    (void)worker;
    p->clean_lse[i] = ram_nn()->log_sum_exp(p->clean + i * vocab, vocab, &top);
    return isfinite(p->clean_lse[i])
               ? RAM_OK
               : ram_fail(err, RAM_EFORMAT, "%s: logits are not finite", p->model->ckpt->name);
}

static int probed_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct probes *p = ctx;
    const size_t vocab = p->model->hp.vocab;
    const float *x = p->probed + i * vocab;
    size_t top;

    (void)worker;
    const double lse = ram_nn()->log_sum_exp(x, vocab, &top);
    if (!isfinite(lse))
        return ram_fail(err, RAM_EFORMAT, "%s: logits of a probe are not finite",
                        p->model->ckpt->name);
    p->divergence[i] =
        fmax(0, ram_nn()->divergence(p->clean + i * vocab, p->clean_lse[i], x, lse, vocab));
    return RAM_OK;
}

static int add_divergence(struct probes *p, unsigned unit, size_t n, struct ram_err *err)
{
    const int status = ram_pool_for(p->how->pool, n, probed_row, p, err);

    for (size_t i = 0; !status && i < n; i++)
        p->alpha[unit] += p->divergence[i] / (double)(p->n * p->length);
    return status;
}

/* All probes at rows [first, first + n) of the clean trajectory. */
static int compare_rows(struct probes *p, size_t first, size_t n, struct ram_err *err)
{
    const unsigned head = p->model->head.unit, tied = p->model->embed_unit;
    size_t rows[MAX_BLOCK];

    for (size_t i = 0; i < n; i++)
        rows[i] = first + i;
    int status = ram_forward_logits(p->forward, rows, n, p->clean, err);
    if (!status)
        status = ram_pool_for(p->how->pool, n, clean_row, p, err);
    for (size_t k = 1; !status && k < p->n_trajectories; k++) {
        for (size_t i = 0; i < n; i++)
            rows[i] = k * p->n * p->length + first + i;
        status = p->order[k] == head && head == tied
                     ? ram_forward_probe_head(p->forward, &form, rows, n, p->probed, err)
                     : ram_forward_logits(p->forward, rows, n, p->probed, err);
        if (!status)
            status = add_divergence(p, p->order[k], n, err);
    }
    if (status || head == tied)
        return status;
    for (size_t i = 0; i < n; i++)
        rows[i] = first + i;
    status = ram_forward_probe_head(p->forward, &form, rows, n, p->probed, err);
    return status ? status : add_divergence(p, head, n, err);
}

static int compare(struct probes *p, struct ram_err *err)
{
    const size_t n_rows = p->n * p->length;
    const uint64_t bytes = ram_model_bytes(p->model);
    int status = RAM_OK;

    for (size_t row = 0; !status && row < n_rows; row += p->block) {
        const size_t n = n_rows - row < p->block ? n_rows - row : p->block;
        status = ram_probe_report(
            p->how, "probe", "head",
            (uint64_t)((double)bytes * (0.7 + 0.3 * (double)row / (double)n_rows)), bytes, err);
        if (!status)
            status = compare_rows(p, row, n, err);
    }
    return status;
}

/* ---- set-up ----------------------------------------------------------------------------- */

/* The embedding first, then units by layer (they are found in that order); not a head of its own.
 */
static int order_units(struct probes *p, struct ram_err *err)
{
    const struct ram_model *model = p->model;

    p->order = ram_calloc(model->n_units + 1, sizeof *p->order, err);
    if (!p->order)
        return RAM_ENOMEM;
    p->order[1] = model->embed_unit;
    p->n_trajectories = 2;
    for (unsigned unit = 1; unit < model->n_units; unit++)
        if (model->units[unit].layer != SIZE_MAX)
            p->order[p->n_trajectories++] = unit;
    return RAM_OK;
}

static int start(struct probes *p, const uint32_t *tokens, struct ram_err *err)
{
    const uint64_t memory = p->how->max_memory ? p->how->max_memory : (uint64_t)2 << 30;
    const uint64_t row = 2 * p->model->hp.vocab * sizeof(float);
    const size_t n_spans = p->n_trajectories * p->n;
    const struct ram_forward_opts opts = {
        .f32 = true, .pool = p->how->pool, .max_memory = memory - memory / LOGIT_SHARE};
    struct ram_span *spans = ram_calloc(n_spans, sizeof *spans, err);

    p->block =
        memory / LOGIT_SHARE / row < MAX_BLOCK ? (size_t)(memory / LOGIT_SHARE / row) : MAX_BLOCK;
    p->block = p->block ? p->block : 1;
    p->clean = ram_calloc(p->block * p->model->hp.vocab, sizeof *p->clean, err);
    p->probed = ram_calloc(p->block * p->model->hp.vocab, sizeof *p->probed, err);
    int status = spans && p->clean && p->probed ? RAM_OK : RAM_ENOMEM;
    for (size_t i = 0; !status && i < n_spans; i++)
        spans[i] = (struct ram_span){tokens + i % p->n * p->length, p->length, RAM_NO_PARENT};
    if (!status)
        status = ram_forward_new(&p->forward, p->model, spans, n_spans, &opts, err);
    free(spans);
    return status;
}

int ram_sensitivities(const struct ram_model *model, const uint32_t *tokens, size_t n,
                      size_t length, const struct ram_probe_run *how, double *alpha,
                      struct ram_err *err)
{
    struct probes *p = ram_calloc(1, sizeof *p, err);
    if (!p)
        return RAM_ENOMEM;
    *p = (struct probes){.model = model, .how = how, .n = n, .length = length, .alpha = alpha};
    for (size_t i = 0; i < model->n_units; i++)
        alpha[i] = 0;
    int status = order_units(p, err);
    if (!status)
        status = start(p, tokens, err);
    if (!status)
        status = start_embedding_probe(p, tokens, err);
    if (!status)
        status = run_layers(p, err);
    if (!status)
        status = compare(p, err);
    ram_forward_free(p->forward);
    free(p->order);
    free(p->clean);
    free(p->probed);
    free(p);
    return status;
}
