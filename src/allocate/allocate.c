/*
 * allocate.c - manifest and options to a plan: pure, no weights, no files, no clock.
 *
 * The order of reading: methods.c (what there is), threshold.c (how the published ones go),
 * scores.c, decide.c; problem.c and rules.c prepare what they see; search.c and uniform.c.
 */
#include "allocate/allocate.h"

#include "allocate/asked_size.h"
#include "allocate/method.h"
#include "allocate/options.h"
#include "allocate/rules.h"
#include "base/hash.h"
#include "base/opts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int unknown_method(const char *name, struct ram_err *err)
{
    struct ram_buf list = {0};
    size_t n;

    const struct ram_method *const methods = ram_methods(&n);
    for (size_t i = 0; i < n; i++)
        ram_buf_printf(&list, "%s%s", i ? ", " : "", methods[i].name);
    const int status = ram_fail(err, RAM_EUSAGE, "unknown method '%s'; there are %s", name,
                                list.failed ? "others" : list.data);
    ram_buf_release(&list);
    return status;
}

static int put_predicted(json_t *predicted, const char *key, double value, struct ram_err *err)
{
    return ram_json_put(predicted, key, ram_json_real(value), err);
}

int ram_predict_error(struct ram_problem *problem, struct ram_err *err)
{
    struct ram_plan *const plan = problem->plan;
    double error = 0, energy = 0;

    if (!plan->predicted)
        plan->predicted = json_object();
    if (!plan->predicted)
        return ram_fail(err, RAM_ENOMEM, "no memory for a prediction");
    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_unit *const unit = &plan->units[i];
        if (problem->cases[i].skip && unit->form == RAM_FORM_16)
            continue;
        error += ram_case_error(problem, i, unit->form);
        energy += ram_case_energy(problem, i);
    }
    if (isnan(error))
        return RAM_OK;
    int status = put_predicted(plan->predicted, "squared_error", error, err);
    if (!status && energy > 0)
        status = put_predicted(plan->predicted, "relative_error", sqrt(error / energy), err);
    if (!status && problem->manifest->sensitivities && !json_object_get(plan->predicted, "kld"))
        status = ram_predict_divergence(problem, err);
    return status;
}

static int name_plan(struct ram_plan *plan, const struct ram_manifest *manifest, const char *method,
                     struct ram_err *err)
{
    plan->method = ram_arena_strdup(&plan->arena, method, err);
    plan->model_name = ram_arena_strdup(&plan->arena, manifest->model_name, err);
    plan->model_type = ram_arena_strdup(&plan->arena, manifest->model_type, err);
    return plan->method && plan->model_name && plan->model_type ? RAM_OK : RAM_ENOMEM;
}

/* The digest of the manifest's text: of the one it was read from, or the one it would be. */
static int sign(struct ram_plan *plan, const struct ram_manifest *manifest, struct ram_err *err)
{
    char sha256[RAM_SHA256_HEX];
    const char *digest = manifest->sha256;
    char *text = NULL;

    if (!digest) {
        const int status = ram_manifest_text(manifest, &text, err);
        if (status)
            return status;
        ram_sha256(text, strlen(text), sha256);
        free(text);
        digest = sha256;
    }
    plan->manifest_sha256 = ram_arena_strdup(&plan->arena, digest, err);
    return plan->manifest_sha256 ? RAM_OK : RAM_ENOMEM;
}

static int put_common_settings(struct ram_problem *problem, struct ram_err *err)
{
    json_t *const settings = problem->plan->settings;
    const struct ram_allocate_opts *const opts = problem->opts;

    int status = RAM_OK;
    if (opts->n_set)
        status = ram_json_put(settings, "set", ram_rules_json(problem->rules, "set"), err);
    if (!status)
        status = ram_json_put(settings, "experts", json_boolean(problem->moe), err);
    return status;
}

const char *ram_allocate_encoder(const struct ram_manifest *manifest)
{
    const struct ram_sensitivity_record *probes = manifest->sensitivities;
    const char *encoder = !probes                  ? NULL
                          : probes->curves.encoder ? probes->curves.encoder
                                                   : probes->encoder;

    return encoder && ram_budget_encoder_known(encoder) ? encoder : "rtn";
}

int ram_allocate_unsigned(const struct ram_manifest *manifest,
                          const struct ram_allocate_opts *given, struct ram_plan **out,
                          struct ram_err *err)
{
    struct ram_allocate_opts own = given ? *given : (struct ram_allocate_opts){0};
    const struct ram_allocate_opts *const opts = &own;
    struct ram_problem problem;

    *out = NULL;
    const bool sized = opts->size || opts->bpw != 0 || opts->fit || opts->bytes_per_token;
    const char *const name = opts->method ? opts->method : sized ? "budget" : "auto";
    const struct ram_method *const method = ram_method_find(name);
    if (!method)
        return unknown_method(name, err);
    int status = RAM_OPTS_CHECK(opts, "struct ram_allocate_opts", err);
    if (!status)
        status = ram_allocate_check(method, opts, err);
    if (method->budget && !own.encoder)
        own.encoder = ram_allocate_encoder(manifest);
    if (!status)
        status = ram_problem_init(&problem, manifest, opts, err);
    if (status)
        return status;
    struct ram_plan *const plan = problem.plan;
    status = method->decide(&problem, method, err);
    if (!status)
        status = put_common_settings(&problem, err);
    if (!status)
        status = ram_allocate_record(plan, manifest, name, opts, err);
    if (!status)
        status = name_plan(plan, manifest, name, err);
    if (!status)
        status = ram_plan_index(plan, name, err);
    ram_problem_release(&problem);
    if (status) {
        ram_plan_free(plan);
        return status;
    }
    ram_plan_sum(plan);
    status = ram_plan_seal(plan, err);
    *out = plan;
    if (status) {
        ram_plan_free(plan);
        *out = NULL;
    }
    return status;
}

int ram_allocate(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                 struct ram_plan **out, struct ram_err *err)
{
    struct ram_plan *plan = NULL;

    *out = NULL;
    int status = ram_allocate_unsigned(manifest, opts, &plan, err);
    if (!plan)
        return status;
    status = sign(plan, manifest, err);
    if (status) {
        ram_plan_free(plan);
        return status;
    }
    *out = plan;
    return RAM_OK;
}
