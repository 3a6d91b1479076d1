/*
 * logits.h - how far a model's predictions are from a clean one's, position by position: KL(P ||
 * P') over the whole vocabulary, for a block of positions at a time.
 */
#ifndef RAM_PROBE_LOGITS_H
#define RAM_PROBE_LOGITS_H

#include "probe/tokens.h"

enum { RAM_LOGIT_ROWS = 128, RAM_LOGIT_SHARE = 8 /* of the memory, at most */ };

struct ram_logits {
    const struct ram_exec *exec;
    const char *name; /* of the model, for errors */
    size_t vocab;
    size_t block;                     /* positions that memory allows at once */
    size_t n;                         /* positions of the present block */
    float *clean, *probed;            /* [block, vocab] */
    double clean_lse[RAM_LOGIT_ROWS]; /* log sums of exp */
    double divergence[RAM_LOGIT_ROWS];
};

/* What is left of the memory for everything else. */
uint64_t ram_logits_memory(const struct ram_exec *exec);

int ram_logits_new(struct ram_logits *logits, const struct ram_model *model,
                   const struct ram_exec *exec, struct ram_err *err);
void ram_logits_release(struct ram_logits *logits);

/* Rows [first, first + n) of the forward pass, n <= block, are the clean ones. */
int ram_logits_clean(struct ram_logits *logits, struct ram_forward *forward, size_t first, size_t n,
                     struct ram_err *err);

/* What rows from `first` on diverge from the clean ones, into logits->divergence, and added to *sum
 * unless that is NULL; as_if: of the head. */
int ram_logits_diverge(struct ram_logits *logits, struct ram_forward *forward, size_t first,
                       const struct ram_storage *as_if, double *sum, struct ram_err *err);

#endif
