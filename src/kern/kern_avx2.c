/* kern_avx2.c - the kernels with AVX2, FMA and F16C: a vector is two registers. */
#include "kern/kern.h"
#include "kern/search_grid.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

typedef struct {
    __m256 a, b; /* lanes 0 .. 7, 8 .. 15 */
} V;
typedef V M; /* all bits of a lane, or none */
typedef struct {
    __m256d a, b;
} D;

static inline V v_set(float x)
{
    return (V){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline V v_zero(void)
{
    return v_set(0);
}

static inline V v_load(const float *p)
{
    return (V){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void v_store(float *p, V x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

static inline V v_add(V x, V y)
{
    return (V){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

static inline V v_sub(V x, V y)
{
    return (V){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

static inline V v_mul(V x, V y)
{
    return (V){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

static inline V v_div(V x, V y)
{
    return (V){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

/* x y + z, x y - z and z - x y, rounded once. */
static inline V v_fma(V x, V y, V z)
{
    return (V){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}

static inline V v_fms(V x, V y, V z)
{
    return (V){_mm256_fmsub_ps(x.a, y.a, z.a), _mm256_fmsub_ps(x.b, y.b, z.b)};
}

static inline V v_fnma(V x, V y, V z)
{
    return (V){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}

static inline V v_sqrt(V x)
{
    return (V){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
}

static inline V v_min(V x, V y)
{
    return (V){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}

static inline V v_max(V x, V y)
{
    return (V){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

static inline V v_abs(V x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (V){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}

static inline V v_rint(V x)
{
    enum { HOW = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return (V){_mm256_round_ps(x.a, HOW), _mm256_round_ps(x.b, HOW)};
}

static inline V v_trunc(V x)
{
    enum { HOW = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC };
    return (V){_mm256_round_ps(x.a, HOW), _mm256_round_ps(x.b, HOW)};
}

static inline M v_less(V x, V y)
{
    return (M){_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}

static inline M v_equal(V x, V y)
{
    return (M){_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}

static inline bool v_all(M m)
{
    return _mm256_movemask_ps(_mm256_and_ps(m.a, m.b)) == 0xff;
}

/* The first lane that is set, of one at least. */
static inline size_t v_first(M m)
{
    const unsigned bits = (unsigned)_mm256_movemask_ps(m.a) | (unsigned)_mm256_movemask_ps(m.b)
                                                                  << 8;
    return (size_t)__builtin_ctz(bits);
}

static inline V v_pick(M m, V yes, V no)
{
    return (V){_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}

static inline float v_fold(V x)
{
    const __m256 a = _mm256_add_ps(x.a, x.b);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float v_fold_min(V x)
{
    const __m256 a = _mm256_min_ps(x.a, x.b);
    const __m128 b = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_min_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_min_ss(c, _mm_movehdup_ps(c)));
}

static inline float v_fold_max(V x)
{
    const __m256 a = _mm256_max_ps(x.a, x.b);
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* Two registers of 8 integers below 2^16 become one of 16, in order. */
static inline __m256i narrow_u16(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
}

/* Integers of 0 .. 255 in floats. */
static inline void v_store_u8(uint8_t *p, V x)
{
    const __m256i u = narrow_u16(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
}

static inline __m256 widen_8_bf16(const void *p)
{
    const __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}

static inline V v_load_bf16(const void *p)
{
    return (V){widen_8_bf16(p), widen_8_bf16((const uint8_t *)p + 16)};
}

static inline V v_load_f16(const void *p)
{
    return (V){_mm256_cvtph_ps(_mm_loadu_si128(p)),
               _mm256_cvtph_ps(_mm_loadu_si128((const void *)((const uint8_t *)p + 16)))};
}

/* Exponent and fraction of E4M3 are those of an f16 256 times smaller; NaN becomes f16's. */
static inline __m256 widen_8_f8(__m128i x)
{
    const __m128i sign = _mm_and_si128(x, _mm_set1_epi16((short)0x8000));
    const __m128i rest = _mm_and_si128(x, _mm_set1_epi16(0x7f));
    const __m128i nan = _mm_cmpeq_epi16(rest, _mm_set1_epi16(0x7f));
    const __m128i size = _mm_blendv_epi8(_mm_slli_epi16(rest, 7), _mm_set1_epi16(0x7e00), nan);
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(sign, size)), _mm256_set1_ps(256));
}

static inline V v_load_f8(const void *p)
{
    const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128(p));
    return (V){widen_8_f8(_mm256_castsi256_si128(x)), widen_8_f8(_mm256_extracti128_si256(x, 1))};
}

static inline V v_load_u8(const uint8_t *p)
{
    const __m128i u = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (V){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(u)),
               _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(u, 8)))};
}

/* Clamped to 0 .. most, compared as integers: other units do that at the same time. NaN becomes
 * either end. */
static inline __m256 clamp_8_bits(__m256 x, __m256 most)
{
    const __m256i up = _mm256_max_epi32(_mm256_castps_si256(x), _mm256_setzero_si256());
    return _mm256_castsi256_ps(_mm256_min_epi32(up, _mm256_castps_si256(most)));
}

static inline V v_clamp_bits(V x, V most)
{
    return (V){clamp_8_bits(x.a, most.a), clamp_8_bits(x.b, most.b)};
}

/* Adds integers to the bit patterns. */
static inline __m256 add_8_bits(__m256 x, const int32_t *bits)
{
    const __m256i more = _mm256_loadu_si256((const __m256i *)(const void *)bits);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), more));
}

static inline V v_add_bits(V x, const int32_t bits[16])
{
    return (V){add_8_bits(x.a, bits), add_8_bits(x.b, bits + 8)};
}

static inline __m256i narrow_8_bf16(__m256 x)
{
    const __m256i u = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7fff));
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), _mm256_set1_epi32(0x7fc0),
                              _mm256_castps_si256(nan));
}

static inline void v_store_bf16(uint16_t *p, V x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, narrow_u16(narrow_8_bf16(x.a), narrow_8_bf16(x.b)));
}

static inline void v_store_f16(uint16_t *p, V x)
{
    enum { HOW = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    const __m256i half = _mm256_set_m128i(_mm256_cvtps_ph(x.b, HOW), _mm256_cvtps_ph(x.a, HOW));
    const __m256i bad_a = _mm256_castps_si256(_mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q));
    const __m256i bad_b = _mm256_castps_si256(_mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q));
    const __m256i bad = _mm256_permute4x64_epi64(_mm256_packs_epi32(bad_a, bad_b), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm256_blendv_epi8(half, _mm256_set1_epi16(0x7e00), bad));
}

/* 32 integers of 16 bits: two for each lane. */
typedef struct {
    __m256i a, b;
} W;

static inline W w_set(int16_t x)
{
    return (W){_mm256_set1_epi16(x), _mm256_set1_epi16(x)};
}

/* p[0] and p[1] in every lane. */
static inline W w_set_pair(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return (W){_mm256_set1_epi32(pair), _mm256_set1_epi32(pair)};
}

static inline __m256i both_8(__m256 x)
{
    const __m256i i = _mm256_cvtps_epi32(x);
    return _mm256_blend_epi16(i, _mm256_slli_epi32(i, 16), 0xaa);
}

/* The integer next to each lane, in both halves: it fits in 16 bits. */
static inline W w_both(V x)
{
    return (W){both_8(x.a), both_8(x.b)};
}

static inline void v_store_i16(int16_t *p, V x)
{
    const __m256i i = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(i, 0xd8));
}

static inline W w_add(W x, W y)
{
    return (W){_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)};
}

static inline W w_sub(W x, W y)
{
    return (W){_mm256_sub_epi16(x.a, y.a), _mm256_sub_epi16(x.b, y.b)};
}

/* x y / 2^15, rounded. */
static inline W w_mul(W x, W y)
{
    return (W){_mm256_mulhrs_epi16(x.a, y.a), _mm256_mulhrs_epi16(x.b, y.b)};
}

static inline W w_and(W x, W y)
{
    return (W){_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}

static inline W w_min(W x, W y)
{
    return (W){_mm256_min_epi16(x.a, y.a), _mm256_min_epi16(x.b, y.b)};
}

static inline W w_max(W x, W y)
{
    return (W){_mm256_max_epi16(x.a, y.a), _mm256_max_epi16(x.b, y.b)};
}

/* Adds the squares of both integers of a lane to its sum of 32 bits. */
static inline W w_add_squares(W sums, W x)
{
    return (W){_mm256_add_epi32(sums.a, _mm256_madd_epi16(x.a, x.a)),
               _mm256_add_epi32(sums.b, _mm256_madd_epi16(x.b, x.b))};
}

static inline W w_add_sums(W x, W y)
{
    return (W){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

static inline V v_of_sums(W sums)
{
    return (V){_mm256_cvtepi32_ps(sums.a), _mm256_cvtepi32_ps(sums.b)};
}

struct unpacker {
    __m256i pick[2], shift[2], mask;
};

static inline struct unpacker v_unpacker(const uint8_t pick[64], const uint32_t shift[16],
                                         uint32_t mask)
{
    struct unpacker u = {.mask = _mm256_set1_epi32((int)mask)};

    for (size_t i = 0; i < 2; i++) {
        u.pick[i] = _mm256_loadu_si256((const __m256i *)(const void *)(pick + 32 * i));
        u.shift[i] = _mm256_loadu_si256((const __m256i *)(const void *)(shift + 8 * i));
    }
    return u;
}

/* 16 codes from 16 bytes, of which the first 2 * bits matter. */
static inline V v_unpack(const struct unpacker *u, const uint8_t *p)
{
    const __m128i source = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m256i twice = _mm256_broadcastsi128_si256(source);
    const __m256i a = _mm256_srlv_epi32(_mm256_shuffle_epi8(twice, u->pick[0]), u->shift[0]);
    const __m256i b = _mm256_srlv_epi32(_mm256_shuffle_epi8(twice, u->pick[1]), u->shift[1]);
    return (V){_mm256_cvtepi32_ps(_mm256_and_si256(a, u->mask)),
               _mm256_cvtepi32_ps(_mm256_and_si256(b, u->mask))};
}

static inline D d_set(double x)
{
    return (D){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}

static inline D d_load(const float *p)
{
    return (D){_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
}

static inline void d_store(double *p, D x)
{
    _mm256_storeu_pd(p, x.a);
    _mm256_storeu_pd(p + 4, x.b);
}

static inline D d_add(D x, D y)
{
    return (D){_mm256_add_pd(x.a, y.a), _mm256_add_pd(x.b, y.b)};
}

static inline D d_sub(D x, D y)
{
    return (D){_mm256_sub_pd(x.a, y.a), _mm256_sub_pd(x.b, y.b)};
}

static inline D d_mul(D x, D y)
{
    return (D){_mm256_mul_pd(x.a, y.a), _mm256_mul_pd(x.b, y.b)};
}

static inline D d_fma(D x, D y, D z)
{
    return (D){_mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b)};
}

#define TABLE      ram_kern_avx2
#define TABLE_NAME "avx2"
#include "kern/kern_lanes.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
