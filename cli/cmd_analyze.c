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
    int tier; /* -1: not given */
    struct ram_probe_opts probing;
};

static const char *tier(size_t i)
{
    static const char *const names[] = {[RAM_TIER_KL] = "kl", [RAM_TIER_LOCAL] = "local"};

    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

static const struct opt table[] = {
    {"output", 'o', OPT_TEXT, offsetof(struct args, output), "MANIFEST", "the file to write", NULL},
    {"probe", 0, OPT_FLAG, offsetof(struct args, probe), NULL,
     "also run the model on text that it generates itself, and measure how much each matrix "
     "matters; method budget uses it",
     NULL},
    {"tier", 0, OPT_CHOICE, offsetof(struct args, tier), "T",
     "with --probe: kl (default) measures the divergence of the whole model with one matrix stored "
     "coarsely; local only the change in that layer's output, which is faster",
     tier},
    {"curves", 0, OPT_FLAG, offsetof(struct args, probing.curves), NULL,
     "with --probe: also measure the error of every width under the encoder gptq", NULL},
    {"calibration", 0, OPT_TEXT, offsetof(struct args, probing.text), "FILE",
     "with --probe: use this text instead of model-generated text. The result is no longer "
     "data-free; rarely needed",
     NULL},
    {"resume", 0, OPT_FLAG, offsetof(struct args, resume), NULL,
     "continue an interrupted run from what it left in MANIFEST.ram-partial", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "analyze",
    .synopsis = "MODEL -o MANIFEST [options]",
    .about = "Reads every weight once and writes a manifest: for each tensor the four metrics\n"
             "of the scored methods, statistics, and the squared error of every bit width.\n"
             "ram allocate then decides bit widths from the manifest in an instant, as often\n"
             "as needed, without reading the weights again.\n\n"
             "Finished work is kept in MANIFEST.ram-partial while it runs: after ^C, a crash\n"
             "or a full disk, repeat the command with --resume to continue.",
    .examples = "ram analyze Qwen/Qwen3-8B -o qwen3-8b.json\n"
                "ram analyze Qwen/Qwen3-8B -o qwen3-8b.json --probe --curves\n"
                "ram analyze ./big-moe -o big.json --expert-sample 4 --max-memory 8GiB",
    .min_operands = 1,
    .max_operands = 1,
    .n_rare = 1,
};

/* Prints what is about to be read, so that a wrong model is noticed before the work. */
static int announce(const struct ram_ckpt *ckpt, const struct job *job, struct ram_err *err)
{
    struct ram_manifest *survey = NULL;
    char *text = NULL;

    if (job->silent || job->markup == RAM_JSON)
        return RAM_OK;
    int status = ram_survey(ckpt, &survey, err);
    if (!status)
        status = ram_manifest_describe(survey, job->markup, job->progress.verbose, &text, err);
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

static struct ram_probe_opts probe_opts(const struct args *args)
{
    struct ram_probe_opts opts = args->probing;

    opts.tier = args->tier < 0 ? RAM_TIER_KL : (enum ram_tier)args->tier;
    opts.seed = args->analyze.seed;
    return opts;
}

/* All stages that were asked for; the store is open. */
static int measure(const struct ram_ckpt *ckpt, const struct args *args, struct job *job,
                   struct ram_manifest **manifest, struct ram_err *err)
{
    const struct ram_probe_opts probing = probe_opts(args);

    int status = job_stage_done(job, ram_analyze(ckpt, &args->analyze, &job->run, manifest, err));
    if (!status && args->probe)
        status = job_stage_done(job, ram_probe(ckpt, *manifest, &probing, &job->run, err));
    return status;
}

static int run(const char *model, const struct args *args, struct job *job, bool force,
               struct ram_err *err)
{
    const struct ram_probe_opts probing = probe_opts(args);
    struct ram_ckpt *ckpt = NULL;
    struct ram_manifest *manifest = NULL;

    int status = job_open_model(job, model, &ckpt, err);
    if (!status)
        status = ram_check_output(args->output, force, ckpt, NULL, err);
    if (!status && args->probe)
        status = ram_probe_check(ckpt, &probing, err);
    if (!status)
        status = announce(ckpt, job, err);
    if (!status)
        status = job_keep(job, args->output, ckpt, args->resume, err);
    if (!status)
        status = measure(ckpt, args, job, &manifest, err);
    if (!status)
        status = ram_manifest_write(manifest, args->output, force, err);
    job_kept(job, status);
    if (!status && job->markup == RAM_JSON)
        status = print_json(manifest, job, err);
    if (!status && !job->progress.quiet) {
        message("wrote %s", args->output);
        message("next: ram allocate %s --method all", args->output);
    }
    ram_manifest_free(manifest);
    ram_ckpt_close(ckpt);
    return status;
}

/* Options of the probe without the probe. */
static int check_probe(const struct args *args)
{
    const char *option = args->tier >= 0        ? "--tier"
                         : args->probing.curves ? "--curves"
                         : args->probing.text   ? "--calibration"
                                                : NULL;

    if (args->probe || !option)
        return OPT_GO;
    message("analyze: %s needs --probe, which runs the model", option);
    return 2;
}

int cmd_analyze(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {.analyze = ANALYZE_ARGS_DEFAULT, .tier = -1};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"For experiments", analyze_args_table, &args.analyze},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 3, argv, n, &n);
    if (status == OPT_GO)
        status = analyze_args_check(&args.analyze, usage.verb);
    if (status == OPT_GO)
        status = check_probe(&args);
    if (status == OPT_GO)
        status = opt_require(&usage, "-o MANIFEST", args.output);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = run(argv[0], &args, &job, common.force, &err);
    return job_end(&job, status, &err);
}
