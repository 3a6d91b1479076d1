/*
 * generate.h - a sequence that grows by the tokens that the model predicts, chosen greedily or
 * sampled at a temperature. Keys and values of earlier tokens are kept; there is no other
 * optimisation.
 */
#ifndef RAM_INFER_GENERATE_H
#define RAM_INFER_GENERATE_H

#include "infer/forward.h"

struct ram_generator;

struct ram_generator_opts {
    double temperature; /* 0: the most likely token */
    uint64_t seed;
    bool f32;
    const struct ram_exec *exec;
};

int ram_generator_new(struct ram_generator **out, const struct ram_model *model,
                      const struct ram_generator_opts *opts, struct ram_err *err);
void ram_generator_free(struct ram_generator *generator);

/* Reads n more tokens (n >= 1) and predicts the next one, which is not read yet. */
int ram_generator_next(struct ram_generator *generator, const uint32_t *tokens, size_t n,
                       uint32_t *next, struct ram_err *err);

#endif
