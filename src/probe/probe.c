/* probe.c - see probe.h. */
#include "probe/probe.h"

#include "probe/curve.h"
#include "probe/effort.h"
#include "probe/sensitivity.h"
#include "record/calibration.h"
#include "record/manifest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The names of units in a record live as long as the manifest. */
static int add_figures(struct ram_manifest *manifest, struct ram_unit_figures *all,
                       const char *unit, const double *figures, struct ram_err *err)
{
    const char *const name = ram_arena_strdup(&manifest->arena, unit, err);

    return name ? ram_unit_figures_add(all, name, figures, err) : RAM_ENOMEM;
}

static int put_probe(struct ram_manifest *manifest, const struct ram_model *model,
                     const struct ram_sensitivities *found, struct ram_probe_record *out,
                     struct ram_err *err)
{
    int status = RAM_OK;

    out->form = found->form;
    out->joint = found->joint;
    for (size_t i = 1; !status && i < model->n_units; i++)
        if (!isnan(found->alpha[i]))
            status =
                add_figures(manifest, &out->units, model->units[i].name, &found->alpha[i], err);
    return status ? status : ram_unit_figures_index(&out->units, model->ckpt->name, err);
}

static int put(struct ram_manifest *manifest, const struct ram_model *model,
               const struct ram_synthetic *what, const struct ram_probe_opts *opts,
               const struct ram_sensitivities *found, struct ram_err *err)
{
    struct ram_sensitivity_record *all = NULL;

    int status = ram_sensitivity_new(&all, err);
    if (status)
        return status;
    ram_sensitivity_free(manifest->sensitivities);
    manifest->sensitivities = all;
    all->tier = opts->tier == RAM_TIER_LOCAL ? "local" : "kl";
    all->encoder = "search";
    all->tokens = opts->text ? "text" : "synthetic";
    all->sequences = what->n;
    all->length = what->length;
    all->seed = what->seed;
    if (opts->text)
        status = ram_calibration_identify(opts->text, &all->calibration, err);
    return status ? status : put_probe(manifest, model, found, &all->coarse, err);
}

static int put_curves(struct ram_manifest *manifest, const struct ram_model *model,
                      const struct ram_synthetic *what, const struct ram_curve *curves,
                      struct ram_err *err)
{
    struct ram_sensitivity_record *const all = manifest->sensitivities;
    int status = RAM_OK;

    all->curves.encoder = "gptq";
    all->curves.sequences = what->n;
    all->curves.length = what->length;
    all->curves.damp = RAM_HESSIAN_DAMP;
    for (size_t i = 1; !status && i < model->n_units; i++)
        status =
            add_figures(manifest, &all->curves.units, model->units[i].name, curves[i].ratio, err);
    return status ? status : ram_unit_figures_index(&all->curves.units, model->ckpt->name, err);
}

static int add_curves(struct ram_manifest *manifest, const struct ram_model *model,
                      const struct ram_probe_opts *opts, const struct ram_exec *exec,
                      struct ram_err *err)
{
    const struct ram_synthetic what = ram_hessian_tokens(ram_model_bytes(model), opts->text);
    struct ram_curve *curves = ram_calloc(model->n_units, sizeof *curves, err);
    struct ram_hessians *hessians = NULL;

    int status = curves ? ram_hessians_open(&hessians, model, &what, RAM_HESSIAN_DAMP,
                                            RAM_HESSIAN_MEASURE, exec, err)
                        : RAM_ENOMEM;
    if (!status)
        status = ram_error_curves(model, hessians, exec, curves, err);
    if (!status)
        status = put_curves(manifest, model, ram_hessians_tokens(hessians), curves, err);
    ram_hessians_close(hessians);
    free(curves);
    return status;
}

/* Sensitivities on tokens of the model's own; of a mixture those of a finer probe, too. */
static int add_sensitivities(struct ram_manifest *manifest, const struct ram_model *model,
                             const struct ram_probe_opts *opts, const struct ram_exec *exec,
                             struct ram_err *err)
{
    const bool sparse = model->hp.moe.n_experts > 0;
    const struct ram_synthetic what = ram_probe_tokens(opts, sparse);
    uint32_t *tokens = ram_calloc(what.n * what.length, sizeof *tokens, err);
    const struct ram_sequences on = {tokens, what.n, what.length};
    struct ram_sensitivities found = {.form = ram_form_find(RAM_PROBE_FORM),
                                      .alpha =
                                          ram_calloc(model->n_units, sizeof *found.alpha, err)};

    int status =
        tokens && found.alpha ? ram_synthetic_tokens(model, &what, exec, tokens, err) : RAM_ENOMEM;
    if (!status)
        status = ram_sensitivities(model, on, opts->tier, exec, &found, err);
    if (!status)
        status = put(manifest, model, &what, opts, &found, err);
    if (!status && sparse && opts->tier == RAM_TIER_KL) {
        found.form = ram_form_find(RAM_PROBE_FINE_FORM);
        status = ram_sensitivities(model, on, opts->tier, exec, &found, err);
        if (!status)
            status = put_probe(manifest, model, &found, &manifest->sensitivities->fine, err);
    }
    free(tokens);
    free(found.alpha);
    return status;
}

/* The options, with the tokens that an effort of this kind takes where none are asked for. */
static struct ram_probe_opts completed(const struct ram_probe_opts *opts,
                                       const struct ram_manifest *manifest)
{
    struct ram_probe_opts own = *opts;

    if (!own.sequences && !own.length)
        ram_effort_tokens(manifest, &own);
    return own;
}

int ram_probe_possible(const struct ram_ckpt *ckpt, const struct ram_probe_opts *opts,
                       const struct ram_exec *exec, struct ram_err *err)
{
    struct ram_model *model = NULL;
    uint32_t *tokens = NULL;
    json_t *text = NULL;
    int status = RAM_OK;

    if (opts->text)
        status = ram_calibration_identify(opts->text, &text, err);
    json_decref(text);
    if (!status)
        status = ram_model_open(&model, ckpt, err);
    if (!status && opts->text) {
        struct ram_synthetic what = ram_probe_tokens(opts, model->hp.moe.n_experts > 0);
        if (opts->curves)
            what = ram_hessian_tokens(ram_model_bytes(model), opts->text);
        tokens = ram_calloc(what.n * what.length, sizeof *tokens, err);
        status = tokens ? ram_synthetic_tokens(model, &what, exec, tokens, err) : RAM_ENOMEM;
    }
    free(tokens);
    ram_model_close(model);
    return status;
}

int ram_probe_run(const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
                  const struct ram_probe_opts *opts, const struct ram_exec *exec,
                  struct ram_err *err)
{
    const struct ram_probe_opts own = completed(opts, manifest);
    struct ram_model *model = NULL;

    int status = ram_model_open(&model, ckpt, err);
    if (!status)
        status = add_sensitivities(manifest, model, &own, exec, err);
    if (!status && own.curves)
        status = add_curves(manifest, model, &own, exec, err);
    ram_model_close(model);
    return status;
}
