/*
 * verify.h - is an output whole, loadable, and what plan and source say? See ram_verify in
 * ram.h.
 */
#ifndef RAM_CONVERT_VERIFY_H
#define RAM_CONVERT_VERIFY_H

#include "base/exec.h"
#include "ckpt/ckpt.h"
#include "record/plan.h"

int ram_verify_run(const char *dir, const struct ram_ckpt *source, const struct ram_plan *plan,
                   const struct ram_exec *exec, enum ram_markup markup, char **out,
                   struct ram_err *err);

#endif
