/*
 * Layouts against what stock mlx_lm makes of the same checkpoints: names, order, shapes, types and
 * every value (tests/data/ckpt_targets, made by the script there), and what must be refused.
 *
 * test_format_layout --write DIR writes the checkpoints of the cases, for that script.
 */
#include "base/hash.h"
#include "ckpt_make.h"
#include "format/layout.h"

#include <setjmp.h>

#include <cmocka.h>

static const struct {
    const char *name;
    struct make_opts opts;
} cases[] = {
    {"llama", {.arch = "llama", .seed = 1}},
    {"llama-bias-f16", {.arch = "llama", .seed = 2, .bias = true, .dtype = "F16"}},
    {"llama-tied-spare",
     {.arch = "llama", .seed = 3, .tied = true, .spare_head = true, .inv_freq = true}},
    {"mistral", {.arch = "mistral", .seed = 4, .shards = 2}},
    {"qwen2", {.arch = "qwen2", .seed = 5, .tied = true, .inv_freq = true}},
    {"qwen3", {.arch = "qwen3", .seed = 6, .dtype = "F32"}},
    {"qwen3-layers", {.arch = "qwen3", .seed = 7, .layers = 12, .tied = true, .shards = 5}},
    {"qwen3-v5", {.arch = "qwen3", .seed = 8, .new_spelling = true}},
    {"qwen3-fp8", {.arch = "qwen3", .seed = 9, .dtype = "F8_E4M3", .fp8_block = {32, 48}}},
    {"qwen3_moe", {.arch = "qwen3_moe", .seed = 10, .shards = 3}},
    {"qwen3_moe-v5-fused",
     {.arch = "qwen3_moe", .seed = 11, .experts = MAKE_FUSED, .new_spelling = true}},
    {"qwen3_moe-stacked", {.arch = "qwen3_moe", .seed = 12, .experts = MAKE_STACKED}},
    {"qwen3_moe-fp8", {.arch = "qwen3_moe", .seed = 13, .dtype = "F8_E4M3"}},
    {"qwen3_moe-fp8-fused",
     {.arch = "qwen3_moe",
      .seed = 14,
      .dtype = "F8_E4M3",
      .experts = MAKE_FUSED,
      .fp8_block = {24, 40}}},
    {"glm4_moe", {.arch = "glm4_moe", .seed = 15, .bias = true, .mtp = true, .shards = 2}},
    {"glm4_moe-v5-fused",
     {.arch = "glm4_moe", .seed = 16, .experts = MAKE_FUSED, .new_spelling = true}},
    {"glm4_moe-tied", {.arch = "glm4_moe", .seed = 17, .tied = true}},
    {"glm4_moe_lite", {.arch = "glm4_moe_lite", .seed = 18, .mtp = true}},
    {"glm4_moe_lite-mtp10", {.arch = "glm4_moe_lite", .seed = 19, .mtp = true, .layers = 11}},
    {"glm4_moe_lite-split",
     {.arch = "glm4_moe_lite", .seed = 20, .experts = MAKE_STACKED, .split_kv = true}},
    {"glm4_moe_lite-fp8",
     {.arch = "glm4_moe_lite", .seed = 21, .dtype = "F8_E4M3", .fp8_block = {20, 24}}},
};

enum { N_CASES = sizeof cases / sizeof *cases };

static void close_both(struct ram_layout *layout, struct ram_ckpt *ckpt, const char *dir)
{
    ram_layout_free(layout);
    ram_ckpt_close(ckpt);
    make_remove_dir(dir);
}

/* "name shape dtype sha256-of-the-f32-values". */
static void describe(const struct ram_target *target, char *line, size_t size)
{
    struct ram_err err = {0};
    char shape[RAM_SHAPE_TEXT], sum[RAM_SHA256_HEX];
    size_t n = 1, at = 0;

    for (int i = 0; i < target->n_dims; i++)
        n *= (size_t)target->shape[i];
    float *values = malloc(n * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < target->n_views; i++) {
        const struct ram_view *view = &target->views[i];
        assert_true(at + view->rows * view->cols <= n);
        assert_int_equal(ram_view_read(view, 0, view->rows, values + at, &err), RAM_OK);
        at += view->rows * view->cols;
    }
    assert_int_equal(at, n);
    ram_sha256(values, n * sizeof *values, sum);
    free(values);
    snprintf(line, size, "%s.%s %s %s %s", target->module, target->suffix,
             ram_shape_text(target->shape, target->n_dims, shape), ram_dtypes[target->dtype].name,
             sum);
}

static void compare_case(size_t c)
{
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    char path[4096], expected[512], line[512];
    const char *dir = make_temp_dir();

    const size_t n_written = make_ckpt(dir, &cases[c].opts);
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    assert_int_equal(ckpt->n_tensors, n_written);
    if (ram_layout_new(&layout, ckpt, ram_format_at(0), &err))
        fail_msg("%s: %s", cases[c].name, err.message);
    assert_null(layout->obstacle);
    snprintf(path, sizeof path, "%s/tests/data/ckpt_targets/%s.txt", getenv("RAM_SOURCE"),
             cases[c].name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s cannot be opened", path);
    size_t n = 0;
    while (fgets(expected, sizeof expected, file)) {
        expected[strcspn(expected, "\n")] = '\0';
        assert_true(n < layout->n_targets);
        describe(&layout->targets[n++], line, sizeof line);
        assert_string_equal(line, expected);
    }
    fclose(file);
    assert_int_equal(n, layout->n_targets);
    close_both(layout, ckpt, dir);
}

static void targets_are_those_of_mlx_lm(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASES; c++)
        compare_case(c);
}

/* ---- sources ----------------------------------------------------------------------------- */

static const struct ram_source *source_of(const struct ram_layout *layout, const char *name,
                                          int expert, const char *role)
{
    for (size_t i = 0; i < layout->n_sources; i++) {
        const struct ram_source *s = &layout->sources[i];
        if (!strcmp(s->tensor->name, name) && s->expert == expert &&
            !strcmp(ram_role_name(s->role), role))
            return s;
    }
    fail_msg("no source %s, expert %d, role %s", name, expert, role);
    return NULL;
}

static void open_made(const struct make_opts *opts, const char **dir, struct ram_ckpt **ckpt,
                      struct ram_layout **layout)
{
    struct ram_err err = {0};

    *dir = make_temp_dir();
    make_ckpt(*dir, opts);
    assert_int_equal(ram_ckpt_open(ckpt, *dir, &err), RAM_OK);
    if (ram_layout_new(layout, *ckpt, ram_format_at(0), &err))
        fail_msg("%s", err.message);
}

/* The three forms of experts give the same units and roles. */
static void experts_share_units(void **state)
{
    static const char *const names[3][2] = {
        {"model.layers.1.mlp.experts.2.up_proj.weight",
         "model.layers.1.mlp.experts.2.gate_proj.weight"},
        {"model.layers.1.mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.gate_up_proj"},
        {"model.layers.1.mlp.switch_mlp.up_proj.weight",
         "model.layers.1.mlp.switch_mlp.gate_proj.weight"}};
    (void)state;

    for (int form = MAKE_SEPARATE; form <= MAKE_STACKED; form++) {
        const struct make_opts opts = {.arch = "qwen3_moe", .experts = (enum make_experts)form};
        struct ram_ckpt *ckpt;
        struct ram_layout *layout;
        const char *dir;
        open_made(&opts, &dir, &ckpt, &layout);
        assert_true(layout->moe && layout->known);
        const struct ram_source *up = source_of(layout, names[form][0], 2, "up");
        const struct ram_source *gate = source_of(layout, names[form][1], 2, "gate");
        assert_string_equal(up->unit, "model.layers.1.mlp.experts.*.up_proj.weight");
        assert_string_equal(gate->unit, "model.layers.1.mlp.experts.*.gate_proj.weight");
        assert_int_equal(up->layer, 1);
        assert_int_equal(up->view.rows, MAKE_MOE);
        assert_int_equal(up->view.cols, MAKE_HIDDEN);
        if (form == MAKE_FUSED) {
            /* Gate rows first, then up rows, expert after expert. */
            assert_int_equal(gate->view.first, 2 * 2 * MAKE_MOE * MAKE_HIDDEN);
            assert_int_equal(up->view.first - gate->view.first, MAKE_MOE * MAKE_HIDDEN);
        }
        close_both(layout, ckpt, dir);
    }
}

static void roles_and_what_is_dropped(void **state)
{
    const struct make_opts opts = {.arch = "glm4_moe_lite", .mtp = true, .dtype = "F8_E4M3"};
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    const char *dir;
    (void)state;

    open_made(&opts, &dir, &ckpt, &layout);
    static const char *const roles[][2] = {
        {"model.embed_tokens.weight", "embed"},
        {"lm_head.weight", "head"},
        {"model.norm.weight", "norm"},
        {"model.layers.1.self_attn.q_a_proj.weight", "q_a"},
        {"model.layers.1.self_attn.q_a_layernorm.weight", "norm"},
        {"model.layers.1.self_attn.q_b_proj.weight", "q_b"},
        {"model.layers.1.self_attn.kv_a_proj_with_mqa.weight", "kv_a"},
        {"model.layers.1.self_attn.kv_b_proj.weight", "kv_b"},
        {"model.layers.1.self_attn.o_proj.weight", "o"},
        {"model.layers.0.mlp.down_proj.weight", "down"},
        {"model.layers.1.mlp.gate.weight", "router"},
        {"model.layers.1.mlp.gate.e_score_correction_bias", "bias"},
        {"model.layers.1.mlp.shared_experts.up_proj.weight", "shared_up"},
    };
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const struct ram_source *s = source_of(layout, roles[i][0], -1, roles[i][1]);
        assert_false(s->dropped);
        assert_string_equal(s->unit, roles[i][0]);
    }
    const struct ram_source *scale =
        source_of(layout, "model.layers.1.self_attn.o_proj.weight_scale_inv", -1, "other");
    assert_true(scale->dropped);
    assert_int_equal(scale->n_stored, 0);
    assert_true(source_of(layout, "model.layers.3.eh_proj.weight", -1, "other")->dropped);
    assert_true(source_of(layout, "model.layers.3.mlp.experts.0.up_proj.weight", 0, "up")->dropped);

    const struct ram_source *kv =
        source_of(layout, "model.layers.1.self_attn.kv_b_proj.weight", -1, "kv_b");
    assert_int_equal(kv->n_stored, 2);
    assert_int_equal(kv->stored[0].blocks, MAKE_HEADS);
    assert_int_equal(kv->stored[0].view.rows, MAKE_KV_LORA);
    assert_int_equal(kv->stored[0].view.cols, MAKE_NOPE);
    assert_int_equal(kv->stored[1].view.rows, MAKE_V);
    assert_int_equal(kv->stored_dtype, RAM_BF16);
    close_both(layout, ckpt, dir);
}

/* ---- checkpoints that are not as config.json says ---------------------------------------- */

/* Replaces the first `from` in dir/name by `to`, which is as long. */
static void patch(const char *dir, const char *name, const char *from, const char *to)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    char *text = malloc((size_t)size);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    char *at = memmem(text, (size_t)size, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    fseek(file, at - text, SEEK_SET);
    assert_int_equal(fwrite(to, 1, strlen(to), file), strlen(to));
    fclose(file);
    free(text);
}

static void contradictions_are_named(void **state)
{
    static const struct {
        const char *arch, *file, *from, *to, *message;
    } wrong[] = {
        {"qwen3", "config.json", "\"hidden_size\": 64", "\"hidden_size\": 96",
         "'model.embed_tokens.weight' has shape [160, 64], config.json means [160, 96]"},
        {"qwen3", "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4",
         "lacks 'model.layers.3.self_attn.q_proj.weight', "},
        {"qwen3", "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4",
         "; the nearest to 'model.layers.3.self_attn.q_proj.weight' of the names there is "
         "'model.layers.0.self_attn.q_proj.weight'"},
        {"qwen3", "config.json", "\"vocab_size\"", "\"vocab_sise\"", "\"vocab_size\""},
        {"qwen3", "config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\":-4",
         "\"num_attention_heads\" is -4"},
        {"qwen3_moe", "config.json", "\"num_experts\": 4", "\"num_experts\": 5",
         "'model.layers.0.mlp.gate.weight' has shape [4, 64], config.json means [5, 64]"},
        {"qwen3_moe", "model.safetensors", "layers.1.mlp.experts.3.down",
         "layers.1.mlp.experts.7.down", "lacks 'model.layers.1.mlp.experts.3.down_proj.weight'"},
        {"glm4_moe_lite", "config.json", "\"qk_nope_head_dim\": 32", "\"qk_nope_head_dim\": 34",
         "q_b_proj.weight' has shape [192, 64], config.json means [200, 64]"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct make_opts opts = {.arch = wrong[i].arch};
        struct ram_err err = {0};
        struct ram_ckpt *ckpt;
        struct ram_layout *layout;
        const char *dir = make_temp_dir();
        make_ckpt(dir, &opts);
        patch(dir, wrong[i].file, wrong[i].from, wrong[i].to);
        assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
        const int status = ram_layout_new(&layout, ckpt, ram_format_at(0), &err);
        assert_int_equal(status, strstr(wrong[i].to, "-4") ? RAM_ERANGE : RAM_EFORMAT);
        if (!strstr(err.message, wrong[i].message))
            fail_msg("'%s' does not say '%s'", err.message, wrong[i].message);
        /* It can be looked at all the same. */
        err = (struct ram_err){0};
        assert_int_equal(ram_layout_look(&layout, ckpt, ram_format_at(0), &err), RAM_OK);
        assert_non_null(strstr(layout->obstacle, wrong[i].message));
        assert_true(layout->n_sources >= ckpt->n_tensors && !layout->n_targets);
        close_both(layout, ckpt, dir);
    }
}

/* torch.compile and activation checkpointing leave words inside of names. */
static void wrappers_inside_of_names_are_told(void **state)
{
    static const struct make_opts opts = {.arch = "qwen3", .wrapper = "_orig_mod."};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    const char *dir = make_temp_dir();
    (void)state;

    make_ckpt(dir, &opts);
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    assert_int_equal(ram_layout_new(&layout, ckpt, ram_format_at(0), &err), RAM_EFORMAT);
    if (!strstr(err.message, "; there is 'model.layers.0._orig_mod.self_attn.q_proj.weight' where "
                             "'model.layers.0.self_attn.q_proj.weight' is expected: if a wrapper "
                             "of the trainer added '_orig_mod.' to the name"))
        fail_msg("%s", err.message);
    ram_ckpt_close(ckpt);
    make_remove_dir(dir);
}

static void obstacles_are_told(void **state)
{
    static const struct {
        const char *arch, *file, *from, *to, *message;
        bool known;
    } odd[] = {
        {"qwen3", "config.json", "\"model_type\": \"qwen3\"", "\"model_type\": \"qwem3\"",
         "'qwem3'", false},
        /* A bias that mlx_lm's qwen3 does not have. */
        {"llama", "config.json", "\"model_type\": \"llama\"", "\"model_type\": \"qwen2\"", "",
         true},
    };
    (void)state;

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const struct make_opts opts = {.arch = odd[i].arch};
        struct ram_err err = {0};
        struct ram_ckpt *ckpt;
        struct ram_layout *layout;
        const char *dir = make_temp_dir();
        make_ckpt(dir, &opts);
        patch(dir, odd[i].file, odd[i].from, odd[i].to);
        assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
        if (ram_layout_new(&layout, ckpt, ram_format_at(0), &err)) {
            assert_string_equal(odd[i].message, ""); /* refused outright: tensors missing */
        } else {
            assert_int_equal(layout->known, odd[i].known);
            assert_int_equal(layout->n_sources, ckpt->n_tensors);
            assert_non_null(strstr(layout->obstacle, odd[i].message));
        }
        close_both(layout, ckpt, dir);
    }
}

/* Names as transformers reads them beside those of the whole model. */
static void names_without_prefix(void **state)
{
    (void)state;
    for (int prefix = -1; prefix <= 3; prefix += prefix < 1 ? 2 : 1)
        for (int shards = 0; shards <= 2; shards += 2) {
            const struct make_opts opts = {.arch = "qwen3", .shards = shards, .prefix = prefix};
            struct ram_err err = {0};
            struct ram_ckpt *ckpt;
            struct ram_layout *layout;
            const char *dir = make_temp_dir();
            make_ckpt(dir, &opts);
            if (ram_ckpt_open(&ckpt, dir, &err) ||
                ram_layout_new(&layout, ckpt, ram_format_at(0), &err))
                fail_msg("%s", err.message);
            assert_null(layout->obstacle);
            assert_non_null(ram_ckpt_find(ckpt, "model.layers.0.mlp.up_proj.weight"));
            assert_non_null(ram_ckpt_find(ckpt, "lm_head.weight"));
            assert_int_equal(ckpt->notes.n, prefix < 2);
            assert_true(prefix >= 2 || strstr(ckpt->notes.lines[0], "prefix 'model.'"));
            assert_true(prefix == 3 ? !strcmp(ckpt->wrapper, "language_model.") : !ckpt->wrapper);
            close_both(layout, ckpt, dir);
        }
}

/* What the class would not read is left out with a word, not refused. */
static void what_no_class_reads(void **state)
{
    static const struct {
        struct make_opts opts;
        const char *from, *to, *note;
        size_t dropped;
        bool tied;
    } odd[] = {
        {{.arch = "glm4_moe"},
         "\"use_qk_norm\": true",
         "\"use_qk_norm\":false",
         "k_norm.weight'",
         6,
         false},
        {{.arch = "llama", .bias = true},
         "\"attention_bias\": true",
         "\"attention_bias\":false",
         "12 tensors such as 'model.layers.0.self_attn.k_proj.bias' are left out",
         12,
         false},
        {{.arch = "mistral", .bias = true}, "", "", "9 tensors", 9, false},
        {{.arch = "llama", .tied = true, .other_head = true},
         "",
         "",
         "'lm_head.weight' differs from 'model.embed_tokens.weight'",
         0,
         false},
        {{.arch = "llama", .tied = true, .spare_head = true}, "", "", NULL, 1, true},
        {{.arch = "llama", .tied = true, .other_head = true},
         "\"tie_word_embeddings\": true",
         "\"tie_word_embeddingz\": true",
         NULL,
         0,
         false},
        {{.arch = "llama", .tied = true},
         "\"tie_word_embeddings\": true",
         "\"tie_word_embeddingz\": true",
         NULL,
         0,
         true},
    };
    (void)state;

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct ram_err err = {0};
        struct ram_ckpt *ckpt;
        struct ram_layout *layout;
        size_t dropped = 0;
        const char *dir = make_temp_dir();
        make_ckpt(dir, &odd[i].opts);
        patch(dir, "config.json", odd[i].from, odd[i].to);
        assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
        if (ram_layout_new(&layout, ckpt, ram_format_at(0), &err))
            fail_msg("%s", err.message);
        assert_null(layout->obstacle);
        for (size_t s = 0; s < layout->n_sources; s++)
            dropped += layout->sources[s].dropped;
        assert_int_equal(dropped, odd[i].dropped);
        assert_int_equal(layout->tied, odd[i].tied);
        const size_t windows = !strcmp(odd[i].opts.arch, "mistral"); /* a note of their own */
        assert_int_equal(layout->notes.n, (odd[i].note != NULL) + windows);
        if (odd[i].note && !strstr(layout->notes.lines[0], odd[i].note))
            fail_msg("'%s' does not say '%s'", layout->notes.lines[0], odd[i].note);
        close_both(layout, ckpt, dir);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_those_of_mlx_lm),
        cmocka_unit_test(experts_share_units),
        cmocka_unit_test(roles_and_what_is_dropped),
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(obstacles_are_told),
        cmocka_unit_test(what_no_class_reads),
        cmocka_unit_test(names_without_prefix),
        cmocka_unit_test(wrappers_inside_of_names_are_told),
    };

    for (size_t c = 0; argc == 3 && !strcmp(argv[1], "--write") && c < N_CASES; c++) {
        char dir[4096];
        snprintf(dir, sizeof dir, "%s/%s", argv[2], cases[c].name);
        make_ckpt(dir, &cases[c].opts);
    }
    return argc == 1 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
