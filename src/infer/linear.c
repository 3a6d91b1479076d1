/*
 * linear.c - see linear.h.
 *
 * A bf16 matrix in row order is multiplied where it lies in the map. Any other matrix (quantised,
 * FP8, F16, F32) is decoded to f32, one tile at a time; in RAM_GEMM_BF16 the product then rounds it
 * to bf16 once, as MLX's own kernels do.
 *
 * Probes compute many variants of a model at once. In every row of x, at most one unit (or all) is
 * computed in a perturbed form: quantised and decoded again. Most rows of a matrix are then
 * computed with its weights as stored, and a few with the perturbed ones. The expensive part of a
 * product with few rows is packing the matrix, and before it reading, decoding and perturbing it.
 * Rows of one form are therefore multiplied together, so that each form of a matrix is packed once,
 * however many probes there are: computing each probe by itself packed every matrix nine times.
 */
#include "infer/linear.h"

#include "kern/nn.h"

#include <stdlib.h>
#include <string.h>

enum {
    DECODE_ROWS = 32, /* rows of a matrix in one task of the pool */
    BIAS_ROWS = 32,   /* rows of y in one task of the pool */
    FEW_ROWS = 32,    /* see next_run */
    /* Weights that are read in place before their pages are released, if the model does not fit. */
    FORGET_BYTES = 32 * 1024 * 1024
};

static bool in_place(const struct ram_linear *linear)
{
    const struct ram_weight *w = &linear->weight;
    return !w->as.form && w->view.tensor->dtype == RAM_BF16 && !w->view.tensor->scale &&
           w->view.col_stride == 1 && w->view.row_stride == w->cols;
}

struct decode {
    const struct ram_weight *weight;
    size_t row, n;
    const struct ram_storage *form; /* the perturbation, or NULL */
    float *out;
};

/* A fallback is used where a form does not fit the rows, as in conversions. */
int ram_linear_perturb(const struct ram_storage *as, float *w, size_t n, size_t cols,
                       struct ram_err *err)
{
    struct ram_storage fitting = *as;
    uint8_t *planes[RAM_MAX_PLANES];

    fitting.form = ram_form_fit(as->form, cols);
    if (fitting.form == RAM_FORM_16)
        return RAM_OK;
    if (ram_storage_alloc(&fitting, n, cols, planes, err))
        return RAM_ENOMEM;
    const uint8_t *const coded[RAM_MAX_PLANES] = {planes[0], planes[1], planes[2]};
    ram_storage_encode(&fitting, w, n, cols, planes);
    ram_storage_decode(&fitting, coded, n, cols, w);
    free(planes[0]);
    return RAM_OK;
}

static int decode_rows(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct decode *d = ctx;
    const size_t first = i * DECODE_ROWS;
    const size_t n = d->n - first < DECODE_ROWS ? d->n - first : DECODE_ROWS;

    float *out = d->out + first * d->weight->cols;

    (void)worker;
    const int status = ram_weight_read(d->weight, d->row + first, n, out, err);
    return status || !d->form ? status : ram_linear_perturb(d->form, out, n, d->weight->cols, err);
}

static int decode(const struct ram_compute *c, const struct ram_linear *linear,
                  const struct ram_storage *form, size_t row, size_t n, struct ram_err *err)
{
    struct decode d = {.weight = &linear->weight, .row = row, .n = n, .form = form, .out = c->tile};
    return ram_pool_for(c->pool, (n + DECODE_ROWS - 1) / DECODE_ROWS, decode_rows, &d, err);
}

struct bias_job {
    const float *bias;
    size_t n, out;
    float *y;
    size_t y_stride;
};

static int bias_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct bias_job *job = ctx;
    const size_t last = (i + 1) * BIAS_ROWS < job->n ? (i + 1) * BIAS_ROWS : job->n;

    (void)worker;
    (void)err;
    for (size_t row = i * BIAS_ROWS; row < last; row++)
        ram_nn()->axpy(1, job->bias, job->out, job->y + row * job->y_stride);
    return RAM_OK;
}

static int add_bias(const struct ram_compute *c, const struct ram_linear *linear, size_t n,
                    float *y, size_t y_stride, struct ram_err *err)
{
    struct bias_job job = {linear->bias, n, linear->out, y, y_stride};
    return ram_pool_for(c->pool, (n + BIAS_ROWS - 1) / BIAS_ROWS, bias_task, &job, err);
}

/* ---- which rows are computed in which form ---------------------------------------------- */

struct product {
    const struct ram_compute *compute;
    const struct ram_linear *linear;
    const struct ram_storage *as_if; /* the form of the rows that perturb this unit, or NULL */
    const float *x;
    size_t n;
    float *y;
    size_t y_stride;
};

struct run {
    size_t first, end;
};

/* Whether the row wants this matrix in its perturbed form. */
static bool is_meant(const struct product *p, size_t row)
{
    const unsigned *unit_of = p->compute->unit_of;
    return p->as_if &&
           (!unit_of || unit_of[row] == p->linear->unit || unit_of[row] == RAM_ALL_UNITS);
}

/*
 * Sets *r to the next run of rows after r->end that are computed with this form, or with the
 * weights as stored (NULL). A run of the latter kind continues over a gap of up to FEW_ROWS rows of
 * the other kind, which the second call of apply then overwrites. To end the run would mean to pack
 * the matrix once more, which costs as much as computing those rows in vain.
 */
static bool next_run(const struct product *p, const struct ram_storage *form, struct run *r)
{
    const bool meant = form != NULL;
    const size_t gap = meant ? 0 : FEW_ROWS;

    r->first = r->end;
    while (r->first < p->n && is_meant(p, r->first) != meant)
        r->first++;
    r->end = r->first;
    for (size_t row = r->first; row < p->n && row <= r->end + gap; row++)
        if (is_meant(p, row) == meant)
            r->end = row + 1;
    return r->first < r->end;
}

/* Computes columns [column, column + n) of y with b, in every row of the form. */
static int multiply(const struct product *p, const struct ram_storage *form, struct ram_mat b,
                    size_t column, size_t n, struct ram_err *err)
{
    const size_t in = p->linear->in;
    struct run r = {0};
    int status = RAM_OK;

    while (!status && next_run(p, form, &r)) {
        const struct ram_mat a = {p->x + r.first * in, RAM_ELEM_F32, in, 1};
        status = ram_gemm(p->compute->mode, r.end - r.first, n, in, a, b,
                          p->y + r.first * p->y_stride + column, p->y_stride, false,
                          p->compute->pool, err);
    }
    return status;
}

/* A matrix that is stored [in, out]: a head's part of a latent projection, which is small enough to
 * be decoded as a whole. */
static int apply_transposed(const struct product *p, const struct ram_storage *form,
                            struct ram_err *err)
{
    const struct ram_compute *c = p->compute;
    const struct ram_linear *linear = p->linear;
    const struct ram_mat b = {c->tile, RAM_ELEM_F32, linear->out, 1};

    if (linear->in * linear->out > c->tile_size)
        return ram_fail(err, RAM_EINTERNAL, "a tile of %zu floats is too small for [%zu, %zu]",
                        c->tile_size, linear->in, linear->out);
    const int status = decode(c, linear, form, linear->first, linear->in, err);
    return status ? status : multiply(p, form, b, 0, linear->out, err);
}

/* A matrix that is stored [out, in]: in place, or decoded in as many rows at a time as a tile
 * holds. In place, all of it is one product, unless its pages have to be released on the way. */
static int apply_rows(const struct product *p, const struct ram_storage *form, struct ram_err *err)
{
    const struct ram_compute *c = p->compute;
    const struct ram_linear *linear = p->linear;
    const size_t in = linear->in, out = linear->out;
    const bool direct = in_place(linear) && !form;
    size_t step = direct ? (c->forget ? FORGET_BYTES / (2 * in) : out) : c->tile_size / in;
    int status = RAM_OK;

    if (step == 0)
        step = 1;
    for (size_t row = 0; !status && row < out; row += step) {
        const size_t rows = out - row < step ? out - row : step;
        const size_t stored = linear->first + row;
        struct ram_mat b = {c->tile, RAM_ELEM_F32, 1, in};
        if (direct) {
            b.data =
                linear->weight.view.tensor->data + 2 * (linear->weight.view.first + stored * in);
            b.elem = RAM_ELEM_BF16;
        } else {
            status = decode(c, linear, form, stored, rows, err);
        }
        if (!status)
            status = multiply(p, form, b, row, rows, err);
        if (c->forget)
            ram_weight_forget(c->ckpt, &linear->weight, stored, rows);
    }
    return status;
}

static int apply_all(const struct product *p, const struct ram_storage *form, struct ram_err *err)
{
    return p->linear->transposed ? apply_transposed(p, form, err) : apply_rows(p, form, err);
}

/* Copies rows of a form that are not adjacent next to each other, multiplies them, and copies the
 * results back: the matrix is then packed for them once. */
static int apply_together(const struct product *p, const struct ram_storage *form, size_t n,
                          struct ram_err *err)
{
    const size_t in = p->linear->in, out = p->linear->out;
    struct ram_compute compute = *p->compute;
    float *x = ram_calloc(n * (in + out), sizeof *x, err);
    struct product together = {.compute = &compute,
                               .linear = p->linear,
                               .as_if = p->as_if,
                               .x = x,
                               .n = n,
                               .y = x + n * in,
                               .y_stride = out};
    struct run r = {0};

    if (!x)
        return RAM_ENOMEM;
    compute.unit_of = NULL;
    for (float *to = x; next_run(p, form, &r); to += (r.end - r.first) * in)
        memcpy(to, p->x + r.first * in, (r.end - r.first) * in * sizeof *to);
    const int status = apply_all(&together, form, err);
    const float *from = together.y;
    r.end = 0;
    while (!status && next_run(p, form, &r))
        for (size_t row = r.first; row < r.end; row++, from += out)
            memcpy(p->y + row * p->y_stride, from, out * sizeof *from);
    free(x);
    return status;
}

/* Rows as stored (form NULL) usually are one long run and are multiplied where they are. */
static int apply(const struct product *p, const struct ram_storage *form, struct ram_err *err)
{
    struct run r = {0};
    size_t runs = 0, n = 0;

    for (; next_run(p, form, &r); runs++)
        n += r.end - r.first;
    if (runs == 0)
        return RAM_OK;
    return form && runs > 1 ? apply_together(p, form, n, err) : apply_all(p, form, err);
}

int ram_linear_apply(const struct ram_compute *c, const struct ram_linear *linear, const float *x,
                     size_t n, float *y, size_t y_stride, struct ram_err *err)
{
    const bool other = c->as_if && c->as_if[linear->unit].form;
    const struct product p = {.compute = c,
                              .linear = linear,
                              .as_if = other ? &c->as_if[linear->unit] : NULL,
                              .x = x,
                              .n = n,
                              .y = y,
                              .y_stride = y_stride};
    int status = RAM_OK;

    if (n && c->observer)
        status = c->observer->see(c->observer->ctx, linear, x, c->shares, n, err);
    if (!status)
        status = apply(&p, NULL, err);
    if (!status && other)
        status = apply(&p, p.as_if, err);
    return status || !linear->bias ? status : add_bias(c, linear, n, y, y_stride, err);
}

/* ---- the derivative ----------------------------------------------------------------------- */

/* Where rows [row, row + rows) of a matrix lie, decoded to the tile if they must be. */
static int load_rows(const struct ram_compute *c, const struct ram_linear *linear, size_t row,
                     size_t rows, struct ram_mat *out, struct ram_err *err)
{
    const struct ram_weight *w = &linear->weight;
    const size_t stored = linear->first + row;

    *out = (struct ram_mat){c->tile, RAM_ELEM_F32, w->cols, 1};
    if (!in_place(linear))
        return decode(c, linear, NULL, stored, rows, err);
    out->data = w->view.tensor->data + 2 * (w->view.first + stored * w->cols);
    out->elem = RAM_ELEM_BF16;
    return RAM_OK;
}

static int back_transposed(const struct ram_compute *c, const struct ram_linear *linear,
                           const float *dy, size_t n, size_t dy_stride, float *dx, size_t dx_stride,
                           bool accumulate, struct ram_err *err)
{
    const struct ram_mat a = {dy, RAM_ELEM_F32, dy_stride, 1};
    const struct ram_mat b = {c->tile, RAM_ELEM_F32, 1, linear->out};

    if (linear->in * linear->out > c->tile_size)
        return ram_fail(err, RAM_EINTERNAL, "a tile of %zu floats is too small for [%zu, %zu]",
                        c->tile_size, linear->in, linear->out);
    const int status = decode(c, linear, NULL, linear->first, linear->in, err);
    return status ? status
                  : ram_gemm(c->mode, n, linear->in, linear->out, a, b, dx, dx_stride, accumulate,
                             c->pool, err);
}

int ram_linear_back(const struct ram_compute *c, const struct ram_linear *linear, const float *dy,
                    size_t n, size_t dy_stride, float *dx, size_t dx_stride, bool accumulate,
                    struct ram_err *err)
{
    const size_t in = linear->in, out = linear->out;
    const size_t step = c->tile_size / in ? c->tile_size / in : 1;
    int status = RAM_OK;

    if (linear->transposed)
        return back_transposed(c, linear, dy, n, dy_stride, dx, dx_stride, accumulate, err);
    for (size_t row = 0; !status && row < out; row += step) {
        const size_t rows = out - row < step ? out - row : step;
        const struct ram_mat a = {dy + row, RAM_ELEM_F32, dy_stride, 1};
        struct ram_mat b;
        status = load_rows(c, linear, row, rows, &b, err);
        if (!status)
            status = ram_gemm(c->mode, n, in, rows, a, b, dx, dx_stride, accumulate || row > 0,
                              c->pool, err);
        if (c->forget)
            ram_weight_forget(c->ckpt, &linear->weight, linear->first + row, rows);
    }
    return status;
}
