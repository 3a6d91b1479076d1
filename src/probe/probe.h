/*
 * probe.h - the stage that adds to a manifest what running the model tells of its units: the
 * sensitivities (sensitivity.h) and, if asked for, the error curves of gptq (curve.h), on tokens of
 * the model's own (tokens.h).
 */
#ifndef RAM_PROBE_PROBE_H
#define RAM_PROBE_PROBE_H

#include "base/exec.h"
#include "ckpt/ckpt.h"
#include "record/manifest.h"

/* The contracts of ram_probe and ram_probe_check. opts: not NULL. */
int ram_probe_run(const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
                  const struct ram_probe_opts *opts, const struct ram_exec *exec,
                  struct ram_err *err);
int ram_probe_possible(const struct ram_ckpt *ckpt, const struct ram_probe_opts *opts,
                       const struct ram_exec *exec, struct ram_err *err);

#endif
