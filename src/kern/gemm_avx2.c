/*
 * gemm_avx2.c - the matrix product with AVX2 and FMA. A tile of C is 6 x 16: 12 accumulators, two
 * vectors of B and one broadcast element of A fill 15 of the 16 registers.
 */
#if defined(__x86_64__)
#include "kern/gemm_kernel.h"

#include <immintrin.h>

#define AVX2        __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((always_inline)) AVX2

enum { MR = 6, NR = 16, LANES = 8 };

AVX2_INLINE void tile_rows(size_t rows, size_t n_units, const uint32_t *a, const uint32_t *b,
                           float *c, size_t ldc, bool add)
{
    __m256 sum[MR][2];

#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        sum[i][0] = add ? _mm256_loadu_ps(c + i * ldc) : _mm256_setzero_ps();
        sum[i][1] = add ? _mm256_loadu_ps(c + i * ldc + LANES) : _mm256_setzero_ps();
    }
    for (size_t u = 0; u < n_units; u++, a += MR, b += NR) {
        const __m256 b0 = _mm256_castsi256_ps(_mm256_load_si256((const __m256i *)b));
        const __m256 b1 = _mm256_castsi256_ps(_mm256_load_si256((const __m256i *)(b + LANES)));
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            const __m256 ai = _mm256_castsi256_ps(_mm256_set1_epi32((int)a[i]));
            sum[i][0] = _mm256_fmadd_ps(ai, b0, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(ai, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        _mm256_storeu_ps(c + i * ldc, sum[i][0]);
        _mm256_storeu_ps(c + i * ldc + LANES, sum[i][1]);
    }
}

#define CASE(rows)                                                                                 \
    case rows:                                                                                     \
        tile_rows(rows, n_units, a, b, c, ldc, add);                                               \
        break;

AVX2 static void tile(size_t n_units, const uint32_t *a, const uint32_t *b, float *c, size_t ldc,
                      size_t rows, bool add)
{
    switch (rows) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
    }
}

/* ---- packing: whole 8 x 8 blocks here, the edges in plain C -------------------------------- */

/* Eight numbers in a row as floats. */
AVX2_INLINE __m256i fetch(enum ram_gemm_unit unit, enum ram_elem elem, const unsigned char *p)
{
    if (elem == RAM_ELEM_BF16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        return _mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16);
    }
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
    if (unit == RAM_UNIT_F32)
        return x;
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(x, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i rounded = _mm256_and_si256(sum, _mm256_set1_epi32(-0x10000));
    const __m256 f = _mm256_castsi256_ps(x);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(f, f, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), nan);
}

/* r[i] lane j becomes r[j] lane i. */
AVX2_INLINE void transpose8(__m256i r[8])
{
    __m256i t[8];

#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        const __m256i a = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        const __m256i b = _mm256_unpackhi_epi32(r[i], r[i + 1]);
        const __m256i c = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]);
        const __m256i d = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
        t[i] = _mm256_unpacklo_epi64(a, c);
        t[i + 1] = _mm256_unpackhi_epi64(a, c);
        t[i + 2] = _mm256_unpacklo_epi64(b, d);
        t[i + 3] = _mm256_unpackhi_epi64(b, d);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x31);
    }
}

AVX2_INLINE void store(uint32_t *out, __m256i x)
{
    _mm256_storeu_si256((__m256i *)out, x);
}

/*
 * Eight lanes from `lane` on. What a store writes beyond a panel's row is overwritten by the next
 * row, and beyond the panel is slack.
 */
AVX2_INLINE void pack_k(enum ram_gemm_unit unit, enum ram_elem elem,
                        const struct ram_gemm_pack *job, size_t lane, uint32_t *out)
{
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2, stride = job->src.lane_stride * size;
    const size_t end = lane + LANES < job->width ? lane + LANES : job->width;
    size_t u = 0;

    for (; u + LANES <= job->n_k; u += LANES) {
        const unsigned char *p = job->src.data + lane * stride + u * size;
        __m256i r[LANES];
#pragma GCC unroll 8
        for (size_t i = 0; i < LANES; i++)
            r[i] = fetch(unit, elem, p + i * stride);
        transpose8(r);
#pragma GCC unroll 8
        for (size_t i = 0; i < LANES; i++)
            store(out + (u + i) * job->width + lane, r[i]);
    }
    ram_gemm_pack_part(job, lane, end, u, out);
}

AVX2_INLINE void pack_lanes(enum ram_gemm_unit unit, enum ram_elem elem,
                            const struct ram_gemm_pack *job, size_t lane, uint32_t *out)
{
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2, stride = job->src.k_stride * size;
    const size_t end = lane + LANES < job->width ? lane + LANES : job->width;

    for (size_t u = 0; u < job->n_k; u++)
        store(out + u * job->width + lane,
              fetch(unit, elem, job->src.data + lane * size + u * stride));
    ram_gemm_pack_part(job, lane, end, job->n_k, out);
}

AVX2_INLINE void pack_elem(enum ram_gemm_unit unit, enum ram_elem elem,
                           const struct ram_gemm_pack *job, uint32_t *out)
{
    for (size_t lane = 0; lane < job->width; lane += LANES) {
        const bool whole = lane + LANES <= job->n_lanes;
        if (whole && job->src.k_stride == 1)
            pack_k(unit, elem, job, lane, out);
        else if (whole && job->src.lane_stride == 1)
            pack_lanes(unit, elem, job, lane, out);
        else
            ram_gemm_pack_part(job, lane, lane + LANES < job->width ? lane + LANES : job->width, 0,
                               out);
    }
}

AVX2 static void pack(const struct ram_gemm_pack *job, uint32_t *out)
{
    if (job->src.elem == RAM_ELEM_BF16)
        pack_elem(RAM_UNIT_F32, RAM_ELEM_BF16, job, out);
    else if (job->unit == RAM_UNIT_F32)
        pack_elem(RAM_UNIT_F32, RAM_ELEM_F32, job, out);
    else
        pack_elem(RAM_UNIT_ROUNDED, RAM_ELEM_F32, job, out);
}

const struct ram_gemm_kernel ram_gemm_avx2 = {.name = "avx2",
                                              .k_unit = 1,
                                              .mr = MR,
                                              .nr = NR,
                                              .unit_round = 1,
                                              .kc = 512,
                                              .mc = 24 * MR,
                                              .mc_min = 8 * MR,
                                              .pack_a = pack,
                                              .pack_b = pack,
                                              .tile = tile};
#else
typedef int ram_gemm_avx2_is_empty; /* ISO C forbids an empty translation unit */
#endif
