/* cmd_allocate.c - manifest -> plan; needs no weights. */
#include "alloc_args.h"
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct args {
    struct alloc_args alloc;
    const char *output;
    bool pareto;
};

static const struct opt table[] = {
    {"output", 'o', OPT_TEXT, offsetof(struct args, output), "PLAN", "the file to write", NULL},
    {"pareto", 0, OPT_FLAG, offsetof(struct args, pareto), NULL,
     "print a table of many sizes and their predicted divergence; no plan is written", NULL},
    {"encoder", 0, OPT_TEXT, offsetof(struct args, alloc.opts.encoder), "E",
     "the encoder that will convert: rtn, search or gptq; the plan records it (default: the one "
     "that the manifest was probed for, otherwise rtn)",
     NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "allocate",
    .synopsis = "MANIFEST -o PLAN [--bpw B | --size S | --fit S | --method M]\n"
                "       ram allocate MANIFEST --method all\n"
                "       ram allocate MANIFEST --pareto",
    .about = "Decides from a manifest how many bits each tensor gets, and writes the plan. The\n"
             "plan is JSON; \"bits\" and \"group\" of a unit may be edited by hand before\n"
             "ram convert. --method all compares the size and the predicted error of every\n"
             "method; --pareto shows what each size would cost. Both write nothing.",
    .examples = "ram allocate qwen3-8b.json -o plan.json --bpw 4.5\n"
                "ram allocate qwen3-8b.json -o plan.json --fit 16GiB --context 32768\n"
                "ram allocate qwen3-8b.json --method all\n"
                "ram allocate qwen3-8b.json -o plan.json --method v2 --set 'down_proj=6g64'",
    .min_operands = 1,
    .max_operands = 1,
    .n_rare = 1,
};

static int compare(const struct ram_manifest *manifest, const struct args *args,
                   enum ram_markup markup, struct ram_err *err)
{
    struct ram_allocate_opts opts = args->alloc.opts;
    char *text = NULL;

    opts.method = NULL;
    const int status = args->pareto ? ram_allocate_family(manifest, &opts, markup, &text, err)
                                    : ram_allocate_compare(manifest, &opts, markup, &text, err);
    if (!status)
        result_print(text);
    free(text);
    return status;
}

/* What ram quantize measures for such a model, and this manifest does not hold. */
static void advise(const struct ram_manifest *manifest, const struct ram_plan *plan,
                   const struct args *args)
{
    const struct ram_allocate_opts *o = &args->alloc.opts;
    enum ram_effort_level usual = RAM_EFFORT_NORMAL;
    struct ram_effort efforts[RAM_N_EFFORTS];
    struct ram_totals totals;
    struct ram_err ignored = {0};

    ram_plan_totals(plan, &totals);
    if (o->method ? strcmp(o->method, "budget") != 0
                  : !(o->size || o->bpw > 0 || o->fit || o->bytes_per_token))
        return;
    const bool known = !ram_efforts(manifest, NULL, efforts, &usual, &ignored);
    const char *curves = known && usual == RAM_EFFORT_BEST ? " --curves" : "";
    if (isnan(totals.predicted_kld))
        message(
            "note: the manifest has no sensitivities, so the plan was decided from the errors of "
            "the weights alone. ram quantize measures how much each matrix matters; so does "
            "ram analyze --probe%s",
            curves);
    else if (*curves && !o->encoder && strcmp(ram_plan_encoder(plan), "gptq") != 0)
        message(
            "note: the manifest has no error curves of the encoder gptq, which ram quantize uses "
            "for a model of this size; ram analyze --probe --curves measures them");
}

static int decide(const struct ram_manifest *manifest, const struct args *args,
                  const struct opt_common *common, struct ram_err *err)
{
    const enum ram_markup markup = job_markup(common);
    const bool silent = common->quiet && markup == RAM_TEXT;
    struct ram_plan *plan = NULL;
    char *text = NULL;

    int status = ram_allocate(manifest, &args->alloc.opts, &plan, err);
    if (!status)
        status = ram_plan_write(plan, args->output, common->force, err);
    if (!status && !silent)
        status = ram_plan_describe(plan, markup, common->verbose, &text, err);
    if (text)
        result_print(text);
    if (!status && !common->quiet) {
        message("wrote %s", args->output);
        advise(manifest, plan, args);
    }
    free(text);
    ram_plan_free(plan);
    return status;
}

/* A table is wanted, not a plan. */
static bool to_look_at(const struct args *args)
{
    const char *method = args->alloc.opts.method;
    return args->pareto || (method && !strcmp(method, "all"));
}

static int run(const char *path, const struct args *args, const struct opt_common *common,
               struct ram_err *err)
{
    const bool table_only = to_look_at(args);
    struct ram_manifest *manifest = NULL;

    int status =
        table_only ? RAM_OK : ram_check_output(args->output, common->force, NULL, path, err);
    if (!status)
        status = ram_manifest_read(&manifest, path, err);
    if (!status)
        status = table_only ? compare(manifest, args, job_markup(common), err)
                            : decide(manifest, args, common, err);
    ram_manifest_free(manifest);
    return status;
}

/* A table has no file, and --pareto its own sizes and method. */
static int check_table(const struct args *args)
{
    const struct ram_allocate_opts *o = &args->alloc.opts;
    const char *table_option = args->pareto ? "--pareto" : "--method all";
    const char *size = o->size              ? "--size"
                       : o->bpw > 0         ? "--bpw"
                       : o->fit             ? "--fit"
                       : o->bytes_per_token ? "--bytes-per-token"
                                            : NULL;

    if (to_look_at(args) && args->output) {
        message("allocate: %s prints a table and writes no plan; leave out -o", table_option);
        return 2;
    }
    if (args->pareto && o->method && strcmp(o->method, "budget") != 0) {
        message("allocate: --pareto applies only to method budget, not to %s", o->method);
        return 2;
    }
    if (args->pareto && size) {
        message("allocate: --pareto shows all sizes; leave out %s", size);
        return 2;
    }
    return OPT_GO;
}

int cmd_allocate(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {
        {"How large the result may be (at most one of bpw, size and fit)", alloc_size_table,
         &args.alloc},
        {"Options", table, &args},
        {"Other methods, and exceptions", alloc_args_table, &args.alloc},
        {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};

    int status = opt_parse(&usage, groups, 4, argv, n, &n);
    if (status == OPT_GO)
        status = alloc_args_finish(&args.alloc, usage.verb);
    if (status == OPT_GO)
        status = check_table(&args);
    if (status == OPT_GO && !to_look_at(&args))
        status = opt_require(&usage, "-o PLAN", args.output);
    if (status == OPT_GO) {
        status = run(argv[0], &args, &common, &err);
        status = status ? message_failure(&err) : 0;
    }
    alloc_args_release(&args.alloc);
    return status;
}
