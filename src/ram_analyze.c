/* ram_analyze.c - the first stage, as ram.h offers it. */
#include "analyze/analyze.h"
#include "base/opts.h"
#include "ckpt/coding.h"

int ram_survey(const struct ram_ckpt *ckpt, struct ram_manifest **out, struct ram_err *err)
{
    struct ram_layout *layout = NULL;

    int status = ram_layout_look(&layout, ckpt, ram_format_at(0), err);
    if (!status)
        status = ram_survey_layout(ckpt, layout, out, err);
    ram_layout_free(layout);
    return status;
}

int ram_analyze(const struct ram_ckpt *ckpt, const struct ram_analyze_opts *opts,
                const struct ram_run *run, struct ram_manifest **out, struct ram_err *err)
{
    static const struct ram_analyze_opts no_opts;
    struct ram_layout *layout = NULL;
    struct ram_manifest *manifest = NULL;
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_opts_check(opts ? opts->reserved : NULL, "struct ram_analyze_opts", err);
    if (!status)
        status = ram_ckpt_check_coding(ckpt, err);
    if (!status)
        status = ram_layout_new(&layout, ckpt, ram_format_at(0), err);
    if (!status && layout->quantized)
        status = ram_fail(err, RAM_EUNSUPPORTED,
                          "%s: %s already; analyse the checkpoint that it was made from", ckpt->dir,
                          ram_coding_quantized(ckpt));
    if (!status)
        status = ram_survey_layout(ckpt, layout, &manifest, err);
    if (!status)
        status = ram_sweep(ckpt, layout, opts ? opts : &no_opts, &exec, manifest, err);
    if (status) {
        ram_manifest_free(manifest);
        manifest = NULL;
    }
    *out = manifest;
    ram_layout_free(layout);
    ram_exec_end(&exec);
    return status;
}
