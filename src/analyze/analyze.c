/* analyze.c - see analyze.h: the stage as a whole. */
#include "analyze/analyze.h"

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

int ram_analyze_run(const struct ram_ckpt *ckpt, const struct ram_analyze_opts *opts,
                    const struct ram_exec *exec, struct ram_manifest **out, struct ram_err *err)
{
    struct ram_layout *layout = NULL;
    struct ram_manifest *manifest = NULL;

    int status = ram_ckpt_check_coding(ckpt, err);
    if (!status)
        status = ram_layout_new(&layout, ckpt, ram_format_at(0), err);
    if (!status && layout->quantized)
        status = ram_fail(err, RAM_EUNSUPPORTED,
                          "%s: %s already; analyse the checkpoint that it was made from", ckpt->dir,
                          ram_coding_quantized(ckpt));
    if (!status)
        status = ram_survey_layout(ckpt, layout, &manifest, err);
    if (!status)
        status = ram_sweep(ckpt, layout, opts, exec, manifest, err);
    if (status) {
        ram_manifest_free(manifest);
        manifest = NULL;
    }
    *out = manifest;
    ram_layout_free(layout);
    return status;
}
