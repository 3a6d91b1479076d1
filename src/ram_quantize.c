/* ram_quantize.c - ram.h: all stages as one call. */
#include "drive/quantize.h"
#include "record/plan.h"

#include <math.h>
#include <stdlib.h>

int ram_quantize(const struct ram_ckpt *ckpt, const char *dir, const struct ram_quantize_opts *opts,
                 const struct ram_run *run, struct ram_quantized *out, struct ram_err *err)
{
    static const struct ram_quantize_opts no_opts;
    struct ram_quantized unseen;
    struct ram_exec exec;

    if (!out)
        out = &unseen;
    *out = (struct ram_quantized){.effort = RAM_EFFORT_NORMAL, .check.kld_uniform = NAN};
    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_quantize_run(ckpt, dir, opts ? opts : &no_opts, &exec, out, err);
    ram_exec_end(&exec);
    if (out == &unseen)
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
