/*
 * starts.h - what the text that a model makes of itself begins with.
 *
 * Diversity matters more than fluency (docs/notebook.md, Tokens): the sequences begin in turn with
 * the token that stands before documents, with a user's turn of the chat template where the model
 * has one, and with random tokens, which lead to languages and code that the others seldom reach.
 */
#ifndef RAM_PROBE_STARTS_H
#define RAM_PROBE_STARTS_H

#include "infer/forward.h"

enum ram_start { RAM_START_DOCUMENT, RAM_START_TURN, RAM_START_RANDOM };

struct ram_starts {
    struct ram_span *spans; /* [n], of at most `longest` tokens */
    enum ram_start *kinds;  /* [n] */
    uint32_t *tokens;       /* what spans point into */
};

/* n starts of 1 to longest tokens. Without a tokenizer that can be read, document starts are what
 * config.json names as bos_token_id or eos_token_id, and there are no turns. */
int ram_starts_make(struct ram_starts *out, const struct ram_model *model, size_t n, size_t longest,
                    uint64_t seed, struct ram_err *err);
void ram_starts_release(struct ram_starts *starts);

#endif
