/*
 * Codings by what the tensors are: the tensors that each quantiser leaves in a checkpoint, written
 * down from its own code and from published checkpoints, and the name that they must get.
 */
#include "ckpt/coding.h"
#include "ckpt/coding_config.h"
#include "format/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 6 };

struct tensor {
    const char *suffix; /* behind "model.layers.0.self_attn.q_proj" */
    enum ram_dtype dtype;
    uint64_t shape[3];
};

static const struct test_case {
    const char *config, *coding; /* NULL: floats */
    const char *problem;         /* a part of it; NULL: none */
    struct tensor tensors[MOST];
} cases[] = {
    {"{}", NULL, NULL, {{".weight", RAM_BF16, {64, 64}}, {".bias", RAM_F32, {64}}}},
    {"{}",
     "bitsandbytes 4-bit",
     "'model.layers.0.self_attn.q_proj.weight.quant_map' is F32 [16]",
     {{".weight", RAM_U8, {2048, 1}},
      {".weight.absmax", RAM_F32, {64}},
      {".weight.quant_map", RAM_F32, {16}},
      {".weight.quant_state.bitsandbytes__nf4", RAM_U8, {50}}}},
    {"{\"quantization_config\": {\"quant_method\": \"bitsandbytes\"}}",
     "bitsandbytes",
     "is U8 [2048, 1]",
     {{".weight", RAM_U8, {2048, 1}}}},
    {"{}",
     "bitsandbytes 8-bit",
     "16-bit",
     {{".weight", RAM_I8, {64, 64}}, {".SCB", RAM_F32, {64}}, {".weight_format", RAM_U8, {1}}}},
    {"{}",
     "GPTQ",
     "qweight",
     {{".qweight", RAM_I32, {8, 64}},
      {".qzeros", RAM_I32, {2, 8}},
      {".scales", RAM_F16, {2, 64}},
      {".g_idx", RAM_I32, {64}}}},
    {"{}",
     "GPTQ",
     "qweight",
     {{".qweight", RAM_I32, {8, 64}}, {".qzeros", RAM_I32, {2, 8}}, {".scales", RAM_F16, {2, 64}}}},
    {"{}",
     "AWQ",
     "qweight",
     {{".qweight", RAM_I32, {64, 8}}, {".qzeros", RAM_I32, {2, 8}}, {".scales", RAM_F16, {2, 64}}}},
    {"{}",
     "compressed-tensors pack-quantized",
     "weight_packed",
     {{".weight_packed", RAM_I32, {64, 8}},
      {".weight_scale", RAM_BF16, {64, 1}},
      {".weight_shape", RAM_I64, {2}}}},
    {"{}",
     "NVFP4",
     "weight_packed",
     {{".weight_packed", RAM_U8, {64, 32}},
      {".weight_scale", RAM_F8_E4M3, {64, 4}},
      {".weight_global_scale", RAM_F32, {1}},
      {".input_global_scale", RAM_F32, {1}}}},
    {"{}",
     "MXFP4",
     "weight_packed",
     {{".weight_packed", RAM_U8, {64, 32}}, {".weight_scale", RAM_U8, {64, 2}}}},
    {"{}",
     "NVFP4",
     "weight_scale_2",
     {{".weight", RAM_U8, {64, 32}},
      {".weight_scale", RAM_F8_E4M3, {64, 4}},
      {".weight_scale_2", RAM_F32, {1}},
      {".input_scale", RAM_F32, {1}}}},
    {"{}",
     "ModelOpt AWQ",
     "pre_quant_scale",
     {{".weight", RAM_U8, {64, 32}},
      {".weight_scale", RAM_BF16, {64, 1}},
      {".weight_scale_2", RAM_F32, {1}},
      {".pre_quant_scale", RAM_BF16, {64}}}},
    {"{}",
     "INT8",
     "is I8 [64, 64]",
     {{".weight", RAM_I8, {64, 64}}, {".weight_scale", RAM_BF16, {64, 1}}}},
    {"{}",
     "BitNet",
     "is U8 [16, 64]",
     {{".weight", RAM_U8, {16, 64}}, {".weight_scale", RAM_BF16, {1}}}},
    {"{}",
     "MXFP4",
     "_blocks",
     {{".gate_up_proj_blocks", RAM_U8, {4, 64, 16}}, {".gate_up_proj_scales", RAM_U8, {4, 64}}}},
    {"{}", "HQQ", "W_q", {{".W_q", RAM_U8, {32, 64}}, {".scale", RAM_F16, {64}}}},
    {"{}",
     "AQLM",
     "codebooks",
     {{".codes", RAM_I8, {64, 8, 1}}, {".codebooks", RAM_F16, {1, 256, 8}}}},
    {"{}",
     "quanto",
     "._data",
     {{".weight._data", RAM_I8, {64, 64}}, {".weight._scale", RAM_F32, {64, 1}}}},
    {"{}",
     "torchao",
     "qdata",
     {{"._weight_qdata", RAM_I8, {64, 64}}, {"._weight_scale", RAM_F32, {64, 1}}}},
    {"{}", "EETQ", "is I8", {{".weight", RAM_I8, {64, 64}}, {".weight_scales", RAM_F16, {64}}}},
    {"{}",
     "VPTQ",
     "indices",
     {{".indices", RAM_I32, {1, 8, 64}}, {".centroids.weight", RAM_BF16, {1, 256}}}},
    {"{}",
     "SpQR",
     "dense_weights",
     {{".dense_weights", RAM_I64, {64}}, {".row_offsets", RAM_I32, {65}}}},
    {"{}",
     "HIGGS",
     "is I16",
     {{".weight", RAM_I16, {64, 8}}, {".scales", RAM_F16, {64, 1}}, {".tables", RAM_F16, {16}}}},
    {"{\"quantization\": {\"mode\": \"nvfp4\", \"bits\": 4, \"group_size\": 16}}",
     "MLX nvfp4",
     "is U32",
     {{".weight", RAM_U32, {64, 8}}, {".scales", RAM_U8, {64, 4}}}},
    {"{}",
     "MLX affine",
     NULL,
     {{".weight", RAM_U32, {64, 8}},
      {".scales", RAM_BF16, {64, 1}},
      {".biases", RAM_BF16, {64, 1}}}},
    {"{\"quantization_config\": {\"quant_method\": \"new\"}}",
     "new",
     "is I32",
     {{".weight", RAM_I32, {64, 8}}}},
    {"{}",
     "FP8 (one scale for each row)",
     NULL,
     {{".weight", RAM_F8_E4M3, {64, 64}},
      {".weight_scale", RAM_BF16, {64, 1}},
      {".input_scale", RAM_F32, {1}},
      {".weight_zero_point", RAM_F8_E4M3, {64, 1}}}},
    {"{\"quantization_config\": {\"quant_method\": \"modelopt\", \"quant_algo\": \"FP8\"}}",
     "FP8 (one scale for each matrix)",
     NULL,
     {{".weight", RAM_F8_E4M3, {64, 64}}, {".weight_scale", RAM_F32, {1}}}},
    {"{\"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": [32, 16]}}",
     "FP8 (one scale for each block of 32 x 16)",
     NULL,
     {{".weight", RAM_F8_E4M3, {64, 64}}, {".weight_scale_inv", RAM_F32, {2, 4}}}},
    {"{}", "FP8 (without scales)", NULL, {{".weight", RAM_F8_E4M3, {64, 64}}}},
    {"{}",
     "FP8 (one scale for each matrix)",
     "though other tensors have scales",
     {{".weight", RAM_F8_E4M3, {64, 64}},
      {".weight_scale", RAM_F32, {1}},
      {"2.weight", RAM_F8_E4M3, {64, 64}}}},
    /* Floats of which config.json says something else. */
    {"{\"quantization_config\": {\"quant_method\": \"fp8\"}}",
     NULL,
     NULL,
     {{".weight", RAM_BF16, {64, 64}}}},
    {"{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"format\": "
     "\"pack-quantized\"}}",
     NULL,
     "quant_method \"compressed-tensors\"",
     {{".weight", RAM_BF16, {64, 64}}}},
    {"{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"format\": "
     "\"dense\", \"config_groups\": {}, \"kv_cache_scheme\": {\"num_bits\": 8}}}",
     NULL,
     NULL,
     {{".weight", RAM_BF16, {64, 64}}, {".k_scale", RAM_F32, {1}}}},
    {"{\"text_config\": {\"quantization_config\": {\"quant_method\": \"awq\"}}}",
     NULL,
     "quant_method \"awq\"",
     {{".weight", RAM_BF16, {64, 64}}}},
};

static void build(struct ram_ckpt *ckpt, const struct test_case *c, void *zeros)
{
    struct ram_err err = {0};

    *ckpt = (struct ram_ckpt){.dir = (char *)(uintptr_t) "x"};
    ckpt->config = json_loads(c->config, 0, NULL);
    ckpt->tensors = calloc(MOST, sizeof *ckpt->tensors);
    assert_non_null(ckpt->config);
    assert_non_null(ckpt->tensors);
    for (size_t i = 0; i < MOST && c->tensors[i].suffix; i++) {
        const struct tensor *from = &c->tensors[i];
        struct ram_tensor *t = &ckpt->tensors[ckpt->n_tensors++];
        *t = (struct ram_tensor){.dtype = from->dtype, .n = 1, .data = zeros};
        t->name =
            ram_arena_printf(&ckpt->arena, &err, "model.layers.0.self_attn.q_proj%s", from->suffix);
        for (; t->n_dims < 3 && from->shape[t->n_dims]; t->n_dims++) {
            t->shape[t->n_dims] = from->shape[t->n_dims];
            t->n *= (size_t)from->shape[t->n_dims];
        }
        t->size = t->n * (size_t)ram_dtypes[t->dtype].bits / 8;
    }
    assert_int_equal(ram_ckpt_seal(ckpt, &err), RAM_OK);
}

static void release(struct ram_ckpt *ckpt)
{
    ram_names_release(&ckpt->names);
    ram_arena_release(&ckpt->arena);
    free(ckpt->tensors);
    json_decref(ckpt->config);
}

static void every_coding_has_its_name(void **state)
{
    uint8_t *zeros = calloc(1, 1 << 16);
    (void)state;

    assert_non_null(zeros);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct test_case *c = &cases[i];
        struct ram_err err = {0};
        struct ram_layout *layout = NULL;
        struct ram_ckpt ckpt;

        build(&ckpt, c, zeros);
        const char *name = ckpt.coding.name ? ckpt.coding.name : "";
        if (strncmp(name, c->coding ? c->coding : "", c->coding ? strlen(c->coding) : 1) != 0)
            fail_msg("case %zu: '%s', expected '%s'", i, name, c->coding ? c->coding : "floats");
        const int status = ram_ckpt_check_coding(&ckpt, &err);
        if (!c->problem != !status || !strstr(err.message, c->problem ? c->problem : ""))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message,
                     c->problem ? c->problem : "nothing");
        /* Whatever it is, it can be looked at. */
        err = (struct ram_err){0};
        assert_int_equal(ram_layout_look(&layout, &ckpt, ram_format_at(0), &err), RAM_OK);
        assert_true(layout->n_sources >= ckpt.n_tensors);
        ram_layout_free(layout);
        release(&ckpt);
    }
    free(zeros);
}

static void what_was_quantised_before_is_taken(void **state)
{
    static const struct test_case coded = {"{\"model_type\": \"qwen3\"}",
                                           NULL,
                                           NULL,
                                           {{".weight", RAM_U32, {64, 8}},
                                            {".scales", RAM_BF16, {64, 1}},
                                            {".biases", RAM_BF16, {64, 1}}}};
    static const struct test_case claimed = {
        "{\"quantization\": {}}", NULL, NULL, {{".weight", RAM_BF16, {64, 64}}}};
    static const struct {
        const struct test_case *c;
        const char *why, *obstacle;
    } taken[] = {
        {&coded, "its weights are MLX codes", "its weights are MLX codes already; convert"},
        {&claimed, "config.json has an MLX quantization block", "block already; convert"}};
    uint8_t *zeros = calloc(1, 1 << 16);
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct ram_err err = {0};
        struct ram_layout *layout;
        struct ram_ckpt ckpt;
        build(&ckpt, taken[i].c, zeros);
        assert_string_equal(ram_coding_quantized(&ckpt), taken[i].why);
        assert_int_equal(ram_layout_new(&layout, &ckpt, ram_format_at(0), &err), RAM_OK);
        assert_true(layout->quantized && !layout->n_targets);
        assert_int_equal(layout->n_sources, ckpt.n_tensors);
        assert_non_null(strstr(layout->obstacle, taken[i].obstacle));
        ram_layout_free(layout);
        release(&ckpt);
    }
    free(zeros);
}

/* What codes stand for, whatever they are packed in; scales and tables stand for nothing. */
static void weights_behind_codes(void **state)
{
    static const struct {
        struct test_case c;
        size_t weights;
        int bits, group;
    } counts[] = {
        {{"{}", NULL, NULL, {{".weight", RAM_BF16, {64, 64}}}}, 4096, 16, 0},
        {{"{\"quantization\": {\"bits\": 4, \"group_size\": 64}}",
          NULL,
          NULL,
          {{".weight", RAM_U32, {64, 8}},
           {".scales", RAM_BF16, {64, 1}},
           {".biases", RAM_BF16, {64, 1}}}},
         4096,
         4,
         64},
        {{"{\"quantization\": {\"bits\": 6, \"group_size\": 32}}",
          NULL,
          NULL,
          {{".weight", RAM_U32, {4, 16, 12}},
           {".scales", RAM_F16, {4, 16, 2}},
           {".biases", RAM_F16, {4, 16, 2}}}},
         4096,
         6,
         32},
        {{"{\"quantization_config\": {\"bits\": 8}}",
          NULL,
          NULL,
          {{".qweight", RAM_I32, {16, 64}},
           {".scales", RAM_F16, {2, 64}},
           {".qzeros", RAM_I32, {2, 16}}}},
         4096,
         8,
         0},
        {{"{}",
          NULL,
          NULL,
          {{".weight", RAM_U8, {2048, 1}},
           {".weight.absmax", RAM_F32, {64}},
           {".weight.quant_map", RAM_F32, {16}}}},
         4096,
         4,
         0},
        {{"{}",
          NULL,
          NULL,
          {{".weight_packed", RAM_I32, {64, 8}},
           {".weight_scale", RAM_BF16, {64, 1}},
           {".weight_shape", RAM_I64, {2}}}},
         4096,
         4,
         0},
    };
    uint8_t *zeros = calloc(1, 1 << 16);
    (void)state;

    assert_non_null(zeros);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct ram_ckpt ckpt;
        size_t weights = 0;
        build(&ckpt, &counts[i].c, zeros);
        for (size_t t = 0; t < ckpt.n_tensors; t++) {
            struct ram_coded coded;
            if (!ram_coding_weights(&ckpt, &ckpt.tensors[t], &coded))
                continue;
            weights += coded.weights;
            assert_int_equal(coded.bits, counts[i].bits);
            assert_int_equal(coded.group, counts[i].group);
        }
        assert_int_equal(weights, counts[i].weights);
        release(&ckpt);
    }
    free(zeros);
}

/* Zero points that are not 0 would have to be subtracted. */
static void zero_points(void **state)
{
    static const struct test_case c = {"{}",
                                       NULL,
                                       NULL,
                                       {{".weight", RAM_F8_E4M3, {4, 4}},
                                        {".weight_scale", RAM_F32, {4, 1}},
                                        {".weight_zero_point", RAM_F8_E4M3, {4, 1}}}};
    uint8_t bytes[64] = {0, 0x80};
    struct ram_ckpt ckpt;
    (void)state;

    build(&ckpt, &c, bytes);
    assert_null(ckpt.coding.problem); /* -0 is 0 */
    release(&ckpt);
    bytes[3] = 1;
    build(&ckpt, &c, bytes);
    assert_non_null(ckpt.coding.problem);
    assert_non_null(strstr(ckpt.coding.problem, "zero points other than 0"));
    release(&ckpt);
}

static void names_of_activation_scales(void **state)
{
    (void)state;
    assert_true(ram_coding_is_activation("model.layers.0.mlp.up_proj.input_scale"));
    assert_true(ram_coding_is_activation("model.layers.0.self_attn.k_scale"));
    assert_true(ram_coding_is_activation("model.layers.0.self_attn.q_proj.activation_scale"));
    assert_true(ram_coding_is_activation("model.layers.0.self_attn.v_bmm_quantizer._amax"));
    assert_false(ram_coding_is_activation("model.layers.0.mlp.up_proj.weight_scale"));
    assert_false(ram_coding_is_activation("model.layers.0.mlp.up_proj.weight"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_coding_has_its_name),
        cmocka_unit_test(what_was_quantised_before_is_taken),
        cmocka_unit_test(weights_behind_codes),
        cmocka_unit_test(zero_points),
        cmocka_unit_test(names_of_activation_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
