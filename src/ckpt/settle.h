/*
 * settle.h - a model's configuration once its tensors have been looked at: what config.json leaves
 * open follows from them, and where it contradicts them, what transformers does counts.
 */
#ifndef RAM_CKPT_SETTLE_H
#define RAM_CKPT_SETTLE_H

#include "arch/slot.h"
#include "base/notes.h"
#include "ckpt/ckpt.h"

/*
 * tied is never RAM_TIED_UNSAID afterwards: without a word, the head is the embedding if no head is
 * stored; a head that is stored and differs from the embedding is the model's own, whatever
 * tie_word_embeddings says, and notes say so. Fails as ram_config_read does, with the rest settled.
 */
int ram_config_settle(struct ram_config *config, const struct ram_ckpt *ckpt,
                      struct ram_arena *arena, struct ram_notes *notes, struct ram_err *err);

/* Is it the kernel of a convolution as this slot has it, [channels, 1, positions], or turned by a
 * conversion, [channels, positions, 1]? Its elements lie in the same order. */
bool ram_is_kernel(const struct ram_config *config, const struct ram_slot *slot,
                   const struct ram_tensor *t);

/* The type of weights in the model when they are floats: config.json's, if it names one; else
 * dtype, but for F64, which is held as F32, and FP8, as BF16. */
enum ram_dtype ram_config_dtype(const struct ram_config *config, enum ram_dtype dtype);

#endif
