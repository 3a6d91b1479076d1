/*
 * gemm_amx.c - the matrix product in bf16 with AMX: TDPBF16PS multiplies a 16 x 32 tile of A by a
 * 32 x 16 tile of B (16 rows of 16 pairs) into a 16 x 16 tile of floats.
 *
 * A tile of C is 32 x 32, four tile registers, so that each step of 32 along k loads four tiles and
 * multiplies four times: loads take half the time of the multiplications. Panels of A lie as the
 * unit wants them, for each 16 units of k 32 lanes of 16 units (64 bytes) each; panels of B in the
 * ordinary order, which is the one that Intel calls VNNI. Both are padded with zeros to whole
 * tiles, so one configuration, all eight registers 16 rows of 64 bytes, serves every shape.
 *
 * The tile instructions stand behind six names, which a test may define otherwise before it
 * includes this file: the emulation in tests/kern/kern_gemm.c runs everything else here on
 * processors without the unit. The numbers of tile registers must be literals.
 */
#if defined(__x86_64__)
#include "kern/gemm_avx512.h"

#ifndef TILE_LOAD
#define AMX                                                                                        \
    __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define TILE_CONFIGURE(config)     _tile_loadconfig(config)
#define TILE_RELEASE()             _tile_release()
#define TILE_ZERO(t)               _tile_zero(t)
#define TILE_LOAD(t, p, stride)    _tile_loadd(t, p, stride)
#define TILE_STORE(t, p, stride)   _tile_stored(t, p, stride)
#define TILE_MULTIPLY_ADD(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

enum {
    ROWS = 16,  /* of a tile register */
    UNITS = 16, /* in a row of one: 64 bytes */
    MR = 2 * ROWS,
    NR = 2 * UNITS,
    N_TILES = 8
};

/* Intel SDM vol. 1, 18.2: palette 1 has 8 registers of up to 16 rows of 64 bytes. */
struct tile_config {
    uint8_t palette, start_row;
    uint8_t reserved[14];
    uint16_t row_size[16]; /* bytes */
    uint8_t rows[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "LDTILECFG reads 64 bytes");

AMX static void begin(void)
{
    _Alignas(64) struct tile_config config = {.palette = 1};

    for (int t = 0; t < N_TILES; t++) {
        config.row_size[t] = UNITS * sizeof(uint32_t);
        config.rows[t] = ROWS;
    }
    __asm__ volatile("" ::: "memory"); /* the intrinsics do not say that they read memory */
    TILE_CONFIGURE(&config);
}

AMX static void end(void)
{
    TILE_RELEASE();
}

/* Rows of C that fill no tile register go through this much memory. */
struct edge {
    _Alignas(64) float row[ROWS][NR];
};

/* Where the 16 rows from c on are loaded from and stored to, if only n of them are in C. */
static float *half_open(struct edge *edge, float *c, size_t *ldc, size_t n, bool add)
{
    if (n >= ROWS)
        return c;
    memset(edge, 0, sizeof *edge);
    for (size_t i = 0; add && i < n; i++)
        memcpy(edge->row[i], c + i * *ldc, sizeof edge->row[i]);
    *ldc = NR;
    return edge->row[0];
}

static void half_close(const struct edge *edge, float *c, size_t ldc, size_t n)
{
    for (size_t i = 0; n < ROWS && i < n; i++)
        memcpy(c + i * ldc, edge->row[i], sizeof edge->row[i]);
}

/* Up to 16 rows: registers 0 and 1 hold C, 4 holds A, 6 and 7 hold B. */
AMX static void tile_half(size_t n_units, const uint32_t *a, const uint32_t *b, float *c,
                          size_t ldc, bool add)
{
    const size_t c_stride = ldc * sizeof *c;

    __asm__ volatile("" ::: "memory");
    if (add) {
        TILE_LOAD(0, c, c_stride);
        TILE_LOAD(1, c + UNITS, c_stride);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
    }
    for (size_t u = 0; u < n_units; u += UNITS, a += MR * UNITS, b += NR * UNITS) {
        TILE_LOAD(4, a, UNITS * sizeof *a);
        TILE_LOAD(6, b, NR * sizeof *b);
        TILE_LOAD(7, b + UNITS, NR * sizeof *b);
        TILE_MULTIPLY_ADD(0, 4, 6);
        TILE_MULTIPLY_ADD(1, 4, 7);
    }
    TILE_STORE(0, c, c_stride);
    TILE_STORE(1, c + UNITS, c_stride);
}

/* 32 rows, the upper and the lower half of C apart: registers 2 and 3 hold the lower one. */
AMX static void tile_whole(size_t n_units, const uint32_t *a, const uint32_t *b, float *upper,
                           size_t upper_ld, float *lower, size_t lower_ld, bool add)
{
    const size_t upper_stride = upper_ld * sizeof *upper, lower_stride = lower_ld * sizeof *lower;

    __asm__ volatile("" ::: "memory");
    if (add) {
        TILE_LOAD(0, upper, upper_stride);
        TILE_LOAD(1, upper + UNITS, upper_stride);
        TILE_LOAD(2, lower, lower_stride);
        TILE_LOAD(3, lower + UNITS, lower_stride);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (size_t u = 0; u < n_units; u += UNITS, a += MR * UNITS, b += NR * UNITS) {
        TILE_LOAD(4, a, UNITS * sizeof *a);
        TILE_LOAD(6, b, NR * sizeof *b);
        TILE_MULTIPLY_ADD(0, 4, 6);
        TILE_LOAD(7, b + UNITS, NR * sizeof *b);
        TILE_MULTIPLY_ADD(1, 4, 7);
        TILE_LOAD(5, a + ROWS * UNITS, UNITS * sizeof *a);
        TILE_MULTIPLY_ADD(2, 5, 6);
        TILE_MULTIPLY_ADD(3, 5, 7);
    }
    TILE_STORE(0, upper, upper_stride);
    TILE_STORE(1, upper + UNITS, upper_stride);
    TILE_STORE(2, lower, lower_stride);
    TILE_STORE(3, lower + UNITS, lower_stride);
}

AMX static void tile(size_t n_units, const uint32_t *a, const uint32_t *b, float *c, size_t ldc,
                     size_t rows, bool add)
{
    const size_t n = rows < ROWS ? rows : rows - ROWS; /* in the half that may be partly filled */
    float *c_edge = rows < ROWS ? c : c + ROWS * ldc;
    size_t edge_ld = ldc;
    struct edge edge;

    if (rows == ROWS) {
        tile_half(n_units, a, b, c, ldc, add);
        return;
    }
    float *half = half_open(&edge, c_edge, &edge_ld, n, add);
    if (rows < ROWS)
        tile_half(n_units, a, b, half, edge_ld, add);
    else
        tile_whole(n_units, a, b, c, ldc, half, edge_ld, add);
    half_close(&edge, c_edge, ldc, n);
}

/* ---- packing A: 16 lanes x 16 units at a time, a lane's units together ---------------------- */

RAM_AVX512_INLINE void pack_block_k(enum ram_elem elem, const struct ram_gemm_pack *job,
                                    size_t lane, size_t u, uint32_t *out)
{
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2;
    const size_t k = 2 * u, left = job->n_k > k ? job->n_k - k : 0;
    const size_t n = left && job->n_lanes > lane ? job->n_lanes - lane : 0;
    const unsigned char *p = job->src.data;

    if (n)
        p += (lane * job->src.lane_stride + k) * size;
    for (size_t i = 0; i < ROWS; i++, out += UNITS)
        _mm512_store_si512(
            out, i < n ? ram_fetch_k(RAM_UNIT_PAIR, elem, p + i * job->src.lane_stride * size, left)
                       : _mm512_setzero_si512());
}

RAM_AVX512_INLINE void pack_block_lanes(enum ram_elem elem, const struct ram_gemm_pack *job,
                                        size_t lane, size_t u, uint32_t *out)
{
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2, stride = job->src.k_stride * size;
    const size_t n = job->n_lanes > lane ? job->n_lanes - lane : 0;
    _Alignas(64) unsigned char fetched[UNITS][64];

    for (size_t i = 0; i < UNITS; i++) {
        const size_t k = 2 * (u + i);
        const unsigned char *p = job->src.data;
        __m512i x = _mm512_setzero_si512();
        if (n && k < job->n_k) {
            p += k * stride + lane * size;
            x = ram_fetch_lanes(RAM_UNIT_PAIR, elem, p, k + 1 < job->n_k ? p + stride : NULL, n);
        }
        _mm512_store_si512(fetched[i], x);
    }
    for (size_t q = 0; q < ROWS; q += 4) {
        __m512i r[4];
        ram_transpose_four(fetched[0] + 4 * q, sizeof fetched[0], r);
        for (size_t i = 0; i < 4; i++)
            _mm512_store_si512(out + (q + i) * UNITS, r[i]);
    }
}

static void pack_block_any(const struct ram_gemm_pack *job, size_t lane, size_t u, uint32_t *out)
{
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < UNITS; j++)
            out[i * UNITS + j] = ram_gemm_unit(job, lane + i, u + j);
}

RAM_AVX512 static void pack_a(const struct ram_gemm_pack *job, uint32_t *out)
{
    const bool f32 = job->src.elem == RAM_ELEM_F32;

    for (size_t u = 0; u < job->n_units; u += UNITS) {
        for (size_t lane = 0; lane < MR; lane += ROWS, out += ROWS * UNITS) {
            if (job->src.k_stride == 1 && f32)
                pack_block_k(RAM_ELEM_F32, job, lane, u, out);
            else if (job->src.k_stride == 1)
                pack_block_k(RAM_ELEM_BF16, job, lane, u, out);
            else if (job->src.lane_stride == 1 && f32)
                pack_block_lanes(RAM_ELEM_F32, job, lane, u, out);
            else if (job->src.lane_stride == 1)
                pack_block_lanes(RAM_ELEM_BF16, job, lane, u, out);
            else
                pack_block_any(job, lane, u, out);
        }
    }
}

/* kc: a tile of C is read and written once for 32 KiB of A and 32 KiB of B; most of B stays in a
 * first cache of 48 KiB. This was not tuned on the processor; see docs/speed.md. */
const struct ram_gemm_kernel ram_gemm_amx_bf16 = {.name = "amx_bf16",
                                                  .k_unit = 2,
                                                  .mr = MR,
                                                  .nr = NR,
                                                  .unit_round = UNITS,
                                                  .kc = 256,
                                                  .mc = 16 * MR,
                                                  .mc_min = 2 * MR,
                                                  .pack_a = pack_a,
                                                  .pack_b = ram_gemm_pack_avx512,
                                                  .tile = tile,
                                                  .begin = begin,
                                                  .end = end};
#else
typedef int ram_gemm_amx_is_empty; /* ISO C forbids an empty translation unit */
#endif
