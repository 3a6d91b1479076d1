/*
 * gradients.h - the second moments G = sum g g^T of the derivatives g of a model's loss by what its
 * matrices give, on sequences of its own, for codec/gptq_coupled.h.
 *
 * One backward pass over the model (infer/backward.h) makes those of all layers. They are kept in
 * blocks of the rows that an encoder codes together, in memory or, if they took more than a quarter
 * of it, in a temporary file. The experts of a stack, which see few tokens each, share the moments
 * of all: of each token those of one expert that it met. Nothing is known of embedding and head, of
 * routers, and of the half of kv_b_proj that is stored transposed.
 */
#ifndef RAM_PROBE_GRADIENTS_H
#define RAM_PROBE_GRADIENTS_H

#include "codec/gptq.h"
#include "probe/hessian.h"

struct ram_gradients;

/* How many of so many tokens a pass over a checkpoint of so many bytes is made with. */
size_t ram_gradients_of(size_t tokens, uint64_t bytes);

/* Those of the Hessians' sequences that a pass over a checkpoint of so many bytes is made with: it
 * takes as long as three forward passes. */
struct ram_sequences ram_gradients_tokens(const struct ram_hessians *hessians, uint64_t bytes);

/* Runs the pass, unless the sequences are none. */
int ram_gradients_open(struct ram_gradients **out, const struct ram_model *model,
                       struct ram_sequences on, const struct ram_exec *exec, struct ram_err *err);
void ram_gradients_close(struct ram_gradients *gradients);

/* Of rows [row, row + n) of a matrix of a unit (an expert, a head; 0 where there is one), which are
 * a block as ram_gptq_block divides the matrix. *out: NULL if nothing is known; borrowed until
 * ram_gradients_forget. */
int ram_gradients_factor(struct ram_gradients *gradients, const char *unit, size_t matrix,
                         size_t row, size_t n, const struct ram_gptq_factor **out,
                         struct ram_err *err);

/* Tokens that the moments of experts are of. */
size_t ram_gradients_drawn(const struct ram_gradients *gradients);

/* Factors that were handed out are not used any more. */
void ram_gradients_forget(struct ram_gradients *gradients);

#endif
