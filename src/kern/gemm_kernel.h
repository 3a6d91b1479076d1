/*
 * gemm_kernel.h - the interface between gemm.c and the kernels of a processor family. It is for
 * src/kern/gemm*.c, sketch.c, coarse.c and their checkers; all other code uses gemm.h.
 *
 * Both operands are packed into panels of 32-bit units before they are multiplied, which absorbs
 * strides, transposition and element type. A unit is one float, or, for the instructions that
 * multiply pairs of bf16 or four int8, that many neighbours along k. Unit u of lane l of a panel of
 * `width` lanes is out[u * width + l] (AMX orders its A panels differently, see gemm_amx.c). A lane
 * is a row of A or a column of B.
 */
#ifndef RAM_KERN_GEMM_KERNEL_H
#define RAM_KERN_GEMM_KERNEL_H

#include "kern/gemm.h"

#include <math.h>
#include <string.h>

enum ram_gemm_unit {
    RAM_UNIT_F32,     /* a float, exactly */
    RAM_UNIT_ROUNDED, /* a float, rounded to bf16 */
    RAM_UNIT_PAIR,    /* two bf16, the one of even k in the low half */
    RAM_UNIT_QUAD     /* four int8, the first in the lowest byte: elements times their scales */
};

/* Element (lane, k) is data[lane * lane_stride + k * k_stride]. */
struct ram_gemm_lanes {
    const unsigned char *data;
    enum ram_elem elem;
    size_t lane_stride, k_stride;
    /* Only for RAM_UNIT_QUAD, there never NULL; element x counts as x lane_scale[lane]
     * k_scale[k], rounded to the nearest integer. */
    const float *lane_scale, *k_scale;
};

struct ram_gemm_pack {
    struct ram_gemm_lanes src;
    enum ram_gemm_unit unit;
    size_t n_lanes, n_k;   /* of the source, lanes perhaps more than fit; the rest becomes zero */
    size_t width, n_units; /* of the panel */
};

/* Panels of A may be written up to RAM_GEMM_SLACK units past their end. */
enum { RAM_GEMM_SLACK = 16 };

struct ram_gemm_kernel {
    const char *name;
    size_t k_unit;     /* of k in a unit: 1; 2, RAM_UNIT_PAIR; 4, RAM_UNIT_QUAD */
    size_t mr, nr;     /* a tile of C: mr x nr */
    size_t unit_round; /* the number of units in a panel is a multiple of this */
    size_t kc;         /* units of a k-block: what stays in the first cache */
    size_t mc, mc_min; /* rows of A that a task packs at once, multiples of mr */
    void (*pack_a)(const struct ram_gemm_pack *job, uint32_t *out);
    void (*pack_b)(const struct ram_gemm_pack *job, uint32_t *out);
    /* All panels for job->n_lanes lanes that lie together in memory, `stride` units apart, a row of
     * memory at a time; NULL: the other two, panel by panel. */
    void (*pack_rows)(const struct ram_gemm_pack *job, size_t stride, uint32_t *out);
    /* The first `rows` rows of a tile of C: = (add: +=) panel a times panel b over n_units. */
    void (*tile)(size_t n_units, const uint32_t *a, const uint32_t *b, float *c, size_t ldc,
                 size_t rows, bool add);
    void (*begin)(void); /* around the tiles that a thread computes; NULL: nothing to do */
    void (*end)(void);
};

extern const struct ram_gemm_kernel ram_gemm_ref, ram_gemm_ref_int8;
#if defined(__x86_64__)
extern const struct ram_gemm_kernel ram_gemm_avx2, ram_gemm_avx512, ram_gemm_avx512_bf16;
extern const struct ram_gemm_kernel ram_gemm_avx512_vnni;
extern const struct ram_gemm_kernel ram_gemm_amx_bf16;
#elif defined(__aarch64__)
extern const struct ram_gemm_kernel ram_gemm_neon, ram_gemm_neon_bf16;
#endif

enum { RAM_GEMM_KERNELS = 8 };

/* The kernels that this processor can run in this mode, worst first; returns their number. */
size_t ram_gemm_all(enum ram_gemm_mode mode, const struct ram_gemm_kernel *out[RAM_GEMM_KERNELS]);

/* One product, as gemm.h describes it. */
struct ram_gemm_call {
    enum ram_gemm_mode mode;
    size_t m, n, k;
    struct ram_gemm_lanes a, b;
    float *c;
    size_t ldc;
    bool add;   /* C += */
    bool lower; /* leave out tiles that lie wholly above the diagonal */
};

int ram_gemm_run(const struct ram_gemm_kernel *kern, const struct ram_gemm_call *call,
                 struct ram_pool *pool, struct ram_err *err);

/* ---- packing in plain C: the meaning, and the fallback for general strides --------------- */

/* Any panel, and lanes [lane0, lane1) of it from unit0 on. */
void ram_gemm_pack_ref(const struct ram_gemm_pack *job, uint32_t *out);
void ram_gemm_pack_part(const struct ram_gemm_pack *job, size_t lane0, size_t lane1, size_t unit0,
                        uint32_t *out);

/* Round to nearest even; a NaN becomes the quiet NaN 0x7fc0. */
static inline uint32_t ram_gemm_bf16(uint32_t f32)
{
    if ((f32 & 0x7fffffff) > 0x7f800000)
        return 0x7fc0;
    return (f32 + 0x7fff + (f32 >> 16 & 1)) >> 16;
}

/* The source's element as the bits of a float; zero outside of it. */
static inline uint32_t ram_gemm_element(const struct ram_gemm_pack *job, size_t lane, size_t k)
{
    const size_t i = lane * job->src.lane_stride + k * job->src.k_stride;
    uint32_t f32;
    uint16_t bf16;

    if (lane >= job->n_lanes || k >= job->n_k)
        return 0;
    if (job->src.elem == RAM_ELEM_F32) {
        memcpy(&f32, job->src.data + 4 * i, sizeof f32);
        return f32;
    }
    memcpy(&bf16, job->src.data + 2 * i, sizeof bf16);
    return (uint32_t)bf16 << 16;
}

/* The same for RAM_UNIT_QUAD: an int8 as its byte. */
static inline uint32_t ram_gemm_byte(const struct ram_gemm_pack *job, size_t lane, size_t k)
{
    const uint32_t bits = ram_gemm_element(job, lane, k);
    float x;

    if (lane >= job->n_lanes || k >= job->n_k)
        return 0;
    memcpy(&x, &bits, sizeof x);
    return (uint32_t)lrintf(x * job->src.lane_scale[lane] * job->src.k_scale[k]) & 0xff;
}

static inline uint32_t ram_gemm_unit(const struct ram_gemm_pack *job, size_t lane, size_t u)
{
    if (job->unit == RAM_UNIT_F32)
        return ram_gemm_element(job, lane, u);
    if (job->unit == RAM_UNIT_ROUNDED)
        return ram_gemm_bf16(ram_gemm_element(job, lane, u)) << 16;
    if (job->unit == RAM_UNIT_QUAD)
        return ram_gemm_byte(job, lane, 4 * u) | ram_gemm_byte(job, lane, 4 * u + 1) << 8 |
               ram_gemm_byte(job, lane, 4 * u + 2) << 16 |
               ram_gemm_byte(job, lane, 4 * u + 3) << 24;
    return ram_gemm_bf16(ram_gemm_element(job, lane, 2 * u)) |
           ram_gemm_bf16(ram_gemm_element(job, lane, 2 * u + 1)) << 16;
}

#endif
