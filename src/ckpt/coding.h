/*
 * coding.h - how the weights of a checkpoint are coded, told from its tensors.
 *
 * The names, types and shapes of the tensors decide; config.json is asked only for the name of a
 * method that leaves no other trace, and where it says that weights are packed although they are
 * floats. So the packaging (compressed-tensors, ModelOpt, fbgemm, ...) does not matter.
 */
#ifndef RAM_CKPT_CODING_H
#define RAM_CKPT_CODING_H

#include "ckpt/ckpt.h"

/* Fills ckpt->coding, and ties FP8 tensors to their scales (fp8.h). Only a lack of memory fails:
 * what cannot be read is told by coding.problem. ram_ckpt_seal calls it. */
int ram_coding_find(struct ram_ckpt *ckpt, struct ram_err *err);

/* Why a checkpoint whose weights are read all the same is neither analysed nor converted, because
 * it was quantised before: "its weights are MLX codes", "config.json has an MLX quantization
 * block"; NULL: it was not. */
const char *ram_coding_quantized(const struct ram_ckpt *ckpt);

/* What a tensor stands for. */
struct ram_coded {
    size_t weights;  /* of codes: what they decode to */
    int bits, group; /* of a code or a float; group 0: none, or not known */
};

/* False for what holds no weights: scales, zero points and tables of a coding, integers. Of a
 * coding whose codes' bits are not known the elements are counted as they are stored. */
bool ram_coding_weights(const struct ram_ckpt *ckpt, const struct ram_tensor *t,
                        struct ram_coded *out);

#endif
