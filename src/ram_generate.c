/* ram_generate.c - ram.h: ram_generate. */
#include "base/opts.h"
#include "drive/continue.h"

#include <math.h>

int ram_generate(const struct ram_ckpt *ckpt, const struct ram_generate_opts *opts,
                 const struct ram_run *run, void (*text)(void *user, const char *bytes, size_t n),
                 void *user, struct ram_err *err)
{
    static const struct ram_generate_opts no_opts;
    struct ram_exec exec;

    opts = opts ? opts : &no_opts;
    if (!(opts->temperature >= 0) || isinf(opts->temperature))
        return ram_fail(err, RAM_EUSAGE, "a temperature of %g makes no sense", opts->temperature);
    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_generate_opts", err);
    if (!status)
        status = ram_continue(ckpt, opts, &exec, text, user, err);
    ram_exec_end(&exec);
    return status;
}
