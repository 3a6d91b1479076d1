/* cmd_convert.c - checkpoint + plan -> quantised checkpoint. */
#include "cmd.h"
#include "convert_args.h"
#include "job.h"
#include "message.h"

#include <stdlib.h>

struct args {
    struct convert_args convert;
    const char *plan;
    bool resume;
};

static const struct opt table[] = {
    {"plan", 0, OPT_TEXT, offsetof(struct args, plan), "PLAN",
     "the plan that ram allocate wrote, edited by hand or not", NULL},
    {"resume", 0, OPT_FLAG, offsetof(struct args, resume), NULL,
     "continue an interrupted run: take the tensors that it finished from DIR.ram-partial", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "convert",
    .synopsis = "MODEL --plan PLAN -o DIR [options]",
    .about = "Writes the quantised checkpoint that a plan describes, for mlx_lm to load. DIR\n"
             "appears only when it is complete: all is written to DIR.ram-partial first.\n"
             "After ^C, a crash or a full disk the same command with --resume continues.",
    .examples = "ram convert Qwen/Qwen3-8B --plan plan.json -o qwen3-8b-ram --dry-run\n"
                "ram convert Qwen/Qwen3-8B --plan plan.json -o qwen3-8b-ram",
    .min_operands = 1,
    .max_operands = 1,
};

/* Prints what the plan amounts to, so that a wrong one is noticed before the work. */
static int announce(const struct ram_plan *plan, const struct job *job, struct ram_err *err)
{
    char *text = NULL;

    if (job->silent || job->markup != RAM_TEXT)
        return RAM_OK;
    const int status = ram_plan_describe(plan, job->markup, job->progress.verbose, &text, err);
    if (!status)
        result_print(text);
    free(text);
    return status;
}

static int run(const char *model, const struct args *args, struct job *job, bool force,
               struct ram_err *err)
{
    const struct ram_convert_opts opts = convert_args_opts(&args->convert, force);
    const char *dir = args->convert.output;
    struct ram_plan *plan = NULL;
    struct ram_ckpt *ckpt = NULL;
    char *text = NULL;

    int status = ram_plan_read(&plan, args->plan, err);
    if (!status)
        status = job_open_model(job, model, &ckpt, err);
    if (!status)
        status = announce(plan, job, err);
    if (!status && !opts.dry_run)
        status = job_keep(job, dir, ckpt, args->resume, err);
    if (!status)
        status = job_stage_done(
            job, ram_convert(ckpt, plan, dir, &opts, &job->run, job->markup, &text, err));
    job_kept(job, status);
    if (!status && !job->silent)
        result_print(text);
    if (!status && !opts.dry_run && !job->progress.quiet)
        message("wrote %s", dir);
    free(text);
    ram_ckpt_close(ckpt);
    ram_plan_free(plan);
    return status;
}

int cmd_convert(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Output", convert_args_table, &args.convert},
                                       {"How to write", convert_more_table, &args.convert},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 4, argv, n, &n);
    if (status == OPT_GO)
        status = opt_require(&usage, "--plan PLAN", args.plan);
    if (status == OPT_GO)
        status = opt_require(&usage, "-o DIR", args.convert.output);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = run(argv[0], &args, &job, common.force, &err);
    return job_end(&job, status, &err);
}
