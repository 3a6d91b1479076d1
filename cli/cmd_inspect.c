/* cmd_inspect.c - what is in a checkpoint, from its headers alone. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdlib.h>

struct args {
    bool tensors;
};

static const struct opt table[] = {
    {"tensors", 0, OPT_FLAG, offsetof(struct args, tensors), NULL,
     "also print a line for each tensor", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "inspect",
    .synopsis = "MODEL [options]",
    .about = "Prints what a checkpoint contains: architecture, tensors, dtypes, parameters and\n"
             "bytes, and its sizes under uniform quantisation. Headers are read and checked;\n"
             "weights are not read.",
    .examples = "ram inspect Qwen/Qwen3-8B\n"
                "ram inspect ./my-model --tensors --json",
    .min_operands = 1,
    .max_operands = 1,
};

int cmd_inspect(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_ckpt *ckpt = NULL;
    struct ram_manifest *survey = NULL;
    struct ram_err err = {0};
    char *text = NULL;
    struct job job;

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = job_open_model(&job, argv[0], &ckpt, &err);
    if (!status)
        status = ram_survey(ckpt, &survey, &err);
    if (!status)
        status =
            ram_manifest_describe(survey, job.markup, args.tensors || common.verbose, &text, &err);
    if (!status)
        result_print(text);
    free(text);
    ram_manifest_free(survey);
    ram_ckpt_close(ckpt);
    return status ? message_failure(&err) : 0;
}
