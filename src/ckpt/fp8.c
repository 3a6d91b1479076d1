/* fp8.c - see fp8.h. */
#include "ckpt/fp8.h"

#include "ckpt/coding_config.h"
#include "codec/float.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
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

/* The scales of a weight: under the names of fp8.h. */
static const struct ram_tensor *find_scale(const struct ram_ckpt *ckpt, const char *weight)
{
    static const char *const suffixes[] = {"_scale_inv", "_scale", ".scale"};
    static const char own[] = ".weight";
    const size_t length = strlen(weight), tail = strlen(own);
    const bool is_module = length > tail && !strcmp(weight + length - tail, own);
    char name[MAX_NAME];

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const bool of_module = *suffixes[i] == '.';
        if (length >= sizeof name || (of_module && !is_module))
            continue;
        const int stem = (int)(of_module ? length - tail : length);
        const int n = snprintf(name, sizeof name, "%.*s%s", stem, weight, suffixes[i]);
        const struct ram_tensor *scale = n < (int)sizeof name ? ram_ckpt_find(ckpt, name) : NULL;
        if (scale)
            return scale;
    }
    return NULL;
}

/* The scales of one matrix as [rows, cols], by what stands behind the dimensions of the stack: a
 * vector has one for each row. False if the stacks differ. */
static bool scale_matrix(const struct ram_tensor *t, const struct ram_tensor *scale, uint64_t *rows,
                         uint64_t *cols)
{
    const int stack = t->n_dims > 2 ? t->n_dims - 2 : 0;
    const int left = scale->n_dims - stack;

    if (left < 0 || left > 2 || t->n_dims < 2)
        return false;
    for (int i = 0; i < stack; i++)
        if (t->shape[i] != scale->shape[i])
            return false;
    *rows = left > 0 ? scale->shape[stack] : 1;
    *cols = left > 1 ? scale->shape[stack + 1] : 1;
    return true;
}

/* What a block of scales covers when config.json does not say. */
struct blocking {
    uint64_t block[2];
    bool given; /* by config.json: no other block is possible then */
};

/* The size of a block along an axis of n elements with `scales` scales: the whole axis, one
 * element, or, if config.json does not say, an even share as in the MX formats (32). 0: none. */
static uint64_t axis_block(uint64_t n, uint64_t scales, bool given)
{
    enum { SMALLEST = 16 };

    if (!scales)
        return 0;
    if (scales == 1 || scales == n)
        return n / scales;
    const uint64_t share = n % scales == 0 ? n / scales : 0;
    return !given && share >= SMALLEST && (share & (share - 1)) == 0 ? share : 0;
}

/* Finds the block that one scale covers. False if the shape of the scales fits no known form. */
static bool find_block(const struct ram_tensor *t, const struct ram_tensor *scale,
                       const struct blocking *how, uint64_t out[2])
{
    uint64_t rows, cols, scale_rows, scale_cols;

    matrix_of(t, &rows, &cols);
    out[0] = rows ? rows : 1;
    out[1] = cols ? cols : 1;
    if (t->n == 0 || scale->n == 1)
        return true;
    if (!scale_matrix(t, scale, &scale_rows, &scale_cols))
        return false;
    if (scale->n_dims == t->n_dims && scale_rows == blocks(rows, how->block[0]) &&
        scale_cols == blocks(cols, how->block[1])) {
        memcpy(out, how->block, sizeof how->block);
        return true;
    }
    out[0] = axis_block(rows, scale_rows, how->given);
    out[1] = axis_block(cols, scale_cols, how->given);
    /* A scale for each column alone is no published form: something is turned. */
    return out[0] && out[1] && (scale_rows > 1 || scale_cols == 1);
}

/* compressed-tensors: the block of the first group of modules that has one. */
static const json_t *group_block(const json_t *quantization)
{
    json_t *groups = json_object_get(quantization, "config_groups"), *group;
    const char *key;

    json_object_foreach(groups, key, group)
    {
        const json_t *pair = json_object_get(json_object_get(group, "weights"), "block_structure");
        if (json_is_array(pair))
            return pair;
    }
    return NULL;
}

/* Leaves a sentence about what is wrong, unless there is one. */
RAM_PRINTF(3, 4)
static int problem(struct ram_ckpt *ckpt, int status, const char *fmt, ...)
{
    va_list args;
    char text[800];
    struct ram_err err = {0};

    if (ckpt->coding.problem)
        return RAM_OK;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ckpt->coding.problem = ram_arena_strdup(&ckpt->arena, text, &err);
    ckpt->coding.status = status;
    return err.status;
}

/* quantization_config.weight_block_size, by default 128 x 128. */
static int block_size(struct ram_ckpt *ckpt, const json_t *quantization, struct blocking *how)
{
    const json_t *pair = json_object_get(quantization, "weight_block_size");

    *how = (struct blocking){{DEFAULT_BLOCK, DEFAULT_BLOCK}, false};
    if (!pair || json_is_null(pair))
        pair = group_block(quantization);
    if (!pair)
        return RAM_OK;
    for (size_t i = 0; i < 2; i++) {
        const json_int_t n = json_integer_value(json_array_get(pair, i));
        if (json_array_size(pair) != 2 || n < 1 || n > INT32_MAX)
            return problem(ckpt, RAM_EFORMAT,
                           "config.json: weight_block_size is not a pair of positive integers");
        how->block[i] = (uint64_t)n;
    }
    how->given = true;
    return RAM_OK;
}

static bool is_scale_type(enum ram_dtype dtype)
{
    return dtype == RAM_F32 || dtype == RAM_BF16 || dtype == RAM_F16 || dtype == RAM_F8_E8M0 ||
           dtype == RAM_U8;
}

static int refuse_shape(struct ram_ckpt *ckpt, const struct ram_tensor *t,
                        const struct ram_tensor *scale, const uint64_t block[2])
{
    char ours[RAM_SHAPE_TEXT], theirs[RAM_SHAPE_TEXT];
    uint64_t rows, cols;

    matrix_of(t, &rows, &cols);
    return problem(ckpt, RAM_EFORMAT,
                   "FP8 scales '%s' have shape %s, but '%s' has shape %s; expected one scale, "
                   "[%" PRIu64 ", 1] for rows, or [%" PRIu64 ", %" PRIu64 "] for blocks of %" PRIu64
                   " x %" PRIu64,
                   scale->name, ram_shape_text(scale->shape, scale->n_dims, theirs), t->name,
                   ram_shape_text(t->shape, t->n_dims, ours), rows, blocks(rows, block[0]),
                   blocks(cols, block[1]), block[0], block[1]);
}

/* compressed-tensors writes zero points even of symmetric scales. Others would have to be
 * subtracted, which no published checkpoint asks for. */
static int check_zero_point(struct ram_ckpt *ckpt, const struct ram_tensor *t)
{
    char name[MAX_NAME];

    const int n = snprintf(name, sizeof name, "%s_zero_point", t->name);
    const struct ram_tensor *zero = n < (int)sizeof name ? ram_ckpt_find(ckpt, name) : NULL;
    for (size_t i = 0; zero && i < zero->size; i++)
        if (zero->data[i] & 0x7f)
            return problem(ckpt, RAM_EUNSUPPORTED,
                           "FP8 tensor '%s' has zero points other than 0 ('%s'), which are not "
                           "read; use the original checkpoint",
                           t->name, name);
    return RAM_OK;
}

static int link_one(struct ram_ckpt *ckpt, struct ram_tensor *t, const struct blocking *how)
{
    const struct ram_tensor *scale = find_scale(ckpt, t->name);

    if (!scale)
        return RAM_OK;
    if (!is_scale_type(scale->dtype))
        return problem(ckpt, RAM_EUNSUPPORTED,
                       "FP8 scales '%s' are %s, expected F32, BF16, F16 or F8_E8M0", scale->name,
                       ram_dtypes[scale->dtype].name);
    if (!find_block(t, scale, how, t->scale_block))
        return refuse_shape(ckpt, t, scale, how->block);
    t->scale = scale;
    return check_zero_point(ckpt, t);
}

/* "FP8 (scales of 128 x 128 blocks)": after the first tensor that has scales. */
static int name_coding(struct ram_ckpt *ckpt, const struct ram_tensor *t, struct ram_err *err)
{
    uint64_t rows, cols;

    if (!t->scale) {
        ckpt->coding.name = "FP8 (without scales)";
        return RAM_OK;
    }
    matrix_of(t, &rows, &cols);
    const uint64_t *block = t->scale_block;
    if (block[0] >= rows && block[1] >= cols)
        ckpt->coding.name = "FP8 (one scale for each matrix)";
    else if (block[0] == 1 && block[1] >= cols)
        ckpt->coding.name = "FP8 (one scale for each row)";
    else
        ckpt->coding.name = ram_arena_printf(
            &ckpt->arena, err, "FP8 (one scale for each block of %" PRIu64 " x %" PRIu64 ")",
            block[0], block[1]);
    return err->status;
}

int ram_fp8_link(struct ram_ckpt *ckpt, struct ram_err *err)
{
    const json_t *quantization = ram_coding_config(ckpt->config);
    const struct ram_tensor *first = NULL, *bare = NULL;
    bool scaled = quantization != NULL;
    struct blocking how;

    for (size_t i = 0; i < ckpt->n_tensors && !first; i++)
        if (ram_is_fp8(ckpt->tensors[i].dtype))
            first = &ckpt->tensors[i];
    if (!first)
        return RAM_OK;
    int status = block_size(ckpt, quantization, &how);
    for (size_t i = 0; i < ckpt->n_tensors && !status; i++) {
        struct ram_tensor *t = &ckpt->tensors[i];
        /* A zero point or a scale of activations may itself be a byte. */
        if (!ram_is_fp8(t->dtype) || ram_coding_is_activation(t->name) ||
            strstr(t->name, "_zero_point"))
            continue;
        status = link_one(ckpt, t, &how);
        if (t->scale && !first->scale)
            first = t;
        scaled = scaled || t->scale;
        bare = t->scale || bare ? bare : t;
    }
    if (!status && scaled && bare)
        status =
            problem(ckpt, RAM_EFORMAT, "FP8 tensor '%s' has no '%s_scale_inv' or '%s_scale', %s",
                    bare->name, bare->name, bare->name,
                    quantization ? "and config.json has a quantization_config"
                                 : "though other tensors have scales");
    if (status)
        return ram_fail(err, status, "%s: no memory for the scales of FP8 tensors", ckpt->dir);
    return name_coding(ckpt, first, err);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* E8M0 is the exponent of a power of two, biased by 127, and 255 is NaN. ModelOpt and
 * compressed-tensors store it as U8. */
static float power_of_two(uint8_t code)
{
    return code == 0xff ? NAN : ldexpf(1, (int)code - 127);
}

static float scale_at(const struct ram_tensor *scale, size_t i)
{
    const enum ram_float type = scale->dtype == RAM_F32    ? RAM_FLOAT_F32
                                : scale->dtype == RAM_BF16 ? RAM_FLOAT_BF16
                                                           : RAM_FLOAT_F16;
    float value;

    if (ram_dtypes[scale->dtype].bits == 8)
        return power_of_two(scale->data[i]);
    ram_float_widen(type, scale->data + i * ram_float_size(type), 1, &value);
    return value;
}

/* E5M2 is the upper byte of an F16. */
static void widen_e5m2(const uint8_t *codes, size_t n, float *out)
{
    enum { PIECE = 256 };
    uint8_t halves[2 * PIECE] = {0};

    for (size_t i = 0; i < n; i += PIECE) {
        const size_t step = n - i < PIECE ? n - i : PIECE;
        for (size_t j = 0; j < step; j++)
            halves[2 * j + 1] = codes[i + j];
        ram_float_widen(RAM_FLOAT_F16, halves, step, out + i);
    }
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

    if (tensor->dtype == RAM_F8_E5M2)
        widen_e5m2(tensor->data + first, n, out);
    else
        ram_float_widen(RAM_FLOAT_F8_E4M3, tensor->data + first, n, out);
    if (!tensor->scale || !n)
        return;
    matrix_of(tensor, &rows, &cols);
    const uint64_t *block = tensor->scale_block;
    const size_t scale_rows = (size_t)blocks(rows, block[0]);
    const size_t scale_cols = (size_t)blocks(cols, block[1]);
    size_t row = first / (size_t)cols, col = first % (size_t)cols;
    while (n) {
        const size_t matrix = tensor->scale->n == 1 ? 0 : row / (size_t)rows;
        const size_t scale = matrix * scale_rows + row % (size_t)rows / (size_t)block[0];
        const size_t step = (size_t)cols - col < n ? (size_t)cols - col : n;
        scale_row(tensor, scale * scale_cols, col, step, out);
        out += step;
        n -= step;
        row++;
        col = 0;
    }
}
