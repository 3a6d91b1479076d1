/*
 * gemm_avx512.h - reading and transposing sixteen units at a time, shared by the AVX-512 and AMX
 * kernels. Everything is inlined with `unit` and `elem` constant.
 *
 * The target names avx512bf16 throughout so that one text serves both kinds of unit; only the code
 * for RAM_UNIT_PAIR uses its instructions, and only kernels that need them pack pairs.
 */
#ifndef RAM_KERN_GEMM_AVX512_H
#define RAM_KERN_GEMM_AVX512_H

#if defined(__x86_64__)
#include "kern/gemm_kernel.h"

#include <immintrin.h>

#define RAM_AVX512        __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define RAM_AVX512_INLINE static inline __attribute__((always_inline)) RAM_AVX512

/* Cases of a switch: f(rows, ...) with a constant. */
#define RAM_ROWS_CASE(n, f, ...)                                                                   \
    case n:                                                                                        \
        f(n, __VA_ARGS__);                                                                         \
        break;
#define RAM_ROWS_TO_12(f, ...)                                                                     \
    RAM_ROWS_CASE(1, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(2, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(3, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(4, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(5, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(6, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(7, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(8, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(9, f, __VA_ARGS__)                                                               \
    RAM_ROWS_CASE(10, f, __VA_ARGS__)                                                              \
    RAM_ROWS_CASE(11, f, __VA_ARGS__)                                                              \
    RAM_ROWS_CASE(12, f, __VA_ARGS__)

/* The n lowest of 32 bits, n <= 32. */
static inline uint32_t ram_low_bits(size_t n)
{
    return n >= 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
}

/* Up to 16 numbers in a row as floats; zeros from n on. Nothing is read beyond n. */
RAM_AVX512_INLINE __m512i ram_fetch_floats(enum ram_gemm_unit unit, enum ram_elem elem,
                                           const unsigned char *p, size_t n)
{
    const __mmask16 mask = (__mmask16)ram_low_bits(n < 16 ? n : 16);

    if (elem == RAM_ELEM_BF16)
        return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16);
    const __m512i x = _mm512_maskz_loadu_epi32(mask, p);
    if (unit == RAM_UNIT_F32)
        return x;
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i rounded = _mm512_and_si512(sum, _mm512_set1_epi32(-0x10000));
    const __m512 f = _mm512_castsi512_ps(x);
    return _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q),
                                 _mm512_set1_epi32(0x7fc00000));
}

/* Sixteen units of one lane, where k runs through memory; p is at the first, n numbers are left. */
RAM_AVX512_INLINE __m512i ram_fetch_k(enum ram_gemm_unit unit, enum ram_elem elem,
                                      const unsigned char *p, size_t n)
{
    if (unit != RAM_UNIT_PAIR)
        return ram_fetch_floats(unit, elem, p, n);
    const uint32_t mask = ram_low_bits(n);
    if (elem == RAM_ELEM_BF16)
        return _mm512_maskz_loadu_epi16(mask, p);
    const __m512 low = _mm512_maskz_loadu_ps((__mmask16)mask, p);
    const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), p + 64);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/*
 * One unit of sixteen lanes, where lanes run through memory; p is at the first lane, n lanes are
 * left. next: the same lanes at the next k, NULL beyond the last (pairs only).
 */
RAM_AVX512_INLINE __m512i ram_fetch_lanes(enum ram_gemm_unit unit, enum ram_elem elem,
                                          const unsigned char *p, const unsigned char *next,
                                          size_t n)
{
    if (unit != RAM_UNIT_PAIR)
        return ram_fetch_floats(unit, elem, p, n);
    const size_t n_next = next ? n : 0;
    const unsigned char *q = next ? next : p;
    const __m512i even = ram_fetch_floats(RAM_UNIT_F32, elem, p, n);
    const __m512i odd = ram_fetch_floats(RAM_UNIT_F32, elem, q, n_next);
    if (elem == RAM_ELEM_BF16)
        return _mm512_or_si512(_mm512_srli_epi32(even, 16), odd);
    /* Rounded side by side, then interleaved. */
    const __m512i both =
        (__m512i)_mm512_cvtne2ps_pbh(_mm512_castsi512_ps(odd), _mm512_castsi512_ps(even));
    const __m512i order = _mm512_set_epi32(
        0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008, 0x170007,
        0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    return _mm512_permutexvar_epi16(order, both);
}

/*
 * Four units, the 16 bytes at p, of sixteen lanes that lie `stride` bytes apart: r[u] receives unit
 * u of every lane. Quarters of a vector are loaded where they belong, which costs no shuffle, and
 * the 4 x 4 blocks within them transposed.
 */
RAM_AVX512_INLINE void ram_transpose_four(const unsigned char *p, size_t stride, __m512i r[4])
{
    __m512i t[4];

#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        const unsigned char *q = p + i * stride;
        t[i] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)q));
        t[i] = _mm512_inserti32x4(t[i], _mm_loadu_si128((const void *)(q + 4 * stride)), 1);
        t[i] = _mm512_inserti32x4(t[i], _mm_loadu_si128((const void *)(q + 8 * stride)), 2);
        t[i] = _mm512_inserti32x4(t[i], _mm_loadu_si128((const void *)(q + 12 * stride)), 3);
    }
    const __m512i a = _mm512_unpacklo_epi32(t[0], t[1]), b = _mm512_unpackhi_epi32(t[0], t[1]);
    const __m512i c = _mm512_unpacklo_epi32(t[2], t[3]), d = _mm512_unpackhi_epi32(t[2], t[3]);
    r[0] = _mm512_unpacklo_epi64(a, c);
    r[1] = _mm512_unpackhi_epi64(a, c);
    r[2] = _mm512_unpacklo_epi64(b, d);
    r[3] = _mm512_unpackhi_epi64(b, d);
}

/* A panel in the ordinary order. */
void ram_gemm_pack_avx512(const struct ram_gemm_pack *job, uint32_t *out);

#endif
#endif
