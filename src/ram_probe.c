/* ram_probe.c - ram.h: sensitivities into a manifest, what efforts there are, and the tokens that a
 * model makes. */
#include "base/opts.h"
#include "probe/effort.h"
#include "probe/probe.h"
#include "probe/synthesize.h"

static const struct ram_probe_opts no_opts;

int ram_probe_check(const struct ram_ckpt *ckpt, const struct ram_probe_opts *opts,
                    struct ram_err *err)
{
    const struct ram_exec exec = ram_exec_alone(NULL);

    const int status = RAM_OPTS_CHECK(opts, "struct ram_probe_opts", err);
    return status ? status : ram_probe_possible(ckpt, opts ? opts : &no_opts, &exec, err);
}

int ram_probe(const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
              const struct ram_probe_opts *opts, const struct ram_run *run, struct ram_err *err)
{
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_probe_opts", err);
    if (!status)
        status = ram_probe_run(ckpt, manifest, opts ? opts : &no_opts, &exec, err);
    ram_exec_end(&exec);
    return status;
}

int ram_efforts(const struct ram_manifest *manifest, const struct ram_run *run,
                struct ram_effort efforts[RAM_N_EFFORTS], enum ram_effort_level *usual,
                struct ram_err *err)
{
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_efforts_plan(manifest, exec.pool, efforts, usual, err);
    ram_exec_end(&exec);
    return status;
}

int ram_synthesize(const struct ram_ckpt *ckpt, const struct ram_synthesize_opts *opts,
                   const struct ram_run *run, enum ram_markup markup, char **out, size_t *size,
                   struct ram_err *err)
{
    static const struct ram_synthesize_opts as_usual;
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_synthesize_opts", err);
    if (!status)
        status = ram_synthesize_run(ckpt, opts ? opts : &as_usual, &exec, markup, out, size, err);
    ram_exec_end(&exec);
    return status;
}
