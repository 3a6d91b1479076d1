/* curve.c - see curve.h. */
#include "probe/curve.h"

#include "infer/linear.h"
#include "kern/gemm.h"
#include "probe/kept.h"
#include "probe/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_ROWS = 32,
    SAMPLE_MATRICES = 4,       /* of a stack, spread evenly */
    N_CODED = RAM_N_FORMS - 1, /* RAM_FORM_16 has no error */
    N_FORMS = N_CODED + 1      /* the last: as a probe stores it */
};

struct curves {
    const struct ram_model *model;
    struct ram_hessians *hessians;
    const struct ram_exec *exec;
    /* [n_units] sums over the sampled rows, on unseen inputs and by the factors' own; NAN: does not
     * fit */
    double (*unseen)[N_FORMS], (*seen)[N_FORMS];
    bool *all_unseen; /* [n_units]: every matrix that was looked at had unseen inputs */
    struct ram_kept kept;
};

/* The rows of one matrix. */
struct sample {
    const struct ram_gptq_factor *factor;
    const float *w; /* [n, cols] */
    size_t n, cols;
    struct ram_unseen inputs;
    double energy; /* mean square of these */
    double unseen[N_FORMS], seen[N_FORMS];
};

static struct ram_storage form_of(size_t i)
{
    return (struct ram_storage){.form =
                                    i == N_CODED ? ram_form_find(RAM_PROBE_FORM) : &ram_forms[i]};
}

/* e = what a reader of the coded rows sees, less the weights. */
static int code_rows(const struct sample *s, size_t i, float *e, struct ram_err *err)
{
    const struct ram_storage as = form_of(i);
    const struct ram_gptq how = {.factor = s->factor, .sweeps = RAM_GPTQ_SWEEPS};
    uint8_t *planes[RAM_MAX_PLANES];
    double unused;

    if (ram_storage_alloc(&as, s->n, s->cols, planes, err))
        return RAM_ENOMEM;
    const uint8_t *const coded[RAM_MAX_PLANES] = {planes[0], planes[1], planes[2]};
    const int status = as.form->codec->gptq(&as, &how, s->w, s->n, s->cols, planes, &unused, err);
    if (!status)
        ram_storage_decode(&as, coded, s->n, s->cols, e);
    free(planes[0]);
    return status;
}

/* Of a token: what errors e of the rows do to its outputs, and to each column by itself as far as
 * moments of many tokens are damped. */
static int unseen_error(const struct sample *s, const float *e, double *out, struct ram_err *err)
{
    const struct ram_unseen *in = &s->inputs;
    const struct ram_mat x = {in->x, RAM_ELEM_F32, in->cols, 1}, w = {e, RAM_ELEM_F32, 1, s->cols};
    double outputs = 0, plain = 0;

    *out = 0;
    if (in->n == 0)
        return RAM_OK;
    float *y = ram_calloc(in->n * s->n, sizeof *y, err);
    int status = y ? ram_gemm(RAM_GEMM_F32, in->n, s->n, s->cols, x, w, y, s->n, false, NULL, err)
                   : RAM_ENOMEM;
    for (size_t i = 0; !status && i < in->n * s->n; i++)
        outputs += (double)y[i] * (double)y[i];
    for (size_t i = 0; i < s->n * s->cols; i++)
        plain += (double)e[i] * (double)e[i];
    *out = outputs / (double)in->n + in->damp * s->energy * plain;
    free(y);
    return status;
}

static int measure_form(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct sample *s = ctx;
    const struct ram_storage as = form_of(i);
    const size_t size = s->n * s->cols;
    int status = RAM_OK;

    (void)worker;
    s->unseen[i] = s->seen[i] = NAN;
    if (i < N_CODED && ram_form_fit(as.form, s->cols) != as.form)
        return RAM_OK;
    float *e = ram_calloc(size, sizeof *e, err);
    if (!e)
        return RAM_ENOMEM;
    if (i == N_CODED) {
        for (size_t k = 0; k < size; k++)
            e[k] = s->w[k];
        status = ram_linear_perturb(&as, e, s->n, s->cols, err);
    } else {
        status = code_rows(s, i, e, err);
    }
    for (size_t k = 0; !status && k < size; k++)
        e[k] -= s->w[k];
    if (!status)
        status = ram_gptq_error(s->factor, e, s->n, s->cols, &s->seen[i], err);
    if (!status)
        status = unseen_error(s, e, &s->unseen[i], err);
    free(e);
    return status;
}

/* Adds rows [first, first + of) of a matrix, spread evenly, to the errors of a unit. */
static int add_rows(struct curves *c, unsigned unit, const struct ram_weight *weight, size_t first,
                    size_t of, const struct ram_gptq_factor *factor,
                    const struct ram_unseen *inputs, struct ram_err *err)
{
    const size_t cols = weight->cols, n = of < SAMPLE_ROWS ? of : SAMPLE_ROWS;
    float *w = ram_calloc(n * cols, sizeof *w, err);
    struct sample s = {.factor = factor, .w = w, .n = n, .cols = cols, .inputs = *inputs};
    int status = w ? RAM_OK : RAM_ENOMEM;

    for (size_t i = 0; !status && i < n; i++)
        status = ram_weight_read(weight, first + of * i / n, 1, w + i * cols, err);
    for (size_t i = 0; i < inputs->n * cols; i++)
        s.energy += (double)inputs->x[i] * (double)inputs->x[i] / (double)(inputs->n * cols);
    if (!status)
        status = ram_pool_for(c->exec->pool, N_FORMS, measure_form, &s, err);
    c->all_unseen[unit] = c->all_unseen[unit] && inputs->n > 0;
    for (size_t i = 0; !status && i < N_FORMS; i++) {
        c->unseen[unit][i] += s.unseen[i];
        c->seen[unit][i] += s.seen[i];
    }
    free(w);
    return status;
}

static int add_linear(struct curves *c, const struct ram_linear *linear, size_t expert,
                      struct ram_err *err)
{
    const struct ram_gptq_factor *factor = NULL;

    if (!linear->unit || linear->transposed)
        return RAM_OK;
    const char *unit = c->model->units[linear->unit].name;
    const int status = ram_hessians_factor(c->hessians, unit, expert, false, &factor, err);
    const struct ram_unseen inputs = ram_hessians_unseen(c->hessians, unit, expert);
    return status ? status
                  : add_rows(c, linear->unit, &linear->weight, linear->first, linear->out, factor,
                             &inputs, err);
}

/* Every how many-th of n things is looked at. */
static size_t step_of(size_t n)
{
    return (n + SAMPLE_MATRICES - 1) / SAMPLE_MATRICES;
}

static bool is_of_experts(const struct ram_model_unit *unit)
{
    return unit->input == RAM_INPUT_EXPERT || unit->input == RAM_INPUT_EXPERT_GATED;
}

/* Routers stay as they are. */
static int add_layer(struct curves *c, size_t layer, struct ram_err *err)
{
    const struct ram_model *model = c->model;
    const size_t n_experts = model->hp.moe.n_experts;
    int status = RAM_OK;

    for (size_t u = 1; u < model->n_units; u++) {
        const struct ram_model_unit *unit = &model->units[u];
        if (unit->layer != layer || ram_role_is_router(unit->role) || is_of_experts(unit))
            continue;
        for (size_t i = 0; !status && i < unit->n; i += step_of(unit->n))
            status = add_linear(c, ram_unit_matrix(unit, i), 0, err);
    }
    /* Expert by expert, since the matrices of one share factors, of which there would be too many.
     */
    for (size_t e = 0; e < n_experts; e += step_of(n_experts)) {
        for (size_t u = 1; !status && u < model->n_units; u++) {
            const struct ram_model_unit *unit = &model->units[u];
            if (unit->layer == layer && is_of_experts(unit))
                status = add_linear(c, ram_unit_matrix(unit, e), e, err);
        }
        ram_hessians_forget(c->hessians);
    }
    return status;
}

static int add_ends(struct curves *c, struct ram_err *err)
{
    const struct ram_model *model = c->model;
    const struct ram_unseen none = {0};
    int status = RAM_OK;

    if (model->embed_unit != model->head.unit)
        status =
            add_rows(c, model->embed_unit, &model->embed, 0, model->hp.vocab, NULL, &none, err);
    return status ? status : add_linear(c, &model->head, 0, err);
}

/* ---- what is kept --------------------------------------------------------------------------- */

enum { N_KEPT = 2 * N_FORMS + 1 }; /* numbers of a unit */

/* Moves the sums of the units of a layer (SIZE_MAX: embedding and head) between c and a list of
 * numbers, or only counts them (numbers NULL). */
static size_t move_units(const struct curves *c, size_t layer, double *numbers, bool into)
{
    size_t n = 0;

    for (size_t u = 1; u < c->model->n_units; u++) {
        if (c->model->units[u].layer != layer)
            continue;
        double *at = numbers ? numbers + n : NULL;
        if (at && into) {
            memcpy(c->unseen[u], at, sizeof c->unseen[u]);
            memcpy(c->seen[u], at + N_FORMS, sizeof c->seen[u]);
            c->all_unseen[u] = at[N_KEPT - 1] != 0;
        } else if (at) {
            memcpy(at, c->unseen[u], sizeof c->unseen[u]);
            memcpy(at + N_FORMS, c->seen[u], sizeof c->seen[u]);
            at[N_KEPT - 1] = c->all_unseen[u];
        }
        n += N_KEPT;
    }
    return n;
}

static void name_curves(const struct curves *c, size_t layer, char name[48])
{
    if (layer == SIZE_MAX)
        snprintf(name, 48, "curves of embedding and head");
    else
        snprintf(name, 48, "curves of layer %zu of %zu", layer + 1, c->model->hp.n_layers);
}

/* A layer's units, from an earlier run or measured now. */
static int add_or_find(struct curves *c, size_t layer, struct ram_err *err)
{
    const size_t n = move_units(c, layer, NULL, false);
    double *numbers = ram_calloc(n, sizeof *numbers, err);
    int status = numbers ? RAM_OK : RAM_ENOMEM;
    char name[48];

    name_curves(c, layer, name);
    if (!status && ram_kept_get(&c->kept, name, numbers, n * sizeof *numbers)) {
        move_units(c, layer, numbers, true);
    } else if (!status) {
        status = layer == SIZE_MAX ? add_ends(c, err) : add_layer(c, layer, err);
        move_units(c, layer, numbers, false);
        if (!status)
            ram_kept_put(&c->kept, name, numbers, n * sizeof *numbers);
    }
    free(numbers);
    return status;
}

static struct ram_kept kept_for(const struct curves *c)
{
    struct ram_buf settings = {0};

    ram_hessians_settings(c->hessians, &settings);
    ram_buf_printf(&settings, " %d rows of %d matrices", SAMPLE_ROWS, SAMPLE_MATRICES);
    const struct ram_kept kept = ram_kept_for(c->exec, "curves", settings.data);
    ram_buf_release(&settings);
    return kept;
}

static void divide(const struct curves *c, struct ram_curve *curves)
{
    for (size_t u = 1; u < c->model->n_units; u++) {
        const double *errors = c->all_unseen[u] ? c->unseen[u] : c->seen[u];
        const double probe = errors[N_CODED];
        for (size_t i = 0; i < N_CODED; i++)
            curves[u].ratio[i] = probe > 0 ? errors[i] / probe : NAN;
        curves[u].ratio[N_CODED] = NAN;
    }
}

int ram_error_curves(const struct ram_model *model, struct ram_hessians *hessians,
                     const struct ram_exec *exec, struct ram_curve *curves, struct ram_err *err)
{
    const size_t n_layers = model->hp.n_layers;
    struct curves c = {.model = model, .hessians = hessians, .exec = exec};
    char item[64];

    c.unseen = ram_calloc(model->n_units, sizeof *c.unseen, err);
    c.seen = ram_calloc(model->n_units, sizeof *c.seen, err);
    c.all_unseen = ram_calloc(model->n_units, sizeof *c.all_unseen, err);
    int status = c.unseen && c.seen && c.all_unseen ? RAM_OK : RAM_ENOMEM;
    for (size_t u = 0; !status && u < model->n_units; u++)
        c.all_unseen[u] = true;
    c.kept = kept_for(&c);
    for (size_t l = 0; !status && l < n_layers; l++) {
        snprintf(item, sizeof item, "layer %zu of %zu", l + 1, n_layers);
        status = ram_exec_report(exec,
                                 &(struct ram_progress){.stage = "curves",
                                                        .item = item,
                                                        .done = l,
                                                        .total = n_layers,
                                                        .unit = RAM_IN_LAYERS},
                                 err);
        if (!status)
            status = add_or_find(&c, l, err);
        ram_hessians_forget(hessians);
    }
    if (!status)
        status = add_or_find(&c, SIZE_MAX, err);
    if (!status)
        divide(&c, curves);
    free(c.unseen);
    free(c.seen);
    free(c.all_unseen);
    return status;
}
