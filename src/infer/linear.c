/*
 * linear.c - see linear.h.
 *
 * A matrix of bf16 in row order is multiplied where it lies in the map. Any other (quantised, FP8,
 * F16, F32) is decoded to f32 a tile at a time; in RAM_GEMM_BF16 the product then rounds it to
 * bf16 once, which is what MLX's own kernels do.
 */
#include "infer/linear.h"

#include "kern/nn.h"

#include <stdlib.h>

enum {
    DECODE_ROWS = 32, /* of a matrix, in one task of the pool */
    BIAS_ROWS = 32,
    FORGET_BYTES = 32 * 1024 * 1024
};

static bool in_place(const struct ram_linear *linear)
{
    const struct ram_weight *w = &linear->weight;
    return w->affine.bits == 0 && w->view.tensor->dtype == RAM_BF16 && !w->view.tensor->scale &&
           w->view.col_stride == 1 && w->view.row_stride == w->cols;
}

struct decode {
    const struct ram_weight *weight;
    size_t row, n;
    const struct ram_affine *form; /* of the perturbation, or NULL */
    float *out;
};

int ram_linear_perturb(const struct ram_affine *form, float *w, size_t n, size_t cols,
                       struct ram_err *err)
{
    struct ram_affine fitting = *form;

    while (fitting.group >= 32 && cols % (size_t)fitting.group)
        fitting.group /= 2;
    if (fitting.group < 32)
        return RAM_OK;
    const size_t code_size = n * ram_affine_code_size(&fitting, cols);
    const size_t scale_size = n * ram_affine_scale_size(&fitting, cols);
    uint8_t *codes = ram_calloc(code_size + 2 * scale_size, 1, err);
    if (!codes)
        return RAM_ENOMEM;
    uint8_t *scales = codes + code_size, *biases = scales + scale_size;
    ram_affine_encode(&fitting, w, n, cols, codes, scales, biases);
    ram_affine_decode(&fitting, codes, scales, biases, n, cols, w);
    free(codes);
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

/* The form that a matrix is computed as if it were stored in, or NULL. */
static const struct ram_affine *as_if(const struct ram_compute *c, const struct ram_linear *linear)
{
    return c->as_if && c->as_if[linear->unit].bits ? &c->as_if[linear->unit] : NULL;
}

static int decode(const struct ram_compute *c, const struct ram_linear *linear, size_t row,
                  size_t n, struct ram_err *err)
{
    struct decode d = {
        .weight = &linear->weight, .row = row, .n = n, .out = c->tile, .form = as_if(c, linear)};
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

/* Stored [in, out]: small (a head's share of a latent projection), decoded whole. */
static int apply_transposed(const struct ram_compute *c, const struct ram_linear *linear,
                            const float *x, size_t n, float *y, size_t y_stride,
                            struct ram_err *err)
{
    const struct ram_mat a = {x, RAM_ELEM_F32, linear->in, 1};
    const struct ram_mat b = {c->tile, RAM_ELEM_F32, linear->out, 1};

    if (linear->in * linear->out > c->tile_size)
        return ram_fail(err, RAM_EINTERNAL, "a tile of %zu floats is too small for [%zu, %zu]",
                        c->tile_size, linear->in, linear->out);
    const int status = decode(c, linear, linear->first, linear->in, err);
    return status ? status
                  : ram_gemm(c->mode, n, linear->out, linear->in, a, b, y, y_stride, false, c->pool,
                             err);
}

int ram_linear_apply(const struct ram_compute *c, const struct ram_linear *linear, const float *x,
                     size_t n, float *y, size_t y_stride, struct ram_err *err)
{
    const size_t in = linear->in, out = linear->out;
    const struct ram_mat a = {x, RAM_ELEM_F32, in, 1};
    const bool direct = in_place(linear) && !as_if(c, linear);
    size_t step = direct ? (c->forget ? FORGET_BYTES / (2 * in) : out) : c->tile_size / in;
    int status = RAM_OK;

    if (n == 0)
        return RAM_OK;
    if (c->observer)
        status = c->observer->see(c->observer->ctx, linear, x, n, err);
    if (status)
        return status;
    if (linear->transposed)
        return apply_transposed(c, linear, x, n, y, y_stride, err);
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
            status = decode(c, linear, stored, rows, err);
        }
        if (!status)
            status = ram_gemm(c->mode, n, rows, in, a, b, y + row, y_stride, false, c->pool, err);
        if (c->forget)
            ram_weight_forget(c->ckpt, &linear->weight, stored, rows);
    }
    return status || !linear->bias ? status : add_bias(c, linear, n, y, y_stride, err);
}
