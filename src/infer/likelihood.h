/*
 * likelihood.h - a model's log-probabilities of given tokens, and its divergence from a reference
 * at the same positions. Every task is a list of such questions.
 *
 * Never stores positions x vocabulary: logits live for a block of positions at a time.
 */
#ifndef RAM_INFER_LIKELIHOOD_H
#define RAM_INFER_LIKELIHOOD_H

#include "infer/forward.h"

/* How likely is `token` after the sequence up to token `at` of span `span`? */
struct ram_query {
    size_t span, at;
    uint32_t token;
};

struct ram_answer {
    double nll;  /* -log p(token), nats */
    bool greedy; /* token is the most likely one (the first, if several are) */
    double kld;  /* KL(reference || model) of the whole distribution, nats; with a reference */
    double nll_reference;
    bool same_top; /* both have the same most likely token */
};

struct ram_likelihood_opts {
    bool f32;
    const struct ram_exec *exec; /* its memory is that of both models together */
};

/*
 * reference may be NULL; otherwise both models run in step, layer by layer. Queries come in the
 * order of (span, at). answers [n_queries].
 */
int ram_likelihood(const struct ram_model *model, const struct ram_model *reference,
                   const struct ram_span *spans, size_t n_spans, const struct ram_query *queries,
                   size_t n_queries, const struct ram_likelihood_opts *opts,
                   struct ram_answer *answers, struct ram_err *err);

#endif
