/*
 * encoder.h - the ways to choose codes, scales and biases for rows of weights.
 *
 * All of them write the same format, so that whatever reads MLX affine reads the result; they
 * differ in how small the error is and how long they take.
 */
#ifndef RAM_CONVERT_ENCODER_H
#define RAM_CONVERT_ENCODER_H

#include "codec/affine.h"

struct ram_weight_encoder {
    const char *name;
    const char *what; /* one line for a person */
    /* Encodes n rows of w [n, cols]: the contract of ram_affine_encode. */
    double (*encode)(const struct ram_affine *f, const float *w, size_t n, size_t cols,
                     uint8_t *codes, uint8_t *scales, uint8_t *biases);
};

/* name: NULL means "rtn". RAM_EUSAGE lists what there is. */
int ram_weight_encoder_find(const struct ram_weight_encoder **out, const char *name,
                            struct ram_err *err);

#endif
