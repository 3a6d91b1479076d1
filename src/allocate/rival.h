/*
 * rival.h - what a plan is compared with: of the uniform widths that take no more bytes, the one
 * that loses least.
 *
 * What "loses" means is one rule, but not everyone who asks knows the same of a uniform width:
 *
 *   a budget (budget.c)       the predicted divergence of its own units, the floors and the
 *                             protected units included; nothing else
 *   the self-check            the error of the weights, so that its rival does not depend on the
 *                             sensitivities whose plan it checks
 *   a table of methods        both: the divergence where sensitivities were measured
 */
#ifndef RAM_ALLOCATE_RIVAL_H
#define RAM_ALLOCATE_RIVAL_H

#include "record/plan.h"

struct ram_rival {
    uint64_t bytes;
    double
        divergence; /* predicted, NAN: not known; on one scale for all that are compared, as is */
    double error;   /* the error of the weights, NAN: not known */
};

/* True if a loses less than b: by the divergence if both have one, otherwise by the error of the
 * weights, otherwise because it takes more bytes. */
bool ram_rival_loses_less(const struct ram_rival *a, const struct ram_rival *b);

/* The best of n uniform widths in no more than `bytes`, the first of several; n: all take more. */
size_t ram_rival_best(const struct ram_rival *rivals, size_t n, uint64_t bytes);

/* The uniform plan that rival_best finds by the error of the weights among all forms; *out NULL: no
 * form takes so few bytes, or the manifest does not have the errors. */
int ram_rival_by_error(const struct ram_manifest *manifest, uint64_t bytes, struct ram_plan **out,
                       struct ram_err *err);

#endif
