/* dtype.c - the element types of the safetensors format, and shapes as people read them. */
#include "ckpt/ckpt.h"

#include <inttypes.h>
#include <stdio.h>

const struct ram_dtype_info ram_dtypes[RAM_N_DTYPES] = {
    [RAM_BOOL] = {"BOOL", 8, false},
    [RAM_F4] = {"F4", 4, false},
    [RAM_F6_E2M3] = {"F6_E2M3", 6, false},
    [RAM_F6_E3M2] = {"F6_E3M2", 6, false},
    [RAM_U8] = {"U8", 8, false},
    [RAM_I8] = {"I8", 8, false},
    [RAM_F8_E5M2] = {"F8_E5M2", 8, true},
    [RAM_F8_E4M3] = {"F8_E4M3", 8, true},
    [RAM_F8_E8M0] = {"F8_E8M0", 8, false},
    [RAM_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, false},
    [RAM_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, false},
    [RAM_I16] = {"I16", 16, false},
    [RAM_U16] = {"U16", 16, false},
    [RAM_F16] = {"F16", 16, true},
    [RAM_BF16] = {"BF16", 16, true},
    [RAM_I32] = {"I32", 32, false},
    [RAM_U32] = {"U32", 32, false},
    [RAM_F32] = {"F32", 32, true},
    [RAM_C64] = {"C64", 64, false},
    [RAM_F64] = {"F64", 64, true},
    [RAM_I64] = {"I64", 64, false},
    [RAM_U64] = {"U64", 64, false},
};

bool ram_dtype_scales(enum ram_dtype dtype, enum ram_scale_type *out)
{
    if (dtype != RAM_BF16 && dtype != RAM_F16 && dtype != RAM_F32)
        return false;
    *out = dtype == RAM_BF16 ? RAM_SCALE_BF16 : dtype == RAM_F16 ? RAM_SCALE_F16 : RAM_SCALE_F32;
    return true;
}

const char *ram_shape_text(const uint64_t *shape, int n_dims, char text[RAM_SHAPE_TEXT])
{
    int at = snprintf(text, RAM_SHAPE_TEXT, "[");

    for (int i = 0; i < n_dims; i++)
        at += snprintf(text + at, (size_t)(RAM_SHAPE_TEXT - at), "%s%" PRIu64, i ? ", " : "",
                       shape[i]);
    snprintf(text + at, (size_t)(RAM_SHAPE_TEXT - at), "]");
    return text;
}
