/* quantize_begin.c - see quantize_parts.h: what is refused before anything is measured. */
#include "allocate/allocate.h"
#include "base/opts.h"
#include "base/output.h"
#include "convert/convert.h"
#include "drive/convert_inputs.h"
#include "drive/quantize_parts.h"
#include "probe/effort.h"
#include "probe/probe.h"
#include "record/calibration.h"

#include <string.h>

static int check_options(const struct ram_quantize_work *w, struct ram_err *err)
{
    const struct ram_quantize_opts *o = w->opts;
    const char *method = o->allocate.method;

    int status = RAM_OPTS_CHECK(o, "struct ram_quantize_opts", err);
    if (!status)
        status = ram_opts_check(o->analyze.reserved, RAM_RESERVED, "struct ram_analyze_opts", err);
    if (!status)
        status = ram_opts_check(o->convert.reserved, RAM_RESERVED, "struct ram_convert_opts", err);
    if (status)
        return status;

    if (o->effort && !w->to_budget)
        return ram_fail(err, RAM_EUSAGE, "--effort applies only to method budget, not to %s",
                        method);
    if (o->convert.text && !w->to_budget && !ram_quantize_by_inputs(w))
        return ram_fail(
            err, RAM_EUSAGE,
            "--calibration has no effect on method %s with encoder %s: neither runs the "
            "model",
            method, o->convert.encoder ? o->convert.encoder : "rtn");
    if (o->analyze.no_svd && !w->to_budget && strcmp(method, "uniform") != 0)
        return ram_fail(err, RAM_EUSAGE,
                        "--no-svd leaves out a metric that method %s decides by; use method budget "
                        "or uniform",
                        method);
    if (o->keep_manifest && o->convert.dry_run)
        return ram_fail(err, RAM_EUSAGE,
                        "--keep-manifest writes into the output, and --dry-run writes nothing; use "
                        "ram analyze");
    return RAM_OK;
}

/* What the plan will take at least. A budget is filled to within a unit's next width, if it is not
 * more than the model has. */
static int check_space(const struct ram_quantize_work *w, const struct ram_budget_bounds *bounds,
                       const struct ram_plan *plan, struct ram_err *err)
{
    const double filled = 0.9;
    struct ram_totals totals;
    uint64_t bytes = bounds->smallest;

    /* A run that is resumed may have written files already: convert counts them. */
    if (w->opts->convert.dry_run || w->opts->resume)
        return RAM_OK;
    if (bounds->budget) {
        const uint64_t most = bounds->budget < bounds->largest ? bounds->budget : bounds->largest;
        if (filled * (double)most > (double)bytes)
            bytes = (uint64_t)(filled * (double)most);
    } else if (plan) {
        ram_plan_totals(plan, &totals);
        bytes = totals.bytes;
    }
    return ram_output_check_space(w->dir, "the weight files", bytes, err);
}

/* A budget that nothing has to be quantised for is a mistake; a machine with enough memory is not.
 */
static int check_bounds(const struct ram_quantize_work *w, const struct ram_budget_bounds *bounds,
                        struct ram_err *err)
{
    char asked[RAM_SIZE_TEXT], has[RAM_SIZE_TEXT];

    if (bounds->budget <= bounds->largest)
        return RAM_OK;
    ram_size_text((double)bounds->largest, has);
    if (!w->opts->allocate.fit)
        return ram_fail(err, RAM_EUSAGE,
                        "%s is more than the whole model takes at 16 bits (%s): nothing would be "
                        "quantised; ask for less, such as --bpw 4.5",
                        ram_size_text((double)bounds->budget, asked), has);
    ram_exec_notice(
        &w->exec,
        "the whole model fits at 16 bits, so nothing is quantised; --bpw makes it smaller");
    return RAM_OK;
}

/* Options that make no sense, a budget that cannot be met, a disk that is too small and an
 * architecture that cannot be written are refused before hours are spent. Weights are not read. */
static int preflight(const struct ram_quantize_work *w, const struct ram_manifest *survey,
                     struct ram_err *err)
{
    const struct ram_allocate_opts uniform = {.method = "uniform"};
    const struct ram_allocate_opts wanted = ram_quantize_allocate_opts(w);
    struct ram_convert_opts opts = ram_quantize_convert_opts(w, w->opts->convert.force);
    struct ram_plan *plan = NULL, *any = NULL;
    struct ram_budget_bounds bounds;
    struct ram_err tried = {0};
    struct ram_exec silent = ram_exec_alone(NULL);
    const struct ram_convert_how how = {.opts = &opts, .exec = &silent};

    opts.dry_run = true;
    silent.pool = w->exec.pool;
    /* That nothing is measured yet is no reason to refuse. */
    int status = ram_allocate(survey, &wanted, &plan, &tried);
    if (status == RAM_EUSAGE) {
        *err = tried;
        return status;
    }
    status = ram_allocate_bounds(survey, &wanted, &bounds, err);
    if (!status)
        status = check_bounds(w, &bounds, err);
    if (!status)
        status = check_space(w, &bounds, plan, err);
    if (!status)
        status = ram_allocate(survey, &uniform, &any, err);
    if (!status)
        status = ram_convert_with_inputs(w->ckpt, any, w->dir, &how, RAM_TEXT, NULL, err);
    ram_plan_free(plan);
    ram_plan_free(any);
    return status;
}

static int find_effort(const struct ram_quantize_work *w, enum ram_effort_level *level,
                       struct ram_err *err)
{
    struct ram_quantized *out = w->out;

    if (!w->opts->effort || !strcmp(w->opts->effort, "auto"))
        return RAM_OK;
    for (size_t i = 0; i < RAM_N_EFFORTS; i++) {
        if (strcmp(w->opts->effort, out->efforts[i].name) != 0)
            continue;
        *level = (enum ram_effort_level)i;
        return RAM_OK;
    }
    return ram_fail(err, RAM_EUSAGE, "--effort %s: use auto, fast, normal or best",
                    w->opts->effort);
}

/* Which effort, and what it means with the encoder, the text and the seed that were asked for. */
static int choose_effort(const struct ram_quantize_work *w, const struct ram_manifest *survey,
                         struct ram_err *err)
{
    const char *encoder = w->opts->convert.encoder;
    struct ram_quantized *out = w->out;

    int status = ram_efforts_plan(survey, w->exec.pool, out->efforts, &out->effort, err);
    if (!status)
        status = find_effort(w, &out->effort, err);
    if (status)
        return status;
    struct ram_effort *effort = &out->efforts[out->effort];
    effort->probe.text = w->opts->convert.text;
    effort->probe.seed = w->opts->analyze.seed ? w->opts->analyze.seed : effort->probe.seed;
    if (encoder) {
        effort->encoder = encoder;
        effort->probe.curves = !strcmp(encoder, "gptq") && out->effort == RAM_EFFORT_BEST;
    }
    return RAM_OK;
}

/* An architecture that cannot be run is decided by its weights alone, and that is said, unless what
 * was asked for needs to run it. */
static int check_runnable(const struct ram_quantize_work *w, struct ram_err *err)
{
    struct ram_effort *effort = &w->out->efforts[w->out->effort];
    struct ram_probe_opts what = effort->probe;
    const struct ram_exec alone = ram_exec_alone(NULL);
    struct ram_err why = {0};

    what.text = w->opts->convert.text;
    what.curves = ram_quantize_by_inputs(w); /* it runs on as many tokens as the curves */
    if (!w->to_budget && !what.curves)
        return RAM_OK;
    const int status = ram_probe_possible(w->ckpt, &what, &alone, &why);
    w->out->runs = !status;
    if (status != RAM_EUNSUPPORTED || !w->to_budget || w->opts->effort || w->opts->convert.text ||
        (w->opts->convert.encoder && what.curves)) {
        *err = why;
        return status;
    }
    effort->encoder = w->opts->convert.encoder ? w->opts->convert.encoder : "search";
    ram_exec_notice(
        &w->exec,
        "%s; so bit widths are decided from the errors of the weights alone, without running "
        "the model",
        why.message);
    return RAM_OK;
}

static int name_calibration(struct ram_quantize_work *w, struct ram_err *err)
{
    const char *path = w->opts->convert.text;
    struct ram_buf line = {0};

    const int status = ram_calibration_identify(path, &w->calibration, err);
    if (status)
        return status;
    ram_buf_printf(&line, "%s (%lld bytes, SHA-256 %s)", path,
                   (long long)json_integer_value(json_object_get(w->calibration, "bytes")),
                   json_string_value(json_object_get(w->calibration, "sha256")));
    return ram_buf_take(&line, &w->out->calibration, err);
}

int ram_quantize_begin(struct ram_quantize_work *w, struct ram_err *err)
{
    const struct ram_convert_opts *write = &w->opts->convert;
    struct ram_manifest *survey = NULL;

    int status = check_options(w, err);
    if (!status && !write->dry_run)
        status = ram_convert_check_target(w->ckpt, w->dir, write->force || w->opts->resume, err);
    if (!status && write->text)
        status = name_calibration(w, err);
    if (!status)
        status = ram_survey(w->ckpt, &survey, err);
    if (!status)
        status = preflight(w, survey, err);
    if (!status && w->to_budget)
        status = choose_effort(w, survey, err);
    if (!status)
        status = check_runnable(w, err);
    if (!status)
        ram_quantize_tell(w, RAM_STEP_BEGIN);
    ram_manifest_free(survey);
    return status;
}
