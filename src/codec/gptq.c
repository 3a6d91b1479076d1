/*
 * gptq.c - see gptq.h: rows in and out, and the guard. The passes are in gptq_rows.c.
 */
#include "codec/gptq_rows.h"

#include "base/mem.h"
#include "codec/affine_search.h"
#include "codec/distance.h"
#include "codec/float.h"
#include "codec/gptq_coupled.h"
#include "kern/gemm.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE = RAM_KERN_TILE,
    SPAN = RAM_GPTQ_SPAN,
    MAX_ROWS = 256,         /* rows at a time: with more, products do not get faster */
    ROWS_WEIGHTS = 3 << 19, /* weights at a time, which bounds a thread's memory: with 12,288
                             * columns these are 128 rows and 18 MiB */
    BLOCK_ROWS = 1024,
    BLOCK_WEIGHTS = 1 << 21, /* of the rows that are corrected for each other */
    LEAST_BLOCK = 32
};

/*
 * The fraction by which a row's error must be lower than that of the search. The passes compute the
 * errors of their rows from products in bf16, and are off by 3e-4 of the error on average and 2e-3
 * at most on the rows of ref-qwen3-moe, and by 7e-3 under the strongest correlations of
 * tests/unit/codec_gptq.c. The margin is twice the largest of these, so that a row which is taken
 * really is better. A row that gains less would hardly change the sum, and computing its error
 * exactly would cost another f32 product.
 */
static const double least_gain = 1.0 / 64;

/* ---- in --------------------------------------------------------------------------------- */

/* n rows of w [n, cols], transposed, so that 16 rows of a column are one vector. Rows from n to m
 * fill up the last tile and are zeros. */
static void take_rows(struct ram_gptq_rows *s, const float *w)
{
    for (size_t row = 0; row < s->m; row += TILE)
        for (size_t j = 0; j < s->cols; j++) {
            float *const out = s->w + j * s->ld + row;
            for (size_t i = 0; i < TILE; i++)
                out[i] = row + i < s->n ? w[(row + i) * s->cols + j] : 0;
        }
}

/* ---- out -------------------------------------------------------------------------------- */

/* codes [n], n a multiple of 8, as a stream of bits, lowest first. */
static void pack(int bits, const uint8_t *codes, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        for (size_t k = 0; k < 8; k++)
            word |= (uint64_t)codes[i + k] << (k * (size_t)bits);
        for (int k = 0; k < bits; k++)
            *out++ = (uint8_t)(word >> (8 * k));
    }
}

/* line is scratch [cols]. */
static void put_row(const struct ram_gptq_rows *s, size_t row, uint8_t *line,
                    const struct ram_gptq_bytes *out)
{
    const struct ram_affine *const form = &s->how->form;
    const enum ram_float type = ram_scale_float(form->scale_type);
    const size_t scale_row = ram_affine_scale_size(form, s->cols), size = ram_float_size(type);

    for (size_t j = 0; j < s->cols; j++)
        line[j] = (uint8_t)s->q[j * s->ld + row];
    pack(form->bits, line, s->cols, out->codes + row * ram_affine_code_size(form, s->cols));
    for (size_t k = 0; k < s->n_groups; k++) {
        const size_t from = k * s->ld + row, to = row * scale_row + k * size;
        ram_float_narrow(type, &s->scales[from], 1, out->scales + to);
        ram_float_narrow(type, &s->biases[from], 1, out->biases + to);
    }
}

/* ---- the guard -------------------------------------------------------------------------- */

/*
 * e H e^T = |e R|^2. With R, which is triangular, this takes half the operations, and it is a sum
 * of squares over columns, so that the sum over some of the columns is a lower bound. This adds
 * columns [at, end) for m rows e [m, cols]; product is scratch [m, end - at]. The product is in
 * f32: in bf16 it would be wrong by up to 6e-3, about as much as the gain that it is to detect.
 */
static int add_errors(const struct ram_gptq_factor *f, const float *e, size_t m, size_t at,
                      size_t end, float *product, double *errors, struct ram_err *err)
{
    const struct ram_mat a = {e, RAM_ELEM_F32, f->cols, 1};
    const struct ram_mat r = {f->r + at, RAM_ELEM_F32, f->cols, 1};
    const size_t n = end - at;
    const int status = ram_gemm(RAM_GEMM_F32, m, n, end, a, r, product, n, false, NULL, err);

    for (size_t i = 0; !status && i < m; i++)
        for (size_t j = 0; j < n; j++) {
            const double x = (double)product[i * n + j];
            errors[i] += x * x;
        }
    return status;
}

/*
 * better [n]: which rows have a lower error than the search's encoding in out. w [n, cols] are the
 * weights as the caller has them; s->w is overwritten.
 *
 * The error of the search is summed until it exceeds the error of the row, and the row is then left
 * out of the remaining products. The sum begins with the last columns. There R is largest, because
 * few columns follow from which an input could be predicted, and these terms contain the errors of
 * all earlier columns, for which GPTQ has corrected and the search has not. That takes 0.51 of all
 * products on tiny-qwen3 and 0.46 on ref-qwen3-moe; from the first column on, with all rows kept
 * until the last is decided, it took 0.82 and 1.0.
 */
static int find_better(const struct ram_gptq_rows *s, const float *w,
                       const struct ram_gptq_bytes *out, bool better[MAX_ROWS], struct ram_err *err)
{
    const size_t cols = s->cols;
    float *const e = s->w;
    double errors[MAX_ROWS] = {0};
    size_t open[MAX_ROWS], n = s->n;
    int status = RAM_OK;

    ram_affine_decode(&s->how->form, out->codes, out->scales, out->biases, n, cols, e);
    for (size_t i = 0; i < n * cols; i++)
        e[i] -= w[i];
    for (size_t i = 0; i < n; i++) {
        better[i] = false;
        open[i] = i;
    }
    for (size_t end = cols, at; !status && n > 0 && end > 0; end = at) {
        at = (end - 1) / SPAN * SPAN;
        status = add_errors(s->how->factor, e, n, at, end, s->part, errors, err);
        size_t kept = 0;
        for (size_t i = 0; !status && i < n; i++) {
            if (errors[i] * (1 - least_gain) > s->errors[open[i]]) {
                better[open[i]] = true;
                continue;
            }
            memmove(e + kept * cols, e + i * cols, cols * sizeof *e);
            errors[kept] = errors[i];
            open[kept++] = open[i];
        }
        n = kept;
    }
    return status;
}

/* out holds the search's encoding of the rows; better rows replace it. */
static int improve_rows(struct ram_gptq_rows *s, const float *w, const struct ram_gptq_bytes *out,
                        uint8_t *line, struct ram_err *err)
{
    bool better[MAX_ROWS];

    take_rows(s, w);
    int status = ram_gptq_code(s, err);
    for (unsigned k = 0; !status && k < s->how->sweeps; k++)
        status = ram_gptq_sweep(s, err);
    if (!status)
        status = find_better(s, w, out, better, err);
    for (size_t i = 0; !status && i < s->n; i++)
        if (better[i])
            put_row(s, i, line, out);
    return status;
}

/* ---- the whole -------------------------------------------------------------------------- */

static double squared_errors(const struct ram_affine *form, const float *w, size_t n, size_t cols,
                             const struct ram_gptq_bytes *out, float *row)
{
    const size_t code_size = ram_affine_code_size(form, cols);
    const size_t scale_size = ram_affine_scale_size(form, cols);
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        ram_affine_decode(form, out->codes + i * code_size, out->scales + i * scale_size,
                          out->biases + i * scale_size, 1, cols, row);
        sum += ram_squared_distance(row, w + i * cols, cols);
    }
    return sum;
}

static struct ram_gptq_bytes bytes_of(const struct ram_gptq_bytes *out,
                                      const struct ram_affine *form, size_t row, size_t cols)
{
    const size_t scales = row * ram_affine_scale_size(form, cols);

    return (struct ram_gptq_bytes){out->codes + row * ram_affine_code_size(form, cols),
                                   out->scales + scales, out->biases + scales};
}

/* The number of rows that are encoded side by side. With fewer, reading the factor from memory
 * takes longer than computing with it. */
static size_t batch_rows(size_t cols)
{
    const size_t rows = cols > ROWS_WEIGHTS / MAX_ROWS ? ROWS_WEIGHTS / cols : MAX_ROWS;

    return rows < TILE ? TILE : rows / TILE * TILE;
}

size_t ram_gptq_block(size_t cols)
{
    const size_t rows = cols > BLOCK_WEIGHTS / BLOCK_ROWS ? BLOCK_WEIGHTS / cols : BLOCK_ROWS;

    return rows < LEAST_BLOCK ? LEAST_BLOCK : rows / LEAST_BLOCK * LEAST_BLOCK;
}

struct work {
    struct ram_gptq_rows rows;
    size_t most; /* rows at a time */
    float *floats;
    uint16_t *halves;
    double *errors;
    uint8_t *line;
};

static int start(struct work *work, const struct ram_gptq *how, size_t n, size_t cols,
                 struct ram_err *err)
{
    const size_t rows = batch_rows(cols), most = n < rows ? n : rows;
    const size_t ld = ram_gptq_ld(most), n_groups = cols / (size_t)how->form.group;
    struct ram_gptq_rows *const s = &work->rows;

    *work = (struct work){.most = most};
    work->floats = ram_calloc(ld, (2 * cols + SPAN + 2 * n_groups) * sizeof *work->floats, err);
    work->halves = ram_calloc(ld, cols * sizeof *work->halves, err);
    work->errors = ram_calloc(ld, sizeof *work->errors, err);
    work->line = ram_calloc(cols, 1, err);
    if (!work->floats || !work->halves || !work->errors || !work->line)
        return RAM_ENOMEM;
    *s = (struct ram_gptq_rows){
        .how = how, .cols = cols, .group = (size_t)how->form.group, .n_groups = n_groups};
    s->w = work->floats;
    s->q = s->w + cols * ld;
    s->part = s->q + cols * ld;
    s->scales = s->part + SPAN * ld;
    s->e = work->halves;
    s->biases = s->scales + n_groups * ld;
    s->errors = work->errors;
    return RAM_OK;
}

int ram_gptq_encode(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                    const struct ram_gptq_bytes *out, double *squared_error, struct ram_err *err)
{
    const struct ram_gptq_factor *const f = how->factor;
    const struct ram_affine *const form = &how->form;
    const struct ram_search plain = {how->effort, f ? f->importance : NULL};

    assert(cols % (size_t)form->group == 0 && how->effort <= 3);
    if (how->outputs)
        return ram_gptq_encode_coupled(how, w, n, cols, out, squared_error, err);
    if (f && f->cols != cols)
        return ram_fail(err, RAM_EINTERNAL, "inputs of %zu columns, a matrix of %zu", f->cols,
                        cols);
    *squared_error =
        ram_search_encode(form, &plain, w, n, cols, out->codes, out->scales, out->biases);
    if (!f || !f->r || n == 0 || cols == 0)
        return RAM_OK;

    struct work work;
    int status = start(&work, how, n, cols, err);
    struct ram_gptq_rows *const s = &work.rows;
    for (size_t row = 0; !status && row < n; row += work.most) {
        const struct ram_gptq_bytes bytes = bytes_of(out, form, row, cols);
        s->n = n - row < work.most ? n - row : work.most;
        s->m = (s->n + TILE - 1) / TILE * TILE;
        s->ld = ram_gptq_ld(s->n);
        status = improve_rows(s, w + row * cols, &bytes, work.line, err);
    }
    if (!status)
        *squared_error = squared_errors(form, w, n, cols, out, s->w);
    free(work.floats);
    free(work.halves);
    free(work.errors);
    free(work.line);
    return status;
}

int ram_gptq_error(const struct ram_gptq_factor *factor, const float *e, size_t n, size_t cols,
                   double *error, struct ram_err *err)
{
    const bool whole = factor && factor->r;
    float *const product = whole ? ram_calloc(n, SPAN * sizeof *product, err) : NULL;
    double *const errors = whole ? ram_calloc(n, sizeof *errors, err) : NULL;
    int status = whole && (!product || !errors) ? RAM_ENOMEM : RAM_OK;

    assert(!factor || factor->cols == cols);
    *error = 0;
    for (size_t at = 0, end; !status && whole && at < cols; at = end) {
        end = cols - at < SPAN ? cols : at + SPAN;
        status = add_errors(factor, e, n, at, end, product, errors, err);
    }
    for (size_t i = 0; !status && whole && i < n; i++)
        *error += errors[i];
    for (size_t i = 0; !whole && i < n * cols; i++) {
        const double x = (double)e[i];
        *error += x * x * (factor ? (double)factor->importance[i % cols] : 1);
    }
    free(product);
    free(errors);
    return status;
}
