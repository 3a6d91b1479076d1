/*
 * convert.h - checkpoint + plan -> a directory in a format, whole or absent. See ram_convert in
 * ram.h.
 */
#ifndef RAM_CONVERT_CONVERT_H
#define RAM_CONVERT_CONVERT_H

#include "base/exec.h"
#include "ckpt/ckpt.h"
#include "convert/encoder.h"
#include "record/plan.h"

struct ram_convert_how {
    const struct ram_convert_opts *opts;
    const struct ram_exec *exec;
    const struct ram_weight_inputs *inputs; /* for the encoders that use Hessian factors; NULL: no
                                             * factors are known */
};

int ram_convert_run(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                    const struct ram_convert_how *how, enum ram_markup markup, char **out,
                    struct ram_err *err);

/* Refuses a directory that may not be written: base/output.h; an earlier output is one that holds a
 * ram.json, or that one of the formats knows as its own (ram_format_of). */
int ram_convert_check_target(const struct ram_ckpt *ckpt, const char *dir, bool force,
                             struct ram_err *err);
/* The same of a file beside the stages: not one of the files of the source. */
int ram_convert_check_file(const struct ram_ckpt *ckpt, const char *path, bool force,
                           struct ram_err *err);

#endif
