/* cmd_quantize.c - all stages in one command; the result of each is printed as soon as it is known.
 */
#include "alloc_args.h"
#include "analyze_args.h"
#include "cmd.h"
#include "convert_args.h"
#include "job.h"
#include "message.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct args {
    struct convert_args convert;
    struct alloc_args alloc;
    struct ram_analyze_opts analyze;
    int effort;
    bool keep_manifest;
    bool resume;
};

static const char *effort(size_t i)
{
    return i ? ram_list_item(RAM_LIST_EFFORTS, i - 1, NULL) : "auto";
}

static const struct opt effort_table[] = {
    {"effort", 0, OPT_CHOICE, offsetof(struct args, effort), "E",
     "time against quality: fast, normal, best, or auto, which is best for small models and normal "
     "for others (default: auto). How long each takes is printed at the start",
     effort},
    {0},
};

static const struct opt table[] = {
    {"keep-manifest", 0, OPT_FLAG, offsetof(struct args, keep_manifest), NULL,
     "also write what was measured to DIR/ram-manifest.json, for ram allocate", NULL},
    {"resume", 0, OPT_FLAG, offsetof(struct args, resume), NULL,
     "continue an interrupted run or a dry run: take what it finished from DIR.ram-partial", NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "quantize",
    .synopsis = "MODEL -o DIR [--bpw B | --size S | --fit S | --method M]",
    .about = "Quantises a checkpoint for mlx_lm: measures the weights, runs the model on text\n"
             "that it generates itself, chooses bit widths for the least predicted divergence\n"
             "at the size you ask for (default: --bpw 4.5), prints that plan, writes DIR, and\n"
             "checks it against the original. No data is needed. DIR appears only when it is\n"
             "complete.\n\n"
             "MODEL is a directory with config.json and *.safetensors, or org/name[@revision]\n"
             "in the Hugging Face cache. After ^C, repeat the command with --resume.",
    .examples = "ram quantize Qwen/Qwen3-8B -o qwen3-8b-ram\n"
                "ram quantize Qwen/Qwen3-30B-A3B -o out --fit 24GiB --context 32768\n"
                "ram quantize ./my-model -o out --size 5GB --dry-run\n"
                "ram quantize ./my-model -o out --bpw 4 --effort fast",
    .min_operands = 1,
    .max_operands = 1,
    .n_rare = 3,
};

struct work {
    const struct args *args;
    struct job *job;
};

/* ---- what is said while it runs ------------------------------------------------------------- */

static const char *duration(double seconds, char text[32])
{
    if (seconds < 60)
        snprintf(text, 32, "%.0f s", fmax(seconds, 1));
    else if (seconds < 5400)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else
        snprintf(text, 32, "%.1f h", seconds / 3600);
    return text;
}

/* Which effort, what it means, and how long all of them take. */
static void say_effort(const struct work *w, const struct ram_quantized *q)
{
    const struct ram_effort *e = q->efforts;
    char time[RAM_N_EFFORTS + 1][32];

    if (w->job->progress.quiet)
        return;
    if (q->calibration)
        message("calibration text: %s; the result is not data-free", q->calibration);
    if (!q->to_budget)
        return;
    message("effort: %s (%s), about %s. --effort fast takes about %s, normal %s, best %s",
            e[q->effort].name, w->args->effort ? "as asked for" : "default for this size",
            duration(e[q->effort].seconds, time[0]), duration(e[RAM_EFFORT_FAST].seconds, time[1]),
            duration(e[RAM_EFFORT_NORMAL].seconds, time[2]),
            duration(e[RAM_EFFORT_BEST].seconds, time[3]));
    message("%s means: %s", e[q->effort].name, e[q->effort].what);
}

/* The stages that this run has, for "[2/8]". */
static void expect_stages(const struct work *w, const struct ram_quantized *q)
{
    const struct ram_effort *e = &q->efforts[q->effort];
    const bool probes = q->to_budget && q->runs, curves = probes && e->probe.curves;
    const char *encoder = q->to_budget ? e->encoder : w->args->convert.encoder;
    const bool writes = !w->args->convert.dry_run;
    const bool by_inputs = writes && encoder && !strcmp(encoder, "gptq");
    const struct {
        bool there;
        const char *stage;
        double seconds;
    } all[] = {{true, "analyze", e->stages[RAM_STAGE_ANALYZE]},
               {probes, "synthesize", e->stages[RAM_STAGE_TOKENS]},
               {probes, "probe", e->stages[RAM_STAGE_PROBE]},
               {curves, "synthesize", e->stages[RAM_STAGE_INPUTS]},
               {curves, "curves", e->stages[RAM_STAGE_CURVES]},
               {by_inputs && !curves, "synthesize", e->stages[RAM_STAGE_INPUTS]},
               {by_inputs, "derive", e->stages[RAM_STAGE_DERIVE]},
               {writes, "convert", e->stages[RAM_STAGE_CONVERT]},
               {writes, "verify", e->stages[RAM_STAGE_VERIFY]},
               {writes && probes, "synthesize", e->stages[RAM_STAGE_HELD_OUT]},
               {writes && probes, "check", e->stages[RAM_STAGE_CHECK]}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].there)
            progress_expect(&w->job->progress, all[i].stage, all[i].seconds);
}

static void on_step(void *user, enum ram_quantize_step step, const struct ram_quantized *q)
{
    const struct work *w = user;
    const bool print = w->job->markup != RAM_JSON && !w->job->silent;

    progress_end(&w->job->progress, true);
    if (step == RAM_STEP_BEGIN) {
        say_effort(w, q);
        expect_stages(w, q);
    } else if (step == RAM_STEP_DECIDED && print)
        result_print(q->plan_text);
    else if (step == RAM_STEP_WRITTEN && print)
        result_print(q->convert_text);
    /* A line for every matrix is for those who ask, and for those whom it concerns. */
    else if (print &&
             (step == RAM_STEP_DIFFERS || (step == RAM_STEP_VERIFIED && w->job->progress.verbose)))
        result_print(q->verify_text);
}

/* ---- what is said at the end ---------------------------------------------------------------- */

/* ', "kld_error": 0.001', unless it is not known. */
static void print_figure_json(const char *key, double figure)
{
    if (isfinite(figure))
        printf(", \"%s\": %.9g", key, figure);
}

static void print_check_json(const struct ram_quantized *q)
{
    const struct ram_kld_check *c = &q->check;
    struct ram_totals totals;

    if (!q->checked)
        return;
    ram_plan_totals(q->plan, &totals);
    printf(",\n\"self_check\": {\"tokens\": %llu, \"sequences\": %llu",
           (unsigned long long)c->tokens, (unsigned long long)c->sequences);
    print_figure_json("kld", c->kld);
    print_figure_json("kld_error", c->kld_error);
    print_figure_json("predicted_kld", totals.predicted_kld);
    if (isfinite(c->kld_uniform))
        printf(", \"uniform\": \"%dg%d\"", c->uniform_bits, c->uniform_group);
    print_figure_json("kld_uniform", c->kld_uniform);
    print_figure_json("kld_uniform_error", c->kld_uniform_error);
    print_figure_json("difference_error", c->difference_error);
    printf(", \"fell_back\": %s}", q->fell_back ? "true" : "false");
}

/* One object: what each stage said, and where the result lies. */
static void print_json(const struct work *w, const struct ram_quantized *q)
{
    printf("{\"directory\": ");
    result_print_json_string(w->args->convert.output, strlen(w->args->convert.output));
    printf(",\n\"written\": %s", w->args->convert.dry_run ? "false" : "true");
    if (q->plan_text)
        printf(",\n\"plan\": %s", q->plan_text);
    if (q->convert_text)
        printf(",\n\"convert\": %s", q->convert_text);
    if (q->verify_text)
        printf(",\n\"verify\": %s", q->verify_text);
    print_check_json(q);
    printf("}\n");
}

/* "10x worse", "no significant difference", "1.2x better" */
static const char *against(const struct ram_kld_check *c, char text[32])
{
    const double uniform = c->kld_uniform, ours = c->kld;

    if (fabs(uniform - ours) <= 2 * c->difference_error)
        return "no significant difference";
    if (!(ours > 0) || !(uniform > 0) || fabs(uniform / ours - 1) < 0.05)
        return "about the same";
    snprintf(text, 32, uniform > ours ? "%.2gx worse" : "%.2gx better",
             uniform > ours ? uniform / ours : ours / uniform);
    return text;
}

/* "0.0123 (0.0101 to 0.0145)": two standard errors either way. */
static void print_interval(double mean, double error)
{
    printf("%.3g", mean);
    if (isfinite(error))
        printf(" (%.3g to %.3g)", fmax(0, mean - 2 * error), mean + 2 * error);
}

static void print_check(const struct ram_quantized *q)
{
    const struct ram_kld_check *c = &q->check;
    struct ram_totals totals;
    char ratio[32];

    if (!q->checked)
        return;
    ram_plan_totals(q->plan, &totals);
    printf("\nEstimate on the model's own text, %llu unseen tokens: KL divergence\n",
           (unsigned long long)c->tokens);
    print_interval(c->kld, c->kld_error);
    printf(" nats/token");
    if (!q->fell_back && isfinite(totals.predicted_kld))
        printf(", predicted %.3g", totals.predicted_kld);
    printf(".");
    if (isfinite(c->kld_uniform)) {
        printf("\nPlain %d-bit g%d, the best uniform option of this size: ", c->uniform_bits,
               c->uniform_group);
        print_interval(c->kld_uniform, c->kld_uniform_error);
        printf(", %s.", against(c, ratio));
    }
    printf("%s\n", q->fell_back ? " Therefore the uniform option was written instead." : "");
}

static void print_outcome(const struct work *w, const struct ram_quantized *q)
{
    const char *dir = w->args->convert.output;
    const bool has_tokenizer = ram_has_tokenizer(dir);
    struct ram_totals totals;

    ram_plan_totals(q->plan, &totals);
    const bool large = totals.bytes >= 1u << 30;
    const double size = (double)totals.bytes / (large ? 0x1p30 : 0x1p20);
    if (w->args->convert.dry_run) {
        printf("\nDry run: the model was not written.%s\n",
               q->resumable ? " What was measured is kept; the same command with --resume instead "
                              "of\n--dry-run writes the model without measuring again."
                            : "");
        return;
    }
    print_check(q);
    printf("\nThe result is in %s: %.2f %s, %.2f bits a weight, %.2f times smaller.\n"
           "Verified: files, shapes and quantisation errors match the plan.%s",
           dir, size, large ? "GiB" : "MiB", totals.effective_bits, totals.compression,
           has_tokenizer ? " Try it:\n\nmlx_lm.generate --model " : "\n");
    if (!has_tokenizer) /* as a note has said */
        return;
    result_print_shell_word(dir);
    printf(" --prompt \"The history of\"\n");
}

/* ---- the command ---------------------------------------------------------------------------- */

static int run(const char *model, struct work *w, bool force, struct ram_err *err)
{
    const struct args *args = w->args;
    const struct ram_quantize_opts opts = {
        .analyze = args->analyze,
        .allocate = args->alloc.opts,
        .convert = convert_args_opts(&args->convert, force),
        .effort = args->effort ? effort((size_t)args->effort) : NULL,
        .keep_manifest = args->keep_manifest,
        .resume = args->resume,
        .markup = w->job->markup,
        .units = w->job->progress.verbose,
        .step = on_step,
        .user = w,
    };
    struct ram_quantized q = {0};
    struct ram_ckpt *ckpt = NULL;

    int status = job_open_model(w->job, model, &ckpt, err);
    if (!status)
        status = job_stage_done(
            w->job, ram_quantize(ckpt, args->convert.output, &opts, &w->job->run, &q, err));
    if (q.plan && (!status || status == RAM_EDIFF) && w->job->markup == RAM_JSON)
        print_json(w, &q);
    else if (!status && !w->job->silent)
        print_outcome(w, &q);
    if (status)
        message_failure(err);
    if (status && q.resumable)
        message("finished work is kept: the same command with --resume continues");
    ram_quantized_release(&q);
    ram_ckpt_close(ckpt);
    return ram_exit_code(status);
}

int cmd_quantize(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {.analyze = ANALYZE_ARGS_DEFAULT};
    const struct opt_group groups[] = {
        {"How large the result may be (at most one of bpw, size and fit)", alloc_size_table,
         &args.alloc},
        {"Time and quality", effort_table, &args},
        {"Output", convert_args_table, &args.convert},
        {"Keeping", table, &args},
        {"Other methods, and exceptions", alloc_args_table, &args.alloc},
        {"Writing", convert_more_table, &args.convert},
        {"For experiments", analyze_args_table, &args.analyze},
        {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 8, argv, n, &n);
    if (status == OPT_GO)
        status = alloc_args_finish(&args.alloc, usage.verb);
    if (status == OPT_GO)
        status = analyze_args_check(&args.analyze, usage.verb);
    if (status == OPT_GO)
        status = opt_require(&usage, "-o DIR", args.convert.output);
    if (status == OPT_GO) {
        struct work w = {.args = &args, .job = &job};
        job_init(&job, &common);
        status = run(argv[0], &w, common.force, &err);
    }
    alloc_args_release(&args.alloc);
    return status;
}
