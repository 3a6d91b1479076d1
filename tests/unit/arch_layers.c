/*
 * What a configuration says of single layers, and of the rotary embedding of each: windows, layers
 * without rotation, embeddings for each kind of layer, in the families that have them. Expected:
 * what the classes of transformers 5.24 make of the same keys.
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
    snprintf(text, sizeof text, "{\"model_type\": \"%s\", \"num_hidden_layers\": 5%s%s}", family,
             *more ? ", " : "", more);
    assert_int_equal(ram_json_parse_python(&r->json, text, strlen(text), "config.json", &r->err),
                     RAM_OK);
    ram_config_read(&r->config, r->json, "config.json", &r->arena, &r->err);
    assert_int_equal(r->err.status, RAM_OK);
}

static void done(struct read *r)
{
    ram_arena_release(&r->arena);
    json_decref(r->json);
}

/* Letters of layers: s slides, f does not; capital: it turns; l has a delta rule. */
static void expect_layers(const char *family, const char *more, const char *expected,
                          uint64_t window)
{
    struct read r;
    char found[6] = {0};

    read_config(&r, family, more);
    if (r.config.refusal.status)
        fail_msg("%s %s: %s", family, more, r.config.refusal.message);
    for (size_t i = 0; i < 5; i++) {
        const bool slides = r.config.slides[i], turns = r.config.turns[i];
        found[i] = r.config.recurs[i] ? 'l' : slides ? (turns ? 'S' : 's') : turns ? 'F' : 'f';
    }
    if (strcmp(found, expected) || r.config.sliding_window != window)
        fail_msg("%s %s: layers %s with window %llu, expected %s with %llu", family, more, found,
                 (unsigned long long)r.config.sliding_window, expected, (unsigned long long)window);
    done(&r);
}

static void layers_slide_and_turn(void **state)
{
    static const char types[] = "\"layer_types\": [\"full_attention\", \"sliding_attention\", "
                                "\"full_attention\", \"full_attention\", \"sliding_attention\"]";
    char text[512];
    (void)state;

    expect_layers("llama", "", "FFFFF", 0);
    expect_layers("qwen3_5", "", "lllFl", 0);
    expect_layers("mixtral", "", "FFFFF", 0);
    expect_layers("mixtral", "\"sliding_window\": 9", "SSSSS", 9);
    expect_layers("qwen2_moe", "\"use_sliding_window\": true, \"max_window_layers\": 3", "SFSFF",
                  4096);
    expect_layers("qwen3_next", "\"full_attention_interval\": 2", "lFlFl", 0);
    expect_layers("qwen3_5_moe",
                  "\"full_attention_interval\": 2, \"layer_types\": [\"linear_attention\", "
                  "\"full_attention\", \"linear_attention\", \"linear_attention\", "
                  "\"full_attention\"]",
                  "lFllF", 0);
    expect_layers("smollm3", "", "FFFfF", 0);
    expect_layers("smollm3", "\"no_rope_layer_interval\": 2", "FfFfF", 0);
    expect_layers("smollm3", "\"no_rope_layers\": [0, 1, 7, 0, 1, 1]", "fFFfF", 0);
    expect_layers("smollm3", "\"sliding_window\": 9", "FFFfF", 0);
    expect_layers("smollm3", "\"use_sliding_window\": true", "FFFfF", 0);
    expect_layers("smollm3", "\"use_sliding_window\": true, \"sliding_window\": 9", "FFFsF", 9);
    snprintf(text, sizeof text, "%s, \"sliding_window\": 9", types);
    expect_layers("smollm3", text, "FSFfS", 9);
    expect_layers("olmo2", text, "FFFFF", 0);
    expect_layers("olmo3", "", "SSSFS", 4096);
    expect_layers("olmo3", text, "FSFFS", 9);
    expect_layers("exaone4", "", "SSSfS", 4096);
    expect_layers("exaone4", "\"sliding_window_pattern\": 2", "SfSfS", 4096);
    expect_layers("exaone4", "\"sliding_window\": null, \"sliding_window_pattern\": 0", "FFFFF", 0);
    snprintf(text, sizeof text, "%s, \"sliding_window\": 9, \"sliding_window_pattern\": \"LG\"",
             types);
    expect_layers("exaone4", text, "fSffS", 9);
    expect_layers("exaone4", "\"sliding_window\": null", "FFFFF", 0);
}

static void expect_refusal(const char *family, const char *more, const char *says)
{
    struct read r;

    read_config(&r, family, more);
    if (!r.config.refusal.status || !strstr(r.config.refusal.message, says))
        fail_msg("%s %s: \"%s\"", family, more, r.config.refusal.message);
    done(&r);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;

    expect_refusal("smollm3", "\"no_rope_layers\": [1, 0]", "no_rope_layers");
    expect_refusal("smollm3", "\"no_rope_layers\": [1, 0, true, 1, 1]", "no_rope_layers");
    expect_refusal("olmo3", "\"sliding_window\": null", "sliding_window");
    expect_refusal("exaone4", "\"sliding_window_pattern\": \"LLLG\"", "layer_types");
    expect_refusal("exaone4", "\"sliding_window_pattern\": 0", "sliding_window_pattern");
    expect_refusal("hunyuan_v1_dense", "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}",
                   "dynamic");
    expect_refusal("hunyuan_v1_dense",
                   "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": -1, \"factor\": 2}",
                   "alpha");
    expect_refusal("llama",
                   "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 1000, \"factor\": 2}",
                   "dynamic");
    expect_refusal("minimax_m2", "\"rotary_dim\": 1", "partial_rotary_factor");
    expect_refusal("minimax_m2", "\"rotary_dim\": 1e300", "partial_rotary_factor");
}

static void expect_thetas(const char *family, const char *more, double full, double sliding)
{
    struct read r;

    read_config(&r, family, more);
    if (r.config.rope.theta != full || r.config.has_sliding_rope != (sliding != 0) ||
        (sliding != 0 && r.config.sliding_rope.theta != sliding))
        fail_msg("%s %s: theta %g and %g, expected %g and %g", family, more, r.config.rope.theta,
                 r.config.sliding_rope.theta, full, sliding);
    done(&r);
}

/* rope_theta is of the layers without a window in OLMo 3; the others have the class's own. */
static void layers_have_their_rotary_embedding(void **state)
{
    struct read r;
    (void)state;

    expect_thetas("llama", "", 1e4, 0);
    expect_thetas("smollm3", "", 2e6, 0);
    expect_thetas("olmo3", "", 5e5, 5e5);
    expect_thetas("olmo3", "\"rope_theta\": 1e4", 1e4, 5e5);
    expect_thetas("olmo3", "\"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 7}}", 5e5,
                  7);
    expect_thetas("olmo3", "\"rope_parameters\": {\"rope_theta\": 7}", 5e5, 5e5);
    read_config(
        &r, "olmo3",
        "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4}, \"rope_parameters\": "
        "{\"full_attention\": {\"rope_type\": \"default\", \"rope_theta\": 9}}");
    assert_int_equal(r.config.rope.kind, RAM_ROPE_LINEAR);
    assert_true(r.config.rope.factor == 4 && r.config.rope.theta == 9);
    assert_int_equal(r.config.sliding_rope.kind, RAM_ROPE_DEFAULT);
    done(&r);
    read_config(&r, "hunyuan_v1_dense",
                "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 1000, \"factor\": 1}");
    assert_int_equal(r.config.refusal.status, RAM_OK);
    assert_int_equal(r.config.rope.kind, RAM_ROPE_ALPHA);
    assert_true(r.config.rope.alpha == 1000 && r.config.rope.theta == 1e4);
    done(&r);
}

/* What the class of each takes where nothing is said. */
static void classes_have_their_own_defaults(void **state)
{
    static const struct {
        const char *family;
        uint64_t vocab, width, mlp, heads, kv_heads, head, positions;
        double eps;
        bool bias, output_bias, mlp_bias;
        enum ram_tied tied;
    } classes[] = {
        {"smollm3", 128256, 2048, 11008, 16, 4, 128, 32768, 1e-6, 0, 0, 0, RAM_TIED_YES},
        {"olmo2", 50304, 4096, 11008, 32, 32, 128, 2048, 1e-5, 0, 0, 0, RAM_TIED_UNSAID},
        {"olmo3", 50304, 4096, 11008, 32, 32, 128, 2048, 1e-5, 0, 0, 0, RAM_TIED_UNSAID},
        {"seed_oss", 155136, 4096, 27648, 80, 8, 128, 524288, 1e-6, 1, 0, 0, RAM_TIED_UNSAID},
        {"ernie4_5", 103424, 1024, 3072, 16, 2, 128, 131072, 1e-5, 0, 0, 0, RAM_TIED_YES},
        {"mixtral", 32000, 4096, 0, 32, 8, 128, 131072, 1e-5, 0, 0, 0, RAM_TIED_UNSAID},
        {"qwen2_moe", 151936, 2048, 5632, 16, 16, 128, 32768, 1e-6, 1, 0, 0, RAM_TIED_UNSAID},
        {"minimax_m2", 200064, 3072, 0, 48, 8, 128, 196608, 1e-6, 0, 0, 0, RAM_TIED_UNSAID},
        {"kimi_k2", 129280, 7168, 18432, 128, 128, 56, 4096, 1e-6, 0, 0, 0, RAM_TIED_UNSAID},
        {"qwen3_next", 151936, 2048, 5632, 16, 2, 256, 32768, 1e-6, 0, 0, 0, RAM_TIED_UNSAID},
        {"qwen3_5", 248320, 4096, 12288, 16, 4, 256, 32768, 1e-6, 0, 0, 0, RAM_TIED_UNSAID},
        {"qwen3_5_text", 248320, 4096, 12288, 16, 4, 256, 32768, 1e-6, 0, 0, 0, RAM_TIED_UNSAID},
        {"qwen3_5_moe", 248320, 2048, 0, 16, 2, 256, 32768, 1e-6, 0, 0, 0, RAM_TIED_UNSAID},
        {"exaone4", 102400, 4096, 16384, 32, 32, 128, 2048, 1e-5, 0, 0, 0, RAM_TIED_UNSAID},
        {"hunyuan_v1_dense", 290943, 4096, 11008, 32, 32, 128, 2048, 1e-5, 0, 0, 0,
         RAM_TIED_UNSAID},
    };
    (void)state;

    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        struct read r;
        const struct ram_config *c = &r.config;
        read_config(&r, classes[i].family, "");
        if (c->vocab != classes[i].vocab || c->hidden != classes[i].width ||
            c->intermediate != classes[i].mlp || c->n_heads != classes[i].heads ||
            c->n_kv_heads != classes[i].kv_heads || c->head_dim != classes[i].head ||
            c->max_positions != classes[i].positions || c->norm_eps != classes[i].eps ||
            c->attention_bias != classes[i].bias || c->output_bias != classes[i].output_bias ||
            c->mlp_bias != classes[i].mlp_bias || c->tied != classes[i].tied)
            fail_msg("%s has another default", classes[i].family);
        done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_slide_and_turn),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(layers_have_their_rotary_embedding),
        cmocka_unit_test(classes_have_their_own_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
