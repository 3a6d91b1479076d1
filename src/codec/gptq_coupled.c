/* gptq_coupled.c - see gptq_coupled.h. */
#include "codec/gptq_coupled.h"

#include "base/mem.h"
#include "codec/distance.h"
#include "kern/gemm.h"
#include "kern/nn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a phase. Fewer gain little (docs/notebook.md, Encoders), and make the products that code
 * a phase slow. */
enum { PHASE = 16 };

static const double coupling_damp = 0.5;

/* ---- the order of rows ------------------------------------------------------------------ */

/* Row i of phase p is row p + i x phases of the matrix: rows that lie together, which are those of
 * one head, are in different phases. */
static size_t n_phases(size_t n)
{
    return (n + PHASE - 1) / PHASE;
}

static size_t rows_of_phase(size_t n, size_t phase)
{
    return (n - phase + n_phases(n) - 1) / n_phases(n);
}

/* rows [n]: which row of the matrix is coded when. */
static void order_rows(size_t n, size_t *rows)
{
    size_t at = 0;

    for (size_t phase = 0; phase < n_phases(n); phase++)
        for (size_t row = phase; row < n; row += n_phases(n))
            rows[at++] = row;
}

int ram_gptq_coupling_new(struct ram_gptq_factor **out, const char *name, const float *g, size_t n,
                          struct ram_pool *pool, struct ram_err *err)
{
    size_t *rows = ram_calloc(n, sizeof *rows, err);
    float *ordered = ram_calloc(n, n * sizeof *ordered, err);

    *out = NULL;
    if (!rows || !ordered) {
        free(rows);
        free(ordered);
        return RAM_ENOMEM;
    }
    order_rows(n, rows);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            ordered[i * n + j] = g[rows[i] * n + rows[j]];
    free(rows);
    return ram_gptq_factor_new(out, name, ordered, n, coupling_damp, pool, err);
}

/* ---- one phase -------------------------------------------------------------------------- */

struct coupled {
    const struct ram_gptq *how;
    struct ram_gptq alone; /* the same, for rows that do not know of others */
    const float *w;        /* [n, cols] */
    size_t n, cols;
    size_t *rows; /* [n] */
    float *e;     /* [n, cols] errors, in the order of coding */
    float *moved; /* [PHASE, cols] */
    uint8_t *bytes;
};

/* x [n, cols] = R^-T x, with R [n, n] the square at the diagonal of r. */
static void divide_by_square(const float *r, size_t ld, float *x, size_t n, size_t cols)
{
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * cols;
        for (size_t k = 0; k < i; k++)
            ram_nn()->axpy(-r[k * ld + i], x + k * cols, cols, row);
        const float pivot = 1 / r[i * ld + i];
        for (size_t j = 0; j < cols; j++)
            row[j] *= pivot;
    }
}

/* Rows [at, at + m) of the order as they should be, given the errors of all before them. */
static int move_rows(struct coupled *c, size_t at, size_t m, struct ram_err *err)
{
    const size_t n = c->n, cols = c->cols;
    const float *r = c->how->outputs->r;
    const struct ram_mat before = {r + at, RAM_ELEM_F32, 1, n};
    const struct ram_mat errors = {c->e, RAM_ELEM_F32, cols, 1};
    int status = RAM_OK;

    if (at == 0)
        memset(c->moved, 0, m * cols * sizeof *c->moved);
    else
        status =
            ram_gemm(RAM_GEMM_F32, m, cols, at, before, errors, c->moved, cols, false, NULL, err);
    if (status)
        return status;
    divide_by_square(r + at * (n + 1), n, c->moved, m, cols);
    for (size_t i = 0; i < m; i++) {
        const float *w = c->w + c->rows[at + i] * cols;
        float *moved = c->moved + i * cols;
        for (size_t j = 0; j < cols; j++)
            moved[j] = w[j] - moved[j];
    }
    return RAM_OK;
}

/* Codes the moved rows; their errors are those of the rows as they are. */
static int code_rows(struct coupled *c, size_t at, size_t m, const struct ram_gptq_bytes *out,
                     double *squared_error, struct ram_err *err)
{
    const struct ram_affine *form = &c->how->form;
    const size_t cols = c->cols, code = ram_affine_code_size(form, cols);
    const size_t scale = ram_affine_scale_size(form, cols);
    const struct ram_gptq_bytes bytes = {c->bytes, c->bytes + m * code,
                                         c->bytes + m * (code + scale)};
    float *e = c->e + at * cols;
    double of_moved;

    const int status = ram_gptq_encode(&c->alone, c->moved, m, cols, &bytes, &of_moved, err);
    if (status)
        return status;
    ram_affine_decode(form, bytes.codes, bytes.scales, bytes.biases, m, cols, e);
    for (size_t i = 0; i < m; i++) {
        const size_t row = c->rows[at + i];
        const float *w = c->w + row * cols;
        memcpy(out->codes + row * code, bytes.codes + i * code, code);
        memcpy(out->scales + row * scale, bytes.scales + i * scale, scale);
        memcpy(out->biases + row * scale, bytes.biases + i * scale, scale);
        *squared_error += ram_squared_distance(e + i * cols, w, cols);
        for (size_t j = 0; j < cols; j++)
            e[i * cols + j] -= w[j];
    }
    return RAM_OK;
}

/* ---- the whole -------------------------------------------------------------------------- */

static int start(struct coupled *c, struct ram_err *err)
{
    const struct ram_affine *form = &c->how->form;
    const size_t row =
        ram_affine_code_size(form, c->cols) + 2 * ram_affine_scale_size(form, c->cols);

    c->rows = ram_calloc(c->n, sizeof *c->rows, err);
    c->e = ram_calloc(c->n, c->cols * sizeof *c->e, err);
    c->moved = ram_calloc(PHASE, c->cols * sizeof *c->moved, err);
    c->bytes = ram_calloc(PHASE, row, err);
    if (!c->rows || !c->e || !c->moved || !c->bytes)
        return RAM_ENOMEM;
    order_rows(c->n, c->rows);
    return RAM_OK;
}

int ram_gptq_encode_coupled(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                            const struct ram_gptq_bytes *out, double *squared_error,
                            struct ram_err *err)
{
    struct coupled c = {.how = how, .alone = *how, .w = w, .n = n, .cols = cols};
    size_t at = 0;

    assert(how->outputs);
    if (how->outputs->cols != n)
        return ram_fail(err, RAM_EINTERNAL, "derivatives of %zu rows, a matrix of %zu",
                        how->outputs->cols, n);
    c.alone.outputs = NULL;
    *squared_error = 0;
    int status = start(&c, err);
    for (size_t phase = 0; !status && phase < n_phases(n); phase++) {
        const size_t m = rows_of_phase(n, phase);
        status = move_rows(&c, at, m, err);
        if (!status)
            status = code_rows(&c, at, m, out, squared_error, err);
        at += m;
    }
    free(c.rows);
    free(c.e);
    free(c.moved);
    free(c.bytes);
    return status;
}
