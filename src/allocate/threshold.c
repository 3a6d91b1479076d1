/*
 * threshold.c - the published methods: scores are compared with thresholds, and the first rule that
 * applies decides. The methods differ in how scores are normalised and in the thresholds
 * (methods.c).
 */
#include "allocate/method.h"
#include "allocate/rules.h"

#include <math.h>
#include <stdlib.h>

static const double max_2bit_score = 0.20, max_16bit_score = 0.75; /* of the publications */

/* 0: the method's own; RAM_THRESHOLD_OFF: `off`. */
static int take(double option, double off, const char *name, double *threshold, struct ram_err *err)
{
    if (option == RAM_THRESHOLD_OFF)
        *threshold = off;
    else if (!(option >= 0 && option <= 1))
        return ram_fail(err, RAM_EUSAGE, "threshold %s = %g is not between 0 and 1", name, option);
    else if (option > 0)
        *threshold = option;
    return RAM_OK;
}

static int take_thresholds(const struct ram_allocate_opts *opts, struct ram_thresholds *t,
                           struct ram_err *err)
{
    int status = take(opts->t2, -INFINITY, "t2", &t->t2, err);
    if (!status)
        status = take(opts->t8, INFINITY, "t8", &t->t8, err);
    if (!status)
        status = take(opts->t16, INFINITY, "t16", &t->t16, err);
    return status;
}

double ram_low_score(const struct ram_scoring *scoring, size_t u)
{
    const double s = scoring->units[u].composite;
    return scoring->norm == RAM_NORM_HYBRID ? fmax(s, scoring->unit_fixed[u]) : s;
}

/* ---- what would have been decided, and what the publications report ---------------------------
 */

/* The width that an expert would get if it were decided by itself. For one that was not measured,
 * the score of its stack is used. */
static struct ram_verdict decide_member(const struct ram_scoring *scoring,
                                        const struct ram_thresholds *thresholds,
                                        const struct ram_case *c, size_t u, size_t entry,
                                        double *score)
{
    *score = scoring->entries[entry].composite;
    double low = *score;

    if (isnan(*score)) {
        *score = scoring->units[u].composite;
        low = ram_low_score(scoring, u);
    } else if (scoring->norm == RAM_NORM_HYBRID) {
        low = fmax(low, scoring->entry_fixed[entry]);
    }
    return ram_decide(thresholds, c, *score, low);
}

struct alone {
    uint64_t bytes, low, high; /* bytes in all; parameters scored <= 0.20, protected or >= 0.75 */
    double bits;
};

static void decide_alone(struct ram_problem *problem, const struct ram_scoring *scoring,
                         const struct ram_thresholds *thresholds, struct alone *alone)
{
    struct ram_plan *const plan = problem->plan;

    for (size_t u = 0; u < plan->n_units; u++) {
        const struct ram_case *const c = &problem->cases[u];
        for (size_t m = 0; m < c->n_members; m++) {
            const struct ram_entry *const entry = &problem->manifest->entries[c->members[m]];
            const uint64_t parameters = ram_entry_stored(entry);
            double score;
            const struct ram_verdict v =
                decide_member(scoring, thresholds, c, u, c->members[m], &score);
            const bool free = !c->skip && c->quantizable && !c->is_protected;
            /* Rows that hold no codes: the unit shows it. */
            const struct ram_form *const form = c->n_members == 1 ? plan->units[u].form : v.form;
            struct ram_share *const share = &plan->expert_shares[form->bits];
            share->parameters += parameters;
            share->tensors++;
            for (int s = 0; s < entry->n_stored; s++)
                alone->bytes += ram_form_bytes(form, entry->stored[s].rows, entry->stored[s].cols,
                                               (size_t)entry->stored_size);
            alone->bits += (double)form->bits * (double)parameters;
            alone->low += free && score <= max_2bit_score ? parameters : 0;
            alone->high += !free || score >= max_16bit_score ? parameters : 0;
        }
        plan->has_expert_shares |= c->n_members > 1;
    }
}

static int predict(struct ram_problem *problem, const struct ram_scoring *scoring,
                   const struct ram_thresholds *thresholds, struct ram_err *err)
{
    struct ram_plan *const plan = problem->plan;
    struct alone alone = {0};
    uint64_t parameters = 0;

    decide_alone(problem, scoring, thresholds, &alone);
    for (size_t i = 0; i < plan->n_units; i++)
        parameters += plan->units[i].parameters;
    int status = ram_predict_error(problem, err);
    if (status || !parameters)
        return status;
    const double all = (double)parameters;
    status = ram_json_put(plan->predicted, "max_2bit_percent",
                          ram_json_real(100 * (double)alone.low / all), err);
    if (!status)
        status = ram_json_put(plan->predicted, "max_16bit_percent",
                              ram_json_real(100 * (double)alone.high / all), err);
    if (!status && plan->has_expert_shares)
        status =
            ram_json_put(plan->predicted, "per_expert",
                         json_pack("{sI so so}", "bytes", (json_int_t)alone.bytes, "nominal_bits",
                                   ram_json_real(alone.bits / all), "effective_bits",
                                   ram_json_real((double)alone.bytes * 8 / all)),
                         err);
    return status;
}

/* ---- settings ---------------------------------------------------------------------------------
 */

/* What the model's own percentiles were and whether they were used. */
static json_t *axes_json(const struct ram_scoring *scoring)
{
    json_t *const axes = json_object();
    int failed = !axes;

    for (int k = 0; k < RAM_N_METRICS; k++) {
        const struct ram_axis *const axis = &scoring->axes[k];
        failed |= json_object_set_new(
            axes, ram_metric_names[k],
            json_pack("{sb so so so}", "adaptive", axis->adaptive, "p5", ram_json_real(axis->p5),
                      "p95", ram_json_real(axis->p95), "spread", ram_json_real(axis->spread)));
    }
    if (!failed)
        return axes;
    json_decref(axes);
    return NULL;
}

static int put_settings(struct ram_problem *problem, const struct ram_method *method,
                        const struct ram_scoring *scoring, const struct ram_thresholds *t,
                        struct ram_err *err)
{
    static const char *const norms[] = {
        [RAM_NORM_FIXED] = "fixed", [RAM_NORM_ADAPTIVE] = "adaptive", [RAM_NORM_HYBRID] = "hybrid"};
    const char *const rule = problem->opts->expert_rule;
    const double *const w = scoring->weights;
    const struct {
        const char *key;
        json_t *value;
    } settings[] = {
        {"rule", json_string(method->name)}, /* what auto became */
        /* infinities become null: off */
        {"thresholds", json_pack("{so so so}", "t2", ram_json_real(t->t2), "t8",
                                 ram_json_real(t->t8), "t16", ram_json_real(t->t16))},
        {"weights",
         json_pack("{sf sf sf sf}", "svd", w[0], "kurtosis", w[1], "output", w[2], "error", w[3])},
        {"groups", json_pack("{si si si}", "2", ram_default_form(2)->group, "4",
                             ram_default_form(4)->group, "8", ram_default_form(8)->group)},
        {"norm", json_string(norms[scoring->norm])},
        {"votes", json_integer((json_int_t)scoring->n_votes)},
        {"axes", scoring->norm == RAM_NORM_FIXED ? json_null() : axes_json(scoring)},
        {"expert_rule", json_string(rule ? rule : "mean")},
        {"protect", ram_rules_json(problem->rules, "protect")},
        {"sensitive", ram_rules_json(problem->rules, "sensitive")},
    };
    int status = RAM_OK;

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (!status)
            status = ram_json_put(problem->plan->settings, settings[i].key, settings[i].value, err);
        else
            json_decref(settings[i].value);
    }
    return status;
}

int ram_decide_by_score(struct ram_problem *problem, const struct ram_method *method,
                        struct ram_err *err)
{
    struct ram_plan *const plan = problem->plan;
    struct ram_thresholds thresholds = problem->moe ? method->moe : method->dense;
    struct ram_scoring scoring;
    json_t *search = NULL;

    int status = take_thresholds(problem->opts, &thresholds, err);
    if (!status)
        status = ram_scoring_init(&scoring, problem, method->norm, err);
    if (status)
        return status;
    if (problem->opts->search)
        status = ram_search(problem, &scoring, &thresholds, &search, err);
    for (size_t i = 0; !status && i < plan->n_units; i++) {
        const struct ram_case *const c = &problem->cases[i];
        const struct ram_verdict v =
            ram_decide(&thresholds, c, scoring.units[i].composite, ram_low_score(&scoring, i));
        ram_decide_unit(problem, i, v.form, v.reason);
        plan->units[i].scored = !c->skip && !isnan(scoring.units[i].composite);
        plan->units[i].scores = scoring.units[i];
    }
    plan->span = scoring.span;
    if (!status)
        status = put_settings(problem, method, &scoring, &thresholds, err);
    if (!status && search)
        status = ram_json_put(plan->settings, "search", json_incref(search), err);
    if (!status)
        status = predict(problem, &scoring, &thresholds, err);
    json_decref(search);
    ram_scoring_release(&scoring);
    return status;
}
