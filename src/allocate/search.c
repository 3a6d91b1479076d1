/*
 * search.c - the published grid search of thresholds, computed from the manifest.
 *
 * The publications do not say what they minimised; here it is the predicted squared error of the
 * weights at no more bytes than the plan without a search would take.
 */
#include "allocate/method.h"

#include <math.h>
#include <stdlib.h>

static const double grid2[] = {-INFINITY, 0.05, 0.10, 0.15, 0.20};
static const double grid8[] = {0.55, 0.60, 0.65, 0.70, 0.75, 0.80};
static const double grid16[] = {0.75, 0.80, 0.85, 0.90, 0.95};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Bytes and error of a unit at each width that thresholds can give it: that of ram_default_form. */
enum { W2, W4, W8, W16, N_WIDTHS };
static const int widths[N_WIDTHS] = {2, 4, 8, 16};

struct cost {
    uint64_t bytes[N_WIDTHS];
    double error[N_WIDTHS];
};

struct total {
    uint64_t bytes;
    double error;
};

struct search {
    const struct ram_problem *problem;
    const struct ram_scoring *scoring;
    struct cost *costs; /* of the units that a score decides */
    uint64_t others;    /* bytes of the rest, which thresholds do not change */
};

static int fill_costs(struct search *search, struct ram_err *err)
{
    const struct ram_problem *const problem = search->problem;
    const struct ram_plan *const plan = problem->plan;

    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_case *const c = &problem->cases[i];
        if (!ram_case_is_scored(c)) {
            search->others +=
                ram_unit_bytes(&plan->units[i], c->user_form ? c->user_form : RAM_FORM_16);
            continue;
        }
        for (int w = 0; w < N_WIDTHS; w++) {
            const struct ram_form *const form =
                ram_unit_fit(&plan->units[i], ram_default_form(widths[w]));
            search->costs[i].bytes[w] = ram_unit_bytes(&plan->units[i], form);
            search->costs[i].error[w] = ram_case_error(problem, i, form);
            if (isnan(search->costs[i].error[w]))
                return ram_fail(err, RAM_EUSAGE,
                                "a search needs the squared errors of every width, and the "
                                "manifest has none for %s at %d bits in groups of %d",
                                plan->units[i].name, form->bits, form->group);
        }
    }
    return RAM_OK;
}

static struct total try(const struct search *search, const struct ram_thresholds *t)
{
    const struct ram_problem *const problem = search->problem;
    struct total total = {.bytes = search->others};

    for (size_t i = 0; i < problem->plan->n_units; i++) {
        const struct ram_case *const c = &problem->cases[i];
        if (!ram_case_is_scored(c))
            continue;
        const struct ram_verdict v = ram_decide(t, c, search->scoring->units[i].composite,
                                                ram_low_score(search->scoring, i));
        const int bits = v.form->bits, w = bits == 2 ? W2 : bits == 4 ? W4 : bits == 8 ? W8 : W16;
        total.bytes += search->costs[i].bytes[w];
        total.error += search->costs[i].error[w];
    }
    return total;
}

static json_t *line(const struct ram_thresholds *t, const struct total *total)
{
    return json_pack("{so so so sI so}", "t2", ram_json_real(t->t2), "t8", ram_json_real(t->t8),
                     "t16", ram_json_real(t->t16), "bytes", (json_int_t)total->bytes,
                     "squared_error", ram_json_real(total->error));
}

/* Less error is better, then fewer bytes; of equals, the first that was tried. */
static bool better(const struct total *a, const struct total *b)
{
    return a->error < b->error || (a->error == b->error && a->bytes < b->bytes);
}

int ram_search(const struct ram_problem *problem, const struct ram_scoring *scoring,
               struct ram_thresholds *thresholds, json_t **report, struct ram_err *err)
{
    struct search search = {.problem = problem, .scoring = scoring};
    json_t *tried = json_array();
    int failed = !tried, status = RAM_OK;

    search.costs = ram_calloc(problem->plan->n_units, sizeof *search.costs, err);
    status = search.costs ? fill_costs(&search, err) : RAM_ENOMEM;
    if (status)
        goto done;
    const struct total start = try(&search, thresholds);
    const struct ram_thresholds from = *thresholds;
    struct total best = start;
    for (size_t i = 0; i < COUNT(grid2) * COUNT(grid8) * COUNT(grid16); i++) {
        const struct ram_thresholds t = {grid2[i / COUNT(grid16) / COUNT(grid8)],
                                         grid8[i / COUNT(grid16) % COUNT(grid8)],
                                         grid16[i % COUNT(grid16)]};
        const struct total total = try(&search, &t);
        failed |= json_array_append_new(tried, line(&t, &total));
        if (total.bytes <= start.bytes && better(&total, &best)) {
            best = total;
            *thresholds = t;
        }
    }
    *report =
        json_pack("{ss so so sO}", "objective", "least squared error at no more bytes than `from`",
                  "from", line(&from, &start), "chosen", line(thresholds, &best), "tried", tried);
    if (failed || !*report)
        status = ram_fail(err, RAM_ENOMEM, "no memory for what a search tried");
done:
    free(search.costs);
    json_decref(tried);
    return status;
}
