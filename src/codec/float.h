/*
 * float.h - the floating types of checkpoints, to f32 and back. Bytes need not be aligned.
 */
#ifndef RAM_CODEC_FLOAT_H
#define RAM_CODEC_FLOAT_H

#include "base/err.h"

enum ram_float {
    RAM_FLOAT_F8_E4M3, /* FN: no infinities, 0x7f and 0xff are NaN */
    RAM_FLOAT_F16,
    RAM_FLOAT_BF16,
    RAM_FLOAT_F32,
    RAM_FLOAT_F64
};

/* Bytes of one. */
size_t ram_float_size(enum ram_float type);

/* n values at in become f32: exactly, but for F64, which is rounded to nearest even. */
void ram_float_widen(enum ram_float type, const void *in, size_t n, float *out);

/* n values become `type`, rounded to nearest even; NaN becomes the canonical one in BF16 and F16.
 * Not for RAM_FLOAT_F8_E4M3, which RAM never writes. */
void ram_float_narrow(enum ram_float type, const float *in, size_t n, void *out);

/* n values become what is read back after they were stored as `type`: BF16 or F16. */
void ram_float_round(enum ram_float type, float *x, size_t n);

#endif
