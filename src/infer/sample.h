/*
 * sample.h - many sequences that a model continues at the same time: exact samples at
 * temperature 1.
 *
 * All sequences grow by one token a step, so that the weights are read once a step for all of them,
 * and every token is computed once. The keys and values of a sequence take length x layers x heads
 * of keys x dimensions; where those of all sequences would take more than a third of max_memory,
 * the sequences are sampled in groups, and weights are read once a step and group.
 */
#ifndef RAM_INFER_SAMPLE_H
#define RAM_INFER_SAMPLE_H

#include "infer/forward.h"

struct ram_sample_opts {
    size_t n, length;              /* sequences, and tokens of each, those of its start included */
    const struct ram_span *starts; /* [n]: 1 to length tokens that a sequence begins with */
    size_t at_once;                /* sequences of a group at most; 0: what the memory allows */
    uint64_t seed;
    const struct ram_exec *exec;
    /* Called after every step with the number of tokens [0, n x length] that are known by then;
     * anything but RAM_OK ends the work. NULL: not called. */
    int (*step)(void *ctx, size_t done, struct ram_err *err);
    void *ctx;
};

/*
 * tokens [n, length]. The token at a position of a sequence is drawn by a random number that
 * depends on the seed, the sequence and the position, from logits whose products are in f32: the
 * same tokens for any number of threads, any memory, and every instruction set. RAM_EFORMAT if
 * logits are not finite.
 */
int ram_sample(const struct ram_model *model, const struct ram_sample_opts *opts, uint32_t *tokens,
               struct ram_err *err);

#endif
