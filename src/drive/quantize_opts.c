/* quantize_opts.c - see quantize_parts.h: from the options of quantize to those of the stages. */
#include "convert/conversion.h"
#include "drive/quantize_parts.h"

#include <string.h>

const struct ram_effort *ram_quantize_effort(const struct ram_quantize_work *w)
{
    return &w->out->efforts[w->out->effort];
}

struct ram_allocate_opts ram_quantize_allocate_opts(const struct ram_quantize_work *w)
{
    struct ram_allocate_opts opts = w->opts->allocate;

    opts.method = opts.method ? opts.method : "budget";
    opts.encoder = w->opts->convert.encoder;
    if (!opts.encoder) /* of an effort: NULL until one is chosen */
        opts.encoder = w->to_budget ? ram_quantize_effort(w)->encoder : "rtn";
    return opts;
}

bool ram_quantize_by_inputs(const struct ram_quantize_work *w)
{
    const char *encoder = ram_quantize_allocate_opts(w).encoder;
    return encoder && !strcmp(encoder, "gptq");
}

struct ram_convert_opts ram_quantize_convert_opts(const struct ram_quantize_work *w, bool force)
{
    struct ram_convert_opts opts = w->opts->convert;

    opts.force = force;
    opts.encoder =
        ram_quantize_allocate_opts(w).encoder ? ram_quantize_allocate_opts(w).encoder : "rtn";
    /* Otherwise it is for the probes alone. */
    opts.text = ram_quantize_by_inputs(w) ? opts.text : NULL;
    return opts;
}

/* ---- what is recorded ------------------------------------------------------------------ */

int ram_quantize_record(const struct ram_quantize_work *w, struct ram_plan *plan,
                        struct ram_err *err)
{
    const struct ram_convert_opts write = ram_quantize_convert_opts(w, false);
    const struct ram_analyze_opts *measure = &w->opts->analyze;
    struct ram_made all = ram_made_object();

    if (w->to_budget)
        ram_made_put(&all, "effort", json_string(ram_quantize_effort(w)->name));
    ram_made_put(&all, "encoder", json_string(write.encoder));
    ram_made_put(&all, "profile", json_string(ram_profile_name(write.profile)));
    if (write.shard_size)
        ram_made_put(&all, "shard-size", json_integer((json_int_t)write.shard_size));
    if (w->calibration)
        ram_made_put(&all, "calibration", json_incref(w->calibration));
    if (measure->expert_sample)
        ram_made_put(&all, "expert-sample", json_integer(measure->expert_sample));
    if (measure->output_probes)
        ram_made_put(&all, "output-probes", json_integer(measure->output_probes));
    if (measure->no_svd)
        ram_made_put(&all, "no-svd", json_true());
    if (measure->seed && measure->seed != 42)
        ram_made_put(&all, "seed", json_integer((json_int_t)measure->seed));
    if (w->opts->keep_manifest)
        ram_made_put(&all, "keep-manifest", json_true());
    return ram_json_put(plan->settings, "quantize", ram_made_take(&all), err);
}
