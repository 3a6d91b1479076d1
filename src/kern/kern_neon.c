/* kern_neon.c - the kernels with AArch64 Advanced SIMD: a vector is four registers. */
#include "kern/kern.h"
#include "kern/search_grid.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>
#include <string.h>

typedef struct {
    float32x4_t v[4];
} V;
typedef struct {
    uint32x4_t v[4]; /* all bits of a lane, or none */
} M;
typedef struct {
    float64x2_t v[4];
} D;

/* An operation on four registers is the operation on each. */
#define EACH(type, expr)                                                                           \
    type r;                                                                                        \
    for (int i = 0; i < 4; i++)                                                                    \
        r.v[i] = expr;                                                                             \
    return r

static inline V v_set(float x)
{
    EACH(V, vdupq_n_f32(x));
}

static inline V v_zero(void)
{
    return v_set(0);
}

static inline V v_load(const float *p)
{
    EACH(V, vld1q_f32(p + 4 * i));
}

static inline void v_store(float *p, V x)
{
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, x.v[i]);
}

static inline V v_add(V x, V y)
{
    EACH(V, vaddq_f32(x.v[i], y.v[i]));
}

static inline V v_sub(V x, V y)
{
    EACH(V, vsubq_f32(x.v[i], y.v[i]));
}

static inline V v_mul(V x, V y)
{
    EACH(V, vmulq_f32(x.v[i], y.v[i]));
}

static inline V v_div(V x, V y)
{
    EACH(V, vdivq_f32(x.v[i], y.v[i]));
}

/* x y + z, x y - z and z - x y, rounded once. */
static inline V v_fma(V x, V y, V z)
{
    EACH(V, vfmaq_f32(z.v[i], x.v[i], y.v[i]));
}

static inline V v_fms(V x, V y, V z)
{
    EACH(V, vnegq_f32(vfmsq_f32(z.v[i], x.v[i], y.v[i])));
}

static inline V v_fnma(V x, V y, V z)
{
    EACH(V, vfmsq_f32(z.v[i], x.v[i], y.v[i]));
}

static inline V v_sqrt(V x)
{
    EACH(V, vsqrtq_f32(x.v[i]));
}

/* As on x86: y unless x is smaller (larger). */
static inline V v_min(V x, V y)
{
    EACH(V, vbslq_f32(vcltq_f32(x.v[i], y.v[i]), x.v[i], y.v[i]));
}

static inline V v_max(V x, V y)
{
    EACH(V, vbslq_f32(vcgtq_f32(x.v[i], y.v[i]), x.v[i], y.v[i]));
}

static inline V v_abs(V x)
{
    EACH(V, vabsq_f32(x.v[i]));
}

static inline V v_rint(V x)
{
    EACH(V, vrndnq_f32(x.v[i]));
}

static inline V v_trunc(V x)
{
    EACH(V, vrndq_f32(x.v[i]));
}

static inline M v_less(V x, V y)
{
    EACH(M, vcltq_f32(x.v[i], y.v[i]));
}

static inline M v_equal(V x, V y)
{
    EACH(M, vceqq_f32(x.v[i], y.v[i]));
}

static inline bool v_all(M m)
{
    const uint32x4_t all = vandq_u32(vandq_u32(m.v[0], m.v[1]), vandq_u32(m.v[2], m.v[3]));
    return vminvq_u32(all) != 0;
}

/* The first lane that is set, of one at least. */
static inline size_t v_first(M m)
{
    uint32_t lanes[16];
    size_t k = 0;

    for (int i = 0; i < 4; i++)
        vst1q_u32(lanes + 4 * i, m.v[i]);
    while (k < 15 && !lanes[k])
        k++;
    return k;
}

static inline V v_pick(M m, V yes, V no)
{
    EACH(V, vbslq_f32(m.v[i], yes.v[i], no.v[i]));
}

static inline float v_fold(V x)
{
    const float32x4_t a = vaddq_f32(x.v[0], x.v[2]), b = vaddq_f32(x.v[1], x.v[3]);
    const float32x4_t c = vaddq_f32(a, b);
    const float32x2_t d = vadd_f32(vget_low_f32(c), vget_high_f32(c));
    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}

static inline float v_fold_min(V x)
{
    return vminvq_f32(vminq_f32(vminq_f32(x.v[0], x.v[2]), vminq_f32(x.v[1], x.v[3])));
}

static inline float v_fold_max(V x)
{
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[2]), vmaxq_f32(x.v[1], x.v[3])));
}

/* Four registers of 4 integers become two of 8, in order. */
static inline uint16x8_t narrow_u16(uint32x4_t a, uint32x4_t b)
{
    return vmovn_high_u32(vmovn_u32(a), b);
}

/* Integers of 0 .. 255 in floats. */
static inline void v_store_u8(uint8_t *p, V x)
{
    const uint16x8_t a = narrow_u16(vcvtq_u32_f32(x.v[0]), vcvtq_u32_f32(x.v[1]));
    const uint16x8_t b = narrow_u16(vcvtq_u32_f32(x.v[2]), vcvtq_u32_f32(x.v[3]));
    vst1q_u8(p, vmovn_high_u16(vmovn_u16(a), b));
}

static inline V v_load_bf16(const void *p)
{
    EACH(V, vreinterpretq_f32_u32(
                vshll_n_u16(vreinterpret_u16_u8(vld1_u8((const uint8_t *)p + 8 * i)), 16)));
}

static inline V v_load_f16(const void *p)
{
    EACH(V, vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p + 8 * i))));
}

/* Exponent and fraction of E4M3 are those of an f16 256 times smaller; NaN becomes f16's. */
static inline V v_load_f8(const void *p)
{
    const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
    V r;

    for (int i = 0; i < 2; i++) {
        const int16x8_t wide = i ? vmovl_high_s8(bytes) : vmovl_s8(vget_low_s8(bytes));
        const uint16x8_t x = vreinterpretq_u16_s16(wide);
        const uint16x8_t sign = vandq_u16(x, vdupq_n_u16(0x8000));
        const uint16x8_t rest = vandq_u16(x, vdupq_n_u16(0x7f));
        const uint16x8_t nan = vceqq_u16(rest, vdupq_n_u16(0x7f));
        const uint16x8_t size = vbslq_u16(nan, vdupq_n_u16(0x7e00), vshlq_n_u16(rest, 7));
        const float16x8_t half = vreinterpretq_f16_u16(vorrq_u16(sign, size));
        r.v[2 * i] = vmulq_n_f32(vcvt_f32_f16(vget_low_f16(half)), 256);
        r.v[2 * i + 1] = vmulq_n_f32(vcvt_high_f32_f16(half), 256);
    }
    return r;
}

static inline V v_load_u8(const uint8_t *p)
{
    const uint8x16_t u = vld1q_u8(p);
    const uint16x8_t a = vmovl_u8(vget_low_u8(u)), b = vmovl_high_u8(u);
    return (V){{vcvtq_f32_u32(vmovl_u16(vget_low_u16(a))), vcvtq_f32_u32(vmovl_high_u16(a)),
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(b))), vcvtq_f32_u32(vmovl_high_u16(b))}};
}

/* Clamped to 0 .. most, compared as integers: other units do that at the same time. NaN becomes
 * either end. */
static inline V v_clamp_bits(V x, V most)
{
    EACH(V,
         vreinterpretq_f32_s32(vminq_s32(vmaxq_s32(vreinterpretq_s32_f32(x.v[i]), vdupq_n_s32(0)),
                                         vreinterpretq_s32_f32(most.v[i]))));
}

/* Adds integers to the bit patterns. */
static inline V v_add_bits(V x, const int32_t bits[16])
{
    EACH(V,
         vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x.v[i]), vld1q_s32(bits + 4 * i))));
}

static inline void v_store_bf16(uint16_t *p, V x)
{
    uint32x4_t half[4];

    for (int i = 0; i < 4; i++) {
        const uint32x4_t u = vreinterpretq_u32_f32(x.v[i]);
        const uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
        const uint32x4_t sum = vaddq_u32(vaddq_u32(u, odd), vdupq_n_u32(0x7fff));
        half[i] = vbslq_u32(vceqq_f32(x.v[i], x.v[i]), vshrq_n_u32(sum, 16), vdupq_n_u32(0x7fc0));
    }
    vst1q_u16(p, narrow_u16(half[0], half[1]));
    vst1q_u16(p + 8, narrow_u16(half[2], half[3]));
}

static inline void v_store_f16(uint16_t *p, V x)
{
    for (int i = 0; i < 4; i++) {
        const uint16x4_t half = vreinterpret_u16_f16(vcvt_f16_f32(x.v[i]));
        const uint16x4_t good = vmovn_u32(vceqq_f32(x.v[i], x.v[i]));
        vst1_u16(p + 4 * i, vbsl_u16(good, half, vdup_n_u16(0x7e00)));
    }
}

/* 32 integers of 16 bits: two for each lane. */
typedef struct {
    int16x8_t v[4];
} W;

static inline W w_set(int16_t x)
{
    EACH(W, vdupq_n_s16(x));
}

/* p[0] and p[1] in every lane. */
static inline W w_set_pair(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    EACH(W, vreinterpretq_s16_s32(vdupq_n_s32(pair)));
}

/* The integer next to each lane, in both halves: it fits in 16 bits. */
static inline W w_both(V x)
{
    W r;

    for (int i = 0; i < 4; i++) {
        const int16x8_t all = vreinterpretq_s16_s32(vcvtnq_s32_f32(x.v[i]));
        r.v[i] = vtrn1q_s16(all, all);
    }
    return r;
}

static inline void v_store_i16(int16_t *p, V x)
{
    for (int i = 0; i < 4; i++)
        vst1_s16(p + 4 * i, vmovn_s32(vcvtnq_s32_f32(x.v[i])));
}

static inline W w_add(W x, W y)
{
    EACH(W, vaddq_s16(x.v[i], y.v[i]));
}

static inline W w_sub(W x, W y)
{
    EACH(W, vsubq_s16(x.v[i], y.v[i]));
}

/* x y / 2^15, rounded. */
static inline W w_mul(W x, W y)
{
    EACH(W, vqrdmulhq_s16(x.v[i], y.v[i]));
}

static inline W w_and(W x, W y)
{
    EACH(W, vandq_s16(x.v[i], y.v[i]));
}

static inline W w_min(W x, W y)
{
    EACH(W, vminq_s16(x.v[i], y.v[i]));
}

static inline W w_max(W x, W y)
{
    EACH(W, vmaxq_s16(x.v[i], y.v[i]));
}

/* Adds the squares of both integers of a lane to its sum of 32 bits. */
static inline W w_add_squares(W sums, W x)
{
    EACH(W, vreinterpretq_s16_s32(
                vaddq_s32(vreinterpretq_s32_s16(sums.v[i]),
                          vpaddq_s32(vmull_s16(vget_low_s16(x.v[i]), vget_low_s16(x.v[i])),
                                     vmull_high_s16(x.v[i], x.v[i])))));
}

static inline W w_add_sums(W x, W y)
{
    EACH(W, vreinterpretq_s16_s32(
                vaddq_s32(vreinterpretq_s32_s16(x.v[i]), vreinterpretq_s32_s16(y.v[i]))));
}

static inline V v_of_sums(W sums)
{
    EACH(V, vcvtq_f32_s32(vreinterpretq_s32_s16(sums.v[i])));
}

struct unpacker {
    uint8x16_t pick[4];
    int32x4_t shift[4]; /* to the left, hence negative */
    uint32x4_t mask;
};

static inline struct unpacker v_unpacker(const uint8_t pick[64], const uint32_t shift[16],
                                         uint32_t mask)
{
    struct unpacker u = {.mask = vdupq_n_u32(mask)};

    for (int i = 0; i < 4; i++) {
        u.pick[i] = vld1q_u8(pick + 16 * i);
        u.shift[i] = vnegq_s32(vreinterpretq_s32_u32(vld1q_u32(shift + 4 * i)));
    }
    return u;
}

/* 16 codes from 16 bytes, of which the first 2 * bits matter. */
static inline V v_unpack(const struct unpacker *u, const uint8_t *p)
{
    const uint8x16_t source = vld1q_u8(p);
    EACH(V, vcvtq_f32_u32(vandq_u32(
                vshlq_u32(vreinterpretq_u32_u8(vqtbl1q_u8(source, u->pick[i])), u->shift[i]),
                u->mask)));
}

static inline D d_set(double x)
{
    EACH(D, vdupq_n_f64(x));
}

static inline D d_load(const float *p)
{
    EACH(D, vcvt_f64_f32(vld1_f32(p + 2 * i)));
}

static inline void d_store(double *p, D x)
{
    for (int i = 0; i < 4; i++)
        vst1q_f64(p + 2 * i, x.v[i]);
}

static inline D d_add(D x, D y)
{
    EACH(D, vaddq_f64(x.v[i], y.v[i]));
}

static inline D d_sub(D x, D y)
{
    EACH(D, vsubq_f64(x.v[i], y.v[i]));
}

static inline D d_mul(D x, D y)
{
    EACH(D, vmulq_f64(x.v[i], y.v[i]));
}

static inline D d_fma(D x, D y, D z)
{
    EACH(D, vfmaq_f64(z.v[i], x.v[i], y.v[i]));
}

#define TABLE      ram_kern_neon
#define TABLE_NAME "neon"
#include "kern/kern_lanes.inc"

#endif
