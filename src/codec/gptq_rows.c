/*
 * gptq_rows.c - see gptq_rows.h.
 *
 * The correction of a group is a product of R or H with the errors of all other columns. It is
 * computed for a span of groups at once, as one large product; what changes within the span is
 * added group after group. An inexact correction cannot make a code invalid, it can only make it
 * less good. Operands are therefore rounded to bf16, which doubles the speed and changes a code
 * only where two codes are almost equally good (docs/speed.md).
 */
#include "codec/gptq_rows.h"

#include "codec/float.h"
#include "kern/gemm.h"

#include <assert.h>
#include <string.h>

enum {
    TILE = RAM_KERN_TILE,
    SPAN = RAM_GPTQ_SPAN,
    BLOCK = RAM_GPTQ_BLOCK,
    /* How often a settled group is swept against its targets. Three local sweeps and none over all
     * groups are worse than two and one (docs/notebook.md, Encoders). */
    LOCAL_SWEEPS = 2
};

/* The stride of columns is an odd number of tiles, see gptq_rows.h. */

size_t ram_gptq_ld(size_t m)
{
    return ((m + TILE - 1) / TILE | 1) * TILE;
}

/* ---- tiles ------------------------------------------------------------------------------ */

/* The tile kernels take the n columns of a tile without gaps between them. */
static void load_tile(const float *x, size_t ld, size_t n, float *out)
{
    for (size_t j = 0; j < n; j++)
        memcpy(out + j * TILE, x + j * ld, TILE * sizeof *x);
}

static void store_tile(const float *x, size_t ld, size_t n, float *out)
{
    for (size_t j = 0; j < n; j++)
        memcpy(out + j * ld, x + j * TILE, TILE * sizeof *x);
}

/* Errors are stored in bf16, the type in which the products read them, so that they are rounded
 * once instead of every time that a product packs them (docs/speed.md). */
static void store_errors(const float *e, size_t ld, size_t n, uint16_t *out)
{
    uint16_t narrow[BLOCK * TILE];

    ram_kern()->narrow_bf16(e, n * TILE, narrow);
    for (size_t j = 0; j < n; j++)
        memcpy(out + j * ld, narrow + j * TILE, TILE * sizeof *narrow);
}

/* The tile of row and the 15 rows that follow it, for the group at column `at`. */
static struct ram_kern_tile tile_at(const struct ram_gptq_rows *s, size_t row, size_t at,
                                    const float *w, float *q)
{
    const size_t place = at / s->group * s->ld + row;

    return (struct ram_kern_tile){.n = s->group,
                                  .form = &s->how->form,
                                  .w = w,
                                  .q = q,
                                  .scale = s->scales + place,
                                  .bias = s->biases + place,
                                  .error = s->errors + row};
}

/* A group's block on the diagonal of a matrix, [n, n] without gaps, and what the kernels need of
 * it: the inverses of its diagonal, its row sums and the sum of these. */
struct square {
    float x[BLOCK * BLOCK], inverse[BLOCK], sums[BLOCK];
    struct ram_kern_square view;
};

static void describe(struct square *square, size_t n)
{
    double total = 0;

    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        square->inverse[i] = 1 / square->x[i * (n + 1)];
        for (size_t j = 0; j < n; j++)
            sum += (double)square->x[i * n + j];
        square->sums[i] = (float)sum;
        total += sum;
    }
    square->view = (struct ram_kern_square){square->x, square->inverse, square->sums, total};
}

/* From the blocks of 128 on a matrix's diagonal. Groups divide 128, so that each lies in one block.
 * That holds for inverses, too: a square on the diagonal of an upper triangular matrix's inverse is
 * the inverse of the square on its diagonal. */
static void take_square(const float *blocks, size_t at, size_t n, struct square *out)
{
    const float *const x = blocks + at / BLOCK * BLOCK * BLOCK + at % BLOCK * (BLOCK + 1);

    for (size_t i = 0; i < n; i++)
        memcpy(out->x + i * n, x + i * BLOCK, n * sizeof *x);
    describe(out, n);
}

/* ---- products --------------------------------------------------------------------------- */

/* The part of x that begins at (row, col): x is f->h, or f->turned, which is R^T. */
static struct ram_mat part_of(const struct ram_gptq_factor *f, const uint16_t *x, size_t row,
                              size_t col)
{
    return (struct ram_mat){x + row * f->cols + col, RAM_ELEM_BF16, f->cols, 1};
}

static struct ram_mat errors_from(const struct ram_gptq_rows *s, size_t at)
{
    return (struct ram_mat){s->e + at * s->ld, RAM_ELEM_BF16, s->ld, 1};
}

static int multiply(const struct ram_gptq_rows *s, size_t n, size_t k, struct ram_mat a,
                    struct ram_mat b, float *c, bool add, struct ram_err *err)
{
    return ram_gemm(RAM_GEMM_BF16, n, s->m, k, a, b, c, s->ld, add, NULL, err);
}

/* ---- GPTQ ------------------------------------------------------------------------------- */

/* Scale and bias of a group by the search, on its targets. The search's codes are not used, because
 * it chooses each of them by itself, while tile_code corrects each for the errors of those before.
 */
static void fit(const struct ram_gptq_rows *s, size_t row, const float *importance,
                const struct ram_kern_tile *tile)
{
    const enum ram_float type = ram_scale_float(tile->form->scale_type);
    const size_t n = s->n - row < TILE ? s->n - row : TILE;

    for (size_t i = 0; i < n; i++) {
        float line[BLOCK];
        uint8_t codes[BLOCK], scale[4], bias[4];
        for (size_t j = 0; j < tile->n; j++)
            line[j] = tile->w[j * TILE + i];
        ram_kern()->affine_search(tile->form, s->how->effort, line, importance, tile->n, codes,
                                  scale, bias);
        ram_float_widen(type, scale, 1, &tile->scale[i]);
        ram_float_widen(type, bias, 1, &tile->bias[i]);
    }
}

/*
 * The columns that follow are still free and will be corrected for a group's errors e against its
 * targets. What they cannot compensate is e S e^T, where S = U U^T and U is the group's block on
 * the diagonal of R. GPTQ minimises the same quantity one column at a time; here scale, bias and
 * codes are improved together under it, with the kernel of a sweep.
 */
static void settle(const struct ram_kern_tile *tile, const struct ram_kern_square *s)
{
    float e[BLOCK * TILE], g[BLOCK * TILE];

    for (int i = 0; i < LOCAL_SWEEPS; i++) {
        ram_kern()->tile_error(tile, e);
        ram_kern()->tile_product(tile->n, e, s->x, g);
        ram_kern()->tile_sweep(tile, s, g);
    }
}

/*
 * Codes the group at column `at`. part is e R, summed over the columns before the group.
 *
 * With U the group's block on the diagonal of R, the group's terms of |e R|^2 are
 * |part + (q - w) U|^2 = |(q - target) U|^2 with target = w - part U^-1. So the group is fitted and
 * coded as if its weights were the targets; the errors that later groups see are those against w.
 */
static int code_group(struct ram_gptq_rows *s, size_t at, const float *part, struct ram_err *err)
{
    const struct ram_gptq_factor *const f = s->how->factor;
    const size_t n = s->group, cols = f->cols;
    const struct ram_mat r = {f->r + at * (cols + 1), RAM_ELEM_F32, cols, 1};
    float w[BLOCK * TILE], sums[BLOCK * TILE], target[BLOCK * TILE], q[BLOCK * TILE];
    struct square u, local;

    const int status = ram_gram(RAM_GEMM_F32, n, n, r, local.x, n, false, NULL, err);
    if (status)
        return status;
    describe(&local, n);
    take_square(f->inverse, at, n, &u);
    for (size_t row = 0; row < s->m; row += TILE) {
        const size_t place = at * s->ld + row;
        struct ram_kern_tile tile = tile_at(s, row, at, target, q);
        load_tile(s->w + place, s->ld, n, w);
        load_tile(part + row, s->ld, n, sums);
        ram_kern()->tile_correct(n, w, sums, u.x, target);
        fit(s, row, f->pivots + at, &tile);
        ram_kern()->tile_code(&tile, &u.view);
        if (s->how->sweeps)
            settle(&tile, &local.view);
        tile.w = w;
        ram_kern()->tile_error(&tile, target);
        store_tile(q, s->ld, n, s->q + place);
        store_errors(target, s->ld, n, s->e + place);
    }
    return RAM_OK;
}

static int code_span(struct ram_gptq_rows *s, size_t at, size_t end, struct ram_err *err)
{
    const struct ram_gptq_factor *const f = s->how->factor;
    int status = RAM_OK;

    if (at > 0)
        status = multiply(s, end - at, at, part_of(f, f->turned, at, 0), errors_from(s, 0), s->part,
                          false, err);
    else
        memset(s->part, 0, end * s->ld * sizeof *s->part);
    for (size_t next; !status && at < end; at = next) {
        float *const part = s->part + at % SPAN * s->ld;
        next = at + s->group;
        status = code_group(s, at, part, err);
        if (!status)
            status = multiply(s, end - next, s->group, part_of(f, f->turned, next, at),
                              errors_from(s, at), part + s->group * s->ld, true, err);
    }
    return status;
}

int ram_gptq_code(struct ram_gptq_rows *s, struct ram_err *err)
{
    int status = RAM_OK;

    assert(s->m % RAM_KERN_TILE == 0 && s->n <= s->m && s->m <= s->ld);
    assert(s->group * s->n_groups == s->cols);
    memset(s->errors, 0, s->ld * sizeof *s->errors);
    memset(s->scales, 0, s->n_groups * s->ld * sizeof *s->scales);
    memset(s->biases, 0, s->n_groups * s->ld * sizeof *s->biases);
    for (size_t at = 0; !status && at < s->cols; at += SPAN)
        status = code_span(s, at, s->cols - at < SPAN ? s->cols : at + SPAN, err);
    return status;
}

/* ---- sweeps ----------------------------------------------------------------------------- */

/* part is the gradient e H of the group's columns. It becomes the change of e, from which the
 * gradient of the groups that follow in the span is updated. */
static void sweep_group(struct ram_gptq_rows *s, size_t at, float *part)
{
    const size_t n = s->group;
    float w[BLOCK * TILE], q[BLOCK * TILE], g[BLOCK * TILE], e[BLOCK * TILE];
    struct square h;

    take_square(s->how->factor->squares, at, n, &h);
    for (size_t row = 0; row < s->m; row += TILE) {
        const size_t place = at * s->ld + row;
        const struct ram_kern_tile tile = tile_at(s, row, at, w, q);
        load_tile(s->w + place, s->ld, n, w);
        load_tile(s->q + place, s->ld, n, q);
        load_tile(part + row, s->ld, n, g);
        ram_kern()->tile_error(&tile, e);
        ram_kern()->tile_sweep(&tile, &h.view, g);
        ram_kern()->tile_error(&tile, g);
        store_tile(q, s->ld, n, s->q + place);
        store_errors(g, s->ld, n, s->e + place);
        for (size_t i = 0; i < n * TILE; i++)
            g[i] -= e[i];
        store_tile(g, s->ld, n, part + row);
    }
}

static int sweep_span(struct ram_gptq_rows *s, size_t at, size_t end, struct ram_err *err)
{
    const struct ram_gptq_factor *const f = s->how->factor;
    int status = multiply(s, end - at, s->cols, part_of(f, f->h, at, 0), errors_from(s, 0), s->part,
                          false, err);

    for (size_t next; !status && at < end; at = next) {
        float *const part = s->part + at % SPAN * s->ld;
        const struct ram_mat change = {part, RAM_ELEM_F32, s->ld, 1};
        next = at + s->group;
        sweep_group(s, at, part);
        status = multiply(s, end - next, s->group, part_of(f, f->h, next, at), change,
                          part + s->group * s->ld, true, err);
    }
    return status;
}

int ram_gptq_sweep(struct ram_gptq_rows *s, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t at = 0; !status && at < s->cols; at += SPAN)
        status = sweep_span(s, at, s->cols - at < SPAN ? s->cols : at + SPAN, err);
    return status;
}
