/* cmd_quantize.c - all stages in one command; each prints what it is about to do, or did. */
#include "alloc_args.h"
#include "analyze_args.h"
#include "budget_job.h"
#include "cmd.h"
#include "convert_args.h"
#include "job.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
    struct convert_args convert;
    struct alloc_args alloc;
    struct ram_analyze_opts analyze;
    int effort;
    bool keep_manifest;
};

static const struct opt effort_table[] = {
    {"effort", 0, OPT_CHOICE, offsetof(struct args, effort), "E",
     "budget: fast, normal or best; each says how long it takes (default: best for small models, "
     "else normal)",
     budget_efforts},
    {0},
};

static const struct opt table[] = {
    {"keep-manifest", 0, OPT_FLAG, offsetof(struct args, keep_manifest), NULL,
     "leave what was measured in DIR/ram-manifest.json, to decide anew without weights", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "quantize",
    .synopsis = "MODEL -o DIR [--bpw B | --size S | --fit S | --method M]",
    .about = "Quantises a checkpoint: measures its weights, runs it on tokens of its own,\n"
             "decides how many bits each tensor gets, prints that plan, writes DIR, and checks\n"
             "what was written against the original. DIR is whole or absent; mlx_lm loads it.\n"
             "Without a size it is --method budget --bpw 4.5.\n\n"
             "MODEL is a directory with config.json and *.safetensors, or org/name[@revision]\n"
             "in the Hugging Face cache. After ^C the same command with --resume continues.",
    .examples = "ram quantize Qwen/Qwen3-8B -o qwen3-8b-ram\n"
                "ram quantize Qwen/Qwen3-30B-A3B -o out --fit 24GiB --context 32768\n"
                "ram quantize ./my-model -o out --size 5GB --dry-run\n"
                "ram quantize ./my-model -o out --method uniform --bits 6 --group 64",
    .min_operands = 1,
    .max_operands = 1,
};

/* What the stages hand on, and the account of each in the form that was asked for. */
struct work {
    const struct args *args;
    struct job *job;
    bool force;
    struct ram_ckpt *ckpt;
    struct ram_manifest *manifest;
    struct ram_plan *plan;
    bool to_budget; /* the method is budget */
    struct budget budget;
    char *plan_text, *convert_text, *verify_text;
    bool resumable; /* the partial file is there */
};

static struct ram_allocate_opts allocate_opts(const struct work *w)
{
    struct ram_allocate_opts opts = w->args->alloc.opts;

    opts.method = opts.method ? opts.method : "budget";
    if (w->to_budget && w->budget.effort.encoder)
        opts.encoder = w->budget.effort.encoder;
    else
        opts.encoder = w->args->convert.encoder;
    return opts;
}

static struct ram_convert_opts convert_opts(const struct work *w, bool force)
{
    struct ram_convert_opts opts = convert_args_opts(&w->args->convert, force);

    opts.encoder = allocate_opts(w).encoder;
    opts.measured = w->manifest;
    return opts;
}

/* What can be refused is refused before hours are spent: options that make no sense, an
 * architecture that cannot be written. Weights are not looked at. */
static int preflight(struct work *w, struct ram_err *err)
{
    const struct ram_allocate_opts uniform = {.method = "uniform"};
    const struct ram_run silent = {.threads = w->job->run.threads};
    const struct ram_allocate_opts wanted = allocate_opts(w);
    struct ram_convert_opts opts = convert_opts(w, w->force);
    struct ram_manifest *survey = NULL;
    struct ram_plan *plan = NULL;
    struct ram_err tried = {0};

    opts.dry_run = true;
    int status = ram_survey(w->ckpt, &survey, err);
    if (!status) {
        /* That nothing is measured yet (RAM_EFORMAT) is no reason to refuse. */
        const int early = ram_allocate(survey, &wanted, &plan, &tried);
        ram_plan_free(plan);
        plan = NULL;
        if (early == RAM_EUSAGE) {
            *err = tried;
            status = early;
        }
    }
    if (!status)
        status = ram_allocate(survey, &uniform, &plan, err);
    if (!status)
        status = ram_convert(w->ckpt, plan, w->args->convert.output, &opts, &silent, RAM_TEXT, NULL,
                             err);
    ram_plan_free(plan);
    ram_manifest_free(survey);
    return status;
}

static int measure(struct work *w, const char *partial, struct ram_err *err)
{
    struct ram_analyze_opts opts = w->args->analyze;

    opts.partial = partial;
    /* A manifest that is kept may be asked for any method. */
    opts.no_svd = opts.no_svd || (w->to_budget && !w->args->keep_manifest);
    analyze_args_announce(&opts, w->job);
    return job_stage_done(w->job, ram_analyze(w->ckpt, &opts, &w->job->run, &w->manifest, err));
}

static int show_plan(struct work *w, struct ram_err *err)
{
    free(w->plan_text);
    w->plan_text = NULL;
    const int status =
        ram_plan_describe(w->plan, w->job->form, w->job->progress.verbose, &w->plan_text, err);
    if (!status && w->job->form != RAM_JSON && !w->job->silent)
        result_print(w->plan_text);
    return status;
}

static int decide(struct work *w, struct ram_err *err)
{
    const struct ram_allocate_opts opts = allocate_opts(w);

    const int status = ram_allocate(w->manifest, &opts, &w->plan, err);
    return status ? status : show_plan(w, err);
}

static int keep_manifest(const struct work *w, struct ram_err *err)
{
    char *path = job_beside(w->args->convert.output, "/ram-manifest.json", err);

    const int status = path ? ram_manifest_write(w->manifest, path, w->force, err) : RAM_ENOMEM;
    free(path);
    return status;
}

static int write_and_verify(struct work *w, bool force, struct ram_err *err)
{
    const struct ram_convert_opts opts = convert_opts(w, force);
    const char *dir = w->args->convert.output;
    struct job *job = w->job;
    const bool print = job->form != RAM_JSON && !job->silent;

    free(w->convert_text);
    free(w->verify_text);
    w->convert_text = w->verify_text = NULL;
    int status = job_stage_done(job, ram_convert(w->ckpt, w->plan, dir, &opts, &job->run, job->form,
                                                 &w->convert_text, err));
    if (!status && print)
        result_print(w->convert_text);
    if (status || opts.dry_run)
        return status;
    if (w->args->keep_manifest)
        status = keep_manifest(w, err);
    if (!status)
        status = job_stage_done(
            job, ram_verify(dir, w->ckpt, w->plan, &job->run, job->form, &w->verify_text, err));
    /* A line for every matrix is for those who ask, and for those whom it concerns. */
    if (w->verify_text && print && (status || job->progress.verbose))
        result_print(w->verify_text);
    return status;
}

static int check(struct work *w, struct ram_err *err)
{
    int status = budget_check(&w->budget, w->args->convert.output, w->ckpt, w->manifest, &w->plan,
                              &w->args->alloc, w->job, err);
    if (status || !w->budget.fell_back)
        return status;
    status = show_plan(w, err);
    return status ? status : write_and_verify(w, true, err);
}

static int measure_and_decide(struct work *w, const char *partial, struct ram_err *err)
{
    const struct ram_allocate_opts opts = allocate_opts(w);

    int status = measure(w, partial, err);
    if (!status && w->to_budget)
        status = budget_probe(&w->budget, w->ckpt, w->manifest, &opts, w->job, err);
    return status ? status : decide(w, err);
}

/* One object: what each stage said, and where the result lies. */
static void print_json(const struct work *w)
{
    printf("{\"directory\": ");
    result_print_json_string(w->args->convert.output, strlen(w->args->convert.output));
    printf(",\n\"written\": %s", w->args->convert.dry_run ? "false" : "true");
    if (w->plan_text)
        printf(",\n\"plan\": %s", w->plan_text);
    if (w->convert_text)
        printf(",\n\"convert\": %s", w->convert_text);
    if (w->verify_text)
        printf(",\n\"verify\": %s", w->verify_text);
    budget_print_json(&w->budget, w->plan);
    printf("}\n");
}

static void print_outcome(const struct work *w)
{
    const char *dir = w->args->convert.output;
    struct ram_plan_totals totals;

    ram_plan_totals(w->plan, &totals);
    const bool large = totals.bytes >= 1u << 30;
    const double size = (double)totals.bytes / (large ? 0x1p30 : 0x1p20);
    if (w->args->convert.dry_run) {
        printf("\nNothing was written.\n");
        return;
    }
    budget_print(&w->budget, w->plan);
    printf("\nThe result is in %s: %.2f %s, %.2f bits a weight, %.2f times smaller.\n"
           "Verified against the original: no difference. Try it:\n\nmlx_lm.generate --model ",
           dir, size, large ? "GiB" : "MiB", totals.effective_bits, totals.compression);
    result_print_shell_word(dir);
    printf(" --prompt \"The history of\"\n");
}

static int run(const char *model, struct work *w, struct ram_err *err)
{
    const char *dir = w->args->convert.output;
    const bool dry_run = w->args->convert.dry_run;
    char *partial = NULL;

    int status = dry_run ? RAM_OK : job_check_output(dir, w->force, err);
    if (!status && !dry_run) {
        partial = job_beside(dir, ".manifest.partial", err);
        status = err->status;
    }
    if (!status)
        status = ram_ckpt_open(&w->ckpt, model, err);
    if (!status)
        status = preflight(w, err);
    if (!status && w->to_budget)
        status = budget_begin(&w->budget, w->ckpt, w->args->effort, w->job, err);
    if (!status)
        status = measure_and_decide(w, partial, err);
    if (!status)
        status = write_and_verify(w, w->force, err);
    if (!status && !dry_run)
        status = check(w, err);
    if ((!status || status == RAM_EDIFF) && w->job->form == RAM_JSON)
        print_json(w);
    else if (!status && !w->job->silent)
        print_outcome(w);
    if (!status && partial)
        unlink(partial);
    w->resumable = partial && access(partial, F_OK) == 0;
    free(partial);
    return status;
}

static bool to_budget(const struct args *args)
{
    return !args->alloc.opts.method || !strcmp(args->alloc.opts.method, "budget");
}

static int check_effort(const struct args *args)
{
    if (!args->effort || to_budget(args))
        return OPT_GO;
    message("quantize: --effort belongs to method budget, not to %s", args->alloc.opts.method);
    return 2;
}

int cmd_quantize(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {.analyze = ANALYZE_ARGS_DEFAULT};
    const struct opt_group groups[] = {{"Writing", convert_args_table, &args.convert},
                                       {"Deciding", alloc_args_table, &args.alloc},
                                       {"Effort", effort_table, &args},
                                       {"Measuring", analyze_args_table, &args.analyze},
                                       {"Keeping", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 6, argv, n, &n);
    if (status == OPT_GO)
        status = alloc_args_finish(&args.alloc, usage.verb);
    if (status == OPT_GO)
        status = check_effort(&args);
    if (status == OPT_GO)
        status = analyze_args_check(&args.analyze, usage.verb);
    if (status == OPT_GO)
        status = opt_require(&usage, "-o DIR", args.convert.output);
    if (status == OPT_GO) {
        struct work w = {.args = &args,
                         .job = &job,
                         .force = common.force,
                         .to_budget = to_budget(&args),
                         .budget = {.text = args.convert.text, .encoder = args.convert.encoder}};
        job_init(&job, &common);
        status = run(argv[0], &w, &err);
        if (status)
            message_failure(&err);
        if (w.resumable)
            message("what was measured is kept: the same command with --resume continues");
        status = ram_exit_code(status);
        free(w.plan_text);
        free(w.convert_text);
        free(w.verify_text);
        ram_plan_free(w.plan);
        ram_manifest_free(w.manifest);
        ram_ckpt_close(w.ckpt);
    }
    alloc_args_release(&args.alloc);
    return status;
}
