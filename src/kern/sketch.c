/*
 * sketch.c - see sketch.h.
 *
 * The packing of the matrix product puts sixteen rows of A side by side into vectors. Their 256
 * sums, 16 KiB, stay in the first cache, and so does the part of A that is packed at a time, 8 KiB.
 * A task has several such strips of sixteen rows, so that a cache line of A that covers more than
 * one strip is read only once.
 */
#include "kern/sketch.h"

#include "kern/gemm_kernel.h"

#include <string.h>

enum {
    Q = RAM_SKETCH_COLS,
    LANES = 16,
    STRIPS = 8, /* in a task */
    STEP = 128  /* units along k that are packed at a time */
};

void ram_sketch_draw(struct ram_rng rng, size_t k, uint16_t *places)
{
    enum { DRAWN = 6, BITS = 9 }; /* a place and a sign; only the first sign of a row counts */

    for (size_t i = 0; i < k * RAM_SKETCH_PLACES; i += DRAWN) {
        uint64_t bits = ram_rng_u64(rng, i / DRAWN);
        for (size_t j = i; j < i + DRAWN; j++, bits >>= BITS)
            places[j] = (uint16_t)(bits % Q * LANES + (bits / Q & (j % RAM_SKETCH_PLACES == 0)));
    }
}

struct work {
    const struct ram_gemm_kernel *kern;
    size_t n, k;
    struct ram_gemm_lanes a;
    const uint16_t *places;
    float *c;
    bool add;
};

typedef float sums[Q][LANES];

static void load_sums(const struct work *work, size_t row, sums to)
{
    memset(to, 0, sizeof(sums));
    for (size_t i = row; work->add && i < row + LANES && i < work->n; i++)
        for (size_t q = 0; q < Q; q++)
            to[q][i - row] = work->c[i * Q + q];
}

static void store_sums(const struct work *work, size_t row, sums from)
{
    for (size_t i = row; i < row + LANES && i < work->n; i++)
        for (size_t q = 0; q < Q; q++)
            work->c[i * Q + q] = from[q][i - row];
}

/* Units [k, k + n) of the strip that begins at `row`. */
static void add_strip(const struct work *work, size_t row, size_t k, size_t n, sums into)
{
    _Alignas(64) uint32_t packed[STEP * LANES + RAM_GEMM_SLACK];
    const size_t size = work->a.elem == RAM_ELEM_F32 ? sizeof(float) : sizeof(uint16_t);
    struct ram_gemm_pack job = {.src = work->a,
                                .unit = RAM_UNIT_F32,
                                .n_lanes = work->n - row,
                                .n_k = n,
                                .width = LANES,
                                .n_units = n};

    job.src.data += (row * work->a.lane_stride + k * work->a.k_stride) * size;
    work->kern->pack_a(&job, packed);
    ram_kern()->scatter((const float *)packed, n, work->places + k * RAM_SKETCH_PLACES, into[0]);
}

static int run_task(void *ctx, size_t task, unsigned worker, struct ram_err *err)
{
    const struct work *work = ctx;
    const size_t row = task * STRIPS * LANES;
    _Alignas(64) sums strips[STRIPS];

    (void)worker, (void)err;
    for (size_t s = 0; s < STRIPS; s++)
        load_sums(work, row + s * LANES, strips[s]);
    for (size_t k = 0; k < work->k; k += STEP)
        for (size_t s = 0; s < STRIPS && row + s * LANES < work->n; s++)
            add_strip(work, row + s * LANES, k, work->k - k < STEP ? work->k - k : STEP, strips[s]);
    for (size_t s = 0; s < STRIPS; s++)
        store_sums(work, row + s * LANES, strips[s]);
    return RAM_OK;
}

int ram_sketch(size_t n, size_t k, struct ram_mat a, const uint16_t *places, float *c,
               bool accumulate, struct ram_pool *pool, struct ram_err *err)
{
    const struct ram_gemm_kernel *kernels[RAM_GEMM_KERNELS];
    struct work work = {.kern = kernels[ram_gemm_all(RAM_GEMM_F32, kernels) - 1],
                        .n = n,
                        .k = k,
                        .a = {.data = a.data,
                              .elem = a.elem,
                              .lane_stride = a.row_stride,
                              .k_stride = a.col_stride},
                        .places = places,
                        .c = c,
                        .add = accumulate};

    return ram_pool_for(pool, (n + STRIPS * LANES - 1) / (STRIPS * LANES), run_task, &work, err);
}
