/*
 * candidates.h - several plans of the same manifest, to be looked at beside each other: by several
 * methods, at uniform widths, or at many budgets. Reports print them.
 */
#ifndef RAM_ALLOCATE_CANDIDATES_H
#define RAM_ALLOCATE_CANDIDATES_H

#include "record/plan.h"

struct ram_candidates {
    struct ram_candidate *items;
    size_t n, cap;
};

/* Each adds to a struct that is all zero, which is to be released after a failure, too. */

/* Every method that goes by what was measured, if anything was, each with its rival, and then the
 * uniform widths. opts: of the methods; NULL for their defaults. */
int ram_candidates_methods(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                           const struct ram_allocate_opts *opts, struct ram_err *err);

/* The uniform widths and then the methods, as far as they can plan; none of a model that is coded.
 */
int ram_candidates_sizes(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                         struct ram_err *err);

/* Method budget from 2 to 9 bits a weight in steps of a quarter, and with all that it can use. */
int ram_candidates_family(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                          const struct ram_allocate_opts *opts, struct ram_err *err);

void ram_candidates_release(struct ram_candidates *candidates);

#endif
