/*
 * windows.h - a text as windows of tokens, and a model's results on them: mean and median
 * perplexity, and divergence from a reference. docs/evaluation.md has the protocol.
 */
#ifndef RAM_EVALUATE_WINDOWS_H
#define RAM_EVALUATE_WINDOWS_H

#include "base/json.h"
#include "infer/likelihood.h"

struct ram_windows {
    size_t length; /* tokens of a window */
    size_t n;
    size_t *first;      /* [n] token at which a window begins, increasing */
    size_t n_available; /* windows that the text has */
    struct ram_buf
        *samples; /* gets a line of JSON for each window: what every token got; or NULL */
};

/*
 * Non-overlapping windows of length tokens from n_tokens, of which only the first `limit` count (0:
 * all); if there are more than `most`, the first `most` of a shuffle seeded with seed (CPython's
 * random.shuffle), in the order of the text. RAM_EFORMAT if the text has not one window.
 */
int ram_windows_cut(struct ram_windows *windows, size_t n_tokens, size_t length, size_t most,
                    uint32_t seed, size_t limit, struct ram_err *err);
void ram_windows_release(struct ram_windows *windows);

/* Runs them and gives the members of a score's "results". */
int ram_windows_score(const struct ram_windows *windows, const uint32_t *tokens,
                      const struct ram_model *model, const struct ram_model *reference,
                      const struct ram_likelihood_opts *opts, json_t *results, struct ram_err *err);

#endif
