/*
 * gemm.c - the matrix product: schedule and blocking; the kernels are in gemm_<family>.c.
 *
 * It follows Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008) and
 * BLIS: blocks of A and B are packed into panels whose order is the order in which a tile of C in
 * registers consumes them. There are two schedules:
 *
 *   few rows   packed A as a whole is small and is kept; every task owns some columns of C, packs
 *              the B panel that they need and uses it at once. With one row this is one pass over
 *              B in memory order.
 *   many rows  a block of B is packed for all threads, and every task owns some rows of C. The
 *              k-blocks are outermost, so a transposed A is read by whole rows, front to back.
 *
 * Every element of C is one sum over increasing k, carried from k-block to k-block through C itself
 * (exactly: both are f32). So neither the blocking nor the threads can be seen in the result, and
 * in RAM_GEMM_F32 mode, where each step is one fused multiply-add, nor can the kernel (but for the
 * payload of a NaN).
 *
 * RAM_GEMM_BF16, for an element c of C over k products of bf16 numbers a, b:
 *
 *   |c - exact| <= (k + 2) 2^-23 sum |a b|  +  (k + 2) 2^-125
 *
 * where operands below 2^-126 count as zero. A product of two bf16 is exact in f32; each of at
 * most k + 2 additions errs by at most one unit in the last place (2^-23: the round-to-odd of
 * NEON's BFDOT; half of it for the round-to-nearest of TDPBF16PS, VDPBF16PS and FMA); the last
 * term is for the flush to zero of results below 2^-126, which those instructions do whatever the
 * control register says (Intel SDM vol. 2, VDPBF16PS and TDPBF16PS).
 *
 * RAM_GEMM_INT8: operands are rounded to int8 as gemm_kernel.h says; sums over a k-block, at most
 * 2,048 products, are exact in int32, then rounded to f32 and added to C.
 *
 * A call allocates at most SHARED_UNITS * 4 bytes (4 MiB), and per thread a kernel's block of A or
 * panel of B (under 1 MiB).
 */
#include "kern/gemm_kernel.h"

#include "base/cpu.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum {
    SHARED_UNITS = 1 << 20, /* packed memory that all threads read */
    FEW_UNITS = 1 << 19,    /* up to this size packed A is kept as a whole */
    FEW_KC = 128,           /* units of a k-block for very few rows */
    TASK_PANELS = 2,        /* few rows: panels of B in a task */
    TASKS = 16,             /* many rows: the minimum number of tasks, as far as mc_min allows */
    BAND = 16,              /* units of k that are packed across all panels in turn */
    GROUP = 8,              /* panels of B that are packed together */
    SPAN_UNITS = 512,       /* units of a k-strided A that are taken at a time */
    TILE_MAX = 32 * 32,
    FLIP_ROWS = 4096,
    MIRROR = 16 /* floats in a cache line of C */
};

struct work {
    const struct ram_gemm_kernel *kern;
    struct ram_gemm_call call;
    enum ram_gemm_unit unit;
    size_t n_units; /* units along k, rounded up to a multiple that the kernel can take */
    uint32_t *shared;
    uint32_t *own; /* own_units for each worker */
    size_t own_units;
    size_t a_stride; /* few rows: units from a packed panel of A to the next */
    size_t kc;       /* few rows: units of a k-block */
    /* many rows: the block of B that is packed now */
    size_t j0, n_panels; /* columns [j0, ...), in panels of nr */
    size_t u0, u1;       /* units [u0, u1) of k, in sub-blocks of kc */
    size_t mc;
};

/* The part of `src` that begins at a lane and a k. */
static struct ram_gemm_lanes lanes_from(struct ram_gemm_lanes src, size_t lane, size_t k)
{
    const size_t size = src.elem == RAM_ELEM_F32 ? 4 : 2;

    src.data += (lane * src.lane_stride + k * src.k_stride) * size;
    src.lane_scale = src.lane_scale ? src.lane_scale + lane : NULL;
    src.k_scale = src.k_scale ? src.k_scale + k : NULL;
    return src;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t round_up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}

/* A part of an operand: units [u, u + n_units) of lanes [lane0, lane1). */
struct part {
    const struct ram_gemm_lanes *src;
    size_t all_lanes, lane0, lane1;
    size_t u, n_units;
    size_t width; /* of a panel */
    void (*pack)(const struct ram_gemm_pack *job, uint32_t *out);
};

static struct part part_of_a(const struct work *work, size_t i0, size_t i1, size_t u,
                             size_t n_units)
{
    return (struct part){.src = &work->call.a,
                         .all_lanes = work->call.m,
                         .lane0 = i0,
                         .lane1 = i1,
                         .u = u,
                         .n_units = n_units,
                         .width = work->kern->mr,
                         .pack = work->kern->pack_a};
}

static struct part part_of_b(const struct work *work, size_t j0, size_t j1, size_t u,
                             size_t n_units)
{
    return (struct part){.src = &work->call.b,
                         .all_lanes = work->call.n,
                         .lane0 = j0,
                         .lane1 = j1,
                         .u = u,
                         .n_units = n_units,
                         .width = work->kern->nr,
                         .pack = work->kern->pack_b};
}

/*
 * Packs a part into panels that lie `stride` units apart. A source whose lanes are adjacent in
 * memory is read in bands across all panels, so that each of its cache lines and pages is used
 * completely while it is in the cache.
 */
static void pack_part(const struct work *work, const struct part *part, uint32_t *out,
                      size_t stride)
{
    const struct ram_gemm_lanes *src = part->src;
    const size_t k_unit = work->kern->k_unit;
    const size_t step = src->lane_stride == 1 ? BAND : part->n_units;

    if (src->lane_stride == 1 && work->kern->pack_rows) {
        const size_t k0 = least(part->u * k_unit, work->call.k);
        const struct ram_gemm_pack job = {.src = lanes_from(*src, part->lane0, k0),
                                          .unit = work->unit,
                                          .n_lanes = part->lane1 - part->lane0,
                                          .n_k = least(part->n_units * k_unit, work->call.k - k0),
                                          .width = part->width,
                                          .n_units = part->n_units};
        work->kern->pack_rows(&job, stride, out);
        return;
    }
    for (size_t v = 0; v < part->n_units; v += step) {
        const size_t n_units = least(step, part->n_units - v);
        const size_t k0 = least((part->u + v) * k_unit, work->call.k);
        uint32_t *panel = out + v * part->width;
        for (size_t lane = part->lane0; lane < part->lane1; lane += part->width, panel += stride) {
            const struct ram_gemm_pack job = {.src = lanes_from(*src, lane, k0),
                                              .unit = work->unit,
                                              .n_lanes = part->all_lanes - lane,
                                              .n_k = least(n_units * k_unit, work->call.k - k0),
                                              .width = part->width,
                                              .n_units = n_units};
            part->pack(&job, panel);
        }
    }
}

/* Adds n_units along k to the tile of C at (i, j). */
static void multiply(const struct work *work, size_t i, size_t j, size_t n_units, const uint32_t *a,
                     const uint32_t *b, bool add)
{
    const struct ram_gemm_call *call = &work->call;
    const struct ram_gemm_kernel *kern = work->kern;
    const size_t rows = least(kern->mr, call->m - i), cols = least(kern->nr, call->n - j);
    float *c = call->c + i * call->ldc + j;
    _Alignas(64) float edge[TILE_MAX];

    if (call->lower && j >= i + rows)
        return;
    if (cols == kern->nr) {
        kern->tile(n_units, a, b, c, call->ldc, rows, add);
        return;
    }
    memset(edge, 0, sizeof edge);
    for (size_t r = 0; add && r < rows; r++)
        memcpy(edge + r * kern->nr, c + r * call->ldc, cols * sizeof *c);
    kern->tile(n_units, a, b, edge, kern->nr, rows, add);
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * call->ldc, edge + r * kern->nr, cols * sizeof *c);
}

/* Prefetches the next tile of C while this one is computed: its rows are far apart in memory. */
static void prefetch(const struct work *work, size_t i, size_t j)
{
    const struct ram_gemm_call *call = &work->call;
    const size_t end = least(i + work->kern->mr, call->m);
    const size_t cols = least(work->kern->nr, call->n - j), line = 64 / sizeof(float);

    for (; i < end; i++)
        for (size_t x = 0; x < cols; x += line)
            __builtin_prefetch(call->c + i * call->ldc + j + x, 1);
}

/* ---- few rows ----------------------------------------------------------------------------- */

static int few_pack(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct work *work = ctx;
    const size_t mr = work->kern->mr;
    const struct part part =
        part_of_a(work, i * mr, least((i + 1) * mr, work->call.m), 0, work->n_units);

    (void)worker, (void)err;
    pack_part(work, &part, work->shared + i * work->a_stride, work->a_stride);
    return RAM_OK;
}

static void few_panel(const struct work *work, size_t j, uint32_t *packed)
{
    const struct ram_gemm_kernel *kern = work->kern;

    for (size_t u = 0; u < work->n_units; u += work->kc) {
        const size_t n = least(work->kc, work->n_units - u);
        const struct part part = part_of_b(work, j, least(j + kern->nr, work->call.n), u, n);
        pack_part(work, &part, packed, 0);
        const uint32_t *a = work->shared + u * kern->mr;
        for (size_t i = 0; i < work->call.m; i += kern->mr, a += work->a_stride)
            multiply(work, i, j, n, a, packed, work->call.add || u > 0);
    }
}

static int few_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct work *work = ctx;
    const struct ram_gemm_kernel *kern = work->kern;
    const size_t span = TASK_PANELS * kern->nr;
    const size_t end = least((i + 1) * span, work->call.n);

    (void)err;
    if (kern->begin)
        kern->begin();
    for (size_t j = i * span; j < end; j += kern->nr)
        few_panel(work, j, work->own + worker * work->own_units);
    if (kern->end)
        kern->end();
    return RAM_OK;
}

static int run_few(struct work *work, struct ram_pool *pool, struct ram_err *err)
{
    const struct ram_gemm_kernel *kern = work->kern;
    const size_t a_panels = (work->call.m + kern->mr - 1) / kern->mr;
    const size_t span = TASK_PANELS * kern->nr;

    /* A panel of B that only one or two panels of A use should stay in the first cache. */
    work->kc = a_panels <= 2 ? least(kern->kc, FEW_KC) : kern->kc;
    work->own_units = least(work->kc, work->n_units) * kern->nr;
    work->shared = ram_alloc(a_panels * work->a_stride, sizeof *work->shared, err);
    work->own = ram_alloc(work->own_units * ram_pool_threads(pool), sizeof *work->own, err);
    if (!work->shared || !work->own)
        return RAM_ENOMEM;
    const int status = ram_pool_for(pool, a_panels, few_pack, work, err);
    if (status)
        return status;
    return ram_pool_for(pool, (work->call.n + span - 1) / span, few_task, work, err);
}

/* ---- many rows ---------------------------------------------------------------------------- */

/* Panel p of sub-block s of the packed block of B. */
static uint32_t *b_panel(const struct work *work, size_t s, size_t p)
{
    return work->shared + (s * work->n_panels + p) * work->kern->kc * work->kern->nr;
}

static int many_pack(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct work *work = ctx;
    const struct ram_gemm_kernel *kern = work->kern;
    const size_t groups = (work->n_panels + GROUP - 1) / GROUP;
    const size_t s = i / groups, p = i % groups * GROUP, u = work->u0 + s * kern->kc;
    const size_t j = work->j0 + p * kern->nr;
    const size_t end = least(j + GROUP * kern->nr, work->j0 + work->n_panels * kern->nr);
    const struct part part =
        part_of_b(work, j, least(end, work->call.n), u, least(kern->kc, work->u1 - u));

    (void)worker, (void)err;
    pack_part(work, &part, b_panel(work, s, p), kern->kc * kern->nr);
    return RAM_OK;
}

/* Adds sub-block s of the packed block of B, n_units from u on, to rows [i0, i1) of C. */
static void many_block(const struct work *work, size_t i0, size_t i1, size_t s, uint32_t *own)
{
    const struct ram_gemm_kernel *kern = work->kern;
    const size_t mr = kern->mr, u = work->u0 + s * kern->kc;
    const size_t n_units = least(kern->kc, work->u1 - u);
    const size_t stride = round_up(n_units * mr + RAM_GEMM_SLACK, 16);
    const struct part part = part_of_a(work, i0, i1, u, n_units);

    pack_part(work, &part, own, stride);
    for (size_t p = 0; p < work->n_panels; p++) {
        const size_t j = work->j0 + p * kern->nr;
        for (size_t i = i0; i < i1; i += mr) {
            prefetch(work, i + mr, j);
            multiply(work, i, j, n_units, own + (i - i0) / mr * stride, b_panel(work, s, p),
                     work->call.add || u > 0);
        }
    }
}

static int many_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct work *work = ctx;
    const struct ram_gemm_kernel *kern = work->kern;
    const size_t i0 = i * work->mc, i1 = least(i0 + work->mc, work->call.m);
    const size_t subs = (work->u1 - work->u0 + kern->kc - 1) / kern->kc;

    (void)err;
    if (work->call.lower && work->j0 >= i1)
        return RAM_OK;
    if (kern->begin)
        kern->begin();
    for (size_t s = 0; s < subs; s++)
        many_block(work, i0, i1, s, work->own + worker * work->own_units);
    if (kern->end)
        kern->end();
    return RAM_OK;
}

/*
 * Units of a k-block: as many as the packed memory holds for n_cols columns, since threads meet
 * after each; fewer when A is strided along k, so that the pages it touches stay few.
 */
static size_t k_block(const struct work *work, size_t n_cols)
{
    const struct ram_gemm_kernel *kern = work->kern;
    size_t units = SHARED_UNITS / n_cols;

    if (work->call.a.k_stride > work->call.a.lane_stride)
        units = least(units, SPAN_UNITS);
    return units < kern->kc ? kern->kc : units / kern->kc * kern->kc;
}

static int run_many(struct work *work, struct ram_pool *pool, struct ram_err *err)
{
    const struct ram_gemm_kernel *kern = work->kern;
    const struct ram_gemm_call *call = &work->call;
    const size_t nc =
        least(round_up(call->n, kern->nr), SHARED_UNITS / kern->kc / kern->nr * kern->nr);
    const size_t kb = k_block(work, nc);
    size_t mc = round_up(call->m / TASKS, kern->mr);

    mc = mc < kern->mc_min ? kern->mc_min : least(mc, kern->mc);
    work->mc = mc;
    work->own_units = mc / kern->mr * round_up(kern->kc * kern->mr + RAM_GEMM_SLACK, 16);
    work->shared =
        ram_alloc(nc * least(kb, round_up(work->n_units, kern->kc)), sizeof *work->shared, err);
    work->own = ram_alloc(work->own_units * ram_pool_threads(pool), sizeof *work->own, err);
    int status = work->shared && work->own ? RAM_OK : RAM_ENOMEM;

    for (size_t j = 0; !status && j < call->n; j += nc) {
        work->j0 = j;
        work->n_panels = (least(nc, call->n - j) + kern->nr - 1) / kern->nr;
        for (size_t u = 0; !status && u < work->n_units; u += kb) {
            work->u0 = u;
            work->u1 = least(u + kb, work->n_units);
            const size_t subs = (work->u1 - u + kern->kc - 1) / kern->kc;
            const size_t groups = (work->n_panels + GROUP - 1) / GROUP;
            status = ram_pool_for(pool, subs * groups, many_pack, work, err);
            if (!status)
                status = ram_pool_for(pool, (call->m + mc - 1) / mc, many_task, work, err);
        }
    }
    return status;
}

/* ---- one product -------------------------------------------------------------------------- */

static int run(const struct ram_gemm_kernel *kern, const struct ram_gemm_call *call,
               struct ram_pool *pool, struct ram_err *err)
{
    const size_t k_unit = kern->k_unit;
    struct work work = {.kern = kern, .call = *call};

    work.unit = kern->k_unit == 4             ? RAM_UNIT_QUAD
                : kern->k_unit == 2           ? RAM_UNIT_PAIR
                : call->mode == RAM_GEMM_BF16 ? RAM_UNIT_ROUNDED
                                              : RAM_UNIT_F32;
    work.n_units = round_up((call->k + k_unit - 1) / k_unit, kern->unit_round);
    work.a_stride = round_up(work.n_units * kern->mr + RAM_GEMM_SLACK, 16);
    const size_t a_panels = (call->m + kern->mr - 1) / kern->mr;
    const bool few = !call->lower && work.a_stride <= FEW_UNITS / a_panels;
    const int status = few ? run_few(&work, pool, err) : run_many(&work, pool, err);
    free(work.shared);
    free(work.own);
    return status;
}

/*
 * A narrow C would leave most of a tile's columns idle. Its transpose has few rows instead; a
 * product of two numbers does not depend on their order, so the bits are the same.
 */
static int run_flipped(const struct ram_gemm_kernel *kern, const struct ram_gemm_call *call,
                       struct ram_pool *pool, struct ram_err *err)
{
    const size_t ld = least(call->m, FLIP_ROWS);
    float *flipped = ram_alloc(call->n * ld, sizeof *flipped, err);
    int status = flipped ? RAM_OK : RAM_ENOMEM;

    for (size_t i0 = 0; !status && i0 < call->m; i0 += ld) {
        const size_t rows = least(ld, call->m - i0);
        float *c = call->c + i0 * call->ldc;
        struct ram_gemm_call part = *call;
        part.m = call->n;
        part.n = rows;
        part.a = call->b;
        part.b = lanes_from(call->a, i0, 0);
        part.c = flipped;
        part.ldc = ld;
        for (size_t i = 0; call->add && i < rows; i++)
            for (size_t j = 0; j < call->n; j++)
                flipped[j * ld + i] = c[i * call->ldc + j];
        status = run(kern, &part, pool, err);
        for (size_t i = 0; !status && i < rows; i++)
            for (size_t j = 0; j < call->n; j++)
                c[i * call->ldc + j] = flipped[j * ld + i];
    }
    free(flipped);
    return status;
}

int ram_gemm_run(const struct ram_gemm_kernel *kern, const struct ram_gemm_call *call,
                 struct ram_pool *pool, struct ram_err *err)
{
    if (!call->m || !call->n)
        return RAM_OK;
    if (!call->k) {
        for (size_t i = 0; !call->add && i < call->m; i++)
            memset(call->c + i * call->ldc, 0, call->n * sizeof *call->c);
        return RAM_OK;
    }
    if (!call->lower && call->n <= kern->nr / 2 && call->n < call->m)
        return run_flipped(kern, call, pool, err);
    return run(kern, call, pool, err);
}

/* ---- the public face ---------------------------------------------------------------------- */

size_t ram_gemm_all(enum ram_gemm_mode mode, const struct ram_gemm_kernel *out[RAM_GEMM_KERNELS])
{
    const struct ram_cpu *cpu = ram_cpu();
    const bool bf16 = mode == RAM_GEMM_BF16;
    size_t n = 0;

    if (mode == RAM_GEMM_INT8) {
        out[n++] = &ram_gemm_ref_int8;
#if defined(__x86_64__)
        if (cpu->avx512_vnni)
            out[n++] = &ram_gemm_avx512_vnni;
#endif
        return n;
    }
    out[n++] = &ram_gemm_ref;
#if defined(__x86_64__)
    if (cpu->avx2)
        out[n++] = &ram_gemm_avx2;
    if (cpu->avx512)
        out[n++] = &ram_gemm_avx512;
    if (cpu->avx512_bf16 && bf16)
        out[n++] = &ram_gemm_avx512_bf16;
    if (cpu->amx_bf16 && cpu->avx512_bf16 && bf16) /* it packs with their conversions */
        out[n++] = &ram_gemm_amx_bf16;
#elif defined(__aarch64__)
    if (cpu->neon)
        out[n++] = &ram_gemm_neon;
    if (cpu->neon_bf16 && bf16)
        out[n++] = &ram_gemm_neon_bf16;
#else
    (void)cpu, (void)bf16;
#endif
    return n;
}

static const struct ram_gemm_kernel *best(enum ram_gemm_mode mode)
{
    const struct ram_gemm_kernel *kernels[RAM_GEMM_KERNELS];
    return kernels[ram_gemm_all(mode, kernels) - 1];
}

/* Lanes of A are its rows, and those of B its columns. */
static struct ram_gemm_lanes lanes(struct ram_mat mat, bool columns)
{
    return (struct ram_gemm_lanes){.data = mat.data,
                                   .elem = mat.elem,
                                   .lane_stride = columns ? mat.col_stride : mat.row_stride,
                                   .k_stride = columns ? mat.row_stride : mat.col_stride};
}

int ram_gemm(enum ram_gemm_mode mode, size_t m, size_t n, size_t k, struct ram_mat a,
             struct ram_mat b, float *c, size_t ldc, bool accumulate, struct ram_pool *pool,
             struct ram_err *err)
{
    const struct ram_gemm_call call = {.mode = mode,
                                       .m = m,
                                       .n = n,
                                       .k = k,
                                       .a = lanes(a, false),
                                       .b = lanes(b, true),
                                       .c = c,
                                       .ldc = ldc,
                                       .add = accumulate};
    assert((mode == RAM_GEMM_F32 || mode == RAM_GEMM_BF16) && ldc >= n);
    return ram_gemm_run(best(mode), &call, pool, err);
}

struct mirror {
    size_t m, ldc;
    float *c;
};

/* Copies the lower triangle of a band of rows into the columns above the diagonal. It prefetches
 * what is written next, because those cache lines are as far apart as rows. */
static int mirror_band(void *ctx, size_t band, unsigned worker, struct ram_err *err)
{
    const struct mirror *mirror = ctx;
    const size_t i0 = band * MIRROR, i1 = least(i0 + MIRROR, mirror->m), ldc = mirror->ldc;
    float *c = mirror->c;

    (void)worker, (void)err;
    for (size_t j0 = 0; j0 < i1; j0 += MIRROR) {
        for (size_t j = j0 + MIRROR; j < least(j0 + 2 * MIRROR, i1); j++)
            __builtin_prefetch(c + j * ldc + i0, 1);
        for (size_t j = j0; j < least(j0 + MIRROR, i1); j++)
            for (size_t i = i0 > j ? i0 : j + 1; i < i1; i++)
                c[j * ldc + i] = c[i * ldc + j];
    }
    return RAM_OK;
}

int ram_gram(enum ram_gemm_mode mode, size_t m, size_t k, struct ram_mat a, float *c, size_t ldc,
             bool accumulate, struct ram_pool *pool, struct ram_err *err)
{
    const struct ram_gemm_call call = {.mode = mode,
                                       .m = m,
                                       .n = m,
                                       .k = k,
                                       .a = lanes(a, false),
                                       .b = lanes(a, false), /* columns of A^T are rows of A */
                                       .c = c,
                                       .ldc = ldc,
                                       .add = accumulate,
                                       .lower = true};
    struct mirror mirror = {.m = m, .ldc = ldc, .c = c};
    assert((mode == RAM_GEMM_F32 || mode == RAM_GEMM_BF16) && ldc >= m);
    const int status = ram_gemm_run(best(mode), &call, pool, err);
    if (status)
        return status;
    return ram_pool_for(pool, (m + MIRROR - 1) / MIRROR, mirror_band, &mirror, err);
}
