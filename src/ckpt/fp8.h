/*
 * fp8.h - FP8 weights (F8_E4M3, F8_E5M2) and the scales that make them floats.
 *
 * value = code x scale, in f32. The scales are a tensor beside the weight, whatever wrote it:
 * <weight>_scale_inv (DeepSeek, Qwen, GLM, transformers), <weight>_scale (compressed-tensors,
 * ModelOpt, fbgemm, Quark) or <module>.scale. They are F32, BF16, F16 or powers of two (F8_E8M0, or
 * the same bytes as U8), one for each block of quantization_config's size (the last of a row or
 * column may be partial), for each row, for each matrix of a stack, or for everything.
 */
#ifndef RAM_CKPT_FP8_H
#define RAM_CKPT_FP8_H

#include "ckpt/ckpt.h"

static inline bool ram_is_fp8(enum ram_dtype dtype)
{
    return dtype == RAM_F8_E4M3 || dtype == RAM_F8_E5M2;
}

/*
 * Finds the scales of every FP8 tensor, and says in ckpt->coding what they cover. A tensor without
 * scales means its bare codes, unless config.json says that the checkpoint is quantised or another
 * tensor has scales. What does not fit becomes coding.problem; only a lack of memory fails.
 */
int ram_fp8_link(struct ram_ckpt *ckpt, struct ram_err *err);

/* Elements [first, first + n) of an FP8 tensor, in storage order, as floats. */
void ram_fp8_read(const struct ram_tensor *tensor, size_t first, size_t n, float *out);

#endif
