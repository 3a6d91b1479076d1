/* cmd_verify.c - checks that a quantised checkpoint is complete and matches its plan. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdlib.h>

struct args {
    const char *against, *plan;
};

#define AT(member) offsetof(struct args, member)
static const struct opt table[] = {
    {"against", 0, OPT_TEXT, AT(against), "MODEL",
     "compare with the checkpoint that it was made from: the relative error of each tensor, and of "
     "its worst group",
     NULL},
    {"plan", 0, OPT_TEXT, AT(plan), "PLAN", "check that it matches this plan", NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "verify",
    .synopsis = "DIR [--against MODEL] [--plan PLAN] [options]",
    .about = "Checks that a quantised checkpoint is complete: that headers, shapes, sizes and\n"
             "config agree with each other; with --plan, that it matches the plan; with\n"
             "--against, weight by weight, how far it is from the original. The exit code is 5\n"
             "if there is a difference.",
    .examples = "ram verify qwen3-8b-ram\n"
                "ram verify qwen3-8b-ram --against Qwen/Qwen3-8B --plan plan.json",
    .min_operands = 1,
    .max_operands = 1,
};

static int run(const char *dir, const struct args *args, struct job *job, struct ram_err *err)
{
    struct ram_plan *plan = NULL;
    struct ram_ckpt *source = NULL;
    char *text = NULL;
    int status = RAM_OK;

    if (args->plan)
        status = ram_plan_read(&plan, args->plan, err);
    if (!status && args->against)
        status = job_open_model(job, args->against, &source, err);
    if (!status)
        status =
            job_stage_done(job, ram_verify(dir, source, plan, &job->run, job->markup, &text, err));
    if (text && !job->silent)
        result_print(text);
    free(text);
    ram_ckpt_close(source);
    ram_plan_free(plan);
    return status;
}

int cmd_verify(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = run(argv[0], &args, &job, &err);
    return status ? message_failure(&err) : 0;
}
