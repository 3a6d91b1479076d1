/*
 * Views of any stride over every floating type, against values computed one by one; FP8 against
 * the definition of its codes, with scales in every form and every wrong one.
 */
#include "ckpt/ckpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 150, COLS = 131, N = ROWS * COLS };

/* Values that every type but FP8 holds exactly. */
static float value_of(size_t i)
{
    return (float)((int)(i * 37 % 255) - 127) / 64.0f;
}

/* A tensor of the type whose element i is value_of(i); its data begins at an odd address. */
static struct ram_tensor make_tensor(enum ram_dtype dtype, uint8_t *room)
{
    uint8_t *data = room + 1;

    for (size_t i = 0; i < N; i++) {
        const float value = value_of(i);
        const double wide = value;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (dtype == RAM_BF16) {
            const uint16_t high = (uint16_t)(bits >> 16);
            memcpy(data + i * 2, &high, 2);
        } else if (dtype == RAM_F16) {
            const uint32_t exponent = (bits >> 23 & 0xff) - 112;
            const uint16_t half = (uint16_t)(value == 0 ? 0
                                                        : (bits >> 16 & 0x8000) | exponent << 10 |
                                                              (bits >> 13 & 0x3ff));
            memcpy(data + i * 2, &half, 2);
        } else if (dtype == RAM_F32) {
            memcpy(data + i * 4, &value, 4);
        } else {
            memcpy(data + i * 8, &wide, 8);
        }
    }
    return (struct ram_tensor){
        .name = "t", .dtype = dtype, .n_dims = 2, .shape = {ROWS, COLS}, .n = N, .data = data};
}

static void check(const struct ram_view *view, size_t row, size_t n)
{
    struct ram_err err = {0};
    float *out = malloc((n * view->cols + 1) * sizeof *out);

    assert_non_null(out);
    out[n * view->cols] = 12345.0f;
    if (ram_view_read(view, row, n, out, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < view->cols; j++) {
            const size_t at = view->first + (row + i) * view->row_stride + j * view->col_stride;
            if (out[i * view->cols + j] != value_of(at))
                fail_msg("(%zu, %zu): %g, expected %g", row + i, j, (double)out[i * view->cols + j],
                         (double)value_of(at));
        }
    assert_true(out[n * view->cols] == 12345.0f);
    free(out);
}

static void any_window_of_any_type(void **state)
{
    static const enum ram_dtype types[] = {RAM_BF16, RAM_F16, RAM_F32, RAM_F64};
    static uint8_t room[8 * N + 1];
    (void)state;

    for (size_t d = 0; d < sizeof types / sizeof *types; d++) {
        const struct ram_tensor t = make_tensor(types[d], room);
        const struct ram_view views[] = {
            ram_view_whole(&t),
            {&t, 0, COLS, ROWS, 1, COLS, 0},         /* transposed */
            {&t, 5 * COLS, 64, 64, 1, COLS, 0},      /* transposed, whole tiles */
            {&t, 7 * COLS + 3, 65, 100, 1, COLS, 0}, /* transposed, ragged */
            {&t, 2 * COLS + 3, 40, 17, COLS, 1, 0},  /* a block of columns */
            {&t, 1, 50, 30, 2 * COLS, 3, 0},         /* every second row, every third column */
            {&t, N - 1, 1, 1, 1, 1, 0},
            {&t, 0, 3, 0, 0, 1, 0},
        };
        for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
            check(&views[v], 0, views[v].rows);
            check(&views[v], views[v].rows / 2, views[v].rows - views[v].rows / 2);
            check(&views[v], views[v].rows - 1, 1);
            check(&views[v], 0, 0);
        }
    }
}

static void what_leads_out_is_refused(void **state)
{
    static uint8_t room[8 * N + 1];
    float out[4];
    (void)state;

    struct ram_tensor t = make_tensor(RAM_BF16, room);
    const struct ram_view views[] = {
        {&t, N, 1, 1, 1, 1, 0},
        {&t, 0, 2, 1, N, 1, 0},
        {&t, 0, 2, 2, SIZE_MAX, 1, 0},
        {&t, SIZE_MAX, 1, 2, 1, 1, 0},
    };
    for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
        struct ram_err err = {0};
        assert_int_equal(ram_view_read(&views[v], 0, views[v].rows, out, &err), RAM_EINTERNAL);
    }
    const struct ram_view whole = ram_view_whole(&t);
    struct ram_err err = {0};
    assert_int_equal(ram_view_read(&whole, ROWS, 1, out, &err), RAM_EINTERNAL);
    err = (struct ram_err){0};
    assert_int_equal(ram_view_read(&whole, 1, SIZE_MAX, out, &err), RAM_EINTERNAL);
    err = (struct ram_err){0};
    t.dtype = RAM_I32;
    assert_int_equal(ram_view_read(&whole, 0, 1, out, &err), RAM_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "'t' is I32"));
}

/* ---- FP8 --------------------------------------------------------------------------------- */

/* 1 sign, 4 exponent of bias 7, 3 fraction bits; all ones but the sign is NaN. */
static float e4m3(unsigned code)
{
    const int exponent = (int)(code >> 3 & 15), fraction = (int)(code & 7);
    const double sign = code & 0x80 ? -1 : 1;

    if ((code & 0x7f) == 0x7f)
        return NAN;
    return (float)(sign * (exponent ? ldexp(1 + fraction / 8.0, exponent - 7)
                                    : ldexp(fraction / 8.0, -6)));
}

static void all_codes(void **state)
{
    uint8_t codes[256];
    float out[256];
    struct ram_err err = {0};
    (void)state;

    for (unsigned i = 0; i < 256; i++)
        codes[i] = (uint8_t)i;
    const struct ram_tensor t = {
        .name = "t", .dtype = RAM_F8_E4M3, .n_dims = 1, .shape = {256}, .n = 256, .data = codes};
    const struct ram_view view = ram_view_whole(&t);
    assert_int_equal(ram_view_read(&view, 0, 1, out, &err), RAM_OK);
    for (unsigned i = 0; i < 256; i++) {
        const float expected = e4m3(i);
        assert_true(isnan(expected) ? isnan(out[i]) : out[i] == expected);
        assert_int_equal(signbit(out[i]) != 0, isnan(expected) ? signbit(out[i]) != 0 : i >> 7);
    }
    assert_true(out[0x7e] == 448.0f && out[1] == 0x1p-9f && out[0x38] == 1.0f);
}

/* E5M2: 2 fraction bits, exponent of bias 15; it has infinities. */
static void all_codes_of_e5m2(void **state)
{
    uint8_t codes[300];
    float out[300];
    struct ram_err err = {0};
    (void)state;

    for (unsigned i = 0; i < 300; i++)
        codes[i] = (uint8_t)i;
    const struct ram_tensor t = {
        .name = "t", .dtype = RAM_F8_E5M2, .n_dims = 1, .shape = {300}, .n = 300, .data = codes};
    const struct ram_view view = ram_view_whole(&t);
    assert_int_equal(ram_view_read(&view, 0, 1, out, &err), RAM_OK);
    for (unsigned i = 0; i < 300; i++) {
        const int exponent = (int)(i >> 2 & 31), fraction = (int)(i & 3);
        const double size =
            exponent ? ldexp(1 + fraction / 4.0, exponent - 15) : ldexp(fraction / 4.0, -14);
        if (exponent == 31)
            assert_true(fraction ? isnan(out[i]) : isinf(out[i]));
        else
            assert_true(out[i] == (float)(i & 0x80 ? -size : size));
    }
    assert_true(out[0x3c] == 1.0f && out[0x7b] == 57344.0f && out[1] == 0x1p-16f);
}

struct fp8_case {
    const char *config;
    int n_dims;
    uint64_t shape[3];
    const char *scale_name; /* NULL: none */
    enum ram_dtype scale_dtype;
    int scale_n_dims;
    uint64_t scale_shape[3];
    uint64_t block[2];   /* what one scale covers */
    const char *message; /* of the refusal; NULL: it must be read */
};

/* Scales are small powers of two and multiples, exact in BF16. */
static float scale_value(enum ram_dtype dtype, size_t i)
{
    return ram_dtypes[dtype].bits == 8 ? ldexpf(1, (int)(i % 7) - 3) : (float)(1 + i % 7) * 0.125f;
}

static size_t product(const uint64_t *shape, int n_dims)
{
    size_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= (size_t)shape[i];
    return n;
}

static void fill_scales(const struct ram_tensor *t, uint8_t *data)
{
    for (size_t i = 0; i < t->n; i++) {
        const float value = scale_value(t->dtype, i);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        const uint16_t high = (uint16_t)(bits >> 16);
        if (t->dtype == RAM_BF16)
            memcpy(data + 2 * i, &high, 2);
        else if (ram_dtypes[t->dtype].bits == 8)
            data[i] = (uint8_t)(bits >> 23); /* the exponent and its bias are those of F32 */
        else
            memcpy(data + 4 * i, &value, 4);
    }
}

static void check_values(const struct fp8_case *c, const struct ram_tensor *t)
{
    struct ram_err err = {0};
    const size_t rows = c->n_dims > 1 ? (size_t)c->shape[c->n_dims - 2] : 1;
    const size_t cols = (size_t)c->shape[c->n_dims - 1];
    const size_t scale_cols = (cols + c->block[1] - 1) / c->block[1];
    const size_t scale_rows = (rows + c->block[0] - 1) / c->block[0];
    const struct ram_view whole = ram_view_whole(t);
    const struct ram_view turned = {t, 0, cols, rows, 1, cols, 0};
    float *out = malloc(t->n * sizeof *out), *across = malloc(t->n * sizeof *out);

    assert_non_null(out);
    assert_non_null(across);
    assert_int_equal(ram_view_read(&whole, 0, whole.rows, out, &err), RAM_OK);
    assert_int_equal(ram_view_read(&turned, 0, cols, across, &err), RAM_OK);
    for (size_t i = 0; i < t->n; i++) {
        const size_t matrix = i / cols / rows, row = i / cols % rows, col = i % cols;
        const size_t scale =
            t->scale && t->scale->n == 1
                ? 0
                : (matrix * scale_rows + row / c->block[0]) * scale_cols + col / c->block[1];
        const float expected =
            e4m3(t->data[i]) * (c->scale_name ? scale_value(c->scale_dtype, scale) : 1.0f);
        assert_true(out[i] == expected);
        if (matrix == 0)
            assert_true(across[col * rows + row] == expected);
    }
    free(out);
    free(across);
}

static void run_fp8_case(const struct fp8_case *c)
{
    struct ram_err err = {0};
    struct ram_ckpt ckpt = {.dir = (char *)(uintptr_t) "x"};
    uint8_t *codes = malloc(product(c->shape, c->n_dims));
    uint8_t *scales = calloc(product(c->scale_shape, c->scale_n_dims) + 1, 8);

    assert_non_null(codes);
    assert_non_null(scales);
    ckpt.config = json_loads(c->config, 0, NULL);
    ckpt.tensors = calloc(2, sizeof *ckpt.tensors);
    assert_non_null(ckpt.tensors);
    ckpt.tensors[0] = (struct ram_tensor){.name = "a.weight",
                                          .dtype = RAM_F8_E4M3,
                                          .n_dims = c->n_dims,
                                          .data = codes,
                                          .n = product(c->shape, c->n_dims)};
    memcpy(ckpt.tensors[0].shape, c->shape, sizeof c->shape);
    for (size_t i = 0; i < ckpt.tensors[0].n; i++)
        codes[i] = (uint8_t)(i * 11 % 0x7f);
    if (c->scale_name) {
        ckpt.tensors[1] = (struct ram_tensor){.name = c->scale_name,
                                              .dtype = c->scale_dtype,
                                              .n_dims = c->scale_n_dims,
                                              .data = scales,
                                              .n = product(c->scale_shape, c->scale_n_dims)};
        memcpy(ckpt.tensors[1].shape, c->scale_shape, sizeof c->scale_shape);
        fill_scales(&ckpt.tensors[1], scales);
    }
    ckpt.n_tensors = c->scale_name ? 2 : 1;
    int status = ram_ckpt_seal(&ckpt, &err);
    assert_int_equal(status, RAM_OK);
    status = ram_ckpt_check_coding(&ckpt, &err);
    if (c->message) {
        assert_true(status < 0);
        if (!strstr(err.message, c->message))
            fail_msg("'%s' does not say '%s'", err.message, c->message);
    } else {
        if (status)
            fail_msg("%s", err.message);
        check_values(c, ram_ckpt_find(&ckpt, "a.weight"));
    }
    ram_names_release(&ckpt.names);
    ram_arena_release(&ckpt.arena);
    free(ckpt.tensors);
    json_decref(ckpt.config);
    free(codes);
    free(scales);
}

static void scales_in_every_form(void **state)
{
    static const char plain[] = "{}";
    static const char fp8[] = "{\"quantization_config\": {\"quant_method\": \"fp8\"}}";
    static const char small[] = "{\"quantization_config\": {\"weight_block_size\": [24, 40]}}";
    static const char nested[] =
        "{\"text_config\": {\"quantization_config\": {\"weight_block_size\": [24, 40]}}}";
    static const char group[] =
        "{\"quantization_config\": {\"config_groups\": {\"group_0\": {\"weights\": "
        "{\"num_bits\": 8, \"type\": \"float\", \"block_structure\": [24, 40]}}}}}";
    static const char odd[] = "{\"quantization_config\": {\"weight_block_size\": [128, 0]}}";
    static const struct fp8_case cases[] = {
        {fp8, 2, {300, 200}, "a.weight_scale_inv", RAM_F32, 2, {3, 2}, {128, 128}, NULL},
        {fp8, 2, {256, 128}, "a.weight_scale_inv", RAM_BF16, 2, {2, 1}, {128, 128}, NULL},
        {fp8, 2, {1, 1}, "a.weight_scale_inv", RAM_F32, 2, {1, 1}, {128, 128}, NULL},
        {small, 2, {100, 90}, "a.weight_scale_inv", RAM_F32, 2, {5, 3}, {24, 40}, NULL},
        {nested, 2, {100, 90}, "a.weight_scale_inv", RAM_F32, 2, {5, 3}, {24, 40}, NULL},
        {small, 3, {3, 50, 90}, "a.weight_scale_inv", RAM_F32, 3, {3, 3, 3}, {24, 40}, NULL},
        {fp8, 3, {4, 50, 60}, "a.weight_scale", RAM_F32, 3, {4, 1, 1}, {50, 60}, NULL},
        {fp8, 2, {50, 60}, "a.weight_scale", RAM_F32, 0, {0}, {50, 60}, NULL},
        {fp8, 2, {50, 60}, "a.weight_scale_inv", RAM_BF16, 1, {1}, {50, 60}, NULL},
        {fp8, 2, {150, 60}, "a.weight_scale", RAM_F32, 2, {150, 1}, {1, 60}, NULL},
        {fp8, 2, {150, 60}, "a.weight_scale", RAM_BF16, 1, {150}, {1, 60}, NULL},
        {small, 2, {150, 60}, "a.weight_scale", RAM_F32, 2, {150, 1}, {1, 60}, NULL},
        {fp8, 2, {60, 60}, "a.weight_scale", RAM_F32, 1, {60}, {1, 60}, NULL},
        {fp8, 2, {150, 60}, "a.scale", RAM_F32, 2, {150, 1}, {1, 60}, NULL},
        {fp8, 2, {1, 300}, "a.weight_scale_inv", RAM_F32, 2, {1, 3}, {128, 128}, NULL},
        {group, 2, {100, 90}, "a.weight_scale", RAM_F32, 2, {5, 3}, {24, 40}, NULL},
        {fp8, 2, {300, 200}, "a.weight_scale_inv", RAM_F8_E8M0, 2, {3, 2}, {128, 128}, NULL},
        {fp8, 2, {64, 96}, "a.weight_scale", RAM_U8, 2, {64, 3}, {1, 32}, NULL},
        {fp8, 3, {4, 50, 60}, "a.weight_scale", RAM_F32, 0, {0}, {50, 60}, NULL},
        {fp8, 3, {4, 50, 60}, "a.weight_scale", RAM_F32, 1, {4}, {50, 60}, NULL},
        {fp8, 3, {4, 50, 60}, "a.weight_scale", RAM_F32, 2, {4, 50}, {1, 60}, NULL},
        {fp8, 3, {4, 50, 60}, "a.weight_scale", RAM_F32, 3, {4, 50, 1}, {1, 60}, NULL},
        {plain, 2, {300, 200}, "a.weight_scale_inv", RAM_F32, 2, {3, 2}, {128, 128}, NULL},
        {plain, 2, {50, 60}, NULL, RAM_F32, 0, {0}, {50, 60}, NULL},
        {fp8,
         2,
         {50, 60},
         NULL,
         RAM_F32,
         0,
         {0},
         {50, 60},
         "'a.weight' has no 'a.weight_scale_inv'"},
        {fp8, 2, {300, 200}, "a.weight_scale_inv", RAM_F32, 2, {2, 3}, {1, 1}, "have shape [2, 3]"},
        {fp8,
         2,
         {300, 200},
         "a.weight_scale_inv",
         RAM_F32,
         1,
         {6},
         {1, 1},
         "[3, 2] for blocks of 128 x 128"},
        {fp8,
         3,
         {4, 50, 60},
         "a.weight_scale_inv",
         RAM_F32,
         3,
         {3, 1, 1},
         {1, 1},
         "have shape [3, 1, 1]"},
        {small, 2, {64, 96}, "a.weight_scale", RAM_U8, 2, {64, 3}, {1, 1}, "blocks of 24 x 40"},
        {fp8, 2, {150, 60}, "a.weight_scale", RAM_F32, 2, {1, 60}, {1, 1}, "[150, 1] for rows"},
        {fp8, 2, {50, 60}, "a.weight_scale_inv", RAM_I32, 2, {1, 1}, {1, 1}, "are I32"},
        {odd, 2, {50, 60}, NULL, RAM_F32, 0, {0}, {1, 1}, "weight_block_size"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_fp8_case(&cases[i]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_window_of_any_type),
        cmocka_unit_test(what_leads_out_is_refused),
        cmocka_unit_test(all_codes),
        cmocka_unit_test(all_codes_of_e5m2),
        cmocka_unit_test(scales_in_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
