/* cmd_compare.c - several scores as one table. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>

static const struct opt_usage usage = {
    .verb = "compare",
    .synopsis = "SCORE... [options]",
    .about = "Sets scores (ram evaluate -o) beside each other: sizes, bits, perplexity by mean\n"
             "and median, divergence, accuracies, and the change against the first. Where two\n"
             "used the same windows or questions, tests in pairs say what is noise.",
    .examples = "ram compare bf16.json uniform4.json ram.json\n"
                "ram compare --markdown bf16.json ram.json >table.md",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
};

static int run(char **paths, size_t n, struct job *job, struct ram_err *err)
{
    struct ram_score **scores = calloc(n, sizeof *scores);
    char *text = NULL;
    int status = RAM_OK;

    if (!scores) {
        snprintf(err->message, sizeof err->message, "no memory for %zu scores", n);
        return err->status = RAM_ENOMEM;
    }
    for (size_t i = 0; i < n && !status; i++)
        status = ram_score_read(&scores[i], paths[i], err);
    if (!status)
        status = ram_scores_describe((const struct ram_score *const *)scores,
                                     (const char *const *)paths, n, job->form, &text, err);
    if (text)
        result_print(text);
    free(text);
    for (size_t i = 0; i < n; i++)
        ram_score_free(scores[i]);
    free(scores);
    return status;
}

int cmd_compare(char **argv, size_t n)
{
    struct opt_common common = {0};
    const struct opt_group groups[] = {{"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 1, argv, n, &n);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = run(argv, n, &job, &err);
    return status ? message_failure(&err) : 0;
}
