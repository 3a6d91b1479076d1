/*
 * self_check.h - the divergence of a conversion from its source on tokens that nothing was decided
 * by, beside that of the best uniform width of no more bytes (allocate/rival.h).
 */
#ifndef RAM_DRIVE_SELF_CHECK_H
#define RAM_DRIVE_SELF_CHECK_H

#include "base/exec.h"
#include "ckpt/ckpt.h"
#include "record/plan.h"

struct ram_self_check_how {
    const struct ram_probe_opts *opts;
    const struct ram_exec *exec;
};

/* The contract of ram_self_check. */
int ram_self_check_run(const char *dir, const struct ram_ckpt *source,
                       const struct ram_manifest *manifest, const struct ram_plan *plan,
                       const struct ram_self_check_how *how, struct ram_kld_check *out,
                       struct ram_err *err);

#endif
