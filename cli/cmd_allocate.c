/* cmd_allocate.c - manifest -> plan; needs no weights. */
#include "alloc_args.h"
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

struct args {
    struct alloc_args alloc;
    const char *output;
    bool pareto;
};

static const struct opt table[] = {
    {"output", 'o', OPT_TEXT, offsetof(struct args, output), "PLAN", "the file to write", NULL},
    {"encoder", 0, OPT_TEXT, offsetof(struct args, alloc.opts.encoder), "E",
     "budget: the encoder that will be used for the conversion, on which errors depend", NULL},
    {"pareto", 0, OPT_FLAG, offsetof(struct args, pareto), NULL,
     "budget: print a table of many sizes with their predicted divergence, and write no plan",
     NULL},
    {0},
};

static const struct opt_usage usage = {
    .verb = "allocate",
    .synopsis = "MANIFEST -o PLAN [--method M] [options]\n"
                "       ram allocate MANIFEST --method all\n"
                "       ram allocate MANIFEST --method budget --pareto",
    .about = "Decides from a manifest how many bits each tensor gets, and writes the plan. The\n"
             "plan is JSON; `bits` and `group` of a unit may be edited by hand before\n"
             "ram convert. --method all prints a table of all methods and writes nothing;\n"
             "methods can only be compared at equal size.",
    .examples = "ram allocate qwen3-8b.json --method all\n"
                "ram allocate qwen3-8b.json -o plan.json\n"
                "ram allocate qwen3-8b.json -o plan.json --method v2 --set 'down_proj=6g64'",
    .min_operands = 1,
    .max_operands = 1,
};

static int compare(const struct ram_manifest *manifest, const struct args *args, enum ram_form form,
                   struct ram_err *err)
{
    struct ram_allocate_opts opts = args->alloc.opts;
    char *text = NULL;

    opts.method = NULL;
    const int status = args->pareto ? ram_allocate_family(manifest, &opts, form, &text, err)
                                    : ram_allocate_compare(manifest, &opts, form, &text, err);
    if (!status)
        result_print(text);
    free(text);
    return status;
}

static int decide(const struct ram_manifest *manifest, const struct args *args,
                  const struct opt_common *common, struct ram_err *err)
{
    const enum ram_form form = job_form(common);
    const bool silent = common->quiet && form == RAM_TEXT;
    struct ram_plan *plan = NULL;
    char *text = NULL;

    int status = ram_allocate(manifest, &args->alloc.opts, &plan, err);
    if (!status)
        status = ram_plan_write(plan, args->output, common->force, err);
    if (!status && !silent)
        status = ram_plan_describe(plan, form, common->verbose, &text, err);
    if (text)
        result_print(text);
    if (!status && !common->quiet)
        message("wrote %s", args->output);
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
        status = table_only ? compare(manifest, args, job_form(common), err)
                            : decide(manifest, args, common, err);
    ram_manifest_free(manifest);
    return status;
}

int cmd_allocate(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Deciding", alloc_args_table, &args.alloc},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};

    int status = opt_parse(&usage, groups, 3, argv, n, &n);
    if (status == OPT_GO)
        status = alloc_args_finish(&args.alloc, usage.verb);
    if (status == OPT_GO && args.pareto && args.alloc.opts.method &&
        strcmp(args.alloc.opts.method, "budget")) {
        message("allocate: --pareto belongs to method budget, not to %s", args.alloc.opts.method);
        status = 2;
    }
    if (status == OPT_GO && !to_look_at(&args))
        status = opt_require(&usage, "-o PLAN", args.output);
    if (status == OPT_GO) {
        status = run(argv[0], &args, &common, &err);
        status = status ? message_failure(&err) : 0;
    }
    alloc_args_release(&args.alloc);
    return status;
}
