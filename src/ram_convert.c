/* ram_convert.c - ram.h: the conversion, its verification and its self-check. */
#include "base/opts.h"
#include "base/output.h"
#include "convert/verify.h"
#include "drive/convert_inputs.h"
#include "drive/self_check.h"

int ram_convert(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                const struct ram_convert_opts *opts, const struct ram_run *run,
                enum ram_markup markup, char **out, struct ram_err *err)
{
    static const struct ram_convert_opts no_opts;
    struct ram_exec exec;
    const struct ram_convert_how how = {.opts = opts ? opts : &no_opts, .exec = &exec};

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_convert_opts", err);
    if (!status)
        status = ram_convert_with_inputs(ckpt, plan, dir, &how, markup, out, err);
    ram_exec_end(&exec);
    return status;
}

int ram_check_output(const char *path, bool force, const struct ram_ckpt *source, const char *input,
                     struct ram_err *err)
{
    const struct ram_inputs inputs = {&input, input != NULL};

    const int status = ram_output_check_file(path, &inputs, force, err);
    return status || !source ? status : ram_convert_check_file(source, path, force, err);
}

int ram_verify(const char *dir, const struct ram_ckpt *source, const struct ram_plan *plan,
               const struct ram_run *run, enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_exec exec;

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_verify_run(dir, source, plan, &exec, markup, out, err);
    ram_exec_end(&exec);
    return status;
}

int ram_self_check(const char *dir, const struct ram_ckpt *source,
                   const struct ram_manifest *manifest, const struct ram_plan *plan,
                   const struct ram_probe_opts *opts, const struct ram_run *run,
                   struct ram_kld_check *out, struct ram_err *err)
{
    static const struct ram_probe_opts no_opts;
    struct ram_exec exec;
    const struct ram_self_check_how how = {opts ? opts : &no_opts, &exec};

    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = RAM_OPTS_CHECK(opts, "struct ram_probe_opts", err);
    if (!status)
        status = ram_self_check_run(dir, source, manifest, plan, &how, out, err);
    ram_exec_end(&exec);
    return status;
}
