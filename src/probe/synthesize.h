/*
 * synthesize.h - the tokens that measurements run a model on (tokens.h), written as text to be
 * read.
 */
#ifndef RAM_PROBE_SYNTHESIZE_H
#define RAM_PROBE_SYNTHESIZE_H

#include "base/exec.h"
#include "ckpt/ckpt.h"

/* The contract of ram_synthesize. */
int ram_synthesize_run(const struct ram_ckpt *ckpt, const struct ram_synthesize_opts *opts,
                       const struct ram_exec *exec, enum ram_markup markup, char **out,
                       size_t *size, struct ram_err *err);

#endif
