/*
 * knapsack.h - the multiple-choice knapsack problem: choose one option of every item so that the
 * total cost is the least that is possible within a number of bytes. The solution comes with a
 * lower bound on the cost of any choice.
 *
 * Lagrangian relaxation (each item takes argmin cost + lambda x bytes; lambda is found by
 * bisection) gives the bound and a first choice. Dynamic programming, which is exact for bytes
 * rounded up to quanta, gives a second one. Both are improved by a greedy fill of the remaining
 * bytes, and the better one is returned. The result is deterministic: ties go to fewer bytes, then
 * to the lower option.
 */
#ifndef RAM_ALLOCATE_KNAPSACK_H
#define RAM_ALLOCATE_KNAPSACK_H

#include "base/err.h"

struct ram_option {
    uint64_t bytes;
    double cost; /* >= 0 */
};

struct ram_item {
    const struct ram_option *options;
    size_t n; /* >= 1 */
};

struct ram_choice {
    uint64_t bytes;
    double cost;  /* of this choice */
    double bound; /* no choice within the bytes costs less */
};

/* choice [n] becomes the option of each item. RAM_EBUDGET if even the smallest options do not fit:
 * result->bytes is then the number of bytes that they need. */
int ram_knapsack_solve(const struct ram_item *items, size_t n, uint64_t budget, size_t *choice,
                       struct ram_choice *result, struct ram_err *err);

#endif
