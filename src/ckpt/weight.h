/*
 * weight.h - a matrix of a checkpoint however it is coded: floats, FP8 with block scales, or MLX
 * affine (weight, scales, biases). All code that computes with a model reads weights through this.
 */
#ifndef RAM_CKPT_WEIGHT_H
#define RAM_CKPT_WEIGHT_H

#include "ckpt/ckpt.h"
#include "codec/form.h"

struct ram_weight {
    size_t blocks, rows, cols; /* [blocks, rows, cols]; blocks = 1 for a plain matrix */
    struct ram_view view;      /* floats: all rows of all blocks */
    /* FP8 alone: the type that code x scale is rounded to, if it is BF16 or F16. transformers and
     * conversions store the product in the type of the model. */
    enum ram_dtype rounded;
    /* Codes; as.form is NULL for floats. MLX affine: weight, scales, biases. */
    struct ram_storage as;
    const struct ram_tensor *planes[RAM_MAX_PLANES];
};

/*
 * module: "model.layers.0.mlp.up_proj"; the tensor is module.weight. Bits and group come from
 * config.json's quantization block and must agree with the shapes: RAM_EFORMAT names both.
 * RAM_EUNSUPPORTED for other modes (mxfp4, ...). *out is zeroed if there is no such tensor.
 */
int ram_weight_find(struct ram_weight *out, const struct ram_ckpt *ckpt, const char *module,
                    struct ram_err *err);

/* Rows [row, row + n) of all blocks * rows, as f32, to out [n, cols]. */
int ram_weight_read(const struct ram_weight *weight, size_t row, size_t n, float *out,
                    struct ram_err *err);

/* Releases the resident pages of those rows: of every plane, or of floats. */
void ram_weight_forget(const struct ram_ckpt *ckpt, const struct ram_weight *weight, size_t row,
                       size_t n);

#endif
