/*
 * quantize.h - all stages as one: what is done in which order, what is refused before anything is
 * measured, and when a uniform width is written instead.
 *
 * After each step the caller is told (opts->step), so that a command can print what it shows while
 * the next step runs. Nothing here prints, and nothing depends on whether anyone listens.
 */
#ifndef RAM_DRIVE_QUANTIZE_H
#define RAM_DRIVE_QUANTIZE_H

#include "base/exec.h"
#include "ckpt/ckpt.h"

/* The contract of ram_quantize; *out is zero but for figures that are not known. */
int ram_quantize_run(const struct ram_ckpt *ckpt, const char *dir,
                     const struct ram_quantize_opts *opts, const struct ram_exec *exec,
                     struct ram_quantized *out, struct ram_err *err);

#endif
