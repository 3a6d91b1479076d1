/* ram_analyze.c - ram.h: the first stage. */
#include "analyze/analyze.h"
#include "base/opts.h"

int ram_analyze(const struct ram_ckpt *ckpt, const struct ram_analyze_opts *opts,
                const struct ram_run *run, struct ram_manifest **out, struct ram_err *err)
{
    static const struct ram_analyze_opts no_opts;
    struct ram_exec exec;

    *out = NULL;
    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_analyze_opts", err);
    if (!status)
        status = ram_analyze_run(ckpt, opts ? opts : &no_opts, &exec, out, err);
    ram_exec_end(&exec);
    return status;
}
