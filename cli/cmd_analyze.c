/* cmd_analyze.c - checkpoint -> manifest. */
#include "analyze_args.h"
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdlib.h>

struct args {
    struct ram_analyze_opts analyze;
    const char *output;
    bool probe;
    bool resume;
    struct ram_probe_opts probing;
};

static const char *const tiers[] = {[RAM_TIER_KL] = "kl", [RAM_TIER_LOCAL] = "local", NULL};

static const struct opt table[] = {
    {"output", 'o', OPT_TEXT, offsetof(struct args, output), "MANIFEST", "the file to write", NULL},
    {"probe", 0, OPT_FLAG, offsetof(struct args, probe), NULL,
     "also measure how much each matrix matters, by running the model on text that it generates "
     "itself; for the budget method",
     NULL},
    {"tier", 0, OPT_CHOICE, offsetof(struct args, probing.tier), "T",
     "with --probe: kl (default) measures the divergence of the model with one matrix stored "
     "coarsely; local compares only the output of its layer, which takes less time",
     tiers},
    {"curves", 0, OPT_FLAG, offsetof(struct args, probing.curves), NULL,
     "with --probe: also measure the error of every width with the encoder gptq", NULL},
    {"calibration", 0, OPT_TEXT, offsetof(struct args, probing.text), "FILE",
     "with --probe: use this text instead of text that the model generates; the result is then no "
     "longer data-free; rarely needed",
     NULL},
    {"resume", 0, OPT_FLAG, offsetof(struct args, resume), NULL,
     "continue an interrupted run: take what it finished from MANIFEST.ram-partial", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "analyze",
    .synopsis = "MODEL -o MANIFEST [options]",
    .about = "Reads every weight once and writes the measurements of each tensor: the four\n"
             "metrics of the method, statistics, and the squared error of every bit width and\n"
             "group. ram allocate makes plans from them without reading the weights again.\n\n"
             "While it runs, finished work is kept in MANIFEST.ram-partial: after ^C, a crash\n"
             "or a full disk the same command with --resume continues from there.",
    .examples = "ram analyze Qwen/Qwen3-8B -o qwen3-8b.json\n"
                "ram analyze ./big-moe -o big.json --expert-sample 4 --max-memory 8GiB",
    .min_operands = 1,
    .max_operands = 1,
};

/* Prints what is about to be read before the work begins, so that a mistake is noticed early. */
static int announce(const struct ram_ckpt *ckpt, const struct job *job, struct ram_err *err)
{
    struct ram_manifest *survey = NULL;
    char *text = NULL;

    if (job->silent || job->form == RAM_JSON)
        return RAM_OK;
    int status = ram_survey(ckpt, &survey, err);
    if (!status)
        status = ram_manifest_describe(survey, job->form, job->progress.verbose, &text, err);
    if (!status)
        result_print(text);
    free(text);
    ram_manifest_free(survey);
    return status;
}

static int print_json(const struct ram_manifest *manifest, const struct job *job,
                      struct ram_err *err)
{
    char *text = NULL;

    const int status = ram_manifest_describe(manifest, RAM_JSON, job->progress.verbose, &text, err);
    if (!status)
        result_print(text);
    free(text);
    return status;
}

/* All stages that were asked for; the store is open. */
static int measure(const struct ram_ckpt *ckpt, const struct args *args, struct job *job,
                   struct ram_manifest **manifest, struct ram_err *err)
{
    int status = job_stage_done(job, ram_analyze(ckpt, &args->analyze, &job->run, manifest, err));
    if (!status && args->probe)
        status = job_stage_done(job, ram_probe(ckpt, *manifest, &args->probing, &job->run, err));
    return status;
}

static int run(const char *model, const struct args *args, struct job *job, bool force,
               struct ram_err *err)
{
    struct ram_ckpt *ckpt = NULL;
    struct ram_manifest *manifest = NULL;

    int status = job_open_model(job, model, &ckpt, err);
    if (!status)
        status = ram_check_output(args->output, force, ckpt, NULL, err);
    if (!status)
        status = announce(ckpt, job, err);
    if (!status)
        status = job_keep(job, args->output, ckpt, args->resume, err);
    if (!status)
        status = measure(ckpt, args, job, &manifest, err);
    if (!status)
        status = ram_manifest_write(manifest, args->output, force, err);
    job_kept(job, status);
    if (!status && job->form == RAM_JSON)
        status = print_json(manifest, job, err);
    if (!status && !job->progress.quiet) {
        message("wrote %s", args->output);
        message("next: ram allocate %s --method all", args->output);
    }
    ram_manifest_free(manifest);
    ram_ckpt_close(ckpt);
    return status;
}

int cmd_analyze(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {.analyze = ANALYZE_ARGS_DEFAULT};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Measuring", analyze_args_table, &args.analyze},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 3, argv, n, &n);
    if (status == OPT_GO)
        status = analyze_args_check(&args.analyze, usage.verb);
    if (status == OPT_GO)
        status = opt_require(&usage, "-o MANIFEST", args.output);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = run(argv[0], &args, &job, common.force, &err);
    if (status)
        message_failure(&err);
    if (job.kept)
        message("finished work is kept in %s%s; the same command with --resume continues",
                args.output, RAM_KEPT_SUFFIX);
    return ram_exit_code(status);
}
