/*
 * What a configuration says of single layers, in all the ways in which it can: which have experts,
 * which see a window only. Expected: what transformers 5 and mlx_lm make of the same keys.
 */
#include "arch/config_read.h"
#include "infer/hparams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define N_LAYERS 5

static int read_config(struct ram_hparams *hp, const char *type, const char *more)
{
    char text[2048];
    json_t *config = NULL;
    struct ram_err err = {0};

    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"num_hidden_layers\": %d, \"hidden_size\": 64, "
             "\"vocab_size\": 100, \"intermediate_size\": 128, \"num_attention_heads\": 4, "
             "\"num_key_value_heads\": 2, "
             "\"num_experts\": 8, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, "
             "\"kv_lora_rank\": 16, \"qk_rope_head_dim\": 8, \"qk_nope_head_dim\": 8, "
             "\"v_head_dim\": 8%s}",
             type, N_LAYERS, more);
    assert_int_equal(ram_json_parse(&config, text, strlen(text), "config", &err), RAM_OK);
    struct ram_arena arena = {0};
    struct ram_config read;
    int status = ram_config_read(&read, config, "config", &arena, &err);
    if (!status)
        status = ram_hparams_read(hp, &read, &err);
    hp->model_type = NULL; /* borrowed */
    json_decref(config);
    ram_arena_release(&arena);
    return status;
}

/* kinds: a letter for each layer, E with experts, . plain. */
static void assert_experts(const char *type, const char *more, const char *kinds)
{
    struct ram_hparams hp;

    assert_int_equal(read_config(&hp, type, more), RAM_OK);
    for (size_t i = 0; i < N_LAYERS; i++)
        if (ram_layer_is_sparse(&hp, i) != (kinds[i] == 'E'))
            fail_msg("%s%s: layer %zu, expected %s", type, more, i, kinds);
}

static void layers_with_experts(void **state)
{
    (void)state;
    assert_experts("qwen3_moe", "", "EEEEE");
    assert_experts("qwen3_moe", ", \"decoder_sparse_step\": 2", ".E.E.");
    assert_experts("qwen3_moe", ", \"mlp_only_layers\": [0, 3, 9, -1]", ".EE.E");
    assert_experts("qwen3_moe", ", \"mlp_only_layers\": null", "EEEEE");
    assert_experts("glm4_moe", "", ".EEEE");
    assert_experts("glm4_moe", ", \"first_k_dense_replace\": 3", "...EE");
    assert_experts("glm4_moe", ", \"first_k_dense_replace\": 0", "EEEEE");
    assert_experts("glm4_moe", ", \"moe_layer_freq\": 2", ".EEEE"); /* not read */
    assert_experts("glm4_moe_lite", ", \"moe_layer_freq\": 2", "..E.E");
    assert_experts("glm4_moe_lite", ", \"first_k_dense_replace\": 0", "EEEEE");
    const char *words =
        ", \"first_k_dense_replace\": 4, \"mlp_layer_types\": [\"dense\", \"dense\", "
        "\"sparse\", \"dense\", \"sparse\"]";
    assert_experts("glm4_moe_lite", words, "..E.E");
    assert_experts("qwen3_moe", words, "EEEEE"); /* no list of its class */
    assert_experts("qwen3", "", ".....");
}

/* windows: a letter for each layer, W with a window, . without. */
static void assert_windows(const char *type, const char *more, const char *windows, size_t window)
{
    struct ram_hparams hp;

    assert_int_equal(read_config(&hp, type, more), RAM_OK);
    for (size_t i = 0; i < N_LAYERS; i++)
        if (ram_layer_window(&hp, i) != (windows[i] == 'W' ? window : 0))
            fail_msg("%s%s: layer %zu sees %zu, expected %s of %zu", type, more, i,
                     ram_layer_window(&hp, i), windows, window);
}

static void layers_with_windows(void **state)
{
    const char *words = ", \"use_sliding_window\": true, \"sliding_window\": 7, \"layer_types\": "
                        "[\"full_attention\", \"sliding_attention\", \"full_attention\", "
                        "\"full_attention\", \"sliding_attention\"]";
    (void)state;
    assert_windows("llama", ", \"sliding_window\": 7", ".....", 0);
    assert_windows("glm4_moe", ", \"use_sliding_window\": true", ".....", 0);
    assert_windows("mistral", "", "WWWWW", 4096);
    assert_windows("mistral", ", \"sliding_window\": 7", "WWWWW", 7);
    assert_windows("mistral", ", \"sliding_window\": null", ".....", 0);
    assert_windows("qwen2", ", \"sliding_window\": 7", ".....", 0);
    const char *from_3 = ", \"use_sliding_window\": true, \"sliding_window\": 7, "
                         "\"max_window_layers\": 3";
    assert_windows("qwen2", from_3, "...WW", 7);
    assert_windows("qwen3", from_3, "...WW", 7);
    assert_windows("qwen3_moe", from_3, "WWWWW", 7);
    assert_windows("qwen2", ", \"use_sliding_window\": true", ".....", 0);
    assert_windows("qwen3", words, ".W..W", 7);
    assert_windows("qwen3_moe", words, "WWWWW", 7);
}

static void senseless_numbers(void **state)
{
    struct ram_hparams hp;
    (void)state;

    assert_int_equal(read_config(&hp, "mistral", ", \"sliding_window\": 0"), RAM_ERANGE);
    assert_int_equal(read_config(&hp, "qwen3_moe", ", \"decoder_sparse_step\": 0"), RAM_ERANGE);
    assert_int_equal(read_config(&hp, "glm4_moe_lite", ", \"moe_layer_freq\": \"1\""), RAM_EFORMAT);
    assert_int_equal(read_config(&hp, "glm4_moe_lite", ", \"mlp_layer_types\": [\"dense\"]"),
                     RAM_EFORMAT);
    assert_int_equal(read_config(&hp, "glm4_moe", ", \"first_k_dense_replace\": -1"), RAM_ERANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_with_experts),
        cmocka_unit_test(layers_with_windows),
        cmocka_unit_test(senseless_numbers),
    };
    return cmocka_run_group_tests_name("infer/hparams", tests, NULL, NULL);
}
