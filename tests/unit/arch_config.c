/*
 * What a key of config.json means to each family when it is absent and when it is null. Expected:
 * the defaults of the configuration classes of transformers 5.24, taken by making one of each; and
 * what those classes refuse.
 */
#include "arch/config_read.h"
#include "arch/family.h"

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
};

static void read_config(struct read *r, const char *family, const char *more)
{
    char text[2048];

    *r = (struct read){.err = {0}};
    snprintf(text, sizeof text, "{\"model_type\": \"%s\"%s%s}", family, *more ? ", " : "", more);
    assert_int_equal(ram_json_parse_python(&r->json, text, strlen(text), "config.json", &r->err),
                     RAM_OK);
    ram_config_read(&r->config, r->json, "config.json", &r->arena, &r->err);
}

static void done(struct read *r)
{
    ram_arena_release(&r->arena);
    json_decref(r->json);
}

/* Values of a class that was given nothing, in the order of `keys`. */
enum { N_FAMILIES = 7, NONE = -1 };
static const char *const families[N_FAMILIES] = {"llama",     "mistral",  "qwen2",        "qwen3",
                                                 "qwen3_moe", "glm4_moe", "glm4_moe_lite"};
#define AT(field) offsetof(struct ram_config, field)
static const struct {
    const char *key;
    size_t offset;
    char kind; /* c: count, r: real, f: flag */
    double absent[N_FAMILIES];
    const char *null; /* of each family: E refused, D as absent, H as many as heads, 0 none */
} keys[] = {
    {"vocab_size",
     AT(vocab),
     'c',
     {32000, 32000, 151936, 151936, 151936, 151552, 154880},
     "EEEEEEE"},
    {"hidden_size", AT(hidden), 'c', {4096, 4096, 4096, 4096, 2048, 4096, 2048}, "EEEEEEE"},
    {"intermediate_size",
     AT(intermediate),
     'c',
     {11008, 14336, 22016, 22016, 6144, 10944, 10240},
     "EEEEEEE"},
    {"num_hidden_layers", AT(n_layers), 'c', {32, 32, 32, 32, 24, 46, 47}, "EEEEEEE"},
    {"num_attention_heads", AT(n_heads), 'c', {32, 32, 32, 32, 32, 96, 20}, "EEEEEEE"},
    {"num_key_value_heads", AT(n_kv_heads), 'c', {32, 8, 32, 32, 4, 8, 20}, "HHHHEE-"},
    {"head_dim", AT(head_dim), 'c', {128, 128, 128, 128, 64, 42, 102}, "DDDEEE-"},
    {"max_position_embeddings",
     AT(max_positions),
     'c',
     {2048, 131072, 32768, 32768, 32768, 131072, 202752},
     "DDDDDDD"},
    {"rms_norm_eps", AT(norm_eps), 'r', {1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-5, 1e-5}, "EEEEEEE"},
    {"attention_bias", AT(attention_bias), 'f', {0, 0, 0, 0, 0, 0, 0}, "0--0000"},
    {"mlp_bias", AT(mlp_bias), 'f', {0, NONE, NONE, NONE, NONE, NONE, NONE}, "0------"},
    {"num_experts", AT(n_experts), 'c', {NONE, NONE, NONE, NONE, 128, NONE, NONE}, "----E--"},
    {"n_routed_experts", AT(n_experts), 'c', {NONE, NONE, NONE, NONE, NONE, 128, 64}, "-----EE"},
    {"num_experts_per_tok", AT(top_k), 'c', {NONE, NONE, NONE, NONE, 8, 8, 4}, "----EEE"},
    {"moe_intermediate_size",
     AT(moe_intermediate),
     'c',
     {NONE, NONE, NONE, NONE, 768, 1408, 1536},
     "----EEE"},
    {"norm_topk_prob", AT(norm_topk), 'f', {NONE, NONE, NONE, NONE, 0, 1, 1}, "----0EE"},
    {"n_shared_experts", AT(n_shared), 'c', {NONE, NONE, NONE, NONE, NONE, 1, 1}, "-----00"},
    {"n_group", AT(n_group), 'c', {NONE, NONE, NONE, NONE, NONE, 1, 1}, "-----EE"},
    {"topk_group", AT(topk_group), 'c', {NONE, NONE, NONE, NONE, NONE, 1, 1}, "-----EE"},
    {"routed_scaling_factor",
     AT(routed_scale),
     'r',
     {NONE, NONE, NONE, NONE, NONE, 1.0, 1.8},
     "-----EE"},
    {"use_qk_norm", AT(qk_norm), 'f', {NONE, NONE, NONE, NONE, NONE, 0, NONE}, "-----0-"},
    {"q_lora_rank", AT(q_lora), 'c', {NONE, NONE, NONE, NONE, NONE, NONE, 768}, "------0"},
    {"kv_lora_rank", AT(kv_lora), 'c', {NONE, NONE, NONE, NONE, NONE, NONE, 512}, "------E"},
    {"qk_nope_head_dim", AT(qk_nope), 'c', {NONE, NONE, NONE, NONE, NONE, NONE, 192}, "------E"},
    {"qk_rope_head_dim", AT(qk_rope), 'c', {NONE, NONE, NONE, NONE, NONE, NONE, 64}, "------E"},
    {"v_head_dim", AT(v_head), 'c', {NONE, NONE, NONE, NONE, NONE, NONE, 256}, "------E"},
    {"rope_interleave",
     AT(rope_interleave),
     'f',
     {NONE, NONE, NONE, NONE, NONE, NONE, 1},
     "------E"},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

static double value_of(const struct ram_config *config, size_t k)
{
    const char *field = (const char *)config + keys[k].offset;

    return keys[k].kind == 'c'   ? (double)*(const uint64_t *)(const void *)field
           : keys[k].kind == 'r' ? *(const double *)(const void *)field
                                 : *(const bool *)field;
}

static void absent_keys(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FAMILIES; f++) {
        struct read r;
        read_config(&r, families[f], "");
        assert_int_equal(r.err.status, RAM_OK);
        assert_int_equal(r.config.refusal.status, RAM_OK);
        for (size_t k = 0; k < N_KEYS; k++)
            if (keys[k].absent[f] != NONE && value_of(&r.config, k) != keys[k].absent[f])
                fail_msg("%s without %s: %g", families[f], keys[k].key, value_of(&r.config, k));
        assert_true(r.config.rope.theta == 10000);
        assert_true(r.config.rope.partial == (strcmp(families[f], "glm4_moe") ? 1 : 0.5));
        assert_int_equal(r.config.act, RAM_ACT_SILU);
        assert_int_equal(r.config.tied, RAM_TIED_UNSAID);
        done(&r);
    }
}

static void null_keys(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FAMILIES; f++)
        for (size_t k = 0; k < N_KEYS; k++) {
            struct read r;
            char more[64];
            const char means = keys[k].null[f];
            snprintf(more, sizeof more, "\"%s\": null", keys[k].key);
            read_config(&r, families[f], more);
            const char *said = r.err.status              ? r.err.message
                               : r.config.refusal.status ? r.config.refusal.message
                                                         : "";
            const double expected = means == 'H'   ? (double)r.config.n_heads
                                    : means == 'D' ? keys[k].absent[f]
                                                   : 0;
            if (means == 'E' ? !strstr(said, keys[k].key) || !strstr(said, "null") : *said != '\0')
                fail_msg("%s, %s null: '%s'", families[f], keys[k].key, said);
            if (strchr("HD0", means) && value_of(&r.config, k) != expected)
                fail_msg("%s, %s null: %g", families[f], keys[k].key, value_of(&r.config, k));
            done(&r);
        }
}

/* What no class takes, said with the key. */
static void hostile_values(void **state)
{
    static const char *const wrong[] = {
        "\"hidden_size\": -1",         "\"hidden_size\": 64.0",
        "\"hidden_size\": \"64\"",     "\"hidden_size\": true",
        "\"hidden_size\": [64]",       "\"hidden_size\": {}",
        "\"hidden_size\": NaN",        "\"hidden_size\": 1000000000000000000000",
        "\"hidden_size\": 0",          "\"head_dim\": 0",
        "\"num_hidden_layers\": 4097", "\"num_hidden_layers\": 0",
        "\"num_attention_heads\": 0",  "\"rms_norm_eps\": Infinity",
        "\"rms_norm_eps\": \"1e-6\"",  "\"rms_norm_eps\": -1",
        "\"hidden_act\": \"SiLU\"",    "\"hidden_act\": 1",
        "\"hidden_act\": null",        "\"attention_bias\": 1",
        "\"rope_theta\": 0",           "\"rope_theta\": null",
        "\"rope_theta\": \"10000\"",   "\"rope_theta\": NaN",
        "\"rope_scaling\": []",        "\"layer_types\": [\"full_attention\"]",
        "\"layer_types\": 3",          "\"tie_word_embeddings\": 1",
        "\"is_causal\": false",        "\"per_layer_config\": {\"0\": {}}"};
    (void)state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct read r;
        char key[64];
        read_config(&r, "llama", wrong[i]);
        snprintf(key, sizeof key, "%.*s\"", (int)strcspn(wrong[i] + 1, "\"") + 1, wrong[i]);
        const char *said = r.err.status ? r.err.message : r.config.refusal.message;
        if (!strstr(said, key))
            fail_msg("%s: '%s'", wrong[i], said);
        assert_true(r.err.status || r.config.refusal.status);
        done(&r);
    }
}

static void ignored_keys(void **state)
{
    static const char *const more =
        "\"partial_rotary_factor\": 0.5, \"logits_scaling\": 8, \"pretraining_tp\": 2, "
        "\"num_experts\": -3, \"sliding_window\": \"x\", \"n_group\": 7, \"clip_qkv\": NaN";
    struct read r;
    (void)state;

    read_config(&r, "llama", more);
    assert_int_equal(r.err.status, RAM_OK);
    assert_int_equal(r.config.refusal.status, RAM_OK);
    assert_true(r.config.rope.partial == 1);
    assert_int_equal(r.config.sliding_window, 0);
    done(&r);
}

static void rope_in_two_places(void **state)
{
    static const struct {
        const char *more;
        enum ram_rope_kind kind;
        double theta, factor, context;
    } cases[] = {
        {"\"rope_theta\": 7, \"rope_parameters\": {\"rope_theta\": 500}", RAM_ROPE_DEFAULT, 500, 1,
         0},
        {"\"rope_theta\": 7, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}, "
         "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500}",
         RAM_ROPE_LINEAR, 7, 4, 0},
        {"\"rope_scaling\": {}, \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2}",
         RAM_ROPE_LINEAR, 10000, 2, 0},
        {"\"rope_scaling\": {\"type\": \"linear\", \"rope_type\": \"default\", \"factor\": 4}",
         RAM_ROPE_DEFAULT, 10000, 1, 0},
        {"\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4}",
         RAM_ROPE_LLAMA3, 10000, 8, 2048},
        {"\"original_max_position_embeddings\": 64, \"rope_scaling\": {\"rope_type\": \"llama3\", "
         "\"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
         "\"original_max_position_embeddings\": 512}",
         RAM_ROPE_LLAMA3, 10000, 8, 64},
        {"\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": null, "
         "\"original_max_position_embeddings\": 512}",
         RAM_ROPE_YARN, 10000, 4, 512},
        {"\"text_config\": {\"rope_theta\": 9}", RAM_ROPE_DEFAULT, 9, 1, 0},
        {"\"rope_theta\": 7, \"text_config\": {\"rope_theta\": 9}", RAM_ROPE_DEFAULT, 7, 1, 0},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read r;
        read_config(&r, "llama", cases[i].more);
        const struct ram_rope_config *rope = &r.config.rope;
        if (r.config.refusal.status)
            fail_msg("%s: %s", cases[i].more, r.config.refusal.message);
        if (rope->kind != cases[i].kind || rope->theta != cases[i].theta ||
            rope->factor != cases[i].factor ||
            (cases[i].context != 0 && rope->context != cases[i].context))
            fail_msg("%s: kind %d, theta %g, factor %g, context %g", cases[i].more, rope->kind,
                     rope->theta, rope->factor, rope->context);
        done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys),        cmocka_unit_test(null_keys),
        cmocka_unit_test(hostile_values),     cmocka_unit_test(ignored_keys),
        cmocka_unit_test(rope_in_two_places),
    };
    return cmocka_run_group_tests_name("arch/config", tests, NULL, NULL);
}
