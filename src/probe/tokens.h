/*
 * tokens.h - sequences that a model itself finds likely, made without any data: exact samples at
 * temperature 1 (infer/sample.h), each from one of the starts of starts.h.
 *
 * A step adds a token to every sequence and reads the weights once, so that many short sequences
 * cost less than few long ones where reading is what takes the time.
 */
#ifndef RAM_PROBE_TOKENS_H
#define RAM_PROBE_TOKENS_H

#include "probe/sequences.h"

struct ram_synthetic {
    size_t n, length; /* sequences, tokens of each */
    uint64_t seed;
    /* A file whose text is used instead, n windows spread over it: what being without data costs
     * is measured against that. NULL: none. */
    const char *text;
};

/* tokens [n, length]; sequences that exec->store has are not made again. RAM_EUSAGE if a text has
 * too few. The same for every instruction set, any number of threads and any memory. */
int ram_synthetic_tokens(const struct ram_model *model, const struct ram_synthetic *what,
                         const struct ram_exec *exec, uint32_t *tokens, struct ram_err *err);

/* What the options ask for; sparse: of a mixture of experts, of which each sees few tokens. */
struct ram_synthetic ram_probe_tokens(const struct ram_probe_opts *opts, bool sparse);

#endif
