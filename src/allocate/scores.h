/*
 * scores.h - maps raw metrics to scores between 0 and 1, in the three ways of the published method
 * (docs/metrics.md, "Scores").
 */
#ifndef RAM_ALLOCATE_SCORES_H
#define RAM_ALLOCATE_SCORES_H

#include "allocate/problem.h"

enum { RAM_N_METRICS = 4 };
extern const char *const ram_metric_names[RAM_N_METRICS]; /* svd kurtosis output error */

enum ram_norm {
    RAM_NORM_FIXED,    /* by constants */
    RAM_NORM_ADAPTIVE, /* by the 5th and 95th percentile of the model's own matrices */
    RAM_NORM_HYBRID    /* adaptive where the model has spread in a metric, else fixed */
};

/* score = clip((x - low) / width) */
struct ram_axis {
    double low, width;
    bool adaptive;
    double p5, p95, spread; /* of the model; spread in units of the fixed width */
};

struct ram_scoring {
    enum ram_norm norm;
    double weights[RAM_N_METRICS];
    struct ram_axis axes[RAM_N_METRICS];
    size_t n_votes;                   /* matrices that made the percentiles */
    struct ram_scores *entries;       /* of every entry; composite NAN where nothing was measured */
    struct ram_scores *units;         /* of every unit, by the expert rule */
    double *entry_fixed, *unit_fixed; /* composites of the fixed scores */
    double span; /* max - min of the headroom composite, NAN without matrices */
};

/* weights, expert rule: from the options. RAM_EUSAGE if a unit that needs a score has none. */
int ram_scoring_init(struct ram_scoring *scoring, const struct ram_problem *problem,
                     enum ram_norm norm, struct ram_err *err);
void ram_scoring_release(struct ram_scoring *scoring);

/* Whether a score decides this unit. */
bool ram_case_is_scored(const struct ram_case *c);

#endif
