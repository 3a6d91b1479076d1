/* ram_convert.c - the conversion and its verification, as ram.h shows them. */
#include "convert/convert.h"
#include "convert/verify.h"

int ram_convert(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                const struct ram_convert_opts *opts, const struct ram_run *run, enum ram_form form,
                char **out, struct ram_err *err)
{
    static const struct ram_convert_opts no_opts;
    static const struct ram_run no_run;

    return ram_convert_run(ckpt, plan, dir, opts ? opts : &no_opts, run ? run : &no_run, form, out,
                           err);
}

int ram_verify(const char *dir, const struct ram_ckpt *source, const struct ram_plan *plan,
               const struct ram_run *run, enum ram_form form, char **out, struct ram_err *err)
{
    static const struct ram_run no_run;

    return ram_verify_run(dir, source, plan, run ? run : &no_run, form, out, err);
}
