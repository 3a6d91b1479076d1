/*
 * task.h - the input of an evaluation, and the functions that run it: one for each kind of task, in
 * the table of evaluate.c.
 */
#ifndef RAM_EVALUATE_TASK_H
#define RAM_EVALUATE_TASK_H

#include "base/json.h"
#include "infer/likelihood.h"
#include "text/tokenizer.h"

struct ram_task {
    const struct ram_model *model, *reference; /* reference: NULL if none */
    const struct ram_tokenizer *tokenizer;
    const struct ram_evaluate_opts *opts;
    struct ram_likelihood_opts likelihood;
    json_t *settings, *results; /* of the score: what was done, what was found */
    size_t n_tokens;            /* that went through the model */
};

typedef int ram_task_fn(struct ram_task *task, struct ram_err *err);

/* Perplexity of a text in windows, and divergence from the reference. */
ram_task_fn ram_task_windows;

/* Accuracy on questions with given answers. */
ram_task_fn ram_task_choice;

/* The tasks: name and a line for people; NULL behind the last. */
const char *ram_task_at(size_t i, const char **what);

/*
 * Runs opts->task: fills a new score with settings, results, tokens per second and peak memory. The
 * reference may be NULL.
 */
int ram_evaluate_models(const struct ram_model *model, const struct ram_model *reference,
                        const struct ram_evaluate_opts *opts, const struct ram_exec *exec,
                        struct ram_score **out, struct ram_err *err);

#endif
