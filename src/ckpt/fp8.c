/* fp8.c - see fp8.h. */
#include "ckpt/fp8.h"

#include "codec/float.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_BLOCK = 128, MAX_NAME = 1024 };

/* ---- linking ----------------------------------------------------------------------------- */

/* The matrix of a tensor's last two dimensions; a vector is one row. */
static void matrix_of(const struct ram_tensor *t, uint64_t *rows, uint64_t *cols)
{
    *cols = t->n_dims > 0 ? t->shape[t->n_dims - 1] : 1;
    *rows = t->n_dims > 1 ? t->shape[t->n_dims - 2] : 1;
}

static uint64_t blocks(uint64_t n, uint64_t block)
{
    return n / block + (n % block != 0);
}

static const struct ram_tensor *find_scale(const struct ram_ckpt *ckpt, const char *weight)
{
    static const char *const suffixes[] = {"_scale_inv", "_scale"};
    char name[MAX_NAME];

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const int n = snprintf(name, sizeof name, "%s%s", weight, suffixes[i]);
        const struct ram_tensor *scale = n < (int)sizeof name ? ram_ckpt_find(ckpt, name) : NULL;
        if (scale)
            return scale;
    }
    return NULL;
}

/* Which block does one scale cover? False if scale's shape fits none of the known forms: blocks,
 * one for each row, one for each matrix, one for everything. */
static bool find_block(const struct ram_tensor *t, const struct ram_tensor *scale,
                       const uint64_t block[2], uint64_t out[2])
{
    uint64_t rows, cols, scale_rows, scale_cols;

    matrix_of(t, &rows, &cols);
    matrix_of(scale, &scale_rows, &scale_cols);
    out[0] = rows ? rows : 1;
    out[1] = cols ? cols : 1;
    if (t->n == 0 || (scale->n == 1 && t->n == rows * cols))
        return true;
    if (scale->n_dims != t->n_dims || t->n_dims < 2)
        return false;
    for (int i = 0; i + 2 < t->n_dims; i++)
        if (t->shape[i] != scale->shape[i])
            return false;
    if (scale_rows == blocks(rows, block[0]) && scale_cols == blocks(cols, block[1])) {
        out[0] = block[0];
        out[1] = block[1];
        return true;
    }
    if (scale_rows == rows)
        out[0] = 1;
    return scale_cols == 1 && (scale_rows == rows || scale_rows == 1);
}

/* quantization_config.weight_block_size, by default 128 x 128. */
static int block_size(const json_t *quantization, uint64_t block[2], const char *where,
                      struct ram_err *err)
{
    const json_t *pair = json_object_get(quantization, "weight_block_size");

    block[0] = block[1] = DEFAULT_BLOCK;
    if (!pair || json_is_null(pair))
        return RAM_OK;
    for (size_t i = 0; i < 2; i++) {
        const json_int_t n = json_integer_value(json_array_get(pair, i));
        if (json_array_size(pair) != 2 || n < 1 || n > INT32_MAX)
            return ram_fail(err, RAM_EFORMAT,
                            "%s: config.json: weight_block_size is not a pair of positive "
                            "integers",
                            where);
        block[i] = (uint64_t)n;
    }
    return RAM_OK;
}

static int link_one(const struct ram_ckpt *ckpt, struct ram_tensor *t, const json_t *quantization,
                    const uint64_t block[2], struct ram_err *err)
{
    const struct ram_tensor *scale = find_scale(ckpt, t->name);

    if (!scale) {
        if (!quantization)
            return RAM_OK;
        return ram_fail(err, RAM_EFORMAT,
                        "%s: FP8 tensor '%s' has no '%s_scale_inv', and config.json has a "
                        "quantization_config",
                        ckpt->dir, t->name, t->name);
    }
    if (scale->dtype != RAM_F32 && scale->dtype != RAM_BF16 && scale->dtype != RAM_F16)
        return ram_fail(err, RAM_EUNSUPPORTED, "%s: FP8 scales '%s' are %s, expected F32 or BF16",
                        ckpt->dir, scale->name, ram_dtypes[scale->dtype].name);
    if (!find_block(t, scale, block, t->scale_block)) {
        uint64_t rows, cols, scale_rows, scale_cols;
        matrix_of(t, &rows, &cols);
        matrix_of(scale, &scale_rows, &scale_cols);
        return ram_fail(err, RAM_EFORMAT,
                        "%s: FP8 scales '%s': [%" PRIu64 ", %" PRIu64 "] in %d dimensions, "
                        "expected [%" PRIu64 ", %" PRIu64 "] in %d for [%" PRIu64 ", %" PRIu64
                        "] in blocks of %" PRIu64 " x %" PRIu64,
                        ckpt->dir, scale->name, scale_rows, scale_cols, scale->n_dims,
                        blocks(rows, block[0]), blocks(cols, block[1]), t->n_dims, rows, cols,
                        block[0], block[1]);
    }
    t->scale = scale;
    return RAM_OK;
}

int ram_fp8_link(struct ram_ckpt *ckpt, struct ram_err *err)
{
    const json_t *config = ckpt->config, *text = json_object_get(config, "text_config");
    const json_t *quantization = json_object_get(config, "quantization_config");
    uint64_t block[2];

    if (!json_is_object(quantization))
        quantization = json_object_get(text, "quantization_config");
    if (!json_is_object(quantization))
        quantization = NULL;
    int status = block_size(quantization, block, ckpt->dir, err);
    for (size_t i = 0; i < ckpt->n_tensors && !status; i++)
        if (ckpt->tensors[i].dtype == RAM_F8_E4M3)
            status = link_one(ckpt, &ckpt->tensors[i], quantization, block, err);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------- */

static float scale_at(const struct ram_tensor *scale, size_t i)
{
    const enum ram_float type = scale->dtype == RAM_F32    ? RAM_FLOAT_F32
                                : scale->dtype == RAM_BF16 ? RAM_FLOAT_BF16
                                                           : RAM_FLOAT_F16;
    float value;

    ram_float_widen(type, scale->data + i * ram_float_size(type), 1, &value);
    return value;
}

/* In pieces of a fixed length, which the compiler turns into vectors. */
static void multiply(float *x, size_t n, float scale)
{
    enum { PIECE = 16 };
    size_t i = 0;

    for (; n - i >= PIECE; i += PIECE)
        for (size_t j = 0; j < PIECE; j++)
            x[i + j] *= scale;
    for (; i < n; i++)
        x[i] *= scale;
}

/* Columns [col, col + n) of one row, whose blocks' scales begin at index `scales`. */
static void scale_row(const struct ram_tensor *tensor, size_t scales, size_t col, size_t n,
                      float *out)
{
    const size_t block = (size_t)tensor->scale_block[1];
    size_t at = col / block, left = block - col % block;

    while (n) {
        const size_t step = left < n ? left : n;
        multiply(out, step, scale_at(tensor->scale, scales + at));
        out += step;
        n -= step;
        at++;
        left = block;
    }
}

void ram_fp8_read(const struct ram_tensor *tensor, size_t first, size_t n, float *out)
{
    uint64_t rows, cols;

    ram_float_widen(RAM_FLOAT_F8_E4M3, tensor->data + first, n, out);
    if (!tensor->scale || !n)
        return;
    matrix_of(tensor, &rows, &cols);
    const uint64_t *block = tensor->scale_block;
    const size_t scale_rows = (size_t)blocks(rows, block[0]);
    const size_t scale_cols = (size_t)blocks(cols, block[1]);
    size_t row = first / (size_t)cols, col = first % (size_t)cols;
    while (n) {
        const size_t matrix = row / (size_t)rows;
        const size_t scale = matrix * scale_rows + row % (size_t)rows / (size_t)block[0];
        const size_t step = (size_t)cols - col < n ? (size_t)cols - col : n;
        scale_row(tensor, scale * scale_cols, col, step, out);
        out += step;
        n -= step;
        row++;
        col = 0;
    }
}
