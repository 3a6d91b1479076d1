/* ram_probe.c - ram.h: sensitivities into a manifest. */
#include "probe/curve.h"
#include "probe/effort.h"
#include "probe/sensitivity.h"
#include "record/calibration.h"
#include "record/manifest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *units_json(const struct ram_model *model, const double *alpha)
{
    json_t *units = json_object();

    for (size_t i = 1; units && i < model->n_units; i++)
        if (!isnan(alpha[i]))
            json_object_set_new(units, model->units[i].name, ram_json_real(alpha[i]));
    return units;
}

/* Which text it was, if it was one. */
static int put_calibration(json_t *all, const char *path, struct ram_err *err)
{
    json_t *text = NULL;

    const int status = path ? ram_calibration_identify(path, &text, err) : RAM_OK;
    if (status || !path)
        return status;
    return json_object_set_new(json_object_get(all, "settings"), "calibration", text)
               ? ram_fail(err, RAM_ENOMEM, "no memory for sensitivities")
               : RAM_OK;
}

static int put(struct ram_manifest *manifest, const struct ram_model *model,
               const struct ram_synthetic *what, const struct ram_probe_opts *opts,
               const struct ram_sensitivities *found, struct ram_err *err)
{
    const char *tier = opts->tier == RAM_TIER_LOCAL ? "local" : "kl";
    json_t *all =
        json_pack("{s:s, s:{s:s, s:s, s:I, s:I, s:I, s:i, s:i}, s:o, s:o}", "tier", tier,
                  "settings", "encoder", "search", "tokens", opts->text ? "text" : "synthetic",
                  "sequences", (json_int_t)what->n, "length", (json_int_t)what->length, "seed",
                  (json_int_t)what->seed, "bits", found->form->bits, "group", found->form->group,
                  "joint", ram_json_real(found->joint), "units", units_json(model, found->alpha));
    if (!all)
        return ram_fail(err, RAM_ENOMEM, "no memory for sensitivities");
    json_decref(manifest->sensitivities);
    manifest->sensitivities = all;
    return put_calibration(all, opts->text, err);
}

static int put_fine(struct ram_manifest *manifest, const struct ram_model *model,
                    const struct ram_sensitivities *found, struct ram_err *err)
{
    json_t *fine = json_pack("{s:i, s:o, s:o}", "bits", found->form->bits, "joint",
                             ram_json_real(found->joint), "units", units_json(model, found->alpha));

    return fine && json_object_set_new(manifest->sensitivities, "fine", fine) == 0
               ? RAM_OK
               : ram_fail(err, RAM_ENOMEM, "no memory for sensitivities");
}

static json_t *curve_json(const struct ram_curve *curve)
{
    json_t *out = json_object();

    for (size_t i = 0; out && i < RAM_N_FORMS; i++)
        if (isfinite(curve->ratio[i]))
            json_object_set_new(out, ram_forms[i].id, ram_json_real(curve->ratio[i]));
    return out;
}

static int put_curves(struct ram_manifest *manifest, const struct ram_model *model,
                      const struct ram_synthetic *what, const struct ram_curve *curves,
                      struct ram_err *err)
{
    json_t *units = json_object();

    for (size_t i = 1; units && i < model->n_units; i++)
        json_object_set_new(units, model->units[i].name, curve_json(&curves[i]));
    json_t *all = json_pack("{s:s, s:{s:I, s:I, s:f}, s:o}", "encoder", "gptq", "settings",
                            "sequences", (json_int_t)what->n, "length", (json_int_t)what->length,
                            "damp", RAM_HESSIAN_DAMP, "units", units);
    return all && json_object_set_new(manifest->sensitivities, "curves", all) == 0
               ? RAM_OK
               : ram_fail(err, RAM_ENOMEM, "no memory for error curves");
}

/* For the conversion that may follow. Those of a text are read again: that takes no time. */
static int keep_tokens(struct ram_manifest *manifest, const struct ram_synthetic *what,
                       struct ram_err *err)
{
    const size_t n = what->n * what->length;
    uint32_t *tokens = what->text ? NULL : ram_calloc(n, sizeof *tokens, err);

    if (!tokens)
        return what->text ? RAM_OK : RAM_ENOMEM;
    memcpy(tokens, what->made, n * sizeof *tokens);
    free(manifest->tokens);
    manifest->tokens = tokens;
    manifest->n_tokens = what->n;
    manifest->token_length = what->length;
    return RAM_OK;
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
    if (!status)
        status = keep_tokens(manifest, ram_hessians_tokens(hessians), err);
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
            status = put_fine(manifest, model, &found, err);
    }
    free(tokens);
    free(found.alpha);
    return status;
}

/* The options, with the tokens that an effort of this kind takes where none are asked for. */
static struct ram_probe_opts completed(const struct ram_probe_opts *opts,
                                       const struct ram_manifest *manifest)
{
    struct ram_probe_opts own = opts ? *opts : (struct ram_probe_opts){0};

    if (!own.sequences && !own.length)
        ram_effort_tokens(manifest, &own);
    return own;
}

int ram_probe_check(const struct ram_ckpt *ckpt, const struct ram_probe_opts *opts,
                    struct ram_err *err)
{
    const struct ram_exec exec = ram_exec_alone(NULL);
    struct ram_model *model = NULL;
    uint32_t *tokens = NULL;
    json_t *text = NULL;

    int status = opts && opts->text ? ram_calibration_identify(opts->text, &text, err) : RAM_OK;
    json_decref(text);
    if (!status)
        status = ram_model_open(&model, ckpt, err);
    if (!status && opts && opts->text) {
        struct ram_synthetic what = ram_probe_tokens(opts, model->hp.moe.n_experts > 0);
        if (opts->curves)
            what = ram_hessian_tokens(ram_model_bytes(model), opts->text);
        tokens = ram_calloc(what.n * what.length, sizeof *tokens, err);
        status = tokens ? ram_synthetic_tokens(model, &what, &exec, tokens, err) : RAM_ENOMEM;
    }
    free(tokens);
    ram_model_close(model);
    return status;
}

int ram_probe(const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
              const struct ram_probe_opts *opts, const struct ram_run *run, struct ram_err *err)
{
    const struct ram_probe_opts own = completed(opts, manifest);
    struct ram_model *model = NULL;
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_model_open(&model, ckpt, err);
    if (!status)
        status = add_sensitivities(manifest, model, &own, &exec, err);
    if (!status && own.curves)
        status = add_curves(manifest, model, &own, &exec, err);
    ram_exec_end(&exec);
    ram_model_close(model);
    return status;
}
