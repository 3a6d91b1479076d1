/* sensitivity.c - see sensitivity.h. */
#include "probe/sensitivity.h"

#include "base/mem.h"
#include "probe/kept.h"
#include "probe/logits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A trajectory is n spans of the forward pass, computed as if one unit were coarse: none in the
 * clean one, all in the joint one. Behind those two RAM_TIER_KL has one for every unit of `order`,
 * which is born at its layer; RAM_TIER_LOCAL has as many as the richest layer has units, and every
 * layer uses them anew.
 */
enum { CLEAN, JOINT, FIRST_PROBE };

struct probes {
    const struct ram_model *model;
    const struct ram_exec *exec;
    enum ram_tier tier;
    const struct ram_form *form;
    struct ram_forward *forward;
    struct ram_sequences on;
    unsigned *order; /* [n_order] the embedding, then units by layer; not a head of its own */
    size_t n_order, n_trajectories;
    struct ram_storage *as_if; /* [n_units] */
    unsigned *unit_of;         /* [n_trajectories x n] */
    double *alpha;             /* [n_units] */
    double joint, head;        /* head: its own divergence, where it has no trajectory */
    double local;              /* of all units: what the joint divergence is shared out by */
    size_t row;                /* whose divergence is measured next */
    struct ram_logits logits;
    struct ram_kept kept;
};

/* A router stays as it is, whatever a plan may want. */
static bool is_router(const struct ram_model *model, unsigned unit)
{
    return ram_role_is_router(model->units[unit].role);
}

static const char *stage_of(const struct probes *p)
{
    return !strcmp(p->form->id, RAM_PROBE_FORM) ? "probe" : "probe again";
}

static void assign(struct probes *p, size_t trajectory, unsigned unit)
{
    for (size_t i = 0; i < p->on.n; i++)
        p->unit_of[trajectory * p->on.n + i] = unit;
    ram_forward_as_if(p->forward, p->as_if, p->unit_of);
}

static int embed(struct probes *p, size_t trajectory, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; !status && i < p->on.n; i++)
        status = ram_forward_embed(p->forward, trajectory * p->on.n + i,
                                   p->on.tokens + i * p->on.length, err);
    return status;
}

/* How far a trajectory is from the clean one, relative to that, in squares. */
static int measure_distance(struct probes *p, size_t trajectory, unsigned unit, struct ram_err *err)
{
    double apart = 0, energy = 0, d, e;
    int status = RAM_OK;

    for (size_t i = 0; !status && i < p->on.n; i++) {
        status = ram_forward_distance(p->forward, i, trajectory * p->on.n + i, &d, &e, err);
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

static int start_trajectories(struct probes *p, struct ram_err *err)
{
    const unsigned unit = p->model->embed_unit;

    assign(p, JOINT, RAM_ALL_UNITS);
    assign(p, FIRST_PROBE, unit);
    int status = embed(p, JOINT, err);
    if (!status)
        status = embed(p, FIRST_PROBE, err);
    return status || p->tier == RAM_TIER_KL ? status : measure_distance(p, FIRST_PROBE, unit, err);
}

/* ---- the layers ------------------------------------------------------------------------- */

/* Units [begin, end) of the order belong to this layer. */
static int run_layer(struct probes *p, size_t layer, size_t begin, size_t end, struct ram_err *err)
{
    const bool local = p->tier == RAM_TIER_LOCAL;
    const size_t first = FIRST_PROBE + (local ? 0 : begin);
    int status = RAM_OK;

    for (size_t k = begin; !status && k < end; k++) {
        const size_t trajectory = first + k - begin;
        assign(p, trajectory, p->order[k]);
        for (size_t i = 0; !status && i < p->on.n; i++)
            status = ram_forward_copy(p->forward, i, trajectory * p->on.n + i, err);
    }
    if (!status)
        status = ram_forward_part(p->forward, layer, (first + end - begin) * p->on.n, err);
    for (size_t k = begin; !status && local && k < end; k++)
        status = measure_distance(p, first + k - begin, p->order[k], err);
    return status;
}

static size_t end_of_layer(const struct probes *p, size_t layer, size_t begin)
{
    while (begin < p->n_order && p->model->units[p->order[begin]].layer == layer)
        begin++;
    return begin;
}

/* ---- what is kept --------------------------------------------------------------------------- */

/* The sums so far, which a later run begins with: [n_figures]. */
static size_t n_figures(const struct probes *p)
{
    return p->model->n_units + 4;
}

static double *pack_figures(const struct probes *p, struct ram_err *err)
{
    double *figures = ram_calloc(n_figures(p), sizeof *figures, err);

    if (!figures)
        return NULL;
    figures[0] = p->joint;
    figures[1] = p->head;
    figures[2] = p->local;
    figures[3] = (double)p->row;
    memcpy(figures + 4, p->alpha, p->model->n_units * sizeof *figures);
    return figures;
}

static void take_figures(struct probes *p, const double *figures)
{
    p->joint = figures[0];
    p->head = figures[1];
    p->local = figures[2];
    p->row = (size_t)figures[3];
    memcpy(p->alpha, figures + 4, p->model->n_units * sizeof *figures);
}

/* Trajectories that live in front of the layer whose units begin at `begin`. */
static size_t n_living(const struct probes *p, size_t begin)
{
    return FIRST_PROBE + (p->tier == RAM_TIER_KL ? begin : 0);
}

static struct ram_kept_pass pass_at(const struct probes *p, size_t layer, size_t begin,
                                    double *figures)
{
    return (struct ram_kept_pass){.forward = p->forward,
                                  .hidden = p->model->hp.hidden,
                                  .layer = layer,
                                  .n_rows = n_living(p, begin) * p->on.n * p->on.length,
                                  .figures = figures,
                                  .n_figures = n_figures(p)};
}

static int save(const struct probes *p, size_t layer, size_t begin, struct ram_err *err)
{
    if (!p->kept.store || layer == 0)
        return RAM_OK;
    double *figures = pack_figures(p, err);
    const struct ram_kept_pass pass = pass_at(p, layer, begin, figures);
    const int status = figures ? ram_kept_save(&p->kept, &pass, err) : RAM_ENOMEM;
    free(figures);
    return status;
}

/* Continues where an earlier run was: *layer is the next to run, *begin its first unit. */
static int restore(struct probes *p, size_t *layer, size_t *begin, struct ram_err *err)
{
    int status = RAM_OK;

    if (!ram_store_resumed(p->kept.store))
        return RAM_OK;
    double *figures = ram_calloc(n_figures(p), sizeof *figures, err);
    if (!figures)
        return RAM_ENOMEM;
    struct ram_kept_pass found = pass_at(p, 0, 0, figures);
    if (ram_kept_find(&p->kept, &found) && found.layer <= p->model->hp.n_layers) {
        size_t first = 1; /* behind the embedding */
        for (size_t l = 0; l < found.layer; l++)
            first = end_of_layer(p, l, first);
        const struct ram_kept_pass expected = pass_at(p, found.layer, first, figures);
        if (expected.n_rows == found.n_rows) {
            status = ram_kept_load(&p->kept, &found, err);
            for (size_t k = 0; !status && p->tier == RAM_TIER_KL && k < first; k++)
                assign(p, FIRST_PROBE + k, p->order[k]);
            take_figures(p, figures);
            *layer = found.layer;
            *begin = first;
        }
    }
    free(figures);
    return status;
}

/* Progress in matrices: the layers take 0.7 of the time, and the head 0.3 for all of them. */
static int report(const struct probes *p, const char *item, double share, struct ram_err *err)
{
    const uint64_t n = p->model->n_units > 1 ? p->model->n_units - 1 : 1; /* [0] is no unit */

    return ram_exec_report(p->exec,
                           &(struct ram_progress){.stage = stage_of(p),
                                                  .item = item,
                                                  .done = (uint64_t)((double)n * share),
                                                  .total = n,
                                                  .unit = RAM_IN_MATRICES},
                           err);
}

static int run_layers(struct probes *p, struct ram_err *err)
{
    const size_t n_layers = p->model->hp.n_layers;
    size_t begin = 1, layer = 0; /* behind the embedding */
    char item[64];

    int status = restore(p, &layer, &begin, err);
    for (; !status && layer < n_layers; layer++) {
        /* Work grows with the trajectories: so does the share of the layers behind. */
        const double at = (double)layer / (double)n_layers;
        const double done = p->tier == RAM_TIER_KL ? at * at : at;
        const size_t end = end_of_layer(p, layer, begin);
        snprintf(item, sizeof item, "layer %zu of %zu", layer + 1, n_layers);
        status = save(p, layer, begin, err);
        if (!status)
            status = report(p, item, 0.7 * done, err);
        if (!status)
            status = run_layer(p, layer, begin, end, err);
        begin = end;
    }
    return status ? status : save(p, layer, begin, err);
}

/* ---- the divergences -------------------------------------------------------------------- */

/* The units by their trajectories; the head by that of the embedding when it is tied to it, or
 * else on the clean one. */
static int diverge_units(struct probes *p, size_t first, struct ram_err *err)
{
    const unsigned head = p->model->head.unit;
    const bool in_step = p->tier == RAM_TIER_KL;
    const size_t rows = p->on.n * p->on.length;
    int status = RAM_OK;

    for (size_t k = 0; in_step && !status && k < p->n_order; k++)
        status =
            ram_logits_diverge(&p->logits, p->forward, (FIRST_PROBE + k) * rows + first,
                               p->order[k] == head ? p->as_if : NULL, &p->alpha[p->order[k]], err);
    if (status || (in_step && head == p->model->embed_unit))
        return status;
    return ram_logits_diverge(&p->logits, p->forward, first, p->as_if, &p->head, err);
}

/* Rows [0, p->row) are done: their sums are a record. */
static int keep_rows(const struct probes *p, struct ram_err *err)
{
    if (!ram_store_due(p->kept.store))
        return RAM_OK;
    double *figures = pack_figures(p, err);
    if (!figures)
        return RAM_ENOMEM;
    ram_kept_put(&p->kept, "rows", figures, n_figures(p) * sizeof *figures);
    free(figures);
    return RAM_OK;
}

static int find_rows(struct probes *p, struct ram_err *err)
{
    double *figures = ram_calloc(n_figures(p), sizeof *figures, err);

    if (!figures)
        return RAM_ENOMEM;
    if (ram_kept_get(&p->kept, "rows", figures, n_figures(p) * sizeof *figures) &&
        figures[3] >= 0 && figures[3] <= (double)(p->on.n * p->on.length))
        take_figures(p, figures);
    free(figures);
    return RAM_OK;
}

static int compare(struct probes *p, struct ram_err *err)
{
    const size_t n_rows = p->on.n * p->on.length;

    int status = find_rows(p, err);
    for (size_t n; !status && p->row < n_rows; p->row += n) {
        n = n_rows - p->row < p->logits.block ? n_rows - p->row : p->logits.block;
        const double done = 0.7 + 0.3 * (double)p->row / (double)n_rows;
        status = keep_rows(p, err);
        if (!status)
            status = report(p, "head", done, err);
        if (!status)
            status = ram_logits_clean(&p->logits, p->forward, p->row, n, err);
        if (!status)
            status = ram_logits_diverge(&p->logits, p->forward, JOINT * n_rows + p->row, p->as_if,
                                        &p->joint, err);
        if (!status)
            status = diverge_units(p, p->row, err);
    }
    return status;
}

/* Sums over positions become means. Relative distances become nats: together they are what the
 * joint divergence has beside the head, a tenth of it at least, since the two need not add up
 * exactly. */
static void finish(struct probes *p)
{
    const double positions = (double)(p->on.n * p->on.length);

    p->joint /= positions;
    p->head /= positions;
    const double rest = fmax(p->joint - p->head, p->joint / 10);
    const double share = p->local > 0 ? rest / p->local : 0;
    for (size_t k = 0; k < p->n_order; k++)
        p->alpha[p->order[k]] *= p->tier == RAM_TIER_LOCAL ? share : 1 / positions;
    p->alpha[p->model->head.unit] += p->head;
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
    p->order[p->n_order++] = model->embed_unit;
    for (unsigned unit = 1; unit < model->n_units; unit++) {
        if (model->units[unit].layer == SIZE_MAX || is_router(model, unit))
            continue;
        const unsigned before = p->order[p->n_order - 1];
        in_layer = model->units[before].layer == model->units[unit].layer ? in_layer + 1 : 1;
        most = in_layer > most ? in_layer : most;
        p->order[p->n_order++] = unit;
    }
    p->n_trajectories = FIRST_PROBE + (p->tier == RAM_TIER_KL ? p->n_order : most);
    return RAM_OK;
}

static int set_forms(struct probes *p, struct ram_err *err)
{
    p->as_if = ram_calloc(p->model->n_units, sizeof *p->as_if, err);
    p->unit_of = ram_calloc(p->n_trajectories * p->on.n, sizeof *p->unit_of, err);
    if (!p->as_if || !p->unit_of)
        return RAM_ENOMEM;
    for (unsigned unit = 1; unit < p->model->n_units; unit++) {
        const bool fixed = is_router(p->model, unit);
        p->as_if[unit].form = fixed ? NULL : p->form;
        p->alpha[unit] = fixed ? NAN : 0;
    }
    return RAM_OK;
}

static int start(struct probes *p, struct ram_err *err)
{
    const struct ram_exec share = ram_exec_share(p->exec, ram_logits_memory(p->exec));
    const int status = ram_logits_new(&p->logits, p->model, p->exec, err);

    return status ? status
                  : ram_probe_forward(&p->forward, p->model, p->on, p->n_trajectories, &share, err);
}

/* Everything that a figure depends on, beside the model. */
static struct ram_kept kept_for(const struct probes *p)
{
    struct ram_buf settings = {0};

    ram_buf_printf(&settings, "%s %d bits g%d, ", p->tier == RAM_TIER_KL ? "kl" : "local",
                   p->form->bits, p->form->group);
    ram_sequences_settings(&settings, p->on);
    const struct ram_kept kept = ram_kept_for(p->exec, "sensitivities", settings.data);
    ram_buf_release(&settings);
    return kept;
}

static int measure(struct probes *p, struct ram_err *err)
{
    int status = order_units(p, err);

    if (!status)
        status = set_forms(p, err);
    if (!status)
        status = start(p, err);
    if (!status)
        status = start_trajectories(p, err);
    if (!status)
        status = run_layers(p, err);
    if (!status)
        status = compare(p, err);
    if (status)
        return status;
    finish(p);
    double *figures = pack_figures(p, err);
    if (!figures)
        return RAM_ENOMEM;
    ram_kept_put(&p->kept, "result", figures, n_figures(p) * sizeof *figures);
    ram_kept_drop(&p->kept);
    free(figures);
    return RAM_OK;
}

static int find_or_measure(struct probes *p, struct ram_err *err)
{
    double *figures = ram_calloc(n_figures(p), sizeof *figures, err);
    int status = figures ? RAM_OK : RAM_ENOMEM;

    if (!status && ram_kept_get(&p->kept, "result", figures, n_figures(p) * sizeof *figures))
        take_figures(p, figures);
    else if (!status)
        status = measure(p, err);
    free(figures);
    return status;
}

int ram_sensitivities(const struct ram_model *model, struct ram_sequences on, enum ram_tier tier,
                      const struct ram_exec *exec, struct ram_sensitivities *out,
                      struct ram_err *err)
{
    struct probes *p = ram_calloc(1, sizeof *p, err);

    if (!p)
        return RAM_ENOMEM;
    *p = (struct probes){.model = model,
                         .exec = exec,
                         .tier = tier,
                         .form = out->form,
                         .on = on,
                         .alpha = out->alpha};
    p->kept = kept_for(p);
    const int status = find_or_measure(p, err);
    out->joint = p->joint;
    ram_forward_free(p->forward);
    ram_logits_release(&p->logits);
    free(p->order);
    free(p->as_if);
    free(p->unit_of);
    free(p);
    return status;
}
