/*
 * MLX's own checkpoints as they are read: the worked vectors of MLX's affine format (codes and
 * scales as mx.quantize makes them of w[i] = (i - 10) / 8), settings that are overridden or do not
 * fit, stacks, and plain floats through the same door.
 */
#include "ckpt/weight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Group of 32; scale and bias in BF16. */
static const struct {
    int bits;
    uint16_t scale, bias;
    uint32_t words[8];
    int first_codes[6];
} vectors[] = {
    {2, 0xbfa8, 0x4028, {0xaaaaabff, 0x00055555}, {3, 3, 3, 3, 3, 2}},
    {3, 0xbf06, 0x4028, {0x6ddb6fff, 0x36dc925b, 0x00124a49}, {7, 7, 7, 7, 6, 6}},
    {4, 0xbe86, 0x4028, {0xbccddeef, 0x8899aaab, 0x44556677, 0x00112233}, {15, 14, 14, 13, 13, 12}},
    {5,
     0xbe00,
     0x4028,
     {0x75be77df, 0x3a56d7c6, 0x35cf8465, 0xc74254b6, 0x00443214},
     {31, 30, 29, 28, 27, 26}},
    {6,
     0xbd7a,
     0x4028,
     {0x77e7bf7f, 0xbb6fc73d, 0x863967a6, 0x1765b75f, 0xa30e4125, 0x00210620},
     {63, 61, 59, 57, 55, 53}},
    {8,
     0xbc79,
     0x4028,
     {0xe7eff7ff, 0xc6ced6de, 0xa5adb5bd, 0x848c949d, 0x636b737c, 0x424a525b, 0x2129313a,
      0x00081019},
     {255, 247, 239, 231, 222, 214}},
};

static float widen(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* "m" as `rows` rows of `groups` equal groups, [blocks, rows, ...] if blocks > 0. */
struct fixture {
    struct ram_ckpt ckpt;
    uint32_t codes[4096];
    uint16_t scales[256], biases[256];
};

static void put_tensor(struct fixture *f, const char *name, enum ram_dtype dtype, uint64_t blocks,
                       uint64_t rows, uint64_t cols, const void *data)
{
    struct ram_tensor *t = &f->ckpt.tensors[f->ckpt.n_tensors++];

    *t = (struct ram_tensor){.name = name, .dtype = dtype, .data = data};
    if (blocks)
        t->shape[t->n_dims++] = blocks;
    t->shape[t->n_dims++] = rows;
    t->shape[t->n_dims++] = cols;
    t->n = (size_t)((blocks ? blocks : 1) * rows * cols);
    t->size = t->n * (size_t)ram_dtypes[dtype].bits / 8;
}

static struct fixture *make(size_t v, uint64_t blocks, uint64_t rows, uint64_t groups,
                            const char *config)
{
    struct fixture *f = calloc(1, sizeof *f);
    const size_t bits = (size_t)vectors[v].bits;
    const size_t n = (size_t)((blocks ? blocks : 1) * rows * groups);

    assert_non_null(f);
    f->ckpt.dir = (char *)(uintptr_t) "x";
    f->ckpt.config = json_loads(config, 0, NULL);
    assert_non_null(f->ckpt.config);
    f->ckpt.tensors = calloc(4, sizeof *f->ckpt.tensors);
    assert_non_null(f->ckpt.tensors);
    for (size_t i = 0; i < n; i++) {
        memcpy(f->codes + i * bits, vectors[v].words, bits * 4);
        f->scales[i] = vectors[v].scale;
        f->biases[i] = vectors[v].bias;
    }
    put_tensor(f, "m.weight", RAM_U32, blocks, rows, groups * bits, f->codes);
    put_tensor(f, "m.scales", RAM_BF16, blocks, rows, groups, f->scales);
    put_tensor(f, "m.biases", RAM_BF16, blocks, rows, groups, f->biases);
    return f;
}

static void seal(struct fixture *f)
{
    struct ram_err err = {0};
    if (ram_ckpt_seal(&f->ckpt, &err))
        fail_msg("%s", err.message);
}

static void release(struct fixture *f)
{
    ram_names_release(&f->ckpt.names);
    ram_arena_release(&f->ckpt.arena);
    free(f->ckpt.tensors);
    json_decref(f->ckpt.config);
    free(f);
}

static void worked_vectors(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++)
        for (uint64_t blocks = 0; blocks < 3; blocks += 2) {
            char config[256];
            struct ram_err err = {0};
            struct ram_weight w;
            float out[3 * 64];
            /* The default is another; the module's own entry counts. */
            snprintf(config, sizeof config,
                     "{\"quantization\": {\"bits\": 7, \"group_size\": 64, \"mode\": \"affine\", "
                     "\"m\": {\"bits\": %d, \"group_size\": 32}}}",
                     vectors[v].bits);
            struct fixture *f = make(v, blocks, 3, 2, config);
            seal(f);
            if (ram_weight_find(&w, &f->ckpt, "m", &err))
                fail_msg("%s", err.message);
            assert_int_equal(w.blocks, blocks ? blocks : 1);
            assert_int_equal(w.rows, 3);
            assert_int_equal(w.cols, 64);
            assert_ptr_equal(w.as.form, ram_form_of(vectors[v].bits, 32));
            assert_int_equal(ram_weight_read(&w, (blocks ? blocks : 1) * 3 - 3, 3, out, &err),
                             RAM_OK);
            const float scale = widen(vectors[v].scale), bias = widen(vectors[v].bias);
            for (size_t row = 0; row < 3; row++)
                for (size_t i = 0; i < 6; i++) {
                    /* Two roundings, no fma. */
                    const volatile float part = scale * (float)vectors[v].first_codes[i];
                    assert_true(out[row * 64 + i] == part + bias);
                    assert_true(out[row * 64 + 32 + i] == part + bias);
                }
            assert_int_equal(ram_weight_read(&w, w.blocks * 3, 1, out, &err), RAM_EINTERNAL);
            release(f);
        }
}

static void settings_that_do_not_fit(void **state)
{
    static const struct {
        const char *config, *message;
        int status;
    } wrong[] = {
        {"{}", "no \"quantization\"", RAM_EFORMAT},
        {"{\"quantization\": {\"bits\": 8, \"group_size\": 32}}",
         "'m.weight' [3, 8] and 'm.scales' [3, 2] do not fit 8 bits in groups of 32", RAM_EFORMAT},
        {"{\"quantization\": {\"bits\": 4, \"group_size\": 64}}", "do not fit", RAM_EFORMAT},
        {"{\"quantization\": {\"bits\": 7, \"group_size\": 32}}", "not an MLX affine",
         RAM_EUNSUPPORTED},
        {"{\"quantization\": {\"bits\": 4, \"group_size\": 16}}", "not an MLX affine",
         RAM_EUNSUPPORTED},
        {"{\"quantization\": {\"bits\": \"4\", \"group_size\": 32}}", "expected an integer",
         RAM_EFORMAT},
        {"{\"quantization\": {\"bits\": 4, \"group_size\": 32, \"mode\": \"mxfp4\"}}",
         "mode 'mxfp4'", RAM_EUNSUPPORTED},
    };
    (void)state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ram_err err = {0};
        struct ram_weight w;
        struct fixture *f = make(2, 0, 3, 2, wrong[i].config);
        seal(f);
        assert_int_equal(ram_weight_find(&w, &f->ckpt, "m", &err), wrong[i].status);
        if (!strstr(err.message, wrong[i].message))
            fail_msg("'%s' does not say '%s'", err.message, wrong[i].message);
        release(f);
    }
}

static void tensors_that_do_not_fit(void **state)
{
    static const char config[] = "{\"quantization\": {\"bits\": 4, \"group_size\": 32}}";
    static const char *const messages[] = {"no 'm.scales'", "no 'm.biases'",        "must be alike",
                                           "do not fit",    "is U8, expected BF16", "do not fit"};
    (void)state;

    for (int i = 0; i < 6; i++) {
        struct ram_err err = {0};
        struct ram_weight w;
        struct fixture *f = make(2, 0, 3, 2, config);
        struct ram_tensor *t = f->ckpt.tensors;
        if (i == 0)
            t[1].name = "m.x";
        else if (i == 1)
            t[2].name = "m.x";
        else if (i == 2)
            t[2].shape[0] = 2;
        else if (i == 3)
            t[1].shape[0] = 2;
        else if (i == 4)
            t[1].dtype = RAM_U8;
        else
            t[1].shape[1] = UINT64_MAX / 8; /* must not wrap round to something that fits */
        seal(f);
        assert_int_not_equal(ram_weight_find(&w, &f->ckpt, "m", &err), RAM_OK);
        if (!strstr(err.message, messages[i]))
            fail_msg("%d: '%s' does not say '%s'", i, err.message, messages[i]);
        release(f);
    }
}

static void floats_come_through_the_same_door(void **state)
{
    struct ram_err err = {0};
    struct ram_weight w;
    float out[6];
    static const uint16_t data[] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0};
    (void)state;

    struct fixture *f = make(2, 0, 3, 2, "{}");
    put_tensor(f, "e.weight", RAM_BF16, 1, 2, 3, data);
    seal(f);
    assert_int_equal(ram_weight_find(&w, &f->ckpt, "e", &err), RAM_OK);
    assert_int_equal(w.blocks, 1);
    assert_int_equal(w.rows, 2);
    assert_null(w.as.form);
    assert_int_equal(ram_weight_read(&w, 1, 1, out, &err), RAM_OK);
    assert_true(out[0] == 4.0f && out[2] == 6.0f);
    assert_int_equal(ram_weight_find(&w, &f->ckpt, "nothing", &err), RAM_OK);
    assert_int_equal(w.cols, 0);
    release(f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_vectors),
        cmocka_unit_test(settings_that_do_not_fit),
        cmocka_unit_test(tensors_that_do_not_fit),
        cmocka_unit_test(floats_come_through_the_same_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
