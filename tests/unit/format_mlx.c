/*
 * What mlx_lm 0.32 is told of a model: the names under which its classes look for tensors, what
 * they cannot be told, and the keys that they cannot do without. Expected: read off the classes.
 */
#include "ckpt_make.h"

#include "arch/config_read.h"
#include "arch/tensors.h"
#include "format/layout.h"
#include "format/mlx.h"
#include "format/placed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct read {
    struct ram_config config;
    struct ram_arena arena;
    struct ram_err err;
    json_t *json;
    const char *obstacle;
};

static void read_config(struct read *r, const char *family, const char *more)
{
    char text[2048];

    *r = (struct read){.err = {0}};
    snprintf(text, sizeof text, "{\"model_type\": \"%s\"%s%s}", family, *more ? ", " : "", more);
    assert_int_equal(ram_json_parse_python(&r->json, text, strlen(text), "config.json", &r->err),
                     RAM_OK);
    ram_config_read(&r->config, r->json, "config.json", &r->arena, &r->err);
    assert_int_equal(r->err.status, RAM_OK);
    r->obstacle = ram_format_mlx.obstacle(&r->config, r->json, &r->arena, &r->err);
    assert_int_equal(r->err.status, RAM_OK);
}

static void done(struct read *r)
{
    ram_arena_release(&r->arena);
    json_decref(r->json);
}

/* ---- names -------------------------------------------------------------------------------- */

static void stacks_and_halves_have_names(void **state)
{
    struct read r;
    struct ram_placed places[RAM_MAX_PLACED];
    struct ram_stack_name stack;
    char half[RAM_SLOT_NAME];
    (void)state;

    read_config(&r, "glm4_moe_lite", "");
    const struct ram_config *c = &r.config;
    const struct ram_slot *up = ram_family_matrix(c, RAM_ROLE_UP, 1);
    const struct ram_slot *kv_b = ram_family_matrix(c, RAM_ROLE_KV_B, 1);
    const struct ram_slot *router = ram_family_matrix(c, RAM_ROLE_ROUTER, 1);

    assert_int_equal(ram_placed_find(places, &ram_format_mlx, c, up, 1), 1);
    assert_string_equal(places[0].module, "model.layers.1.mlp.switch_mlp.up_proj");
    assert_string_equal(places[0].suffix, "weight");
    assert_true(places[0].quantizable && places[0].n_dims == 3);
    assert_int_equal(places[0].shape[0], 64);
    assert_int_equal(places[0].shape[1], 1536);
    assert_int_equal(places[0].shape[2], 2048);
    assert_int_equal(ram_placed_find(places, &ram_format_mlx, c, kv_b, 1), 2);
    assert_string_equal(places[0].module, "model.layers.1.self_attn.embed_q");
    assert_int_equal(places[0].shape[1], 512);
    assert_int_equal(places[0].shape[2], 192);
    assert_string_equal(places[1].module, "model.layers.1.self_attn.unembed_out");
    assert_int_equal(places[1].shape[1], 256);
    assert_int_equal(places[1].shape[2], 512);
    assert_int_equal(ram_placed_find(places, &ram_format_mlx, c, router, 1), 1);
    assert_string_equal(places[0].module, "model.layers.1.mlp.gate");
    assert_true(!places[0].quantizable && places[0].n_dims == 2);
    assert_int_equal(ram_placed_find(places, &ram_format_mlx, c, c->family->norm, RAM_NO_LAYER), 1);
    assert_string_equal(places[0].module, "model.norm");

    /* A reader of checkpoints knows them, too, and then those of transformers. */
    assert_true(ram_placed_stack(&stack, c, up, 1, 0) && stack.is_module && !stack.both);
    assert_string_equal(stack.name, "model.layers.1.mlp.switch_mlp.up_proj");
    assert_true(ram_placed_stack(&stack, c, up, 1, 3) && stack.both);
    assert_string_equal(stack.name, "model.layers.1.mlp.experts.gate_up_proj");
    assert_false(ram_placed_stack(&stack, c, up, 1, 5));
    assert_true(ram_placed_half(half, c, kv_b, 1, 1, 0));
    assert_string_equal(half, "model.layers.1.self_attn.unembed_out");
    assert_false(ram_placed_half(half, c, kv_b, 1, 1, 1));
    done(&r);
}

static void formats_are_found(void **state)
{
    const struct ram_format *format = NULL;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_format_find(&format, NULL, &err), RAM_OK);
    assert_ptr_equal(format, &ram_format_mlx);
    assert_int_equal(ram_format_find(&format, "mlx", &err), RAM_OK);
    assert_int_equal(ram_format_find(&format, "onnx", &err), RAM_EUSAGE);
    assert_string_equal(err.message, "unknown format \"onnx\"; there is: mlx");
    assert_null(ram_format_at(1));
}

/* An output is known by its quantization block, whoever wrote it. */
static void outputs_are_recognised(void **state)
{
    static const struct {
        const char *config;
        bool is;
    } cases[] = {{"{\"quantization\": {\"bits\": 4}}", true},
                 {"{\"quantization\": null}", false},
                 {"{\"quantization_config\": {\"bits\": 4}}", false},
                 {"{\"quantization\": {", false}};
    const char *dir = make_temp_dir();
    (void)state;

    assert_null(ram_format_of(dir));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *file = make_open(dir, "config.json");
        assert_true(fputs(cases[i].config, file) >= 0);
        assert_int_equal(fclose(file), 0);
        assert_ptr_equal(ram_format_of(dir), cases[i].is ? &ram_format_mlx : NULL);
    }
    make_remove_dir(dir);
}

/* What a row of 128 weights becomes: words of codes, and a scale and a bias for each group. */
static void planes_are_tensors(void **state)
{
    const struct ram_storage as = {.form = ram_form_find("3g64"), .scale_type = RAM_SCALE_F16};
    static const struct {
        const char *suffix;
        enum ram_dtype dtype;
        uint64_t cols;
    } expected[] = {{"weight", RAM_U32, 12}, {"scales", RAM_F16, 2}, {"biases", RAM_F16, 2}};
    (void)state;

    assert_true(ram_format_mlx.has_form(as.form));
    assert_false(ram_format_mlx.has_form(RAM_FORM_16));
    assert_int_equal(as.form->codec->n_planes, 3);
    for (size_t k = 0; k < 3; k++) {
        const struct ram_plane plane = ram_format_mlx.plane(&as, RAM_F16, 128, k);
        assert_string_equal(plane.suffix, expected[k].suffix);
        assert_int_equal(plane.dtype, expected[k].dtype);
        assert_int_equal(plane.cols, expected[k].cols);
    }
}

/* ---- obstacles ---------------------------------------------------------------------------- */

#define FULL                                                                                       \
    "\"num_hidden_layers\": 5, \"layer_types\": [\"full_attention\", \"full_attention\", "         \
    "\"full_attention\", \"full_attention\", \"full_attention\"]"

static void what_cannot_be_told(void **state)
{
    static const struct {
        const char *family, *more, *says; /* NULL: nothing */
    } cases[] = {
        {"llama", "", NULL},
        {"llama", "\"hidden_act\": \"relu\"",
         "\"hidden_act\" is \"relu\", and mlx_lm's class knows silu only"},
        {"llama", "\"hidden_act\": \"swish\"", NULL},
        {"llama", "\"is_causal\": false",
         "\"is_causal\" changes what the model computes, and mlx_lm does not read it"},
        {"llama", "\"rope_theta\": 0", "\"rope_theta\" is 0"},
        {"llama", "\"hidden_act\": \"SiLU\"", "is not supported"},
        {"llama", "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}", NULL},
        {"llama", "\"rope_scaling\": {\"type\": \"su\", \"factor\": 2}",
         "mlx_lm knows no rotary scaling \"su\""},
        /* Another reason not to compute the model counts although mlx_lm knows the scaling. */
        {"llama", "\"is_causal\": false, \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}",
         "is_causal"},
        {"llama", "\"hidden_act\": \"x\", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}",
         "\"hidden_act\" is \"x\", which is not supported"},
        {"llama",
         "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 1, \"attention_factor\": 2, "
         "\"original_max_position_embeddings\": 64}",
         "attention_factor"},
        {"qwen2", "\"head_dim\": 64",
         "\"head_dim\" is 64, and mlx_lm's class computes only as for 128"},
        {"qwen3", "\"attention_bias\": true",
         "\"attention_bias\" is true, and mlx_lm's class computes only as for false"},
        {"qwen3_moe", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}", "rope_scaling"},
        {"qwen3_moe", "\"num_experts\": 4", "num_experts_per_tok"},
        {"glm4_moe", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}", "rope_scaling"},
        {"glm4_moe", "\"partial_rotary_factor\": 0.25", NULL},
        {"glm4_moe", "\"n_group\": 3", "n_group"},
        {"glm4_moe_lite", "\"partial_rotary_factor\": 0.5", "partial_rotary_factor"},
        {"glm4_moe_lite", "\"rope_interleave\": false", "rope_interleave"},
        {"glm4_moe_lite",
         "\"num_hidden_layers\": 3, \"mlp_layer_types\": [\"dense\", \"sparse\", \"dense\"]",
         "behind one with experts (2)"},
        {"glm4_moe_lite",
         "\"num_hidden_layers\": 3, \"mlp_layer_types\": [\"dense\", \"dense\", \"sparse\"]", NULL},
        {"smollm3", "", NULL},
        {"olmo3", "", NULL},
        {"olmo3", FULL, "one kind only"},
        {"olmo3", "\"rope_theta\": 1e4", "rope_theta"},
        {"exaone4", "", NULL},
        {"exaone4", FULL, "one kind only"},
        {"exaone4", "\"sliding_window\": null", NULL},
        {"hunyuan_v1_dense", "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2}",
         "rotary scaling is \"linear\""},
        {"hunyuan_v1_dense",
         "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 1000, \"factor\": 1}", NULL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read r;
        read_config(&r, cases[i].family, cases[i].more);
        if (cases[i].says ? !r.obstacle || !strstr(r.obstacle, cases[i].says) : r.obstacle != NULL)
            fail_msg("%s, %s: %s", cases[i].family, cases[i].more,
                     r.obstacle ? r.obstacle : "nothing");
        done(&r);
    }
}

static void windows_that_are_not_seen(void **state)
{
    static const struct {
        const char *family, *more;
        bool noted;
    } cases[] = {{"mistral", "\"sliding_window\": 64", true},
                 {"mistral", "\"sliding_window\": null", false},
                 {"olmo3", "", false}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_notes notes = {0};
        struct read r;
        read_config(&r, cases[i].family, cases[i].more);
        assert_int_equal(ram_format_mlx.note(&r.config, &notes, &r.arena, &r.err), RAM_OK);
        assert_int_equal(notes.n, cases[i].noted);
        if (cases[i].noted)
            assert_non_null(strstr(notes.lines[0], "this model to the last 64"));
        done(&r);
    }
}

/* No default without a row for it: all that mlx_lm needs can be told from what is missing. */
static void keys_that_are_needed(void **state)
{
    struct read r;
    (void)state;

    read_config(&r, "qwen3_moe",
                "\"vocab_size\": 1, \"hidden_size\": 1, \"intermediate_size\": 1, "
                "\"num_hidden_layers\": 1, \"num_attention_heads\": 1");
    assert_string_equal(ram_mlx_lacks(&r.config, r.json), "max_position_embeddings");
    done(&r);
    read_config(&r, "glm4_moe_lite", "");
    assert_null(ram_mlx_lacks(&r.config, r.json));
    done(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(stacks_and_halves_have_names), cmocka_unit_test(formats_are_found),
        cmocka_unit_test(what_cannot_be_told),          cmocka_unit_test(windows_that_are_not_seen),
        cmocka_unit_test(keys_that_are_needed),         cmocka_unit_test(outputs_are_recognised),
        cmocka_unit_test(planes_are_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
