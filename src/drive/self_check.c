/* self_check.c - see self_check.h. */
#include "drive/self_check.h"

#include "allocate/rival.h"
#include "evaluate/statistics.h"
#include "probe/check.h"

#include <math.h>
#include <stdlib.h>

enum { HELD_OUT = 1000 }; /* added to the seed of the tokens that decided */

static void forms_of(const struct ram_plan *plan, const struct ram_model *model,
                     struct ram_storage *as_if)
{
    for (size_t u = 1; u < model->n_units; u++) {
        const struct ram_unit *unit = ram_plan_find(plan, model->units[u].name);
        if (unit && unit->form != RAM_FORM_16)
            as_if[u] = (struct ram_storage){.form = unit->form};
    }
}

/* Forms of the best uniform width, [model->n_units]; NULL: there is none. */
static int uniform_forms(const struct ram_manifest *manifest, const struct ram_model *model,
                         uint64_t bytes, struct ram_storage **as_if, struct ram_kld_check *out,
                         struct ram_err *err)
{
    struct ram_plan *plan = NULL;

    int status = ram_rival_by_error(manifest, bytes, &plan, err);
    if (status || !plan)
        return status;
    *as_if = ram_calloc(model->n_units, sizeof **as_if, err);
    if (*as_if) {
        forms_of(plan, model, *as_if);
        out->uniform_bits = (int)json_integer_value(json_object_get(plan->settings, "bits"));
        out->uniform_group = (int)json_integer_value(json_object_get(plan->settings, "group"));
    }
    ram_plan_free(plan);
    return *as_if ? RAM_OK : RAM_ENOMEM;
}

/* The model makes the tokens itself, from a seed that nothing was decided by. */
static int held_out(const struct ram_model *model, const struct ram_probe_opts *opts,
                    const struct ram_exec *exec, struct ram_synthetic *what, uint32_t **tokens,
                    struct ram_err *err)
{
    *what = ram_check_tokens(ram_model_bytes(model), opts->tier);
    what->n = opts->sequences ? opts->sequences : what->n;
    what->length = opts->length ? opts->length : what->length;
    what->seed = ram_probe_tokens(opts, false).seed + HELD_OUT;
    *tokens = ram_calloc(what->n * what->length, sizeof **tokens, err);
    return *tokens ? ram_synthetic_tokens(model, what, exec, *tokens, err) : RAM_ENOMEM;
}

/*
 * Figures of the sequences, and whether the uniform width is the better one. A plan was chosen by
 * figures of far more text than this check has, so that it is given up only for a difference that
 * chance does not make: of more than two standard errors, in pairs, since text that is hard for one
 * conversion is hard for the other. Of one sequence that error is not known, and nothing is more
 * than NAN.
 */
static void conclude(const double *ours, const double *uniform, double *differences, size_t n,
                     struct ram_kld_check *out)
{
    const double errors = 2;

    const struct ram_mean mean = ram_mean_of(ours, n);
    out->kld = mean.mean;
    out->kld_error = mean.stderr_mean;
    if (!uniform)
        return;
    const struct ram_mean other = ram_mean_of(uniform, n);
    for (size_t i = 0; i < n; i++)
        differences[i] = ours[i] - uniform[i];
    const struct ram_mean difference = ram_mean_of(differences, n);
    out->kld_uniform = other.mean;
    out->kld_uniform_error = other.stderr_mean;
    out->difference_error = difference.stderr_mean;
    out->uniform_is_better = difference.mean > errors * difference.stderr_mean;
}

static int check(const struct ram_model *source, const struct ram_model *written,
                 const struct ram_storage *as_if, const struct ram_probe_opts *opts,
                 const struct ram_exec *exec, struct ram_kld_check *out, struct ram_err *err)
{
    struct ram_synthetic what;
    uint32_t *tokens = NULL;

    int status = held_out(source, opts, exec, &what, &tokens, err);
    const struct ram_sequences on = {tokens, what.n, what.length};
    double *kld = status ? NULL : ram_calloc(3 * what.n, sizeof *kld, err);
    if (!status && !kld)
        status = RAM_ENOMEM;
    if (!status)
        status = ram_check(source, written, as_if, on, exec, kld, kld + what.n, err);
    if (!status) {
        conclude(kld, as_if ? kld + what.n : NULL, kld + 2 * what.n, what.n, out);
        out->sequences = what.n;
        out->tokens = what.n * what.length;
    }
    free(kld);
    free(tokens);
    return status;
}

int ram_self_check_run(const char *dir, const struct ram_ckpt *source,
                       const struct ram_manifest *manifest, const struct ram_plan *plan,
                       const struct ram_self_check_how *how, struct ram_kld_check *out,
                       struct ram_err *err)
{
    struct ram_model *original = NULL, *written = NULL;
    struct ram_storage *as_if = NULL;
    struct ram_ckpt *result = NULL;

    *out = (struct ram_kld_check){
        .kld_uniform = NAN, .kld_uniform_error = NAN, .difference_error = NAN};
    int status = ram_model_open(&original, source, err);
    if (!status)
        status = ram_ckpt_open(&result, dir, err);
    if (!status)
        status = ram_model_open(&written, result, err);
    if (!status)
        status = uniform_forms(manifest, original, plan->totals.bytes, &as_if, out, err);
    if (!status)
        status = check(original, written, as_if, how->opts, how->exec, out, err);
    ram_model_close(written);
    ram_ckpt_close(result);
    ram_model_close(original);
    free(as_if);
    return status;
}
