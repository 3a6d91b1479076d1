/*
 * gemm_vnni.c - the matrix product in int8 with AVX512-VNNI: VPDPBUSD adds four products of bytes
 * to each int32. Numbers are rounded to bytes while they are packed.
 *
 * The instruction multiplies unsigned by signed bytes. 128 is therefore added to the bytes of B,
 * which adds 128 times the sum of a row of A to all elements of that row of C. The tile computes
 * these sums, too, and subtracts them; that is half as much work as another row. A tile of C is 12
 * x 32: 24 accumulators, those of the sums, two vectors of B and one broadcast element of A fit
 * into the registers.
 */
#if defined(__x86_64__)
#include "kern/gemm_avx512.h"

#define VNNI        __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#define VNNI_INLINE static inline __attribute__((always_inline)) VNNI

enum {
    MR = 12,
    NR = 32,
    LANES = 16,
    QUADS = 16, /* of a lane that are packed at a time ... */
    STEP = 4 * QUADS,
    AHEAD = 512,    /* bytes of a lane that are prefetched before they are packed (docs/speed.md) */
    ROWS_AHEAD = 16 /* rows that are prefetched where lanes are adjacent in memory */
};

/* _mm512_dpbusd_epi32(*sum, b, _mm512_set1_epi32(*a)), with which gcc 12 copies every sum to and
 * from memory. */
VNNI_INLINE void add_products(__m512i *sum, __m512i b, const uint32_t *a)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(b), "m"(*a));
}

VNNI_INLINE void tile_rows(size_t rows, size_t n_units, const uint32_t *a, const uint32_t *b,
                           float *c, size_t ldc, bool add)
{
    const __m512i offset = _mm512_set1_epi32((int)0x80808080);
    __m512i sum[MR][2], excess = _mm512_setzero_si512(); /* of a row in each lane */
    _Alignas(64) int32_t less[LANES];

#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_si512();
    for (size_t u = 0; u < n_units; u++, a += MR, b += NR) {
        const __m512i b0 = _mm512_xor_si512(_mm512_load_si512(b), offset);
        const __m512i b1 = _mm512_xor_si512(_mm512_load_si512(b + LANES), offset);
        excess = _mm512_dpbusd_epi32(excess, offset, _mm512_loadu_si512(a));
#pragma GCC unroll 12
        for (size_t i = 0; i < rows; i++) {
            add_products(&sum[i][0], b0, a + i);
            add_products(&sum[i][1], b1, a + i);
        }
    }
    _mm512_store_si512(less, excess);
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            float *to = c + i * ldc + h * LANES;
            const __m512 x =
                _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[i][h], _mm512_set1_epi32(less[i])));
            _mm512_storeu_ps(to, add ? _mm512_add_ps(_mm512_loadu_ps(to), x) : x);
        }
    }
}

VNNI static void tile(size_t n_units, const uint32_t *a, const uint32_t *b, float *c, size_t ldc,
                      size_t rows, bool add)
{
    switch (rows) {
        RAM_ROWS_TO_12(tile_rows, n_units, a, b, c, ldc, add)
    }
}

/* ---- packing ------------------------------------------------------------------------------ */

/* What a panel is made of, where the compiler sees that no store changes it. */
struct source {
    const unsigned char *data;
    enum ram_elem elem;
    size_t lane_stride, k_stride; /* bytes */
    const float *lane_scale, *k_scale;
    size_t n_lanes, n_k, n_units, width;
};

RAM_AVX512_INLINE struct source source_of(enum ram_elem elem, const struct ram_gemm_pack *job)
{
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2;

    return (struct source){.data = job->src.data,
                           .elem = elem,
                           .lane_stride = job->src.lane_stride * size,
                           .k_stride = job->src.k_stride * size,
                           .lane_scale = job->src.lane_scale,
                           .k_scale = job->src.k_scale,
                           .n_lanes = job->n_lanes,
                           .n_k = job->n_k,
                           .n_units = job->n_units,
                           .width = job->width};
}

/* The n <= 16 numbers at p times their scales, to the nearest integer; zeros beyond them. */
RAM_AVX512_INLINE __m512i integers(enum ram_elem elem, const unsigned char *p, size_t n,
                                   __m512 lane_scale, __m512 k_scale)
{
    const __m512 x = _mm512_castsi512_ps(ram_fetch_floats(RAM_UNIT_F32, elem, p, n));
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_mul_ps(x, lane_scale), k_scale));
}

RAM_AVX512_INLINE __m512 scales(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)ram_low_bits(n < 16 ? n : 16), p);
}

/* 64 numbers of a lane from k on, of which n are left, as bytes. */
RAM_AVX512_INLINE void lane_bytes(const struct source *src, size_t lane, size_t k, size_t n,
                                  unsigned char out[STEP])
{
    const size_t size = src->elem == RAM_ELEM_F32 ? 4 : 2;
    const unsigned char *p = src->data + lane * src->lane_stride + k * size;
    const __m512 lane_scale = _mm512_set1_ps(src->lane_scale[lane]);

    _mm_prefetch((const char *)(p + AHEAD), _MM_HINT_T1);
#pragma GCC unroll 4
    for (size_t j = 0; j < STEP; j += 16) {
        const size_t left = n > j ? n - j : 0, here = left ? j : 0;
        const __m512i x = integers(src->elem, p + here * size, left < 16 ? left : 16, lane_scale,
                                   scales(src->k_scale + k + here, left));
        _mm_store_si128((void *)(out + j), _mm512_cvtepi32_epi8(x));
    }
}

/* 16 lanes from `lane` on, k running through memory; brought together, then transposed. */
RAM_AVX512_INLINE void pack_k(const struct source *src, size_t lane, uint32_t *out)
{
    const size_t end = src->n_lanes < src->width ? src->n_lanes : src->width;
    const size_t n_lanes = end > lane + LANES ? LANES : end > lane ? end - lane : 0;
    _Alignas(64) unsigned char shaped[LANES][STEP] = {{0}};

    for (size_t u = 0, k = 0; u < src->n_units; u += QUADS, k += STEP) {
        const size_t n = src->n_units - u < QUADS ? src->n_units - u : QUADS;
        for (size_t i = 0; i < n_lanes && k + STEP <= src->n_k; i++)
            lane_bytes(src, lane + i, k, STEP, shaped[i]);
        for (size_t i = 0; i < n_lanes && k + STEP > src->n_k; i++)
            if (k < src->n_k)
                lane_bytes(src, lane + i, k, src->n_k - k, shaped[i]);
            else
                memset(shaped[i], 0, STEP);
#pragma GCC unroll 4
        for (size_t q = 0; q < QUADS; q += 4) {
            __m512i r[4];
            ram_transpose_four(shaped[0] + 4 * q, STEP, r);
#pragma GCC unroll 4
            for (size_t i = 0; i < 4; i++)
                if (q + i < n)
                    _mm512_storeu_si512(out + (u + q + i) * src->width + lane, r[i]);
        }
    }
}

/* The quads k to k + 3 of n <= 16 lanes that lie together; n_k numbers of each are left. */
RAM_AVX512_INLINE __m512i quads(const struct source *src, size_t lane, size_t n, size_t k,
                                size_t n_k)
{
    const size_t size = src->elem == RAM_ELEM_F32 ? 4 : 2;
    const unsigned char *p = src->data + k * src->k_stride + lane * size;
    const __m512 lane_scale = scales(src->lane_scale + lane, n);
    const __m512i low = _mm512_set1_epi32(0xff);
    __m512i x[4];

#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++, p += src->k_stride) {
        _mm_prefetch((const char *)(p + ROWS_AHEAD * src->k_stride), _MM_HINT_T0);
        x[i] = i < n_k ? integers(src->elem, p, n, lane_scale, _mm512_set1_ps(src->k_scale[k + i]))
                       : _mm512_setzero_si512();
    }
    const __m512i even = _mm512_or_si512(_mm512_and_si512(x[0], low),
                                         _mm512_slli_epi32(_mm512_and_si512(x[2], low), 16));
    const __m512i odd = _mm512_or_si512(_mm512_slli_epi32(_mm512_and_si512(x[1], low), 8),
                                        _mm512_slli_epi32(x[3], 24));
    return _mm512_or_si512(even, odd);
}

/* Where lanes run through memory: all panels, `stride` units apart, row by row. */
RAM_AVX512_INLINE void pack_lanes(const struct source *src, size_t n_lanes, size_t stride,
                                  uint32_t *out)
{
    for (size_t u = 0, k = 0; u < src->n_units; u++, k += 4, out += src->width) {
        const size_t left = k < src->n_k ? src->n_k - k : 0, end = left ? n_lanes : 0;
        uint32_t *panel = out;
        for (size_t first = 0; first < n_lanes; first += src->width, panel += stride) {
            for (size_t i = 0; i < src->width; i += LANES) {
                const size_t lane = first + i;
                __m512i x = _mm512_setzero_si512();
                if (lane + LANES <= end && left >= 4)
                    x = quads(src, lane, LANES, k, 4);
                else if (lane < end)
                    x = quads(src, lane, end - lane < LANES ? end - lane : LANES, k, left);
                _mm512_storeu_si512(panel + i, x);
            }
        }
    }
}

RAM_AVX512_INLINE void pack_elem(enum ram_elem elem, const struct ram_gemm_pack *job, uint32_t *out)
{
    const struct source src = source_of(elem, job);

    if (job->src.lane_stride == 1)
        pack_lanes(&src, src.n_lanes < src.width ? src.n_lanes : src.width, 0, out);
    else
        for (size_t lane = 0; lane < src.width; lane += LANES)
            pack_k(&src, lane, out);
}

RAM_AVX512 static void pack(const struct ram_gemm_pack *job, uint32_t *out)
{
    if (job->src.lane_stride != 1 && job->src.k_stride != 1)
        ram_gemm_pack_ref(job, out);
    else if (job->src.elem == RAM_ELEM_F32)
        pack_elem(RAM_ELEM_F32, job, out);
    else
        pack_elem(RAM_ELEM_BF16, job, out);
}

RAM_AVX512_INLINE void pack_rows_elem(enum ram_elem elem, const struct ram_gemm_pack *job,
                                      size_t stride, uint32_t *out)
{
    const struct source src = source_of(elem, job);
    pack_lanes(&src, src.n_lanes, stride, out);
}

RAM_AVX512 static void pack_rows(const struct ram_gemm_pack *job, size_t stride, uint32_t *out)
{
    if (job->src.elem == RAM_ELEM_F32)
        pack_rows_elem(RAM_ELEM_F32, job, stride, out);
    else
        pack_rows_elem(RAM_ELEM_BF16, job, stride, out);
}

const struct ram_gemm_kernel ram_gemm_avx512_vnni = {.name = "avx512_vnni",
                                                     .k_unit = 4,
                                                     .mr = MR,
                                                     .nr = NR,
                                                     .unit_round = 1,
                                                     .kc = 512,
                                                     .mc = 12 * MR,
                                                     .mc_min = 4 * MR,
                                                     .pack_a = pack,
                                                     .pack_b = pack,
                                                     .pack_rows = pack_rows,
                                                     .tile = tile};
#else
typedef int ram_gemm_vnni_is_empty; /* ISO C forbids an empty translation unit */
#endif
