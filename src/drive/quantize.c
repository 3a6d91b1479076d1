/*
 * quantize.c - see quantize.h: the order of the stages, and when a uniform width is written
 * instead.
 */
#include "drive/quantize.h"

#include "allocate/allocate.h"
#include "analyze/analyze.h"
#include "base/file.h"
#include "ckpt/subject.h"
#include "convert/conversion.h"
#include "convert/journal.h"
#include "convert/verify.h"
#include "drive/convert_inputs.h"
#include "drive/quantize_parts.h"
#include "drive/self_check.h"
#include "probe/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void ram_quantize_tell(const struct ram_quantize_work *w, enum ram_quantize_step step)
{
    if (w->opts->step)
        w->opts->step(w->opts->user, step, w->out);
}

/* ---- measure and decide --------------------------------------------------------------------- */

static int measure(const struct ram_quantize_work *w, struct ram_err *err)
{
    struct ram_analyze_opts opts = w->opts->analyze;

    /* A manifest that is kept may be asked for any method. */
    opts.no_svd = opts.no_svd || (w->to_budget && !w->opts->keep_manifest);
    return ram_analyze_run(w->ckpt, &opts, &w->exec, &w->out->manifest, err);
}

/* Into the manifest. */
static int probe(const struct ram_quantize_work *w, struct ram_err *err)
{
    const struct ram_allocate_opts opts = ram_quantize_allocate_opts(w);
    struct ram_plan *trial = NULL;

    /* A budget that is too small does not become larger by what a probe finds. */
    int status = ram_allocate(w->out->manifest, &opts, &trial, err);
    ram_plan_free(trial);
    if (status || !w->out->runs)
        return status;
    status =
        ram_probe_run(w->ckpt, w->out->manifest, &ram_quantize_effort(w)->probe, &w->exec, err);
    w->out->probed = !status;
    return status;
}

/* Decides and records. */
static int decide(const struct ram_quantize_work *w, struct ram_err *err)
{
    const struct ram_allocate_opts opts = ram_quantize_allocate_opts(w);

    const int status = ram_allocate(w->out->manifest, &opts, &w->out->plan, err);
    return status ? status : ram_quantize_record(w, w->out->plan, err);
}

static int describe_plan(const struct ram_quantize_work *w, struct ram_err *err)
{
    struct ram_quantized *out = w->out;

    free(out->plan_text);
    out->plan_text = NULL;
    const int status =
        ram_plan_describe(out->plan, w->opts->markup, w->opts->units, &out->plan_text, err);
    if (!status)
        ram_quantize_tell(w, RAM_STEP_DECIDED);
    return status;
}

static int measure_and_decide(const struct ram_quantize_work *w, struct ram_err *err)
{
    int status = measure(w, err);
    if (!status && w->to_budget)
        status = probe(w, err);
    if (!status)
        status = decide(w, err);
    return status ? status : describe_plan(w, err);
}

/* ---- write and verify ----------------------------------------------------------------------- */

static int keep_manifest(const struct ram_quantize_work *w, struct ram_err *err)
{
    /* The run that is resumed may have written it. */
    const bool force = w->opts->convert.force || w->opts->resume;
    char *path = ram_path_join(w->dir, "ram-manifest.json", err);

    const int status = path ? ram_manifest_write(w->out->manifest, path, force, err) : RAM_ENOMEM;
    free(path);
    return status;
}

static int write_and_verify(const struct ram_quantize_work *w, bool force, struct ram_err *err)
{
    const struct ram_convert_opts opts = ram_quantize_convert_opts(w, force);
    const struct ram_convert_how how = {.opts = &opts, .exec = &w->exec};
    struct ram_quantized *out = w->out;

    free(out->convert_text);
    free(out->verify_text);
    out->convert_text = out->verify_text = NULL;
    int status = ram_convert_with_inputs(w->ckpt, out->plan, w->dir, &how, w->opts->markup,
                                         &out->convert_text, err);
    if (status)
        return status;
    ram_quantize_tell(w, RAM_STEP_WRITTEN);
    if (opts.dry_run)
        return RAM_OK;
    if (w->opts->keep_manifest)
        status = keep_manifest(w, err);
    if (!status)
        status = ram_verify_run(w->dir, w->ckpt, out->plan, &w->exec, w->opts->markup,
                                &out->verify_text, err);
    if (!status || out->verify_text)
        ram_quantize_tell(w, status ? RAM_STEP_DIFFERS : RAM_STEP_VERIFIED);
    return status;
}

/* ---- the check on tokens that nothing was decided by ---------------------------------------- */

static int take_uniform(const struct ram_quantize_work *w, struct ram_err *err)
{
    struct ram_quantized *out = w->out;
    const struct ram_allocate_opts uniform = {
        .method = "uniform", .bits = out->check.uniform_bits, .group = out->check.uniform_group};
    json_t *asked = json_object_get(out->plan->settings, "options");
    struct ram_plan *other = NULL;

    int status = ram_allocate(out->manifest, &uniform, &other, err);
    if (!status)
        status = ram_quantize_record(w, other, err);
    /* The same command falls back again: what was asked for is what makes these bytes. */
    if (!status && asked)
        status = ram_json_put(other->settings, "options", json_incref(asked), err);
    if (!status)
        status = ram_json_put(other->settings, "fell_back", json_true(), err);
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
static int fall_back(const struct ram_quantize_work *w, struct ram_err *err)
{
    const struct ram_allocate_opts *set = &w->opts->allocate;
    const struct ram_kld_check *c = &w->out->check;
    const bool own = set->n_set || set->n_protect || set->n_sensitive;

    ram_exec_notice(
        &w->exec, "on held-out tokens uniform %d-bit g%d diverges less, %.3g against %.3g nats; %s",
        c->uniform_bits, c->uniform_group, c->kld_uniform, c->kld,
        own ? "kept all the same, since widths were set by hand" : "writing that instead");
    return own ? RAM_OK : take_uniform(w, err);
}

/* Compares what was written with the best uniform width of no more bytes, which takes its place if
 * it is better beyond chance, and tells in the card what was found. */
static int check(const struct ram_quantize_work *w, struct ram_err *err)
{
    const struct ram_probe_opts *probe = &ram_quantize_effort(w)->probe;
    const struct ram_probe_opts tokens = {.tier = probe->tier, .seed = probe->seed};
    const struct ram_self_check_how how = {&tokens, &w->exec};
    struct ram_kld_check *c = &w->out->check;

    if (!w->out->probed)
        return RAM_OK;
    int status = ram_self_check_run(w->dir, w->ckpt, w->out->manifest, w->out->plan, &how, c, err);
    w->out->checked = !status;
    if (!status)
        ram_quantize_tell(w, RAM_STEP_CHECKED);
    if (!status && c->uniform_is_better)
        status = fall_back(w, err);
    return status ? status : ram_card_add_check(w->dir, c, w->out->fell_back, err);
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* A directory that is there may be the one that the run which is resumed had written and was about
 * to check; any other is refused before anything is measured. */
static int check_existing(const struct ram_quantize_work *w, struct ram_err *err)
{
    const bool known = w->opts->convert.force ||
                       ram_written_find(w->exec.store, w->dir, 0, NULL, 0) != RAM_WRITTEN_NOT;

    return w->opts->convert.dry_run ? RAM_OK
                                    : ram_convert_check_target(w->ckpt, w->dir, known, err);
}

/* Opens the store beside dir, unless the caller has one. */
static int open_store(struct ram_quantize_work *w, struct ram_err *err)
{
    char *path = NULL;

    if (w->exec.store)
        return check_existing(w, err);
    int status = ram_store_path(w->dir, &path, err);
    if (!status)
        status = ram_subject_open(&w->exec.store, path, w->ckpt, w->opts->resume, &w->exec, err);
    if (!status)
        status = check_existing(w, err);
    free(path);
    return status;
}

static int run_all(struct ram_quantize_work *w, struct ram_err *err)
{
    const bool dry_run = w->opts->convert.dry_run;

    int status = ram_quantize_begin(w, err);
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

int ram_quantize_run(const struct ram_ckpt *ckpt, const char *dir,
                     const struct ram_quantize_opts *opts, const struct ram_exec *exec,
                     struct ram_quantized *out, struct ram_err *err)
{
    const char *method = opts->allocate.method;
    struct ram_quantize_work w = {.ckpt = ckpt,
                                  .dir = dir,
                                  .opts = opts,
                                  .exec = ram_exec_share(exec, exec->max_memory),
                                  .out = out,
                                  .to_budget = !method || !strcmp(method, "budget")};

    out->to_budget = w.to_budget;
    const int status = run_all(&w, err);
    /* A dry run leaves what it measured for the run that writes. */
    if (!exec->store)
        out->resumable = ram_store_free(w.exec.store, !status && !opts->convert.dry_run);
    json_decref(w.calibration);
    return status;
}
