/* config.json, the model card, the checksum: the small texts of an output. */
#include "convert_case.h"

#include "base/checksum.h"
#include "convert/conversion.h"
#include "format/mlx.h"

/* ---- config.json --------------------------------------------------------------------------------
 */

/* The configuration that a model of this form gets, whose source's members are `edits` besides. */
static json_t *written_of(bool kept, const struct make_opts *form, const char *edits,
                          struct width w)
{
    static const struct ram_convert_opts opts;
    struct ram_outline *outline = NULL;
    struct test_case c;
    char *text = NULL;

    case_open(&c, form, same_width, &w);
    json_t *more = json_loads(edits, 0, NULL);
    assert_non_null(more);
    json_object_update(c.ckpt->config, more);
    json_decref(more);
    ram_layout_free(c.layout);
    if (ram_layout_new(&c.layout, c.ckpt, ram_format_at(0), &c.err) ||
        ram_outline_new(&outline, c.layout, c.plan, &opts, &c.err) ||
        ram_mlx_config(outline, &text, &c.err))
        fail_msg("%s", c.err.message);
    json_t *config = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(config);
    /* Nothing of the source's is lost but how FP8 was coded. */
    const char *key;
    json_t *value;
    json_object_foreach(c.ckpt->config, key, value) if (kept &&
                                                        strcmp(key, "quantization_config") &&
                                                        !json_is_null(value))
        assert_true(json_equal(value, json_object_get(config, key)));
    free(text);
    ram_outline_free(outline);
    case_close(&c);
    return config;
}

static json_t *config_of(const struct make_opts *form, const char *edits, struct width w)
{
    return written_of(true, form, edits, w);
}

static void expect_member(const json_t *config, const char *key, const char *value)
{
    json_t *expected = json_loads(value, JSON_DECODE_ANY, NULL);
    const json_t *is = json_object_get(config, key);
    if (!is || !json_equal(is, expected))
        fail_msg("%s is not %s", key, value);
    json_decref(expected);
}

static void published_spelling(void **state)
{
    json_t *config;

    (void)state;
    config =
        config_of(&all_forms[7], "{}", (struct width){4, 32}); /* qwen3_moe of transformers 5 */
    expect_member(config, "rope_theta", "10000.0");
    expect_member(config, "rope_scaling", "null");
    expect_member(config, "num_experts", "4");
    expect_member(config, "num_local_experts", "4");
    expect_member(config, "torch_dtype", "\"bfloat16\"");
    expect_member(config, "tie_word_embeddings", "false");
    json_decref(config);

    config = config_of(&all_forms[11],
                       "{\"rope_parameters\": {\"rope_type\": \"default\", "
                       "\"rope_theta\": 5e5, \"partial_rotary_factor\": 0.25}, "
                       "\"partial_rotary_factor\": null}",
                       (struct width){4, 32});
    expect_member(config, "rope_theta", "500000.0");
    expect_member(config, "partial_rotary_factor", "0.25");
    expect_member(config, "rope_scaling", "null");
    expect_member(config, "use_qk_norm", "true");
    json_decref(config);

    config = config_of(&all_forms[2],
                       "{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
                       "\"rope_theta\": 500000, \"original_max_position_embeddings\": 128}, "
                       "\"rope_theta\": null}",
                       (struct width){4, 32});
    expect_member(config, "rope_theta", "500000");
    expect_member(config, "rope_scaling",
                  "{\"rope_type\": \"yarn\", \"factor\": 4.0, "
                  "\"original_max_position_embeddings\": 128}");
    json_decref(config);

    /* What stands there already is not touched. */
    config =
        config_of(&all_forms[4],
                  "{\"rope_theta\": 7, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}",
                  (struct width){4, 32});
    expect_member(config, "rope_theta", "7");
    expect_member(config, "rope_scaling", "{\"type\": \"linear\", \"factor\": 2}");
    json_decref(config);
}

/* What mlx_lm would compute otherwise than we do is set right; the sliding_window of llama, which
 * no class has, stays. */
static void what_is_computed_is_stated(void **state)
{
    static const struct {
        int form;
        const char *edits, *key, *value;
    } cases[] = {
        {4, "{\"rope_theta\": 7, \"rope_parameters\": {\"rope_theta\": 9}}", "rope_theta", "9.0"},
        {4, "{\"rope_scaling\": {\"type\": \"linear\", \"rope_type\": \"default\", \"factor\": 2}}",
         "rope_scaling", "{\"type\": \"default\", \"rope_type\": \"default\", \"factor\": 2}"},
        {4,
         "{\"rope_theta\": null, \"rope_parameters\": {\"type\": \"linear\", \"rope_type\": "
         "\"default\", \"rope_theta\": 9}}",
         "rope_parameters",
         "{\"type\": \"default\", \"rope_type\": \"default\", \"rope_theta\": 9}"},
        {2,
         "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"beta_fast\": null, "
         "\"attention_factor\": 1.0}}",
         "rope_scaling",
         "{\"rope_type\": \"yarn\", \"factor\": 4, \"beta_fast\": 32.0, \"attention_factor\": 1.0, "
         "\"mscale\": 0.0, \"original_max_position_embeddings\": 512}"},
        {2, "{\"attention_bias\": true}", "attention_bias", "false"},
        {2, "{\"rope_traditional\": true}", "rope_traditional", "false"},
        {0,
         "{\"sliding_window\": 8, \"layer_types\": [\"full_attention\", \"sliding_attention\", "
         "\"sliding_attention\"]}",
         "layer_types", "[\"full_attention\", \"full_attention\", \"full_attention\"]"},
        {2,
         "{\"sliding_window\": 8, \"layer_types\": [\"full_attention\", \"sliding_attention\", "
         "\"sliding_attention\"]}",
         "layer_types", "[\"full_attention\", \"sliding_attention\", \"sliding_attention\"]"},
        {6, "{\"mlp_only_layers\": null}", "mlp_only_layers", "[]"},
        {12,
         "{\"rope_theta\": null, \"topk_method\": \"greedy\", \"rope_parameters\": "
         "{\"rope_theta\": 5}}",
         "topk_method", "\"noaux_tc\""},
        {12, "{\"mlp_layer_types\": [\"dense\", \"sparse\", \"sparse\"]}", "first_k_dense_replace",
         "1"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config =
            written_of(false, &all_forms[cases[i].form], cases[i].edits, (struct width){4, 32});
        expect_member(config, cases[i].key, cases[i].value);
        json_decref(config);
    }
}

static void quantization_blocks(void **state)
{
    json_t *config;

    (void)state;
    config = config_of(&all_forms[0], "{}", (struct width){4, 32});
    expect_member(config, "quantization",
                  "{\"group_size\": 32, \"bits\": 4, \"mode\": \"affine\"}");
    expect_member(config, "quantization_config",
                  "{\"group_size\": 32, \"bits\": 4, \"mode\": \"affine\"}");
    json_decref(config);

    /* Groups of 64 do not divide the 96 weights of down_proj's rows. */
    config = config_of(&all_forms[0], "{}", (struct width){5, 64});
    const json_t *block = json_object_get(config, "quantization");
    assert_int_equal(json_object_size(block), 3 + 3);
    expect_member(block, "model.layers.2.mlp.down_proj",
                  "{\"group_size\": 32, \"bits\": 5, \"mode\": \"affine\"}");
    json_decref(config);

    /* FP8 is what the source was, not what this is; and nothing quantised has no block at all. */
    config = config_of(&all_forms[5], "{}", (struct width){16, 0});
    assert_null(json_object_get(config, "quantization"));
    assert_null(json_object_get(config, "quantization_config"));
    json_decref(config);
}

/* ---- the card -----------------------------------------------------------------------------------
 */

static char *card_of(const char *source_card)
{
    static const struct ram_convert_opts no_opts;
    struct width w = {4, 32};
    struct test_case c;
    size_t size;

    case_open(&c, &all_forms[0], same_width, &w);
    c.plan->method = "v3-opt";
    json_object_set_new(c.plan->settings, "thresholds",
                        json_pack("{s:n, s:f, s:f}", "t2", "t8", 0.75, "t16", 0.95));
    json_object_set_new(c.plan->settings, "set", json_pack("[s]", "it's=6g64"));
    if (source_card)
        spill(c.model, "README.md", source_card, strlen(source_card));
    if (case_convert(&c, &no_opts, 1, NULL))
        fail_msg("%s", c.err.message);
    char *card = slurp(c.out, "README.md", &size);
    assert_int_equal(strlen(card), size);
    case_close(&c);
    return card;
}

static void expect_text(const char *card, const char *text, bool there)
{
    if ((strstr(card, text) != NULL) != there)
        fail_msg("\"%s\" is %s in:\n%s", text, there ? "not" : "", card);
}

static void model_card(void **state)
{
    (void)state;
    char *card = card_of("---\r\nlicense: apache-2.0\r\nlicense_link: https://x/y\r\n"
                         "tags:\r\n- licensed\r\n---\r\nlicense: not this\r\n");
    assert_int_equal(strncmp(card, "---\nbase_model: \"model\"\n", 24), 0);
    expect_text(card, "\nbase_model_relation: quantized\n", true);
    expect_text(card, "\nlibrary_name: mlx\n", true);
    expect_text(card, "\npipeline_tag: text-generation\n", true);
    expect_text(card, "\nlicense: apache-2.0\n", true);
    expect_text(card, "\nlicense_link: https://x/y\n", true);
    expect_text(card, "not this", false);
    expect_text(card, "\r", false);
    expect_text(card,
                "ram quantize model -o out --method v3-opt --t2 off --t8 0.75 --t16 0.95 "
                "--set 'it'\\''s=6g64' --profile gpu --encoder rtn\n",
                true);
    expect_text(card, "mlx_lm.generate --model out --prompt", true);
    expect_text(card, "| **all** |", true);
    free(card);

    card = card_of("license: mit\n");
    expect_text(card, "license", false);
    free(card);
    card = card_of(NULL);
    expect_text(card, "license", false);
    free(card);
}

/* ---- the checksum
 * -------------------------------------------------------------------------------- */

static void checksum_by_hand(void **state)
{
    /* Units 0x0201, 0x0403, 0x0005: sums 0x0609 and 1 x 0x0201 + 2 x 0x0403 + 3 x 0x0005. */
    static const uint8_t bytes[] = {1, 2, 3, 4, 5};
    struct ram_checksum sum = {0};
    char text[RAM_CHECKSUM_HEX];

    (void)state;
    ram_checksum_add(&sum, 0, bytes, sizeof bytes);
    ram_checksum_text(&sum, text);
    assert_string_equal(text, "00000000000006090000000000000a16");
}

static void checksum_in_any_parts(void **state)
{
    uint8_t bytes[1000];
    struct ram_checksum whole = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i * 7 + i / 3);
    ram_checksum_add(&whole, 0, bytes, sizeof bytes);
    for (size_t step = 2; step < 300; step += 2) {
        struct ram_checksum sum = {0};
        for (size_t at = (sizeof bytes - 1) / step * step;; at -= step) { /* last part first */
            struct ram_checksum part = {0};
            const size_t left = sizeof bytes - at;
            ram_checksum_add(&part, at, bytes + at, left < step ? left : step);
            ram_checksum_merge(&sum, &part);
            if (!at)
                break;
        }
        assert_memory_equal(&sum, &whole, sizeof sum);
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        struct ram_checksum sum = {0};
        bytes[i] ^= 1;
        ram_checksum_add(&sum, 0, bytes, sizeof bytes);
        assert_memory_not_equal(&sum, &whole, sizeof sum);
        bytes[i] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_spelling),  cmocka_unit_test(what_is_computed_is_stated),
        cmocka_unit_test(quantization_blocks), cmocka_unit_test(model_card),
        cmocka_unit_test(checksum_by_hand),    cmocka_unit_test(checksum_in_any_parts),
    };
    return cmocka_run_group_tests_name("convert/directory", tests, NULL, NULL);
}
