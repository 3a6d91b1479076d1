/*
 * method.h - the table of methods. A new method is a file with a function, and a line in methods.c.
 */
#ifndef RAM_ALLOCATE_METHOD_H
#define RAM_ALLOCATE_METHOD_H

#include "allocate/decide.h"
#include "allocate/problem.h"
#include "allocate/scores.h"

struct ram_method {
    const char *name;
    const char *what; /* one line for people */
    /* Gives every unit form and reason (ram_decide_unit); adds to the plan's settings all
     * that the decision was based on, and adds its predictions to `predicted`. */
    int (*decide)(struct ram_problem *problem, const struct ram_method *method,
                  struct ram_err *err);
    bool uniform; /* takes bits, group, keep_embeddings; the others take thresholds, */
    bool budget;  /* or a size */
    enum ram_norm norm;
    struct ram_thresholds dense, moe; /* defaults */
};

/* NULL: no such method. */
const struct ram_method *ram_method_find(const char *name);

/* All of them, in the order of publication. */
const struct ram_method *ram_methods(size_t *n);

/* The functions of the table. */
int ram_decide_uniform(struct ram_problem *problem, const struct ram_method *method,
                       struct ram_err *err);
int ram_decide_by_score(struct ram_problem *problem, const struct ram_method *method,
                        struct ram_err *err);
int ram_decide_budget(struct ram_problem *problem, const struct ram_method *method,
                      struct ram_err *err);
int ram_decide_auto(struct ram_problem *problem, const struct ram_method *method,
                    struct ram_err *err);

/*
 * Tries the published grid of thresholds and replaces *thresholds by those of least predicted
 * squared error that take no more bytes. *report (a new object) lists what was tried. RAM_EUSAGE if
 * the manifest has no errors.
 */
int ram_search(const struct ram_problem *problem, const struct ram_scoring *scoring,
               struct ram_thresholds *thresholds, json_t **report, struct ram_err *err);

/* The score that must be at most t2 for 2 bits: the composite of unit u or, for hybrid scores, the
 * larger of that and the fixed composite. */
double ram_low_score(const struct ram_scoring *scoring, size_t u);

/* Adds kld of the current plan to `predicted`, for the encoder of the options, if the manifest has
 * sensitivities of all units that the plan quantises. */
int ram_predict_divergence(struct ram_problem *problem, struct ram_err *err);

/* Adds squared_error and relative_error of the current plan to `predicted`, if the manifest has the
 * errors; and kld, if it has sensitivities and the method has not predicted it. */
int ram_predict_error(struct ram_problem *problem, struct ram_err *err);

#endif
