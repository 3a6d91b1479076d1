/* gptq.c - see gptq.h. */
#include "codec/gptq.h"

#include "base/mem.h"
#include "codec/affine_search.h"
#include "codec/float.h"
#include "kern/gemm.h"
#include "kern/nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = RAM_GPTQ_BLOCK, MAX_ROWS = 512, ROWS_WEIGHTS = 1 << 20, ERROR_COLUMNS = 512 };

/* m rows at work. */
struct rows {
    const struct ram_gptq *how;
    const struct ram_gptq_factor *factor;
    size_t m, cols, group, n_groups;
    float levels;
    const float *w;                /* [m, cols] the weights */
    float *q;                      /* [m, cols] codes */
    float *e;                      /* [m, cols] what a reader sees, less the weight */
    float *g;                      /* [m, cols] e H; at other times products of blocks */
    float *scales, *biases;        /* [m, n_groups] as a reader sees them */
    double *errors, *plain_errors; /* [m] e H e^T, of this and of the plain search */
    float *target;                 /* [m, BLOCK] a group's corrected weights; its changes */
};

/* ---- values of a group ------------------------------------------------------------------ */

static float seen(const struct ram_affine *form, float x)
{
    static const enum ram_float types[] = {[RAM_SCALE_BF16] = RAM_FLOAT_BF16,
                                           [RAM_SCALE_F16] = RAM_FLOAT_F16,
                                           [RAM_SCALE_F32] = RAM_FLOAT_F32};
    uint8_t stored[4];
    float back;

    ram_float_narrow(types[form->scale_type], &x, 1, stored);
    ram_float_widen(types[form->scale_type], stored, 1, &back);
    return back;
}

/* A scale of 0 has no codes but 0. */
static float code_of(float w, float inverse, float bias, float levels)
{
    const float q = rintf((w - bias) * inverse);
    const float up = q > 0 ? q : 0;

    return up < levels ? up : levels;
}

static float value_of(float scale, float q, float bias)
{
    const float product = scale * q;

    return product + bias;
}

static void read_scale(const struct ram_affine *form, const uint8_t *bytes, float *out)
{
    static const enum ram_float types[] = {[RAM_SCALE_BF16] = RAM_FLOAT_BF16,
                                           [RAM_SCALE_F16] = RAM_FLOAT_F16,
                                           [RAM_SCALE_F32] = RAM_FLOAT_F32};

    ram_float_widen(types[form->scale_type], bytes, 1, out);
}

/* The search's scale and bias for the corrected weights of a group. Its codes are not used: they
 * would not correct each other. */
static void fit_group(const struct rows *s, const float *w, const float *importance, float *scale,
                      float *bias)
{
    uint8_t codes[BLOCK], scale_bytes[4], bias_bytes[4];

    ram_kern()->affine_search(&s->how->form, s->how->effort, w, importance, s->group, codes,
                              scale_bytes, bias_bytes);
    read_scale(&s->how->form, scale_bytes, scale);
    read_scale(&s->how->form, bias_bytes, bias);
}

/* ---- GPTQ ------------------------------------------------------------------------------- */

/* Group at `at` of one row: w [group] its corrected weights, used up. */
static void code_group(const struct rows *s, size_t row, size_t at, float *w)
{
    const struct ram_gptq_factor *const f = s->factor;
    const float *inverse = f->inverse + at / BLOCK * BLOCK * BLOCK + at % BLOCK * (BLOCK + 1);
    const float *const original = s->w + row * s->cols + at;
    float *const q = s->q + row * s->cols + at, *const e = s->e + row * s->cols + at;
    const size_t index = row * s->n_groups + at / s->group;

    fit_group(s, w, f->pivots + at, &s->scales[index], &s->biases[index]);
    const float scale = s->scales[index], bias = s->biases[index], step = 1 / scale;
    for (size_t j = 0; j < s->group; j++, inverse += BLOCK + 1) {
        q[j] = code_of(w[j], step, bias, s->levels);
        const float value = value_of(scale, q[j], bias);
        e[j] = value - original[j];
        ram_nn()->axpy((value - w[j]) / inverse[0], inverse + 1, s->group - j - 1, w + j + 1);
    }
}

/* What the errors in columns [0, at) ask of the next group: corrections -(e R) R_GG^-1. */
static int correct_group(struct rows *s, size_t at, struct ram_err *err)
{
    const struct ram_gptq_factor *const f = s->factor;
    const size_t m = s->m, cols = s->cols, n = s->group;
    const struct ram_mat e = {s->e, RAM_ELEM_F32, cols, 1};
    const struct ram_mat r = {f->r + at, RAM_ELEM_F32, cols, 1};
    const struct ram_mat sums = {s->g, RAM_ELEM_F32, BLOCK, 1};
    const struct ram_mat inverse = {
        f->inverse + at / BLOCK * BLOCK * BLOCK + at % BLOCK * (BLOCK + 1), RAM_ELEM_F32, BLOCK, 1};
    int status = RAM_OK;

    memset(s->target, 0, m * BLOCK * sizeof *s->target);
    if (at > 0)
        status = ram_gemm(RAM_GEMM_F32, m, n, at, e, r, s->g, BLOCK, false, NULL, err);
    if (!status && at > 0)
        status = ram_gemm(RAM_GEMM_F32, m, n, n, sums, inverse, s->target, BLOCK, false, NULL, err);
    for (size_t i = 0; !status && i < m; i++)
        for (size_t j = 0; j < n; j++)
            s->target[i * BLOCK + j] = s->w[i * cols + at + j] - s->target[i * BLOCK + j];
    return status;
}

static int code_columns(struct rows *s, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t at = 0; !status && at < s->cols; at += s->group) {
        status = correct_group(s, at, err);
        for (size_t i = 0; !status && i < s->m; i++)
            code_group(s, i, at, s->target + i * BLOCK);
    }
    return status;
}

/* ---- sweeps ----------------------------------------------------------------------------- */

/* g = e H. */
static int find_gradient(struct rows *s, struct ram_err *err)
{
    const struct ram_mat e = {s->e, RAM_ELEM_F32, s->cols, 1};
    const struct ram_mat h = {s->factor->h, RAM_ELEM_F32, s->cols, 1};

    return ram_gemm(RAM_GEMM_F32, s->m, s->cols, s->cols, e, h, s->g, s->cols, false, NULL, err);
}

/* |e R|^2: half the work of e H e^T, and never below 0. */
static int find_errors(struct rows *s, double *errors, struct ram_err *err)
{
    int status = RAM_OK;

    memset(errors, 0, s->m * sizeof *errors);
    for (size_t at = 0, n; !status && at < s->cols; at += n) {
        n = s->cols - at < ERROR_COLUMNS ? s->cols - at : ERROR_COLUMNS;
        const struct ram_mat e = {s->e, RAM_ELEM_F32, s->cols, 1};
        const struct ram_mat r = {s->factor->r + at, RAM_ELEM_F32, s->cols, 1};
        status =
            ram_gemm(RAM_GEMM_F32, s->m, n, at + n, e, r, s->g, ERROR_COLUMNS, false, NULL, err);
        for (size_t i = 0; !status && i < s->m; i++)
            for (size_t j = 0; j < n; j++) {
                const double x = (double)s->g[i * ERROR_COLUMNS + j];
                errors[i] += x * x;
            }
    }
    return status;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* A group's block of H, and what is the same for all rows. */
struct square {
    const float *h;    /* rows `cols` apart */
    float sums[BLOCK]; /* of its rows */
    double total;      /* of all of it */
};

static void sum_square(const struct rows *s, size_t at, struct square *out)
{
    out->h = s->factor->h + at * s->cols + at;
    out->total = 0;
    for (size_t i = 0; i < s->group; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->group; j++)
            sum += (double)out->h[i * s->cols + j];
        out->sums[i] = (float)sum;
        out->total += sum;
    }
}

/* Least squares for (scale, bias) under H with codes q and all else fixed; g [group] follows. The
 * bias is found for the scale as it is stored, so that it takes up what rounding leaves. */
static void refit(const struct rows *s, const struct square *square, const float *q, float *g,
                  float *scale, float *bias)
{
    const size_t n = s->group;
    float hq[BLOCK] = {0};

    for (size_t j = 0; j < n; j++)
        if (q[j] != 0)
            ram_nn()->axpy(q[j], square->h + j * s->cols, n, hq);
    const double a = dot(hq, q, n), b = dot(square->sums, q, n), c = square->total;
    const double p = dot(g, q, n), det = a * c - b * b;
    double r = 0;
    for (size_t j = 0; j < n; j++)
        r += (double)g[j];
    if (!(det > 1e-9 * a * c))
        return;
    const float new_scale = seen(&s->how->form, (float)((double)*scale + (r * b - p * c) / det));
    const double ds = (double)new_scale - (double)*scale;
    const float new_bias = seen(&s->how->form, (float)((double)*bias - (r + b * ds) / c));
    const double db = (double)new_bias - (double)*bias;
    const double change = 2 * (ds * p + db * r) + ds * ds * a + 2 * ds * db * b + db * db * c;
    if (!(change < 0) || !isfinite(new_scale) || !isfinite(new_bias) || new_scale == 0)
        return;
    *scale = new_scale;
    *bias = new_bias;
    ram_nn()->axpy((float)ds, hq, n, g);
    ram_nn()->axpy((float)db, square->sums, n, g);
}

/* Each code to its best value, all else fixed; g follows. */
static void descend(const struct rows *s, const struct square *square, float scale, float *q,
                    float *g)
{
    for (size_t j = 0; j < s->group; j++) {
        const float *const h = square->h + j * s->cols;
        const float best = rintf(q[j] - g[j] / (h[j] * scale));
        const float up = best > 0 ? best : 0, code = up < s->levels ? up : s->levels;
        if (code == q[j])
            continue;
        ram_nn()->axpy(scale * (code - q[j]), h, s->group, g);
        q[j] = code;
    }
}

static void sweep_row(const struct rows *s, const struct square *square, size_t row, size_t at)
{
    const size_t first = row * s->cols + at, index = row * s->n_groups + at / s->group;
    float *const q = s->q + first, *const e = s->e + first;
    float *const change = s->target + row * BLOCK;
    float g[BLOCK];

    memcpy(g, s->g + first, s->group * sizeof *g);
    refit(s, square, q, g, &s->scales[index], &s->biases[index]);
    if (s->scales[index] != 0)
        descend(s, square, s->scales[index], q, g);
    for (size_t j = 0; j < s->group; j++) {
        const float value = value_of(s->scales[index], q[j], s->biases[index]);
        change[j] = value - s->w[first + j] - e[j];
        e[j] = value - s->w[first + j];
    }
}

static int sweep(struct rows *s, struct ram_err *err)
{
    struct square square;
    int status = RAM_OK;

    for (size_t at = 0; !status && at < s->cols; at += s->group) {
        const struct ram_mat change = {s->target, RAM_ELEM_F32, BLOCK, 1};
        const struct ram_mat h = {s->factor->h + at * s->cols, RAM_ELEM_F32, s->cols, 1};
        sum_square(s, at, &square);
        for (size_t i = 0; i < s->m; i++)
            sweep_row(s, &square, i, at);
        status = ram_gemm(RAM_GEMM_F32, s->m, s->cols, s->group, change, h, s->g, s->cols, true,
                          NULL, err);
    }
    return status;
}

/* ---- in and out ------------------------------------------------------------------------- */

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

static void put_scale(const struct ram_affine *form, float x, uint8_t *out)
{
    static const enum ram_float types[] = {[RAM_SCALE_BF16] = RAM_FLOAT_BF16,
                                           [RAM_SCALE_F16] = RAM_FLOAT_F16,
                                           [RAM_SCALE_F32] = RAM_FLOAT_F32};
    ram_float_narrow(types[form->scale_type], &x, 1, out);
}

/* line is scratch [cols]. */
static void put_row(const struct rows *s, size_t row, uint8_t *line,
                    const struct ram_gptq_bytes *out)
{
    const struct ram_affine *const form = &s->how->form;
    const size_t scale_row = ram_affine_scale_size(form, s->cols), size = scale_row / s->n_groups;

    for (size_t j = 0; j < s->cols; j++)
        line[j] = (uint8_t)s->q[row * s->cols + j];
    pack(form->bits, line, s->cols, out->codes + row * ram_affine_code_size(form, s->cols));
    for (size_t k = 0; k < s->n_groups; k++) {
        put_scale(form, s->scales[row * s->n_groups + k], out->scales + row * scale_row + k * size);
        put_scale(form, s->biases[row * s->n_groups + k], out->biases + row * scale_row + k * size);
    }
}

/* The errors of what is in out, by the arithmetic that ours are found with. */
static int find_plain_errors(struct rows *s, const struct ram_gptq_bytes *out, struct ram_err *err)
{
    ram_affine_decode(&s->how->form, out->codes, out->scales, out->biases, s->m, s->cols, s->e);
    for (size_t i = 0; i < s->m * s->cols; i++)
        s->e[i] -= s->w[i];
    return find_errors(s, s->plain_errors, err);
}

static int improve_rows(struct rows *s, const struct ram_gptq_bytes *out, uint8_t *line,
                        struct ram_err *err)
{
    int status = find_plain_errors(s, out, err);

    if (!status)
        status = code_columns(s, err);
    if (!status && s->how->sweeps)
        status = find_gradient(s, err);
    for (unsigned k = 0; !status && k < s->how->sweeps; k++)
        status = sweep(s, err);
    if (!status)
        status = find_errors(s, s->errors, err);
    for (size_t i = 0; !status && i < s->m; i++)
        if (s->errors[i] < s->plain_errors[i])
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
        double row_sum = 0;
        ram_affine_decode(form, out->codes + i * code_size, out->scales + i * scale_size,
                          out->biases + i * scale_size, 1, cols, row);
        for (size_t j = 0; j < cols; j++) {
            const double e = (double)row[j] - (double)w[i * cols + j];
            row_sum += e * e;
        }
        sum += row_sum;
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

int ram_gptq_encode(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                    const struct ram_gptq_bytes *out, double *squared_error, struct ram_err *err)
{
    const struct ram_gptq_factor *const f = how->factor;
    const struct ram_affine *const form = &how->form;
    const struct ram_search plain = {how->effort, f ? f->importance : NULL};

    if (f && f->cols != cols)
        return ram_fail(err, RAM_EINTERNAL, "inputs of %zu columns, a matrix of %zu", f->cols,
                        cols);
    *squared_error =
        ram_search_encode(form, &plain, w, n, cols, out->codes, out->scales, out->biases);
    if (!f || !f->r || n == 0 || cols == 0)
        return RAM_OK;

    const size_t fit = ROWS_WEIGHTS / cols, limit = n < MAX_ROWS ? n : MAX_ROWS;
    const size_t most = fit == 0 ? 1 : fit < limit ? fit : limit;
    struct rows s = {.how = how,
                     .factor = f,
                     .cols = cols,
                     .group = (size_t)form->group,
                     .n_groups = cols / (size_t)form->group,
                     .levels = (float)((1 << form->bits) - 1)};
    const size_t wide = cols > ERROR_COLUMNS ? cols : ERROR_COLUMNS;
    float *const floats =
        ram_calloc(most, (2 * cols + wide + 2 * s.n_groups + BLOCK) * sizeof *floats, err);
    double *const doubles = ram_calloc(most, 2 * sizeof *doubles, err);
    uint8_t *const line = ram_calloc(cols, 1, err);
    int status = floats && doubles && line ? RAM_OK : RAM_ENOMEM;
    s.g = floats;
    s.q = s.g + most * wide;
    s.e = s.q + most * cols;
    s.target = s.e + most * cols;
    s.scales = s.target + most * BLOCK;
    s.biases = s.scales + most * s.n_groups;
    s.errors = doubles;
    s.plain_errors = doubles + most;
    for (size_t row = 0; !status && row < n; row += most) {
        const struct ram_gptq_bytes bytes = bytes_of(out, form, row, cols);
        s.m = n - row < most ? n - row : most;
        s.w = w + row * cols;
        status = improve_rows(&s, &bytes, line, err);
    }
    if (!status)
        *squared_error = squared_errors(form, w, n, cols, out, s.g);
    free(floats);
    free(doubles);
    free(line);
    return status;
}

int ram_gptq_error(const struct ram_gptq_factor *factor, const float *e, size_t n, size_t cols,
                   double *error, struct ram_err *err)
{
    const bool whole = factor && factor->h;
    float *const eh = whole ? ram_calloc(n * cols, sizeof *eh, err) : NULL;
    double sum = 0;
    int status = whole && !eh ? RAM_ENOMEM : RAM_OK;

    if (!status && whole) {
        const struct ram_mat a = {e, RAM_ELEM_F32, cols, 1};
        const struct ram_mat h = {factor->h, RAM_ELEM_F32, cols, 1};
        status = ram_gemm(RAM_GEMM_F32, n, cols, cols, a, h, eh, cols, false, NULL, err);
    }
    for (size_t i = 0; !status && i < n * cols; i++) {
        const double x = (double)e[i];
        sum +=
            whole ? x * (double)eh[i] : x * x * (factor ? (double)factor->importance[i % cols] : 1);
    }
    *error = fmax(sum, 0);
    free(eh);
    return status;
}
