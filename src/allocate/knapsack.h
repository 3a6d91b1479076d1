/*
 * knapsack.h - the multiple-choice knapsack: of every item take one option, at the least total cost
 * that a number of bytes allows; with a lower bound that no choice can go below.
 *
 * Lagrangian relaxation (each item takes argmin cost + lambda x bytes, lambda by bisection) gives
 * the bound and a first choice; exact dynamic programming over rounded bytes and a greedy fill of
 * what is left improve on it. Deterministic; ties go to fewer bytes, then to the lower option.
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
    double cost, bound; /* cost of this choice; no choice within the bytes costs less than bound */
};

/* choice [n]: the option of each item. RAM_EBUDGET if even the smallest options do not fit: bytes
 * of *result then says how many would be needed. */
int ram_knapsack_solve(const struct ram_item *items, size_t n, uint64_t budget, size_t *choice,
                       struct ram_choice *result, struct ram_err *err);

#endif
