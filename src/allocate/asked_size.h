/*
 * asked_size.h - how many bytes a budget is, and what of them headers take.
 */
#ifndef RAM_ALLOCATE_ASKED_SIZE_H
#define RAM_ALLOCATE_ASKED_SIZE_H

#include "allocate/problem.h"

/*
 * *bytes: of all weight files; of the options, the first that is set: size, fit (what a machine
 * has left beside keys and values at a context length; how it was reckoned goes into the plan's
 * settings), bpw, 4.5 bits a weight. RAM_EUSAGE: no such number; RAM_EBUDGET: the machine has no
 * room for a model at all.
 */
int ram_budget_bytes(struct ram_problem *problem, uint64_t *bytes, struct ram_err *err);

/* Bits of an embedding at least. A precaution: the few tokens of a probe look up few of its rows.
 */
enum { RAM_BUDGET_EMBEDDING_FLOOR = 4 };

#define RAM_BUDGET_BPW 4.5 /* bits a weight if no size is given */

/* Is there an encoder of that name (NULL: the default)? (budget.c) */
bool ram_budget_encoder_known(const char *name);

/* Tokens for which --fit leaves memory. */
uint64_t ram_budget_context(const struct ram_allocate_opts *opts);

/* RAM_EBUDGET: what was asked for, in its own terms, and the smallest that can be had. */
int ram_budget_too_small(const struct ram_problem *problem, uint64_t bytes, uint64_t smallest,
                         struct ram_err *err);

/* The same of the bytes that a token reads. */
int ram_budget_reads_too_much(uint64_t bytes, uint64_t smallest, struct ram_err *err);

/* The maximum size of the headers of files that have this many bytes together, if every unit that
 * may be quantised is quantised. */
uint64_t ram_budget_headers(const struct ram_problem *problem, uint64_t bytes);

#endif
