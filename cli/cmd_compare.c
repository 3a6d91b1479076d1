/* cmd_compare.c - several scores as one table. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>

struct args {
    bool csv;
};

static const struct opt table[] = {
    {"csv", 0, OPT_FLAG, offsetof(struct args, csv), NULL,
     "print comma-separated values, one line for each model", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "compare",
    .synopsis = "SCORE... [options]",
    .about = "Prints scores (ram evaluate -o SCORE) as one table with a row for each model and\n"
             "all its tasks: size, bits per weight, perplexity (mean and median), KL\n"
             "divergence, accuracies, and the change against the first model that was given\n"
             "the task, with intervals and tests in pairs that tell a change from noise.\n"
             "Scores of a task that were run with different settings (window length, number\n"
             "of examples, data) are not compared, and the table says so. A legend explains\n"
             "every column.",
    .examples = "ram compare bf16.json uniform4.json ram.json\n"
                "ram compare bf16-wiki.json bf16-arc.json ram-wiki.json ram-arc.json\n"
                "ram compare --markdown bf16.json ram.json >table.md\n"
                "ram compare --csv *.json >scores.csv",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
};

static int run(char **paths, size_t n, enum ram_markup markup, struct ram_err *err)
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
                                     (const char *const *)paths, n, markup, &text, err);
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
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status != OPT_GO)
        return status;
    if (args.csv && (common.json || common.markdown)) {
        message("compare: --csv excludes --json and --markdown");
        return ram_exit_code(RAM_EUSAGE);
    }
    status = run(argv, n, args.csv ? RAM_CSV : job_markup(&common), &err);
    return status ? message_failure(&err) : 0;
}
