/*
 * gemm_arm.c - the matrix product with NEON: FMLA, and BFDOT for pairs of bf16.
 *
 * A tile of C is 8 x 12: 24 accumulators, three vectors of B and the elements of A in turn, of 32
 * registers. BFDOT rounds to odd where the processor lacks FEAT_EBF16; the bound in gemm.c allows
 * for it.
 */
#if defined(__aarch64__)
#include "kern/gemm_kernel.h"

#include <arm_neon.h>

enum { MR = 8, NR = 12, LANES = 4 };

#define BF16   __attribute__((target("arch=armv8.2-a+bf16")))
#define INLINE static inline __attribute__((always_inline))

/* Multiplies a vector of B by one element of A; its lane must be a literal. */
#define STEP_F32(sum, b, a, lane)                                                                  \
    vfmaq_laneq_f32(sum, vreinterpretq_f32_u32(b), vreinterpretq_f32_u32(a), lane)
#define STEP_PAIRS(sum, b, a, lane)                                                                \
    vbfdotq_laneq_f32(sum, vreinterpretq_bf16_u32(b), vreinterpretq_bf16_u32(a), lane)

#define ROW(STEP, i, a, lane)                                                                      \
    if ((i) < rows) {                                                                              \
        sum[i][0] = STEP(sum[i][0], b0, a, lane);                                                  \
        sum[i][1] = STEP(sum[i][1], b1, a, lane);                                                  \
        sum[i][2] = STEP(sum[i][2], b2, a, lane);                                                  \
    }

/* The two kinds of tile differ in one instruction and in the processors they may name. Every loop
 * over sums is unrolled, so that they live in registers. */
#define UNROLL _Pragma("GCC unroll 8")
#define DEFINE_TILE(name, TARGET, STEP)                                                            \
    TARGET INLINE void name##_rows(size_t rows, size_t n_units, const uint32_t *a,                 \
                                   const uint32_t *b, float *c, size_t ldc, bool add)              \
    {                                                                                              \
        float32x4_t sum[MR][3];                                                                    \
                                                                                                   \
        UNROLL for (size_t i = 0; i < rows; i++)                                                   \
        {                                                                                          \
            sum[i][0] = add ? vld1q_f32(c + i * ldc) : vdupq_n_f32(0);                             \
            sum[i][1] = add ? vld1q_f32(c + i * ldc + LANES) : vdupq_n_f32(0);                     \
            sum[i][2] = add ? vld1q_f32(c + i * ldc + 2 * LANES) : vdupq_n_f32(0);                 \
        }                                                                                          \
        for (size_t u = 0; u < n_units; u++, a += MR, b += NR) {                                   \
            const uint32x4_t b0 = vld1q_u32(b), b1 = vld1q_u32(b + LANES);                         \
            const uint32x4_t b2 = vld1q_u32(b + 2 * LANES);                                        \
            const uint32x4_t a0 = vld1q_u32(a), a1 = vld1q_u32(a + LANES);                         \
            ROW(STEP, 0, a0, 0)                                                                    \
            ROW(STEP, 1, a0, 1)                                                                    \
            ROW(STEP, 2, a0, 2)                                                                    \
            ROW(STEP, 3, a0, 3)                                                                    \
            ROW(STEP, 4, a1, 0)                                                                    \
            ROW(STEP, 5, a1, 1)                                                                    \
            ROW(STEP, 6, a1, 2)                                                                    \
            ROW(STEP, 7, a1, 3)                                                                    \
        }                                                                                          \
        UNROLL for (size_t i = 0; i < rows; i++)                                                   \
        {                                                                                          \
            vst1q_f32(c + i * ldc, sum[i][0]);                                                     \
            vst1q_f32(c + i * ldc + LANES, sum[i][1]);                                             \
            vst1q_f32(c + i * ldc + 2 * LANES, sum[i][2]);                                         \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    TARGET static void name(size_t n_units, const uint32_t *a, const uint32_t *b, float *c,        \
                            size_t ldc, size_t rows, bool add)                                     \
    {                                                                                              \
        switch (rows) {                                                                            \
            CASE(name, 1)                                                                          \
            CASE(name, 2)                                                                          \
            CASE(name, 3)                                                                          \
            CASE(name, 4)                                                                          \
            CASE(name, 5)                                                                          \
            CASE(name, 6)                                                                          \
            CASE(name, 7)                                                                          \
            CASE(name, 8)                                                                          \
        }                                                                                          \
    }

#define CASE(name, rows)                                                                           \
    case rows:                                                                                     \
        name##_rows(rows, n_units, a, b, c, ldc, add);                                             \
        break;

DEFINE_TILE(tile_f32, , STEP_F32)
DEFINE_TILE(tile_pairs, BF16, STEP_PAIRS)

/* ---- packing: whole 4 x 4 blocks here, the edges in plain C -------------------------------- */

INLINE uint32x4_t round_bf16(uint32x4_t x)
{
    const float32x4_t f = vreinterpretq_f32_u32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(x, 16), vdupq_n_u32(1));
    const uint32x4_t sum = vaddq_u32(x, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t rounded = vandq_u32(sum, vdupq_n_u32(0xffff0000));
    return vbslq_u32(vceqq_f32(f, f), rounded, vdupq_n_u32(0x7fc00000));
}

/* Four numbers in a row as floats. */
INLINE uint32x4_t fetch(enum ram_gemm_unit unit, enum ram_elem elem, const unsigned char *p)
{
    if (elem == RAM_ELEM_BF16)
        return vshlq_n_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p))), 16);
    const uint32x4_t x = vreinterpretq_u32_u8(vld1q_u8(p));
    return unit == RAM_UNIT_F32 ? x : round_bf16(x);
}

/* Four units of one lane, k running through memory. */
INLINE uint32x4_t fetch_k(enum ram_gemm_unit unit, enum ram_elem elem, const unsigned char *p)
{
    if (unit != RAM_UNIT_PAIR)
        return fetch(unit, elem, p);
    if (elem == RAM_ELEM_BF16)
        return vreinterpretq_u32_u8(vld1q_u8(p));
    const uint32x4_t low = fetch(RAM_UNIT_ROUNDED, elem, p);
    const uint32x4_t high = fetch(RAM_UNIT_ROUNDED, elem, p + 16);
    return vsriq_n_u32(vuzp2q_u32(low, high), vuzp1q_u32(low, high), 16);
}

/* One unit of four lanes, lanes running through memory; next: the same lanes at the next k. */
INLINE uint32x4_t fetch_lanes(enum ram_gemm_unit unit, enum ram_elem elem, const unsigned char *p,
                              const unsigned char *next)
{
    if (unit != RAM_UNIT_PAIR)
        return fetch(unit, elem, p);
    return vsriq_n_u32(fetch(RAM_UNIT_ROUNDED, elem, next), fetch(RAM_UNIT_ROUNDED, elem, p), 16);
}

/* r[i] lane j becomes r[j] lane i. */
INLINE void transpose4(uint32x4_t r[4])
{
    const uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(r[0], r[1]));
    const uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(r[0], r[1]));
    const uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(r[2], r[3]));
    const uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(r[2], r[3]));

    r[0] = vreinterpretq_u32_u64(vtrn1q_u64(a, c));
    r[1] = vreinterpretq_u32_u64(vtrn1q_u64(b, d));
    r[2] = vreinterpretq_u32_u64(vtrn2q_u64(a, c));
    r[3] = vreinterpretq_u32_u64(vtrn2q_u64(b, d));
}

/* Four lanes from `lane` on; panels are multiples of four wide. */
INLINE void pack_quad(enum ram_gemm_unit unit, enum ram_elem elem, const struct ram_gemm_pack *job,
                      size_t lane, uint32_t *out)
{
    const size_t k_unit = unit == RAM_UNIT_PAIR ? 2 : 1, size = elem == RAM_ELEM_F32 ? 4 : 2;
    const struct ram_gemm_lanes *src = &job->src;
    const size_t whole = job->n_k / k_unit; /* units that need no zeros */
    const bool inside = lane + LANES <= job->n_lanes;
    const unsigned char *p = src->data + (inside ? lane * src->lane_stride * size : 0);
    size_t u = 0;

    if (inside && src->k_stride == 1) {
        for (; u + LANES <= whole; u += LANES) {
            uint32x4_t r[LANES];
            UNROLL for (size_t i = 0; i < LANES; i++) r[i] =
                fetch_k(unit, elem, p + (i * src->lane_stride + u * k_unit) * size);
            transpose4(r);
            UNROLL for (size_t i = 0; i < LANES; i++)
                vst1q_u32(out + (u + i) * job->width + lane, r[i]);
        }
    } else if (inside && src->lane_stride == 1) {
        const size_t stride = src->k_stride * size;
        for (; u < whole; u++)
            vst1q_u32(out + u * job->width + lane,
                      fetch_lanes(unit, elem, p + u * k_unit * stride,
                                  p + (u * k_unit + k_unit - 1) * stride));
    }
    ram_gemm_pack_part(job, lane, lane + LANES, u, out);
}

INLINE void pack_unit(enum ram_gemm_unit unit, const struct ram_gemm_pack *job, uint32_t *out)
{
    for (size_t lane = 0; lane < job->width; lane += LANES) {
        if (job->src.elem == RAM_ELEM_F32)
            pack_quad(unit, RAM_ELEM_F32, job, lane, out);
        else
            pack_quad(unit, RAM_ELEM_BF16, job, lane, out);
    }
}

static void pack(const struct ram_gemm_pack *job, uint32_t *out)
{
    if (job->unit == RAM_UNIT_F32)
        pack_unit(RAM_UNIT_F32, job, out);
    else if (job->unit == RAM_UNIT_ROUNDED)
        pack_unit(RAM_UNIT_ROUNDED, job, out);
    else
        pack_unit(RAM_UNIT_PAIR, job, out);
}

const struct ram_gemm_kernel ram_gemm_neon = {.name = "neon",
                                              .k_unit = 1,
                                              .mr = MR,
                                              .nr = NR,
                                              .unit_round = 1,
                                              .kc = 256,
                                              .mc = 16 * MR,
                                              .mc_min = 6 * MR,
                                              .pack_a = pack,
                                              .pack_b = pack,
                                              .tile = tile_f32};

const struct ram_gemm_kernel ram_gemm_neon_bf16 = {.name = "neon_bf16",
                                                   .k_unit = 2,
                                                   .mr = MR,
                                                   .nr = NR,
                                                   .unit_round = 1,
                                                   .kc = 256,
                                                   .mc = 16 * MR,
                                                   .mc_min = 6 * MR,
                                                   .pack_a = pack,
                                                   .pack_b = pack,
                                                   .tile = tile_pairs};
#else
typedef int ram_gemm_arm_is_empty; /* ISO C forbids an empty translation unit */
#endif
