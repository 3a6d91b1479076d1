/* ram_evaluate.c - ram.h: scores and generation. */
#include "base/opts.h"
#include "evaluate/pairing.h"
#include "evaluate/task.h"
#include "record/score.h"
#include "report/score_report.h"

#include <stdlib.h>

int ram_evaluate(const struct ram_ckpt *ckpt, const struct ram_ckpt *reference,
                 const struct ram_evaluate_opts *opts, const struct ram_run *run,
                 struct ram_score **out, struct ram_err *err)
{
    static const struct ram_evaluate_opts no_opts;
    struct ram_model *model = NULL, *other = NULL;
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_evaluate_opts", err);
    if (!status)
        status = ram_model_open(&model, ckpt, err);
    if (!status && reference)
        status = ram_model_open(&other, reference, err);
    if (!status) {
        ram_notes_tell(&model->notes, &exec);
        status = ram_evaluate_models(model, other, opts ? opts : &no_opts, &exec, out, err);
    }
    ram_model_close(model);
    ram_model_close(other);
    ram_exec_end(&exec);
    return status;
}

int ram_scores_describe(const struct ram_score *const *scores, const char *const *names, size_t n,
                        enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_pairing *pairings = ram_calloc(n, sizeof *pairings, err);
    const char **called = ram_calloc(n, sizeof *called, err);
    int status = pairings && called ? RAM_OK : RAM_ENOMEM;

    for (size_t i = 0; i < n && !status; i++) {
        const char *const path = scores[i]->model.path; /* NULL: "model" is null */
        called[i] = names ? names[i] : path ? path : "no model";
    }
    if (!status)
        status = ram_scores_pair(scores, n, pairings, err);
    if (!status)
        status = ram_report_scores(scores, called, pairings, n, markup, out, err);
    free(pairings);
    free(called);
    return status;
}
