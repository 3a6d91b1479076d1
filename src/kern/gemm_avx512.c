/*
 * gemm_avx512.c - the matrix product with AVX-512: FMA, and VDPBF16PS for pairs of bf16.
 *
 * A tile of C is 14 x 32: 28 accumulators, two vectors of B and one broadcast element of A fill
 * 31 of the 32 registers; 28 independent sums hide the latency of two multipliers.
 */
#if defined(__x86_64__)
#include "kern/gemm_avx512.h"

enum {
    MR = 14,
    NR = 32,
    LANES = 16,
    AHEAD = 512,    /* bytes of a lane that are prefetched before they are packed (docs/speed.md) */
    ROWS_AHEAD = 16 /* rows that are prefetched where lanes are adjacent in memory */
};

RAM_AVX512_INLINE __m512 multiply_add(bool pairs, __m512 a, __m512 b, __m512 sum)
{
    if (pairs)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    return _mm512_fmadd_ps(a, b, sum);
}

RAM_AVX512_INLINE void tile_rows(size_t rows, bool pairs, size_t n_units, const uint32_t *a,
                                 const uint32_t *b, float *c, size_t ldc, bool add)
{
    __m512 sum[MR][2];

#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++) {
        sum[i][0] = add ? _mm512_loadu_ps(c + i * ldc) : _mm512_setzero_ps();
        sum[i][1] = add ? _mm512_loadu_ps(c + i * ldc + LANES) : _mm512_setzero_ps();
    }
    for (size_t u = 0; u < n_units; u++, a += MR, b += NR) {
        const __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + LANES);
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512 ai = _mm512_castsi512_ps(_mm512_set1_epi32((int)a[i]));
            sum[i][0] = multiply_add(pairs, ai, b0, sum[i][0]);
            sum[i][1] = multiply_add(pairs, ai, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++) {
        _mm512_storeu_ps(c + i * ldc, sum[i][0]);
        _mm512_storeu_ps(c + i * ldc + LANES, sum[i][1]);
    }
}

RAM_AVX512_INLINE void tile_any(bool pairs, size_t n_units, const uint32_t *a, const uint32_t *b,
                                float *c, size_t ldc, size_t rows, bool add)
{
    switch (rows) {
        RAM_ROWS_TO_12(tile_rows, pairs, n_units, a, b, c, ldc, add)
        RAM_ROWS_CASE(13, tile_rows, pairs, n_units, a, b, c, ldc, add)
        RAM_ROWS_CASE(14, tile_rows, pairs, n_units, a, b, c, ldc, add)
    }
}

RAM_AVX512 static void tile_f32(size_t n_units, const uint32_t *a, const uint32_t *b, float *c,
                                size_t ldc, size_t rows, bool add)
{
    tile_any(false, n_units, a, b, c, ldc, rows, add);
}

RAM_AVX512 static void tile_pairs(size_t n_units, const uint32_t *a, const uint32_t *b, float *c,
                                  size_t ldc, size_t rows, bool add)
{
    tile_any(true, n_units, a, b, c, ldc, rows, add);
}

/* ---- packing ------------------------------------------------------------------------------ */

/*
 * Sixteen units (32 if they are split) of sixteen lanes that lie `stride` bytes apart, transposed;
 * only the first n of them belong to the panel. Stores are whole vectors: what they write beyond a
 * panel's row is overwritten by the next row, and beyond the panel is slack.
 */
RAM_AVX512_INLINE void pack_block(bool split, const unsigned char *p, size_t stride, size_t n,
                                  size_t width, uint32_t *out)
{
    const __m512i high = _mm512_set1_epi32(-0x10000);

#pragma GCC unroll 4
    for (size_t q = 0; q < 4; q++) {
        __m512i r[4];
        ram_transpose_four(p + 16 * q, stride, r);
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const size_t u = (4 * q + i) * (split ? 2 : 1);
            if (u < n)
                _mm512_storeu_si512(out + u * width, split ? _mm512_slli_epi32(r[i], 16) : r[i]);
            if (split && u + 1 < n)
                _mm512_storeu_si512(out + (u + 1) * width, _mm512_and_si512(r[i], high));
        }
    }
}

/*
 * Sixteen lanes from `lane` on, whose elements along k are adjacent in memory. A block is copied
 * together before it is transposed: the rows of a model are multiples of 4 KiB apart, so that their
 * lines compete for one set of the first cache and should be read only once. bf16 is transposed in
 * pairs and widened to floats afterwards, which halves the number of shuffles.
 */
RAM_AVX512_INLINE void pack_k(enum ram_gemm_unit unit, enum ram_elem elem,
                              const struct ram_gemm_pack *job, size_t lane, uint32_t *out)
{
    const bool split = unit != RAM_UNIT_PAIR && elem == RAM_ELEM_BF16;
    const enum ram_gemm_unit pair = split ? RAM_UNIT_PAIR : unit;
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2, stride = job->src.lane_stride * size;
    const size_t step = split ? 32 : 16, step_k = unit == RAM_UNIT_PAIR ? 32 : step;
    const size_t end = job->n_lanes < job->width ? job->n_lanes : job->width;
    const size_t n_lanes = end > lane ? end - lane : 0;
    const unsigned char *p = job->src.data + (n_lanes ? lane * stride : 0);
    size_t left = job->n_k;
    _Alignas(64) unsigned char shaped[16][64];

    out += lane;
    for (size_t u = 0; u < job->n_units; u += step, out += step * job->width) {
        const size_t n = job->n_units - u < step ? job->n_units - u : step;
        if (n_lanes >= 16 && left >= step_k) {
#pragma GCC unroll 16
            for (size_t i = 0; i < 16; i++) {
                _mm_prefetch((const char *)p + i * stride + AHEAD, _MM_HINT_T1);
                _mm512_store_si512(shaped[i], ram_fetch_k(pair, elem, p + i * stride, step_k));
            }
        } else {
            for (size_t i = 0; i < 16; i++)
                _mm512_store_si512(shaped[i], i < n_lanes
                                                  ? ram_fetch_k(pair, elem, p + i * stride, left)
                                                  : _mm512_setzero_si512());
        }
        pack_block(split, shaped[0], 64, n, job->width, out);
        p += left > step_k ? step_k * size : 0;
        left -= left < step_k ? left : step_k;
    }
}

/* Where lanes run through memory: panels `stride` units apart, row by row, so that a line that two
 * panels share is read once. */
RAM_AVX512_INLINE void pack_lanes(enum ram_gemm_unit unit, enum ram_elem elem,
                                  const struct ram_gemm_pack *job, size_t n_lanes, size_t stride,
                                  uint32_t *out)
{
    const size_t k_unit = unit == RAM_UNIT_PAIR ? 2 : 1, size = elem == RAM_ELEM_F32 ? 4 : 2;
    const size_t row = job->src.k_stride * size;
    const unsigned char *p = job->src.data;

    for (size_t u = 0; u < job->n_units; u++, out += job->width) {
        const size_t k = u * k_unit, end = k < job->n_k ? n_lanes : 0;
        const unsigned char *next = k + 1 < job->n_k ? p + row : NULL;
        uint32_t *panel = out;
        for (size_t first = 0; first < n_lanes; first += job->width, panel += stride) {
            for (size_t i = 0; i < job->width; i += 16) {
                const size_t lane = first + i, at = lane * size;
                __m512i x = _mm512_setzero_si512();
                _mm_prefetch((const char *)p + at + ROWS_AHEAD * row, _MM_HINT_T0);
                if (lane + 16 <= end && next)
                    x = ram_fetch_lanes(unit, elem, p + at, next + at, 16);
                else if (lane < end)
                    x = ram_fetch_lanes(unit, elem, p + at, next ? next + at : NULL, end - lane);
                _mm512_storeu_si512(panel + i, x);
            }
        }
        if (k + k_unit < job->n_k)
            p += k_unit * row;
    }
}

RAM_AVX512_INLINE void pack_elem(enum ram_gemm_unit unit, enum ram_elem elem,
                                 const struct ram_gemm_pack *job, uint32_t *out)
{
    if (job->src.lane_stride == 1)
        pack_lanes(unit, elem, job, job->n_lanes < job->width ? job->n_lanes : job->width, 0, out);
    else
        for (size_t lane = 0; lane < job->width; lane += 16)
            pack_k(unit, elem, job, lane, out);
}

RAM_AVX512_INLINE void pack_unit(enum ram_gemm_unit unit, const struct ram_gemm_pack *job,
                                 uint32_t *out)
{
    if (job->src.elem == RAM_ELEM_F32)
        pack_elem(unit, RAM_ELEM_F32, job, out);
    else
        pack_elem(unit, RAM_ELEM_BF16, job, out);
}

RAM_AVX512 void ram_gemm_pack_avx512(const struct ram_gemm_pack *job, uint32_t *out)
{
    if (job->src.lane_stride != 1 && job->src.k_stride != 1)
        ram_gemm_pack_ref(job, out);
    else if (job->unit == RAM_UNIT_F32)
        pack_unit(RAM_UNIT_F32, job, out);
    else if (job->unit == RAM_UNIT_ROUNDED)
        pack_unit(RAM_UNIT_ROUNDED, job, out);
    else
        pack_unit(RAM_UNIT_PAIR, job, out);
}

RAM_AVX512_INLINE void pack_rows_unit(enum ram_gemm_unit unit, const struct ram_gemm_pack *job,
                                      size_t stride, uint32_t *out)
{
    if (job->src.elem == RAM_ELEM_F32)
        pack_lanes(unit, RAM_ELEM_F32, job, job->n_lanes, stride, out);
    else
        pack_lanes(unit, RAM_ELEM_BF16, job, job->n_lanes, stride, out);
}

/* The units that kernels with this packing know: floats, and pairs. */
RAM_AVX512 static void pack_rows(const struct ram_gemm_pack *job, size_t stride, uint32_t *out)
{
    if (job->unit == RAM_UNIT_PAIR)
        pack_rows_unit(RAM_UNIT_PAIR, job, stride, out);
    else if (job->unit == RAM_UNIT_ROUNDED)
        pack_rows_unit(RAM_UNIT_ROUNDED, job, stride, out);
    else
        pack_rows_unit(RAM_UNIT_F32, job, stride, out);
}

const struct ram_gemm_kernel ram_gemm_avx512 = {.name = "avx512",
                                                .k_unit = 1,
                                                .mr = MR,
                                                .nr = NR,
                                                .unit_round = 1,
                                                .kc = 512,
                                                .mc = 12 * MR,
                                                .mc_min = 4 * MR,
                                                .pack_a = ram_gemm_pack_avx512,
                                                .pack_b = ram_gemm_pack_avx512,
                                                .pack_rows = pack_rows,
                                                .tile = tile_f32};

const struct ram_gemm_kernel ram_gemm_avx512_bf16 = {.name = "avx512_bf16",
                                                     .k_unit = 2,
                                                     .mr = MR,
                                                     .nr = NR,
                                                     .unit_round = 1,
                                                     .kc = 512,
                                                     .mc = 12 * MR,
                                                     .mc_min = 4 * MR,
                                                     .pack_a = ram_gemm_pack_avx512,
                                                     .pack_b = ram_gemm_pack_avx512,
                                                     .pack_rows = pack_rows,
                                                     .tile = tile_pairs};
#else
typedef int ram_gemm_avx512_is_empty; /* ISO C forbids an empty translation unit */
#endif
