/* rowblock.c - see rowblock.h. */
#include "convert/rowblock.h"

#include "codec/float.h"

#include <math.h>
#include <stdio.h>

enum { RUN = 1024, LANES = 16 };

size_t ram_rows_in_block(size_t cols)
{
    return cols && cols < RAM_BLOCK_WEIGHTS ? RAM_BLOCK_WEIGHTS / cols : 1;
}

bool ram_view_contiguous(const struct ram_view *view)
{
    return view->col_stride == 1 && (view->rows <= 1 || view->row_stride == view->cols) &&
           view->add == 0;
}

/* The sum of at most RUN squares: in f32, as sixteen sums that are folded by halves; in f64 if they
 * exceed the range of f32. */
static double sum_run(const float *x, size_t n)
{
    float lane[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += x[i + k] * x[i + k];
    for (size_t k = 0; i + k < n; k++)
        lane[k] += x[i + k] * x[i + k];
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t k = 0; k < half; k++)
            lane[k] += lane[k + half];
    if (lane[0] > 1e-18F && lane[0] < 1e36F)
        return lane[0];
    for (i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static double sum_squares(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i += RUN)
        sum += sum_run(x + i, n - i < RUN ? n - i : RUN);
    return sum;
}

/* Names the first bad element by its place in the checkpoint's tensor, not in the view. */
static int report(const struct ram_view *view, size_t row, size_t n, const float *x,
                  struct ram_err *err)
{
    const struct ram_tensor *tensor = view->tensor;
    char place[256] = "";
    size_t i = 0, used = 0;

    while (i < n * view->cols && isfinite(x[i]))
        i++;
    size_t element =
        view->first + (row + i / view->cols) * view->row_stride + i % view->cols * view->col_stride;
    size_t below = tensor->n;
    for (int k = 0; k < tensor->n_dims && used < sizeof place; k++) {
        below /= (size_t)tensor->shape[k];
        used += (size_t)snprintf(place + used, sizeof place - used, "%s%zu", k ? ", " : "",
                                 element / below);
        element %= below;
    }
    return ram_fail(err, RAM_EFORMAT,
                    "%s: the weight at [%s] is %s; a checkpoint with such weights is damaged and "
                    "is not converted",
                    tensor->name, place, isnan(x[i]) ? "not a number" : "infinite");
}

static enum ram_float float_type(enum ram_dtype dtype)
{
    return dtype == RAM_F16 ? RAM_FLOAT_F16 : dtype == RAM_BF16 ? RAM_FLOAT_BF16 : RAM_FLOAT_F32;
}

int ram_rows_read(const struct ram_view *view, size_t row, size_t n, enum ram_dtype dtype,
                  float *out, double *squared, struct ram_err *err)
{
    const int status = ram_view_read(view, row, n, out, err);
    if (status)
        return status;
    const size_t count = n * view->cols;
    /* The squares of finite floats have a finite sum in f64, so that it tells of the elements. */
    double sum = sum_squares(out, count);
    if (!isfinite(sum))
        return report(view, row, n, out, err);
    if ((dtype != view->tensor->dtype || view->add != 0) &&
        (dtype == RAM_F16 || dtype == RAM_BF16)) {
        ram_float_round(float_type(dtype), out, count);
        sum = sum_squares(out, count);
        if (!isfinite(sum))
            return ram_fail(err, RAM_EFORMAT, "%s: a weight is beyond the range of %s",
                            view->tensor->name, ram_dtypes[dtype].name);
    }
    *squared += sum;
    return RAM_OK;
}

void ram_rows_narrow(const float *in, size_t n, enum ram_dtype dtype, void *out)
{
    ram_float_narrow(float_type(dtype), in, n, out);
}
