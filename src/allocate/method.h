/*
 * method.h - the methods, as a table. A new one is a file with a function and a line in methods.c.
 */
#ifndef RAM_ALLOCATE_METHOD_H
#define RAM_ALLOCATE_METHOD_H

#include "allocate/decide.h"
#include "allocate/problem.h"
#include "allocate/scores.h"

struct ram_method {
    const char *name;
    const char *what; /* one line for people */
    /* Gives every unit bits, group and reason (ram_decide_unit); adds to the plan's settings all
     * that it was decided by, and to `predicted` what it foretells. */
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
 * Tries the published grid of thresholds: least predicted squared error at no more bytes than
 * *thresholds give, which are replaced by the best. *report (new): what was tried.
 * RAM_EUSAGE if the manifest holds no errors.
 */
int ram_search(const struct ram_problem *problem, const struct ram_scoring *scoring,
               struct ram_thresholds *thresholds, json_t **report, struct ram_err *err);

/* What must be at most t2 for 2 bits: unit u's composite; for hybrid scores its fixed one too. */
double ram_low_score(const struct ram_scoring *scoring, size_t u);

/* json_object_set_new that also takes NULL for "no memory". */
int ram_json_put(json_t *object, const char *key, json_t *value, struct ram_err *err);

/* Adds squared_error and relative_error of the plan as it stands to `predicted`; nothing if the
 * manifest does not say. */
int ram_predict_error(struct ram_problem *problem, struct ram_err *err);

#endif
