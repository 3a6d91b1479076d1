/* continue.h - a model and its tokenizer continue a prompt, until a token that ends a text. */
#ifndef RAM_DRIVE_CONTINUE_H
#define RAM_DRIVE_CONTINUE_H

#include "base/exec.h"
#include "ckpt/ckpt.h"

/* The contract of ram_generate, whose options are valid. */
int ram_continue(const struct ram_ckpt *ckpt, const struct ram_generate_opts *opts,
                 const struct ram_exec *exec, void (*text)(void *user, const char *bytes, size_t n),
                 void *user, struct ram_err *err);

#endif
