/*
 * delta.h - the gated delta rule in place of attention, as Qwen3-Next and Qwen 3.5 have it in most
 * of their layers (Yang et al. 2024, "Gated Delta Networks"; Qwen3NextGatedDeltaNet in
 * transformers).
 *
 * Queries, keys and values pass a short causal convolution for each channel. Every head of values
 * then keeps a state of k_dim x v_dim, which position after position forgets a part, is corrected
 * towards the value at the key, and is read at the query (kern/nn.h). What it gives is normed and
 * gated by z.
 *
 * The recurrence is computed as it is defined, position by position: beside the projections it
 * takes a few percent of the time, so that chunks (which make it matrix products, in another order
 * of sums) have little to save.
 */
#ifndef RAM_INFER_DELTA_H
#define RAM_INFER_DELTA_H

#include "infer/block.h"

/* scratch.normed -> scratch.mixed, z, ba: what the convolution is given, the gate, and for each
 * head its b and its a. */
int ram_delta_project(struct ram_block *block, const struct ram_layer *layer, size_t n,
                      struct ram_err *err);

/* A row of both fused projections from its parts: the reverse of what projecting does. */
void ram_delta_join_row(const struct ram_delta_shape *delta, const float *mixed, const float *z,
                        const float *b_a, float *qkvz, float *ba);

/* The convolution at row `at` of a place, before its activation: out [channels]. */
void ram_delta_convolve(const struct ram_block *block, const struct ram_layer *layer,
                        const struct ram_place *places, const struct ram_place *place, size_t at,
                        float *out);

/* How much head h forgets at a row, and how far it is corrected there. */
struct ram_delta_gates {
    float decay, beta;
};
struct ram_delta_gates ram_delta_gates(const struct ram_block *block, const struct ram_layer *layer,
                                       size_t row, size_t head);

/* One position of a head, its query and key [k_dim] and value [v_dim] in scratch.convolved. */
struct ram_delta_step ram_delta_step_at(const struct ram_block *block,
                                        const struct ram_layer *layer, size_t row, size_t head);

/* Of the norm that divides queries and keys by their length, with the weights in scratch. */
double ram_delta_length_eps(const struct ram_hparams *hp);

#endif
