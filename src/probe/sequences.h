/* sequences.h - the tokens that something is measured on, and how a model is run on them. */
#ifndef RAM_PROBE_SEQUENCES_H
#define RAM_PROBE_SEQUENCES_H

#include "infer/forward.h"

struct ram_sequences {
    const uint32_t *tokens; /* [n, length] */
    size_t n, length;
};

/*
 * A forward pass over so many copies of the sequences, as everything that is measured on tokens of
 * the model's own is run: with products in f32. What instruction sets then differ by moves no token
 * and no width. In bf16 an activation may round either way, and one other token changes all that
 * follow it.
 */
int ram_probe_forward(struct ram_forward **out, const struct ram_model *model,
                      struct ram_sequences on, size_t copies, const struct ram_exec *exec,
                      struct ram_err *err);

/* Adds their shape and a hash of their tokens to the settings of what is kept (kept.h), so that it
 * does not matter what made them. */
void ram_sequences_settings(struct ram_buf *settings, struct ram_sequences on);

#endif
