/*
 * scores.c - see scores.h. Formulas: docs/metrics.md, "Scores".
 *
 * Percentiles interpolate linearly between order statistics (numpy's default), one vote for each
 * scored, unprotected matrix, every expert by itself.
 */
#include "allocate/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const ram_metric_names[RAM_N_METRICS] = {"svd", "kurtosis", "output", "error"};

static const struct ram_axis fixed_axes[RAM_N_METRICS] = {
    {.low = 0.1, .width = 0.8},     /* svd: top tenth's share of the energy */
    {.low = 0, .width = 10},        /* kurtosis: excess */
    {.low = -2, .width = 3},        /* output: log10 of the relative perturbation */
    {.low = 0.005, .width = 0.045}, /* error: NRMSE at 4 bits */
};

static const double default_weights[RAM_N_METRICS] = {0.20, 0.45, 0.15, 0.20};

enum { MIN_VOTES = 20 };
static const double min_range = 1e-9;  /* between percentiles, for them to mean anything */
static const double min_spread = 0.10; /* of the fixed width, for a hybrid metric to adapt */
static const double headroom = 0.2;    /* beyond 0 and 1, in the span */

bool ram_case_is_scored(const struct ram_case *c)
{
    return !c->skip && c->quantizable && !c->is_protected && !c->user_form;
}

static double axis_value(const struct ram_entry *entry, int metric)
{
    const double values[RAM_N_METRICS] = {entry->metrics.svd, entry->metrics.kurtosis,
                                          log10(fmax(entry->metrics.output, 0.01)),
                                          entry->metrics.error};
    return values[metric];
}

/* Matrices of (almost) nothing but one value score 0. Statistics that are not known are NAN, and
 * these comparisons false. */
static bool is_degenerate(const struct ram_entry *entry, int metric)
{
    const struct ram_stats *const s = &entry->stats;
    const bool degenerate[RAM_N_METRICS] = {s->rms * s->rms * (double)entry->parameters < 1e-12,
                                            s->std * s->std < 1e-12, entry->metrics.output < 1e-6,
                                            s->rms < 1e-12};
    return degenerate[metric];
}

static double clip(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* beyond: how far the score may leave [0, 1]. */
static double metric_score(const struct ram_axis *axis, const struct ram_entry *entry, int metric,
                           double beyond)
{
    if (is_degenerate(entry, metric))
        return 0;
    return clip((axis_value(entry, metric) - axis->low) / axis->width, -beyond, 1 + beyond);
}

static double composite(const struct ram_scoring *scoring, const struct ram_axis *axes,
                        const struct ram_entry *entry, double beyond)
{
    double sum = 0;

    for (int k = 0; k < RAM_N_METRICS; k++)
        sum += scoring->weights[k] * metric_score(&axes[k], entry, k, beyond);
    return sum;
}

/* ---- the axes ------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* numpy's "linear", to its rounding. */
static double quantile(const double *sorted, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    const double t = at - (double)i;
    const double a = sorted[i], b = sorted[i + 1 < n ? i + 1 : i];

    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

/* Entry numbers that vote. */
static size_t collect_votes(const struct ram_problem *problem, size_t *votes)
{
    size_t n = 0;

    for (size_t i = 0; i < problem->plan->n_units; i++) {
        const struct ram_case *const c = &problem->cases[i];
        for (size_t m = 0; !c->skip && !c->is_protected && m < c->n_members; m++)
            if (ram_entry_scored(&problem->manifest->entries[c->members[m]]))
                votes[n++] = c->members[m];
    }
    return n;
}

/* values: room for the votes. */
static void fit_axis(struct ram_scoring *scoring, const struct ram_problem *problem, int metric,
                     const size_t *votes, double *values)
{
    struct ram_axis *const axis = &scoring->axes[metric];
    const size_t n = scoring->n_votes;

    *axis = fixed_axes[metric];
    if (scoring->norm == RAM_NORM_FIXED || n < MIN_VOTES)
        return;
    for (size_t i = 0; i < n; i++)
        values[i] = axis_value(&problem->manifest->entries[votes[i]], metric);
    qsort(values, n, sizeof *values, ascending);
    axis->p5 = quantile(values, n, 0.05);
    axis->p95 = quantile(values, n, 0.95);
    axis->spread = (axis->p95 - axis->p5) / axis->width;
    axis->adaptive = axis->p95 - axis->p5 >= min_range &&
                     (scoring->norm == RAM_NORM_ADAPTIVE || axis->spread >= min_spread);
    if (axis->adaptive) {
        axis->low = axis->p5;
        axis->width = axis->p95 - axis->p5;
    }
}

static void score_entries(struct ram_scoring *scoring, const struct ram_problem *problem,
                          const size_t *votes)
{
    const struct ram_manifest *const manifest = problem->manifest;
    double low = INFINITY, high = -INFINITY;

    for (size_t i = 0; i < manifest->n_entries; i++) {
        const struct ram_entry *const entry = &manifest->entries[i];
        struct ram_scores *const s = &scoring->entries[i];
        s->composite = scoring->entry_fixed[i] = NAN;
        if (!ram_entry_scored(entry))
            continue;
        double *const scores[RAM_N_METRICS] = {&s->svd, &s->kurtosis, &s->output, &s->error};
        for (int k = 0; k < RAM_N_METRICS; k++)
            *scores[k] = metric_score(&scoring->axes[k], entry, k, 0);
        s->composite = composite(scoring, scoring->axes, entry, 0);
        scoring->entry_fixed[i] = composite(scoring, fixed_axes, entry, 0);
    }
    for (size_t i = 0; i < scoring->n_votes; i++) {
        const double x = composite(scoring, scoring->axes, &manifest->entries[votes[i]], headroom);
        low = fmin(low, x);
        high = fmax(high, x);
    }
    scoring->span = scoring->n_votes ? high - low : NAN;
}

/* ---- from the experts to their stack ----------------------------------------------------------
 */

enum rule { RULE_MEAN, RULE_MAX, RULE_P90 };

static int expert_rule(const char *name, enum rule *out, struct ram_err *err)
{
    static const char *const names[] = {
        [RULE_MEAN] = "mean", [RULE_MAX] = "max", [RULE_P90] = "p90"};

    *out = RULE_MEAN;
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++) {
        if (!strcmp(name, names[i])) {
            *out = (enum rule)i;
            return RAM_OK;
        }
    }
    return name ? ram_fail(err, RAM_EUSAGE, "unknown expert rule '%s': mean, max or p90", name)
                : RAM_OK;
}

/* values of the n experts that were measured and how many parameters each has. Sorts values. */
static double combine(enum rule rule, double *values, const double *parameters, size_t n)
{
    double sum = 0, all = 0, max = values[0];

    for (size_t i = 0; i < n; i++) {
        sum += values[i] * parameters[i];
        all += parameters[i];
        max = fmax(max, values[i]);
    }
    if (n == 1 || rule == RULE_MAX)
        return max;
    if (rule == RULE_MEAN)
        return all > 0 ? sum / all : values[0];
    qsort(values, n, sizeof *values, ascending);
    return quantile(values, n, 0.90);
}

/* room: two doubles for every member of the unit. */
static void score_unit(struct ram_scoring *scoring, const struct ram_problem *problem, size_t u,
                       enum rule rule, double *room)
{
    const struct ram_case *const c = &problem->cases[u];
    struct ram_scores *const s = &scoring->units[u];
    double *const results[] = {&s->svd,   &s->kurtosis,  &s->output,
                               &s->error, &s->composite, &scoring->unit_fixed[u]};
    double *const values = room, *const parameters = room + c->n_members;
    size_t n = 0;

    for (size_t r = 0; r < sizeof results / sizeof *results; r++) {
        n = 0;
        for (size_t m = 0; m < c->n_members; m++) {
            const size_t e = c->members[m];
            const struct ram_scores *const es = &scoring->entries[e];
            const double of_entry[] = {es->svd,   es->kurtosis,  es->output,
                                       es->error, es->composite, scoring->entry_fixed[e]};
            if (isnan(es->composite))
                continue;
            values[n] = of_entry[r];
            parameters[n++] = (double)problem->manifest->entries[e].parameters;
        }
        *results[r] = n ? combine(rule, values, parameters, n) : NAN;
    }
}

static int check_scored(const struct ram_scoring *scoring, const struct ram_problem *problem,
                        struct ram_err *err)
{
    const char *example = NULL;
    size_t missing = 0, needed = 0;

    for (size_t i = 0; i < problem->plan->n_units; i++) {
        if (!ram_case_is_scored(&problem->cases[i]))
            continue;
        needed++;
        if (!isnan(scoring->units[i].composite))
            continue;
        if (!missing++)
            example = problem->plan->units[i].name;
    }
    if (missing)
        return ram_fail(
            err, RAM_EFORMAT,
            "the method decides by what was measured, and %zu of %zu matrices were "
            "not (%s): analyze the model first, without --no-svd, or use method uniform",
            missing, needed, example);
    return RAM_OK;
}

static int take_weights(struct ram_scoring *scoring, const struct ram_allocate_opts *opts,
                        struct ram_err *err)
{
    double sum = 0;

    for (int k = 0; k < RAM_N_METRICS; k++) {
        if (!(opts->weights[k] >= 0 && opts->weights[k] <= 1))
            return ram_fail(err, RAM_EUSAGE, "weight %s=%g is not between 0 and 1",
                            ram_metric_names[k], opts->weights[k]);
        sum += opts->weights[k];
    }
    memcpy(scoring->weights, sum > 0 ? opts->weights : default_weights, sizeof scoring->weights);
    if (sum > 0 && fabs(sum - 1) > 1e-6)
        return ram_fail(err, RAM_EUSAGE,
                        "the weights sum to %g, expected 1: thresholds are of a composite "
                        "between 0 and 1",
                        sum);
    return RAM_OK;
}

int ram_scoring_init(struct ram_scoring *scoring, const struct ram_problem *problem,
                     enum ram_norm norm, struct ram_err *err)
{
    const size_t n_entries = problem->manifest->n_entries, n_units = problem->plan->n_units;
    size_t *votes = NULL;
    double *room = NULL;
    enum rule rule;

    *scoring = (struct ram_scoring){.norm = norm};
    int status = take_weights(scoring, problem->opts, err);
    if (!status)
        status = expert_rule(problem->opts->expert_rule, &rule, err);
    if (status)
        return status;
    scoring->entries = ram_calloc(n_entries, sizeof *scoring->entries, err);
    scoring->entry_fixed = ram_calloc(n_entries, sizeof *scoring->entry_fixed, err);
    scoring->units = ram_calloc(n_units, sizeof *scoring->units, err);
    scoring->unit_fixed = ram_calloc(n_units, sizeof *scoring->unit_fixed, err);
    votes = ram_calloc(n_entries, sizeof *votes, err);
    room = ram_calloc(n_entries, 2 * sizeof *room, err);
    if (!scoring->entries || !scoring->entry_fixed || !scoring->units || !scoring->unit_fixed ||
        !votes || !room) {
        status = RAM_ENOMEM;
        goto done;
    }
    scoring->n_votes = collect_votes(problem, votes);
    for (int k = 0; k < RAM_N_METRICS; k++)
        fit_axis(scoring, problem, k, votes, room);
    score_entries(scoring, problem, votes);
    for (size_t i = 0; i < n_units; i++)
        score_unit(scoring, problem, i, rule, room);
    status = check_scored(scoring, problem, err);
done:
    free(votes);
    free(room);
    if (status)
        ram_scoring_release(scoring);
    return status;
}

void ram_scoring_release(struct ram_scoring *scoring)
{
    free(scoring->entries);
    free(scoring->entry_fixed);
    free(scoring->units);
    free(scoring->unit_fixed);
    *scoring = (struct ram_scoring){0};
}
