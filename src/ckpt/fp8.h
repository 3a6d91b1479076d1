/*
 * fp8.h - FP8 weights (F8_E4M3) and the scales that make them floats.
 *
 * value = code x scale of its block, in f32. The scales are a tensor beside the weight, named
 * <weight>_scale_inv (DeepSeek, Qwen, GLM: blocks of 128 x 128; the last of a row or column may be
 * partial) or <weight>_scale (one for the tensor, or one for each row).
 */
#ifndef RAM_CKPT_FP8_H
#define RAM_CKPT_FP8_H

#include "ckpt/ckpt.h"

/* Finds the scales of every FP8 tensor and checks their shapes; called by ram_ckpt_seal. A tensor
 * without scales means its bare codes, unless config.json says that the checkpoint is quantised. */
int ram_fp8_link(struct ram_ckpt *ckpt, struct ram_err *err);

/* Elements [first, first + n) of an FP8 tensor, in storage order, as floats. */
void ram_fp8_read(const struct ram_tensor *tensor, size_t first, size_t n, float *out);

#endif
