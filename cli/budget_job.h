/*
 * budget_job.h - what `ram quantize` does beside the stages when it works to a budget: choose an
 * effort, run the model to learn what its matrices are worth, and check the result.
 */
#ifndef RAM_CLI_BUDGET_JOB_H
#define RAM_CLI_BUDGET_JOB_H

#include "alloc_args.h"
#include "job.h"
#include "ram.h"

struct budget {
    const char *text;    /* --calibration, or NULL */
    const char *encoder; /* --encoder, or NULL */
    struct ram_effort effort;
    bool probed;
    struct ram_self_check check;
    bool checked, fell_back;
};

extern const char *const budget_efforts[]; /* choices of --effort: the model's own, fast, ... */

/* Which effort, what it means, and how long all of them take: said before the first of it. */
int budget_begin(struct budget *budget, const struct ram_ckpt *ckpt, int effort, struct job *job,
                 struct ram_err *err);

/* Into the manifest. An architecture that cannot be run is decided by its weights alone, and that
 * is said. */
int budget_probe(struct budget *budget, const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
                 const struct ram_allocate_opts *opts, struct job *job, struct ram_err *err);

/*
 * Compares what was written with the best uniform width of no more bytes. If that is the better
 * one, says so and puts its plan in place of *plan (fell_back), unless the user set widths himself.
 */
int budget_check(struct budget *budget, const char *dir, const struct ram_ckpt *ckpt,
                 const struct ram_manifest *manifest, struct ram_plan **plan,
                 const struct alloc_args *args, struct job *job, struct ram_err *err);

/* What the check found: lines of text, or the members of a JSON object. */
void budget_print(const struct budget *budget, const struct ram_plan *plan);
void budget_print_json(const struct budget *budget, const struct ram_plan *plan);

#endif
