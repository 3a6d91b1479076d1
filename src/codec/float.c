/* float.c - see float.h. */
#include "codec/float.h"

#include "kern/kern.h"

#include <assert.h>
#include <string.h>

size_t ram_float_size(enum ram_float type)
{
    static const size_t sizes[] = {
        [RAM_FLOAT_F8_E4M3] = 1, [RAM_FLOAT_F16] = 2, [RAM_FLOAT_BF16] = 2,
        [RAM_FLOAT_F32] = 4,     [RAM_FLOAT_F64] = 8,
    };
    return sizes[type];
}

void ram_float_widen(enum ram_float type, const void *in, size_t n, float *out)
{
    switch (type) {
    case RAM_FLOAT_F8_E4M3:
        ram_kern()->widen_f8(in, n, out);
        break;
    case RAM_FLOAT_F16:
        ram_kern()->widen_f16(in, n, out);
        break;
    case RAM_FLOAT_BF16:
        ram_kern()->widen_bf16(in, n, out);
        break;
    case RAM_FLOAT_F32:
        memcpy(out, in, n * sizeof *out);
        break;
    case RAM_FLOAT_F64:
        for (size_t i = 0; i < n; i++) {
            double x;
            memcpy(&x, (const uint8_t *)in + i * sizeof x, sizeof x);
            out[i] = (float)x;
        }
    }
}

/* The kernels write aligned 16-bit values: a piece at a time goes through a buffer that is. */
static void narrow_half(void (*narrow)(const float *in, size_t n, uint16_t *out), const float *in,
                        size_t n, uint8_t *out)
{
    uint16_t piece[512];
    const size_t most = sizeof piece / sizeof *piece;

    for (size_t i = 0; i < n; i += most) {
        const size_t size = n - i < most ? n - i : most;
        narrow(in + i, size, piece);
        memcpy(out + 2 * i, piece, 2 * size);
    }
}

void ram_float_narrow(enum ram_float type, const float *in, size_t n, void *out)
{
    switch (type) {
    case RAM_FLOAT_F8_E4M3:
        assert(!"F8_E4M3 is only read");
        break;
    case RAM_FLOAT_F16:
        narrow_half(ram_kern()->narrow_f16, in, n, out);
        break;
    case RAM_FLOAT_BF16:
        narrow_half(ram_kern()->narrow_bf16, in, n, out);
        break;
    case RAM_FLOAT_F32:
        memcpy(out, in, n * sizeof *in);
        break;
    case RAM_FLOAT_F64:
        for (size_t i = 0; i < n; i++) {
            const double x = (double)in[i];
            memcpy((uint8_t *)out + i * sizeof x, &x, sizeof x);
        }
    }
}

void ram_float_round(enum ram_float type, float *x, size_t n)
{
    enum { STEP = 1024 };
    uint16_t narrow[STEP];

    assert(type == RAM_FLOAT_BF16 || type == RAM_FLOAT_F16);
    for (size_t i = 0; i < n; i += STEP) {
        const size_t count = n - i < STEP ? n - i : STEP;
        ram_float_narrow(type, x + i, count, narrow);
        ram_float_widen(type, narrow, count, x + i);
    }
}
