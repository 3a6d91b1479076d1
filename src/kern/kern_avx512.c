/* kern_avx512.c - the kernels with AVX-512 (F, BW, DQ, VL): a vector is one register. */
#include "kern/kern.h"
#include "kern/search_grid.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))),                   \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

typedef __m512 V;
typedef __mmask16 M;
typedef __m512d D;

static inline V v_zero(void)
{
    return _mm512_setzero_ps();
}

static inline V v_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline V v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void v_store(float *p, V x)
{
    _mm512_storeu_ps(p, x);
}

static inline V v_add(V a, V b)
{
    return _mm512_add_ps(a, b);
}

static inline V v_sub(V a, V b)
{
    return _mm512_sub_ps(a, b);
}

static inline V v_mul(V a, V b)
{
    return _mm512_mul_ps(a, b);
}

static inline V v_div(V a, V b)
{
    return _mm512_div_ps(a, b);
}

/* a b + c, a b - c and c - a b, rounded once. */
static inline V v_fma(V a, V b, V c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline V v_fms(V a, V b, V c)
{
    return _mm512_fmsub_ps(a, b, c);
}

static inline V v_fnma(V a, V b, V c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

static inline V v_sqrt(V x)
{
    return _mm512_sqrt_ps(x);
}

static inline V v_min(V a, V b)
{
    return _mm512_min_ps(a, b);
}

static inline V v_max(V a, V b)
{
    return _mm512_max_ps(a, b);
}

static inline V v_abs(V x)
{
    return _mm512_abs_ps(x);
}

static inline V v_rint(V x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline V v_trunc(V x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

static inline M v_less(V a, V b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline M v_equal(V a, V b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

static inline bool v_all(M m)
{
    return m == 0xffff;
}

/* The first lane that is set, of one at least. */
static inline size_t v_first(M m)
{
    return (size_t)__builtin_ctz(m);
}

static inline V v_pick(M m, V yes, V no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}

static inline float v_fold(V x)
{
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float v_fold_min(V x)
{
    const __m256 a = _mm256_min_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 b = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_min_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_min_ss(c, _mm_movehdup_ps(c)));
}

static inline float v_fold_max(V x)
{
    const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* Integers of 0 .. 255 in floats. */
static inline void v_store_u8(uint8_t *p, V x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

static inline V v_load_bf16(const void *p)
{
    const __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
}

static inline V v_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

/* Exponent and fraction of E4M3 are those of an f16 256 times smaller; NaN becomes f16's. */
static inline V v_load_f8(const void *p)
{
    const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128(p));
    const __m256i sign = _mm256_and_si256(x, _mm256_set1_epi16((short)0x8000));
    const __m256i rest = _mm256_and_si256(x, _mm256_set1_epi16(0x7f));
    const __mmask16 nan = _mm256_cmpeq_epi16_mask(rest, _mm256_set1_epi16(0x7f));
    const __m256i size = _mm256_mask_set1_epi16(_mm256_slli_epi16(rest, 7), nan, 0x7e00);
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(sign, size)), _mm512_set1_ps(256));
}

static inline V v_load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* Clamped to 0 .. most, compared as integers: other units do that at the same time. NaN becomes
 * either end. */
static inline V v_clamp_bits(V x, V most)
{
    const __m512i up = _mm512_max_epi32(_mm512_castps_si512(x), _mm512_setzero_si512());
    return _mm512_castsi512_ps(_mm512_min_epi32(up, _mm512_castps_si512(most)));
}

/* Adds integers to the bit patterns. */
static inline V v_add_bits(V x, const int32_t bits[16])
{
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_loadu_si512(bits)));
}

static inline void v_store_bf16(uint16_t *p, V x)
{
    const __m512i u = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(u, odd), _mm512_set1_epi32(0x7fff));
    const __m512i half = _mm512_mask_set1_epi32(_mm512_srli_epi32(sum, 16),
                                                _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), 0x7fc0);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(half));
}

static inline void v_store_f16(uint16_t *p, V x)
{
    const __m256i half = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_mask_set1_epi16(half, nan, 0x7e00));
}

/* 32 integers of 16 bits: two for each lane. */
typedef __m512i W;

static inline W w_set(int16_t x)
{
    return _mm512_set1_epi16(x);
}

/* p[0] and p[1] in every lane. */
static inline W w_set_pair(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* The integer next to each lane, in both halves: it fits in 16 bits. */
static inline W w_both(V x)
{
    const __m512i i = _mm512_cvtps_epi32(x);
    return _mm512_mask_blend_epi16(0xaaaaaaaau, i, _mm512_slli_epi32(i, 16));
}

static inline void v_store_i16(int16_t *p, V x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
}

static inline W w_add(W a, W b)
{
    return _mm512_add_epi16(a, b);
}

static inline W w_sub(W a, W b)
{
    return _mm512_sub_epi16(a, b);
}

/* a b / 2^15, rounded. */
static inline W w_mul(W a, W b)
{
    return _mm512_mulhrs_epi16(a, b);
}

static inline W w_and(W a, W b)
{
    return _mm512_and_si512(a, b);
}

static inline W w_min(W a, W b)
{
    return _mm512_min_epi16(a, b);
}

static inline W w_max(W a, W b)
{
    return _mm512_max_epi16(a, b);
}

/* Adds the squares of both integers of a lane to its sum of 32 bits. */
static inline W w_add_squares(W sums, W x)
{
    return _mm512_add_epi32(sums, _mm512_madd_epi16(x, x));
}

static inline W w_add_sums(W a, W b)
{
    return _mm512_add_epi32(a, b);
}

static inline V v_of_sums(W sums)
{
    return _mm512_cvtepi32_ps(sums);
}

struct unpacker {
    __m512i pick, shift, mask;
};

static inline struct unpacker v_unpacker(const uint8_t pick[64], const uint32_t shift[16],
                                         uint32_t mask)
{
    return (struct unpacker){_mm512_loadu_si512(pick), _mm512_loadu_si512(shift),
                             _mm512_set1_epi32((int)mask)};
}

/* 16 codes from 16 bytes, of which the first 2 * bits matter. */
static inline V v_unpack(const struct unpacker *u, const uint8_t *p)
{
    const __m128i source = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m512i bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(source), u->pick);
    const __m512i codes = _mm512_and_si512(_mm512_srlv_epi32(bytes, u->shift), u->mask);
    return _mm512_cvtepi32_ps(codes);
}

static inline D d_set(double x)
{
    return _mm512_set1_pd(x);
}

static inline D d_load(const float *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}

static inline void d_store(double *p, D x)
{
    _mm512_storeu_pd(p, x);
}

static inline D d_add(D a, D b)
{
    return _mm512_add_pd(a, b);
}

static inline D d_sub(D a, D b)
{
    return _mm512_sub_pd(a, b);
}

static inline D d_mul(D a, D b)
{
    return _mm512_mul_pd(a, b);
}

static inline D d_fma(D a, D b, D c)
{
    return _mm512_fmadd_pd(a, b, c);
}

#define TABLE      ram_kern_avx512
#define TABLE_NAME "avx512"
#include "kern/kern_lanes.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
