/* sensitivity.c - see sensitivity.h. */
#include "probe/sensitivity.h"

#include "kern/nn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BLOCK = 128, LOGIT_SHARE = 8 };

/*
 * A trajectory is n spans of the forward pass. Trajectory 0 is the clean model, the last one the
 * model with all its units as if coarse. Between them RAM_TIER_KL has one for every unit of
 * `order`, which is born at its layer; RAM_TIER_LOCAL has as many as the richest layer has units,
 * and every layer uses them anew.
 */
struct probes {
    const struct ram_model *model;
    const struct ram_probe_run *how;
    enum ram_tier tier;
    struct ram_affine form; /* what a probed unit is as if stored in */
    struct ram_forward *forward;
    size_t n, length; /* sequences, tokens of each */
    unsigned *order;  /* [n_order] the embedding, then units by layer; not a head of its own */
    size_t n_order, n_trajectories;
    const struct ram_affine *all; /* [n_units] of the last trajectory */
    struct ram_affine *one;       /* [n_units] of one probe; nothing set between two */
    double *alpha;                /* NULL: only the joint one is wanted */
    double joint;
    double local;               /* of all units: what the joint divergence is shared out by */
    size_t block;               /* rows of logits at once */
    float *clean_rows, *probed; /* [block, vocab] */
    double clean_lse[MAX_BLOCK];
    double divergence[MAX_BLOCK];
};

/* A router stays as it is, whatever a plan may want. */
static bool is_router(const struct ram_model *model, unsigned unit)
{
    const size_t layer = model->units[unit].layer;
    return layer != SIZE_MAX && model->layers[layer].router.unit == unit;
}

static const char *stage_of(const struct probes *p)
{
    return !p->alpha ? "compare" : p->form.bits == RAM_PROBE_BITS ? "probe" : "probe again";
}

static size_t last(const struct probes *p)
{
    return p->n_trajectories - 1;
}

/* The layer on spans of a trajectory, with one unit as if coarse. */
static int probe_layer(struct probes *p, size_t layer, size_t trajectory, unsigned unit,
                       struct ram_err *err)
{
    p->one[unit] = p->form;
    const int status = ram_forward_part(p->forward, layer, trajectory * p->n, p->n, p->one, err);
    p->one[unit] = (struct ram_affine){0};
    return status;
}

static int embed(struct probes *p, size_t trajectory, const uint32_t *tokens,
                 const struct ram_affine *as_if, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; !status && i < p->n; i++)
        status = ram_forward_embed(p->forward, trajectory * p->n + i, tokens + i * p->length, as_if,
                                   err);
    return status;
}

/* How far a trajectory is from the clean one, relative to that, in squares. */
static int measure_distance(struct probes *p, size_t trajectory, unsigned unit, struct ram_err *err)
{
    double apart = 0, energy = 0, d, e;
    int status = RAM_OK;

    for (size_t i = 0; !status && i < p->n; i++) {
        status = ram_forward_distance(p->forward, i, trajectory * p->n + i, &d, &e, err);
        apart += d;
        energy += e;
    }
    if (status)
        return status;
    if (!isfinite(apart))
        return ram_fail(err, RAM_EFORMAT, "%s: unit %s gives a value that is not finite",
                        p->model->ckpt->name, p->model->units[unit].name);
    p->alpha[unit] = energy > 0 ? apart / energy : 0;
    p->local += p->alpha[unit];
    return RAM_OK;
}

static int start_trajectories(struct probes *p, const uint32_t *tokens, struct ram_err *err)
{
    const unsigned unit = p->model->embed_unit;
    int status = embed(p, last(p), tokens, p->all, err);

    if (status || !p->alpha)
        return status;
    p->one[unit] = p->form;
    status = embed(p, 1, tokens, p->one, err);
    p->one[unit] = (struct ram_affine){0};
    return status || p->tier == RAM_TIER_KL ? status : measure_distance(p, 1, unit, err);
}

/* ---- the layers ------------------------------------------------------------------------- */

/* Units [begin, end) of the order belong to this layer. */
static int probe_units(struct probes *p, size_t layer, size_t begin, size_t end,
                       struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t k = begin; !status && k < end; k++) {
        const size_t trajectory = 1 + (p->tier == RAM_TIER_KL ? k : k - begin);
        for (size_t i = 0; !status && i < p->n; i++)
            status = ram_forward_copy(p->forward, i, trajectory * p->n + i, err);
        if (!status)
            status = probe_layer(p, layer, trajectory, p->order[k], err);
    }
    return status;
}

static int run_layer(struct probes *p, size_t layer, size_t begin, size_t end, struct ram_err *err)
{
    const size_t followed = p->tier == RAM_TIER_KL && p->alpha ? 1 + begin : 1;

    int status = probe_units(p, layer, begin, end, err);
    if (!status)
        status = ram_forward_part(p->forward, layer, last(p) * p->n, p->n, p->all, err);
    if (!status)
        status = ram_forward_part(p->forward, layer, 0, followed * p->n, NULL, err);
    for (size_t k = begin; !status && p->tier == RAM_TIER_LOCAL && k < end; k++)
        status = measure_distance(p, 1 + k - begin, p->order[k], err);
    return status;
}

static size_t end_of_layer(const struct probes *p, size_t layer, size_t begin)
{
    while (begin < p->n_order && p->model->units[p->order[begin]].layer == layer)
        begin++;
    return begin;
}

static int run_layers(struct probes *p, struct ram_err *err)
{
    const size_t n_layers = p->model->hp.n_layers;
    const uint64_t bytes = ram_model_bytes(p->model);
    size_t begin = p->n_order ? 1 : 0; /* behind the embedding */
    char item[64];
    int status = RAM_OK;

    for (size_t layer = 0; !status && layer < n_layers; layer++) {
        /* Work grows with the trajectories: so does the share of the layers behind. */
        const double at = (double)layer / (double)n_layers;
        const double done = p->tier == RAM_TIER_KL ? at * at : at;
        const size_t end = end_of_layer(p, layer, begin);
        snprintf(item, sizeof item, "layer %zu of %zu", layer + 1, n_layers);
        status = ram_probe_report(p->how, stage_of(p), item, (uint64_t)((double)bytes * done * 0.7),
                                  bytes, err);
        if (!status)
            status = run_layer(p, layer, begin, end, err);
        begin = end;
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
    p->clean_lse[i] = ram_nn()->log_sum_exp(p->clean_rows + i * vocab, vocab, &top);
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
        fmax(0, ram_nn()->divergence(p->clean_rows + i * vocab, p->clean_lse[i], x, lse, vocab));
    return RAM_OK;
}

/* Adds to *sum the divergence of these rows of a trajectory, through a head as if so. */
static int diverge(struct probes *p, size_t trajectory, size_t first, size_t n,
                   const struct ram_affine *as_if, double *sum, struct ram_err *err)
{
    size_t rows[MAX_BLOCK] = {0};

    for (size_t i = 0; i < n; i++)
        rows[i] = trajectory * p->n * p->length + first + i;
    int status = ram_forward_logits(p->forward, rows, n, as_if, p->probed, err);
    if (!status)
        status = ram_pool_for(p->how->pool, n, probed_row, p, err);
    for (size_t i = 0; !status && i < n; i++)
        *sum += p->divergence[i] / (double)(p->n * p->length);
    return status;
}

/* The units by their trajectories, and the head: by its own when it is tied, because it is the
 * embedding too, or else on the clean one. */
static int diverge_units(struct probes *p, size_t first, size_t n, double *head,
                         struct ram_err *err)
{
    const unsigned unit = p->model->head.unit, tied = p->model->embed_unit;
    const bool in_step = p->tier == RAM_TIER_KL;
    int status = RAM_OK;

    for (size_t k = 0; in_step && !status && k < p->n_order; k++) {
        if (p->order[k] == unit)
            p->one[unit] = p->form;
        status = diverge(p, 1 + k, first, n, p->one, &p->alpha[p->order[k]], err);
        p->one[unit] = (struct ram_affine){0};
    }
    if (status || (in_step && unit == tied))
        return status;
    p->one[unit] = p->form;
    status = diverge(p, 0, first, n, p->one, head, err);
    p->one[unit] = (struct ram_affine){0};
    return status;
}

/* All trajectories at rows [first, first + n) of each. */
static int compare_rows(struct probes *p, size_t first, size_t n, double *head, struct ram_err *err)
{
    size_t rows[MAX_BLOCK];

    for (size_t i = 0; i < n; i++)
        rows[i] = first + i;
    int status = ram_forward_logits(p->forward, rows, n, NULL, p->clean_rows, err);
    if (!status)
        status = ram_pool_for(p->how->pool, n, clean_row, p, err);
    if (!status)
        status = diverge(p, last(p), first, n, p->all, &p->joint, err);
    return status || !p->alpha ? status : diverge_units(p, first, n, head, err);
}

/* *head: the divergence of the head alone, where it has no trajectory. */
static int compare(struct probes *p, double *head, struct ram_err *err)
{
    const size_t n_rows = p->n * p->length;
    const uint64_t bytes = ram_model_bytes(p->model);
    int status = RAM_OK;

    for (size_t row = 0; !status && row < n_rows; row += p->block) {
        const size_t n = n_rows - row < p->block ? n_rows - row : p->block;
        status = ram_probe_report(
            p->how, stage_of(p), "head",
            (uint64_t)((double)bytes * (0.7 + 0.3 * (double)row / (double)n_rows)), bytes, err);
        if (!status)
            status = compare_rows(p, row, n, head, err);
    }
    return status;
}

/* Relative distances become nats: together they are what the joint divergence has beside the
 * head. A tenth of it at least, since the two need not add up exactly. */
static void share_out(struct probes *p, double head)
{
    const double rest = fmax(p->joint - head, p->joint / 10);

    for (size_t k = 0; k < p->n_order; k++)
        p->alpha[p->order[k]] *= p->local > 0 ? rest / p->local : 0;
}

/* ---- set-up ----------------------------------------------------------------------------- */

/* The embedding first, then units by layer (they are found in that order). */
static int order_units(struct probes *p, struct ram_err *err)
{
    const struct ram_model *model = p->model;
    size_t most = 1, in_layer = 0;

    p->order = ram_calloc(model->n_units + 1, sizeof *p->order, err);
    if (!p->order)
        return RAM_ENOMEM;
    if (p->alpha)
        p->order[p->n_order++] = model->embed_unit;
    for (unsigned unit = 1; p->alpha && unit < model->n_units; unit++) {
        if (model->units[unit].layer == SIZE_MAX || is_router(model, unit))
            continue;
        const unsigned before = p->order[p->n_order - 1];
        in_layer = model->units[before].layer == model->units[unit].layer ? in_layer + 1 : 1;
        most = in_layer > most ? in_layer : most;
        p->order[p->n_order++] = unit;
    }
    p->n_trajectories = 2 + (!p->alpha ? 0 : p->tier == RAM_TIER_KL ? p->n_order : most);
    return RAM_OK;
}

static int start(struct probes *p, const uint32_t *tokens, struct ram_err *err)
{
    const uint64_t memory = p->how->max_memory ? p->how->max_memory : (uint64_t)2 << 30;
    const uint64_t row = 2 * p->model->hp.vocab * sizeof(float);
    const size_t n_spans = p->n_trajectories * p->n;
    const struct ram_forward_opts opts = {
        .f32 = !p->how->coarse, .pool = p->how->pool, .max_memory = memory - memory / LOGIT_SHARE};
    struct ram_span *spans = ram_calloc(n_spans, sizeof *spans, err);

    p->block =
        memory / LOGIT_SHARE / row < MAX_BLOCK ? (size_t)(memory / LOGIT_SHARE / row) : MAX_BLOCK;
    p->block = p->block ? p->block : 1;
    p->one = ram_calloc(p->model->n_units + 1, sizeof *p->one, err);
    p->clean_rows = ram_calloc(p->block * p->model->hp.vocab, sizeof *p->clean_rows, err);
    p->probed = ram_calloc(p->block * p->model->hp.vocab, sizeof *p->probed, err);
    int status = spans && p->one && p->clean_rows && p->probed ? RAM_OK : RAM_ENOMEM;
    for (size_t i = 0; !status && i < n_spans; i++)
        spans[i] = (struct ram_span){tokens + i % p->n * p->length, p->length, RAM_NO_PARENT};
    if (!status)
        status = ram_forward_new(&p->forward, p->model, spans, n_spans, &opts, err);
    free(spans);
    return status;
}

static int run(struct probes *p, const uint32_t *tokens, struct ram_err *err)
{
    double head = 0;

    int status = order_units(p, err);
    if (!status)
        status = start(p, tokens, err);
    if (!status)
        status = start_trajectories(p, tokens, err);
    if (!status)
        status = run_layers(p, err);
    if (!status)
        status = compare(p, &head, err);
    if (!status && p->alpha) {
        if (p->tier == RAM_TIER_LOCAL)
            share_out(p, head);
        p->alpha[p->model->head.unit] += head;
    }
    ram_forward_free(p->forward);
    free(p->order);
    free(p->one);
    free(p->clean_rows);
    free(p->probed);
    return status;
}

int ram_sensitivities(const struct ram_model *model, const uint32_t *tokens, size_t n,
                      size_t length, enum ram_tier tier, const struct ram_probe_run *how,
                      struct ram_sensitivities *out, struct ram_err *err)
{
    const struct ram_affine form = {.bits = out->bits,
                                    .group = RAM_PROBE_GROUP,
                                    .profile = RAM_PROFILE_GPU,
                                    .scale_type = RAM_SCALE_BF16};
    struct ram_affine *all = ram_calloc(model->n_units + 1, sizeof *all, err);
    struct probes *p = ram_calloc(1, sizeof *p, err);
    int status = all && p ? RAM_OK : RAM_ENOMEM;

    for (unsigned unit = 1; !status && unit < model->n_units; unit++) {
        const bool fixed = is_router(model, unit);
        all[unit] = fixed ? (struct ram_affine){0} : form;
        out->alpha[unit] = fixed ? NAN : 0;
    }
    if (!status) {
        *p = (struct probes){.model = model,
                             .how = how,
                             .tier = tier,
                             .form = form,
                             .n = n,
                             .length = length,
                             .all = all,
                             .alpha = out->alpha};
        status = run(p, tokens, err);
        out->joint = p->joint;
    }
    free(all);
    free(p);
    return status;
}

int ram_divergence_as_if(const struct ram_model *model, const uint32_t *tokens, size_t n,
                         size_t length, const struct ram_affine *as_if,
                         const struct ram_probe_run *how, double *kld, struct ram_err *err)
{
    struct probes *p = ram_calloc(1, sizeof *p, err);

    if (!p)
        return RAM_ENOMEM;
    *p = (struct probes){.model = model, .how = how, .n = n, .length = length, .all = as_if};
    const int status = run(p, tokens, err);
    *kld = p->joint;
    free(p);
    return status;
}
