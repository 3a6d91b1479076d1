/*
 * ram_quantize.c - ram.h: all stages as one call. What is done in which order, what is refused
 * before anything is measured, and when a uniform width is written instead.
 *
 * After each step the caller is told (opts->step), so that a command can print what it shows while
 * the next step runs. Nothing here prints, and nothing depends on whether anyone listens.
 */
#include "allocate/allocate.h"
#include "base/opts.h"
#include "base/output.h"
#include "convert/convert.h"
#include "convert/directory.h"
#include "convert/journal.h"
#include "record/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct work {
    const struct ram_ckpt *ckpt;
    const char *dir;
    const struct ram_quantize_opts *opts;
    const struct ram_run *run;
    struct ram_quantized *out;
    bool to_budget;      /* the method is budget */
    struct ram_run own;  /* run, with a store of our own */
    json_t *calibration; /* which text is used instead of the model's own; NULL: none */
};

static void tell(const struct work *w, enum ram_quantize_step step)
{
    if (w->opts->step)
        w->opts->step(w->opts->user, step, w->out);
}

static void notice(const struct work *w, const char *line)
{
    if (w->run->notice)
        w->run->notice(w->run->user, line);
}

/* ---- the options of the stages -------------------------------------------------------------- */

static const struct ram_effort *chosen_effort(const struct work *w)
{
    return &w->out->efforts[w->out->effort];
}

static struct ram_allocate_opts allocate_opts(const struct work *w)
{
    struct ram_allocate_opts opts = w->opts->allocate;

    opts.method = opts.method ? opts.method : "budget";
    opts.encoder = w->opts->convert.encoder;
    if (!opts.encoder) /* of an effort: NULL until one is chosen */
        opts.encoder = w->to_budget ? chosen_effort(w)->encoder : "rtn";
    return opts;
}

static bool encodes_by_inputs(const struct work *w)
{
    const char *encoder = allocate_opts(w).encoder;
    return encoder && !strcmp(encoder, "gptq");
}

static struct ram_convert_opts convert_opts(const struct work *w, bool force)
{
    struct ram_convert_opts opts = w->opts->convert;

    opts.force = force;
    opts.encoder = allocate_opts(w).encoder ? allocate_opts(w).encoder : "rtn";
    /* Otherwise it is for the probes alone. */
    opts.text = encodes_by_inputs(w) ? opts.text : NULL;
    return opts;
}

/* ---- before anything is measured ------------------------------------------------------------ */

static int check_options(const struct work *w, struct ram_err *err)
{
    const struct ram_quantize_opts *o = w->opts;
    const char *method = o->allocate.method;

    int status = ram_opts_check(o->reserved, "struct ram_quantize_opts", err);
    if (!status)
        status = ram_opts_check(o->analyze.reserved, "struct ram_analyze_opts", err);
    if (!status)
        status = ram_opts_check(w->run->reserved, "struct ram_run", err);
    if (status)
        return status;

    if (o->effort && !w->to_budget)
        return ram_fail(err, RAM_EUSAGE, "--effort applies only to method budget, not to %s",
                        method);
    if (o->convert.text && !w->to_budget && !encodes_by_inputs(w))
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
static int check_space(const struct work *w, const struct ram_budget_bounds *bounds,
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
static int check_bounds(const struct work *w, const struct ram_budget_bounds *bounds,
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
    notice(w, "the whole model fits at 16 bits, so nothing is quantised; --bpw makes it smaller");
    return RAM_OK;
}

/* Options that make no sense, a budget that cannot be met, a disk that is too small and an
 * architecture that cannot be written are refused before hours are spent. Weights are not read. */
static int preflight(const struct work *w, const struct ram_manifest *survey, struct ram_err *err)
{
    const struct ram_allocate_opts uniform = {.method = "uniform"};
    const struct ram_run silent = {.threads = w->run->threads};
    const struct ram_allocate_opts wanted = allocate_opts(w);
    struct ram_convert_opts opts = convert_opts(w, w->opts->convert.force);
    struct ram_plan *plan = NULL, *any = NULL;
    struct ram_budget_bounds bounds;
    struct ram_err tried = {0};

    opts.dry_run = true;
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
        status = ram_convert(w->ckpt, any, w->dir, &opts, &silent, RAM_TEXT, NULL, err);
    ram_plan_free(plan);
    ram_plan_free(any);
    return status;
}

static int find_effort(const struct work *w, enum ram_effort_level *level, struct ram_err *err)
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
static int choose_effort(const struct work *w, const struct ram_manifest *survey,
                         struct ram_err *err)
{
    const char *encoder = w->opts->convert.encoder;
    struct ram_quantized *out = w->out;

    int status = ram_efforts(survey, w->run, out->efforts, &out->effort, err);
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
static int check_runnable(const struct work *w, struct ram_err *err)
{
    struct ram_effort *effort = &w->out->efforts[w->out->effort];
    struct ram_probe_opts what = effort->probe;
    char line[sizeof err->message + 128];
    struct ram_err why = {0};

    what.text = w->opts->convert.text;
    what.curves = encodes_by_inputs(w); /* it runs on as many tokens as the curves */
    if (!w->to_budget && !what.curves)
        return RAM_OK;
    const int status = ram_probe_check(w->ckpt, &what, &why);
    w->out->runs = !status;
    if (status != RAM_EUNSUPPORTED || !w->to_budget || w->opts->effort || w->opts->convert.text ||
        (w->opts->convert.encoder && what.curves)) {
        *err = why;
        return status;
    }
    effort->encoder = w->opts->convert.encoder ? w->opts->convert.encoder : "search";
    snprintf(line, sizeof line,
             "%s; so bit widths are decided from the errors of the weights alone, without running "
             "the model",
             why.message);
    notice(w, line);
    return RAM_OK;
}

static int name_calibration(struct work *w, struct ram_err *err)
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

static int begin(struct work *w, struct ram_err *err)
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
        tell(w, RAM_STEP_BEGIN);
    ram_manifest_free(survey);
    return status;
}

/* ---- measure and decide --------------------------------------------------------------------- */

static int measure(const struct work *w, struct ram_err *err)
{
    struct ram_analyze_opts opts = w->opts->analyze;

    /* A manifest that is kept may be asked for any method. */
    opts.no_svd = opts.no_svd || (w->to_budget && !w->opts->keep_manifest);
    return ram_analyze(w->ckpt, &opts, w->run, &w->out->manifest, err);
}

/* Into the manifest. */
static int probe(const struct work *w, struct ram_err *err)
{
    const struct ram_allocate_opts opts = allocate_opts(w);
    struct ram_plan *trial = NULL;

    /* A budget that is too small does not become larger by what a probe finds. */
    int status = ram_allocate(w->out->manifest, &opts, &trial, err);
    ram_plan_free(trial);
    if (status || !w->out->runs)
        return status;
    status = ram_probe(w->ckpt, w->out->manifest, &chosen_effort(w)->probe, w->run, err);
    w->out->probed = !status;
    return status;
}

/* ---- what is recorded, so that the card can tell the command -------------------------------- */

static int put(json_t *object, const char *key, json_t *value, struct ram_err *err)
{
    return value && json_object_set_new(object, key, value)
               ? ram_fail(err, RAM_ENOMEM, "no memory for \"%s\"", key)
               : RAM_OK;
}

/* The options of this call in a plan's settings, by their names on the command line. */
static int record(const struct work *w, struct ram_plan *plan, struct ram_err *err)
{
    const struct ram_convert_opts write = convert_opts(w, false);
    const struct ram_analyze_opts *measure = &w->opts->analyze;
    const uint64_t seed = measure->seed == 42 ? 0 : measure->seed;
    const struct {
        const char *key;
        json_t *value;
    } options[] = {
        {"effort", w->to_budget ? json_string(chosen_effort(w)->name) : NULL},
        {"encoder", json_string(write.encoder)},
        {"profile", json_string(ram_profile_name(write.profile))},
        {"shard-size", write.shard_size ? json_integer((json_int_t)write.shard_size) : NULL},
        {"calibration", json_incref(w->calibration)},
        {"expert-sample", measure->expert_sample ? json_integer(measure->expert_sample) : NULL},
        {"output-probes", measure->output_probes ? json_integer(measure->output_probes) : NULL},
        {"no-svd", measure->no_svd ? json_true() : NULL},
        {"seed", seed ? json_integer((json_int_t)seed) : NULL},
        {"keep-manifest", w->opts->keep_manifest ? json_true() : NULL},
    };
    json_t *all = json_object();
    int status = all ? RAM_OK : ram_fail(err, RAM_ENOMEM, "no memory for settings");

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (!status)
            status = put(all, options[i].key, options[i].value, err);
        else
            json_decref(options[i].value);
    }
    if (!status)
        status = put(plan->settings, "quantize", json_incref(all), err);
    json_decref(all);
    return status;
}

/* Decides and records. */
static int decide(const struct work *w, struct ram_err *err)
{
    const struct ram_allocate_opts opts = allocate_opts(w);

    const int status = ram_allocate(w->out->manifest, &opts, &w->out->plan, err);
    return status ? status : record(w, w->out->plan, err);
}

static int describe_plan(const struct work *w, struct ram_err *err)
{
    struct ram_quantized *out = w->out;

    free(out->plan_text);
    out->plan_text = NULL;
    const int status =
        ram_plan_describe(out->plan, w->opts->markup, w->opts->units, &out->plan_text, err);
    if (!status)
        tell(w, RAM_STEP_DECIDED);
    return status;
}

static int measure_and_decide(const struct work *w, struct ram_err *err)
{
    int status = measure(w, err);
    if (!status && w->to_budget)
        status = probe(w, err);
    if (!status)
        status = decide(w, err);
    return status ? status : describe_plan(w, err);
}

/* ---- write and verify ----------------------------------------------------------------------- */

static int keep_manifest(const struct work *w, struct ram_err *err)
{
    /* The run that is resumed may have written it. */
    const bool force = w->opts->convert.force || w->opts->resume;
    char *path = ram_path_join(w->dir, "ram-manifest.json", err);

    const int status = path ? ram_manifest_write(w->out->manifest, path, force, err) : RAM_ENOMEM;
    free(path);
    return status;
}

static int write_and_verify(const struct work *w, bool force, struct ram_err *err)
{
    const struct ram_convert_opts opts = convert_opts(w, force);
    struct ram_quantized *out = w->out;

    free(out->convert_text);
    free(out->verify_text);
    out->convert_text = out->verify_text = NULL;
    int status = ram_convert(w->ckpt, out->plan, w->dir, &opts, w->run, w->opts->markup,
                             &out->convert_text, err);
    if (status)
        return status;
    tell(w, RAM_STEP_WRITTEN);
    if (opts.dry_run)
        return RAM_OK;
    if (w->opts->keep_manifest)
        status = keep_manifest(w, err);
    if (!status)
        status =
            ram_verify(w->dir, w->ckpt, out->plan, w->run, w->opts->markup, &out->verify_text, err);
    if (!status || out->verify_text)
        tell(w, status ? RAM_STEP_DIFFERS : RAM_STEP_VERIFIED);
    return status;
}

/* ---- the check on tokens that nothing was decided by ---------------------------------------- */

static int take_uniform(const struct work *w, struct ram_err *err)
{
    struct ram_quantized *out = w->out;
    const struct ram_allocate_opts uniform = {
        .method = "uniform", .bits = out->check.uniform_bits, .group = out->check.uniform_group};
    json_t *asked = json_object_get(out->plan->settings, "options");
    struct ram_plan *other = NULL;

    int status = ram_allocate(out->manifest, &uniform, &other, err);
    if (!status)
        status = record(w, other, err);
    /* The same command falls back again: what was asked for is what makes these bytes. */
    if (!status)
        status = put(other->settings, "options", json_incref(asked), err);
    if (!status)
        status = put(other->settings, "fell_back", json_true(), err);
    if (status) {
        ram_plan_free(other);
        return status;
    }
    ram_plan_free(out->plan);
    out->plan = other;
    out->fell_back = true;
    status = describe_plan(w, err);
    return status ? status : write_and_verify(w, true, err);
}

/* The uniform width is written instead, unless the user set widths himself. */
static int fall_back(const struct work *w, struct ram_err *err)
{
    const struct ram_allocate_opts *set = &w->opts->allocate;
    const struct ram_kld_check *c = &w->out->check;
    const bool own = set->n_set || set->n_protect || set->n_sensitive;
    char line[256];

    snprintf(line, sizeof line,
             "on held-out tokens uniform %d-bit g%d diverges less, %.3g against %.3g nats; %s",
             c->uniform_bits, c->uniform_group, c->kld_uniform, c->kld,
             own ? "kept all the same, since widths were set by hand" : "writing that instead");
    notice(w, line);
    return own ? RAM_OK : take_uniform(w, err);
}

/* Compares what was written with the best uniform width of no more bytes, which takes its place if
 * it is better beyond chance, and tells in the card what was found. */
static int check(const struct work *w, struct ram_err *err)
{
    const struct ram_probe_opts *probe = &chosen_effort(w)->probe;
    const struct ram_probe_opts tokens = {.tier = probe->tier, .seed = probe->seed};
    struct ram_kld_check *c = &w->out->check;

    if (!w->out->probed)
        return RAM_OK;
    int status =
        ram_self_check(w->dir, w->ckpt, w->out->manifest, w->out->plan, &tokens, w->run, c, err);
    w->out->checked = !status;
    if (!status)
        tell(w, RAM_STEP_CHECKED);
    if (!status && c->uniform_is_better)
        status = fall_back(w, err);
    return status ? status : ram_mlx_card_check(w->dir, c, w->out->fell_back, err);
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* A directory that is there may be the one that the run which is resumed had written and was about
 * to check; any other is refused before anything is measured. */
static int check_existing(const struct work *w, struct ram_err *err)
{
    const bool known = w->opts->convert.force ||
                       ram_written_find(w->own.store, w->dir, 0, NULL, 0) != RAM_WRITTEN_NOT;

    return w->opts->convert.dry_run ? RAM_OK
                                    : ram_convert_check_target(w->ckpt, w->dir, known, err);
}

/* Opens the store beside dir, unless the caller has one. */
static int open_store(struct work *w, struct ram_err *err)
{
    char *path = NULL;

    if (w->own.store)
        return check_existing(w, err);
    int status = ram_store_path(w->dir, &path, err);
    if (!status)
        status = ram_store_open(&w->own.store, path, w->ckpt, w->opts->resume, w->run, err);
    if (!status)
        status = check_existing(w, err);
    free(path);
    return status;
}

static int run_all(struct work *w, struct ram_err *err)
{
    const bool dry_run = w->opts->convert.dry_run;

    int status = begin(w, err);
    if (!status)
        status = open_store(w, err);
    if (!status)
        status = measure_and_decide(w, err);
    if (!status)
        status = write_and_verify(w, w->opts->convert.force, err);
    if (!status && !dry_run)
        status = check(w, err);
    return status;
}

int ram_quantize(const struct ram_ckpt *ckpt, const char *dir, const struct ram_quantize_opts *opts,
                 const struct ram_run *run, struct ram_quantized *out, struct ram_err *err)
{
    static const struct ram_quantize_opts no_opts;
    static const struct ram_run no_run;
    struct ram_quantized unseen;
    struct work w = {.ckpt = ckpt,
                     .dir = dir,
                     .opts = opts ? opts : &no_opts,
                     .run = run ? run : &no_run,
                     .out = out ? out : &unseen};
    const char *method = w.opts->allocate.method;

    *w.out = (struct ram_quantized){.effort = RAM_EFFORT_NORMAL, .check.kld_uniform = NAN};
    w.to_budget = !method || !strcmp(method, "budget");
    w.out->to_budget = w.to_budget;
    w.own = *w.run;
    w.run = &w.own;
    const struct ram_store *given = w.own.store;
    const int status = run_all(&w, err);
    /* A dry run leaves what it measured for the run that writes. */
    if (!given)
        w.out->resumable = ram_store_close(w.own.store, !status && !w.opts->convert.dry_run);
    json_decref(w.calibration);
    if (!out)
        ram_quantized_release(&unseen);
    return status;
}

void ram_quantized_release(struct ram_quantized *quantized)
{
    if (!quantized)
        return;
    free(quantized->calibration);
    ram_manifest_free(quantized->manifest);
    ram_plan_free(quantized->plan);
    free(quantized->plan_text);
    free(quantized->convert_text);
    free(quantized->verify_text);
    *quantized = (struct ram_quantized){0};
}
