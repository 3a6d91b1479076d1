/*
 * view.c - reading views: any window on a tensor of floats, as rows of f32.
 *
 * A run of neighbouring elements is what the kernels widen. Views whose rows are runs are read row
 * by row; transposed ones (embed_q, cut out of kv_b_proj) through tiles that stay in the first
 * cache; anything else element by element.
 */
#include "ckpt/ckpt.h"

#include "ckpt/fp8.h"
#include "codec/float.h"

enum { TILE = 64 };

struct ram_view ram_view_whole(const struct ram_tensor *tensor)
{
    const int last = tensor->n_dims - 1;
    const size_t cols = last >= 0 ? (size_t)tensor->shape[last] : 1;

    return (struct ram_view){.tensor = tensor,
                             .rows = cols ? tensor->n / cols : 0,
                             .cols = cols,
                             .row_stride = cols,
                             .col_stride = 1};
}

/* Elements [first, first + n) in storage order. */
static void read_run(const struct ram_tensor *t, size_t first, size_t n, float *out)
{
    static const enum ram_float types[RAM_N_DTYPES] = {[RAM_F16] = RAM_FLOAT_F16,
                                                       [RAM_BF16] = RAM_FLOAT_BF16,
                                                       [RAM_F32] = RAM_FLOAT_F32,
                                                       [RAM_F64] = RAM_FLOAT_F64};
    const enum ram_float type = types[t->dtype];

    if (ram_is_fp8(t->dtype))
        ram_fp8_read(t, first, n, out);
    else
        ram_float_widen(type, t->data + first * ram_float_size(type), n, out);
}

/* Columns are runs: reads a tile of them and turns it. */
static void read_transposed(const struct ram_view *view, size_t row, size_t n, float *out)
{
    float tile[TILE][TILE];

    for (size_t i = 0; i < n; i += TILE) {
        const size_t height = n - i < TILE ? n - i : TILE;
        for (size_t j = 0; j < view->cols; j += TILE) {
            const size_t width = view->cols - j < TILE ? view->cols - j : TILE;
            const size_t first = view->first + row + i + j * view->col_stride;
            for (size_t c = 0; c < width; c++)
                read_run(view->tensor, first + c * view->col_stride, height, tile[c]);
            for (size_t r = 0; r < height; r++)
                for (size_t c = 0; c < width; c++)
                    out[(i + r) * view->cols + j + c] = tile[c][r];
        }
    }
}

/* A view is made by the library, from checked shapes; one that leads out is our mistake. */
static int check_view(const struct ram_view *view, size_t row, size_t n, struct ram_err *err)
{
    const struct ram_tensor *t = view->tensor;
    size_t last_row, last_col, last;

    if (!ram_dtypes[t->dtype].is_weight)
        return ram_fail(err, RAM_EUNSUPPORTED, "tensor '%s' is %s, not a floating type", t->name,
                        ram_dtypes[t->dtype].name);
    if (row > view->rows || n > view->rows - row)
        return ram_fail(err, RAM_EINTERNAL, "tensor '%s': rows %zu to %zu of a view of %zu",
                        t->name, row, row + n, view->rows);
    if (n && view->cols &&
        (!ram_mul_size(row + n - 1, view->row_stride, &last_row) ||
         !ram_mul_size(view->cols - 1, view->col_stride, &last_col) ||
         !ram_add_size(last_row, last_col, &last) || !ram_add_size(last, view->first, &last) ||
         last >= t->n))
        return ram_fail(err, RAM_EINTERNAL, "tensor '%s': a view beyond its %zu elements", t->name,
                        t->n);
    return RAM_OK;
}

int ram_view_read(const struct ram_view *view, size_t row, size_t n, float *out,
                  struct ram_err *err)
{
    const size_t cols = view->cols;

    const int status = check_view(view, row, n, err);
    if (status || !n || !cols)
        return status;
    if (view->col_stride == 1 && view->row_stride == cols) {
        read_run(view->tensor, view->first + row * cols, n * cols, out);
    } else if (view->col_stride == 1) {
        for (size_t i = 0; i < n; i++)
            read_run(view->tensor, view->first + (row + i) * view->row_stride, cols,
                     out + i * cols);
    } else if (view->row_stride == 1) {
        read_transposed(view, row, n, out);
    } else {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < cols; j++)
                read_run(view->tensor,
                         view->first + (row + i) * view->row_stride + j * view->col_stride, 1,
                         out + i * cols + j);
    }
    for (size_t i = 0; view->add != 0 && i < n * cols; i++)
        out[i] += view->add;
    return RAM_OK;
}

void ram_view_forget(const struct ram_ckpt *ckpt, const struct ram_view *view, size_t row, size_t n)
{
    const struct ram_tensor *t = view->tensor;
    const struct ram_map *map = &ckpt->files[t->file].map;
    const size_t size = (size_t)ram_dtypes[t->dtype].bits / 8;

    if (view->col_stride == 1 && n && row < view->rows && n <= view->rows - row)
        ram_map_forget(map, t->offset + (view->first + row * view->row_stride) * size,
                       ((n - 1) * view->row_stride + view->cols) * size);
    else
        ram_map_forget(map, t->offset, t->size);
}
