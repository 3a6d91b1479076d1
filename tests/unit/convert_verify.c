/* Verification: a sound directory passes, and every kind of damage is found and named. */
#include "convert_case.h"

#include "convert/verify.h"

static const struct ram_convert_opts no_opts;

/* A converted directory of one file: glm4_moe_lite has everything that can be wrong. */
static void open_converted(struct test_case *c)
{
    unsigned salt = 4;
    case_open(c, &all_forms[12], mixed_width, &salt);
    if (case_convert(c, &no_opts, 2, NULL))
        fail_msg("%s", c->err.message);
}

static int verify(struct test_case *c, const struct ram_ckpt *source, const struct ram_plan *plan,
                  char **text)
{
    const struct ram_run run = {.threads = 2};
    c->err = (struct ram_err){0};
    *text = NULL;
    return verify_by(c, source, plan, &run, RAM_TEXT, text);
}

/* What must be found, and where. */
static void expect_difference(struct test_case *c, const struct ram_ckpt *source,
                              const struct ram_plan *plan, const char *where, const char *what)
{
    char *text;
    const int status = verify(c, source, plan, &text);
    if (status != RAM_EDIFF)
        fail_msg("status %d (%s) instead of a difference: %s", status, c->err.message, what);
    if (!strstr(text, where) || !strstr(text, what))
        fail_msg("neither \"%s\" nor \"%s\" in:\n%s", where, what, text);
    free(text);
}

static void expect_sound(struct test_case *c, const struct ram_ckpt *source)
{
    char *text;
    if (verify(c, source, c->plan, &text))
        fail_msg("%s\n%s", c->err.message, text ? text : "");
    free(text);
}

static void sound(void **state)
{
    struct test_case c;
    char *text;

    (void)state;
    open_converted(&c);
    expect_sound(&c, NULL);
    expect_sound(&c, c.ckpt);
    assert_int_equal(verify(&c, c.ckpt, NULL, &text), RAM_OK);
    assert_null(strstr(text, "not checked"));
    free(text);

    /* As JSON: every tensor with its error and its worst group. */
    const struct ram_run run = {.threads = 1};
    assert_int_equal(verify_by(&c, c.ckpt, NULL, &run, RAM_JSON, &text), RAM_OK);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *tensors = json_object_get(root, "tensors");
    assert_true(json_is_true(json_object_get(root, "ok")));
    assert_int_equal(json_array_size(tensors), c.layout->n_targets);
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *entry = json_array_get(tensors, i);
        const json_t *worst = json_object_get(entry, "worst_group");
        const double error = json_number_value(json_object_get(entry, "relative_error"));
        const double worst_error = json_number_value(json_object_get(worst, "relative_error"));
        const bool quantized = json_integer_value(json_object_get(entry, "bits")) < 16;
        assert_true(quantized ? error > 0 && worst_error >= error : error == 0);
    }
    json_decref(root);
    free(text);
    case_close(&c);
}

/* Flips a bit of a tensor of the output's only file. */
static void flip(struct test_case *c, const char *name, size_t byte)
{
    struct ram_ckpt *ckpt = NULL;
    struct ram_err err = {0};
    char path[700];
    assert_int_equal(ram_ckpt_open(&ckpt, c->out, &err), RAM_OK);
    const struct ram_tensor *tensor = ram_ckpt_find(ckpt, name);
    assert_non_null(tensor);
    snprintf(path, sizeof path, "%s/model.safetensors", c->out);
    FILE *file = fopen(path, "r+b");
    fseek(file, (long)(tensor->offset + byte), SEEK_SET);
    const int value = fgetc(file);
    fseek(file, (long)(tensor->offset + byte), SEEK_SET);
    fputc(value ^ 0x40, file);
    fclose(file);
    ram_ckpt_close(ckpt);
}

static const char *const some_tensors[] = {
    "model.embed_tokens.weight",
    "model.layers.0.self_attn.embed_q.weight",
    "model.layers.1.mlp.gate.e_score_correction_bias",
    "model.layers.2.input_layernorm.weight",
    "lm_head.weight",
};

static void flipped_bits(void **state)
{
    struct test_case c;

    (void)state;
    open_converted(&c);
    for (size_t i = 0; i < sizeof some_tensors / sizeof *some_tensors; i++) {
        flip(&c, some_tensors[i], 5);
        expect_difference(&c, NULL, NULL, some_tensors[i], "checksum");
        flip(&c, some_tensors[i], 5);
        expect_sound(&c, NULL);
    }
    case_close(&c);
}

/* Replaces `from` by `to` (of the same length, unless the file is text) in a file of the output. */
static void edit(struct test_case *c, const char *name, const char *from, const char *to)
{
    size_t size;
    char *data = slurp(c->out, name, &size);
    assert_non_null(data);
    char *at = memmem(data, size, from, strlen(from));
    if (!at)
        fail_msg("%s has no %s", name, from);
    FILE *file = make_open(c->out, name);
    fwrite(data, 1, (size_t)(at - data), file);
    fputs(to, file);
    fwrite(at + strlen(from), 1, size - (size_t)(at - data) - strlen(from), file);
    fclose(file);
    free(data);
}

static void config_against_tensors(void **state)
{
    static const struct {
        const char *from, *to, *where, *what;
    } cases[] = {
        {"\"mode\": \"affine\"", "\"mode\": \"mxfp4\"", "quantization", "mode affine"},
        {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", "model.layers.2",
         "strict loading"},
        {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "model.layers.3", "is missing"},
        {"\"hidden_size\": 64", "\"hidden_size\": 128", "model.embed_tokens", "words"},
        {"\"intermediate_size\": 96", "\"intermediate_size\": 160", "mlp.down_proj", "no width"},
        {"\"vocab_size\": 160", "\"vocab_size\": 161", "lm_head", "do not fit"},
        {"\"quantization\": {", "\"quantisation\": {", "quantization_config", "without"},
        {"\"hidden_size\": 64,", "", "model.embed_tokens", "words"}, /* mlx_lm has a default */
    };
    struct test_case c;

    (void)state;
    open_converted(&c);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        char *before = slurp(c.out, "config.json", &size);
        edit(&c, "config.json", cases[i].from, cases[i].to);
        expect_difference(&c, NULL, NULL, cases[i].where, cases[i].what);
        spill(c.out, "config.json", before, size);
        free(before);
    }
    expect_sound(&c, c.ckpt);
    case_close(&c);
}

/* An entry that no loader, or not mlx_lm's, would get along with. */
static void entries_that_break_loading(void **state)
{
    static const struct {
        const char *module, *entry, *what;
    } cases[] = {
        {"lm_head", "false", "says it is not"},
        {"lm_head", "{\"bits\": 4, \"group_size\": 32, \"score\": 1}", "\"score\""},
        {"lm_head", "17", "neither"},
        {"lm_head", "{\"bits\": 7, \"group_size\": 32}", "its quantization entry"},
        {"model.norm", "{\"bits\": 4, \"group_size\": 32}", "no scales"},
        {"model.layers.1.mlp.up_proj", "{\"bits\": 4, \"group_size\": 32}", "no such module"},
    };
    struct test_case c;
    char path[700];

    (void)state;
    open_converted(&c);
    snprintf(path, sizeof path, "%s/config.json", c.out);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config = json_load_file(path, 0, NULL), *damaged = json_deep_copy(config);
        json_t *block = json_object_get(damaged, "quantization");
        json_object_set_new(block, cases[i].module,
                            json_loads(cases[i].entry, JSON_DECODE_ANY, NULL));
        json_object_set_new(damaged, "quantization_config", json_deep_copy(block));
        json_dump_file(damaged, path, 0);
        expect_difference(&c, NULL, NULL, cases[i].module, cases[i].what);
        json_dump_file(config, path, 0);
        json_decref(damaged);
        json_decref(config);
    }
    expect_sound(&c, NULL);
    case_close(&c);
}

/* Every module in turn is said to have another width. */
static void widths_against_config(void **state)
{
    struct test_case c;
    char path[700];

    (void)state;
    open_converted(&c);
    snprintf(path, sizeof path, "%s/config.json", c.out);
    json_t *config = json_load_file(path, 0, NULL);
    json_t *block = json_object_get(config, "quantization"), *value;
    json_t *twin = json_object_get(config, "quantization_config");
    const char *key;
    size_t n = 0;
    json_object_foreach(block, key, value)
    {
        if (!json_is_object(value))
            continue;
        json_t *entry = json_object_get(twin, key);
        const json_int_t bits = json_integer_value(json_object_get(value, "bits"));
        json_object_set_new(value, "bits", json_integer(bits == 4 ? 5 : 4));
        json_object_set_new(entry, "bits", json_integer(bits == 4 ? 5 : 4));
        json_dump_file(config, path, 0);
        expect_difference(&c, NULL, NULL, key, "config.json says");
        json_object_set_new(value, "bits", json_integer(bits));
        json_object_set_new(entry, "bits", json_integer(bits));
        n++;
    }
    assert_true(n > 10);
    json_decref(config);
    case_close(&c);
}

static void files(void **state)
{
    struct test_case c;
    char *text;
    size_t size;

    (void)state;
    open_converted(&c);
    spill(c.out, "model-00007-of-00009.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
    expect_difference(&c, NULL, NULL, "model-00007-of-00009.safetensors", "mlx_lm loads it");
    char path[700];
    snprintf(path, sizeof path, "%s/model-00007-of-00009.safetensors", c.out);
    assert_int_equal(unlink(path), 0);

    edit(&c, "model.safetensors.index.json", "\"total_size\": ", "\"total_size\": 1");
    expect_difference(&c, NULL, NULL, "model.safetensors.index.json", "total_size");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", c.out);
    assert_int_equal(unlink(path), 0);
    expect_sound(&c, NULL); /* a single file needs no index */

    /* A container that cannot be read is an error, not a difference. */
    char *data = slurp(c.out, "model.safetensors", &size);
    spill(c.out, "model.safetensors", data, size - 1);
    assert_int_equal(verify(&c, NULL, NULL, &text), RAM_EFORMAT);
    assert_non_null(strstr(c.err.message, "model.safetensors"));
    free(data);
    case_close(&c);
}

static void tensor_types_and_names(void **state)
{
    struct test_case c;

    (void)state;
    open_converted(&c);
    edit(&c, "model.safetensors.index.json", "lm_head.scales", "lm_head.scalez");
    edit(&c, "model.safetensors", "lm_head.scales", "lm_head.scalez");
    expect_difference(&c, NULL, NULL, "lm_head", "no scales");
    edit(&c, "model.safetensors.index.json", "lm_head.scalez", "lm_head.scales");
    edit(&c, "model.safetensors", "lm_head.scalez", "lm_head.scales");
    expect_sound(&c, NULL);
    edit(&c, "model.safetensors", "\"model.norm.weight\":{\"dtype\":\"BF16\"",
         "\"model.norm.weight\":{\"dtype\":\"U16\" ");
    expect_difference(&c, NULL, NULL, "model.norm.weight", "expected BF16");
    case_close(&c);
}

static void values(void **state)
{
    static const char *const parts[] = {"scales", "biases"};
    struct test_case c;

    (void)state;
    open_converted(&c);
    struct ram_ckpt *out = NULL;
    assert_int_equal(ram_ckpt_open(&out, c.out, &c.err), RAM_OK);
    for (size_t i = 0; i < 2; i++) {
        char name[64], path[700];
        snprintf(name, sizeof name, "lm_head.%s", parts[i]);
        const struct ram_tensor *tensor = ram_ckpt_find(out, name);
        snprintf(path, sizeof path, "%s/model.safetensors", c.out);
        FILE *file = fopen(path, "r+b");
        fseek(file, (long)(tensor->offset + tensor->size - 2), SEEK_SET);
        fwrite("\xc0\x7f", 1, 2, file);
        fclose(file);
        expect_difference(&c, NULL, NULL, "lm_head", parts[i]);
        expect_difference(&c, NULL, NULL, "lm_head", "not finite");
    }
    ram_ckpt_close(out);
    case_close(&c);
}

static void plans(void **state)
{
    struct test_case c;

    (void)state;
    open_converted(&c);
    struct ram_unit *unit = plan_unit(c.plan, "model.layers.1.self_attn.kv_b_proj.weight");
    unit->form = ram_form_of(unit->form->bits == 2 ? 3 : 2, 32);
    expect_difference(&c, NULL, c.plan, "model.layers.1.self_attn.embed_q", "the plan says");
    expect_difference(&c, NULL, c.plan, "model.layers.1.self_attn.unembed_out", "the plan says");
    unit->name = "x";
    ram_plan_index(c.plan, "test", &c.err);
    expect_difference(&c, NULL, c.plan, "model.layers.1.self_attn.embed_q", "has no unit");

    /* The plan that ram.json holds is checked when no other is given. */
    edit(&c, "ram.json", "\"bits\": 16,", "\"bits\": 4,");
    char *text;
    assert_int_equal(verify(&c, NULL, NULL, &text), RAM_EDIFF);
    free(text);
    /* An entry's form counts before its bits and group. */
    edit(&c, "ram.json", "\"checksums\": {", "\"form\": \"x\", \"checksums\": {");
    expect_difference(&c, NULL, NULL, "model.embed_tokens", "was written with");
    edit(&c, "ram.json", "ram.converted/1", "ram.converted/9");
    expect_difference(&c, NULL, NULL, "ram.json", "ram.converted/9");
    edit(&c, "ram.json", "{", "[");
    expect_difference(&c, NULL, NULL, "ram.json", "ram.json");
    case_close(&c);
}

/* The same shapes, other weights. */
static void another_source(void **state)
{
    struct make_opts opts = all_forms[12];
    struct ram_ckpt *other = NULL;
    struct test_case c;
    char path[300];

    (void)state;
    open_converted(&c);
    opts.seed += 100;
    snprintf(path, sizeof path, "%s/other", c.dir);
    make_ckpt(path, &opts);
    assert_int_equal(ram_ckpt_open(&other, path, &c.err), RAM_OK);
    expect_difference(&c, other, NULL, "model.embed_tokens", "not the source's weights");
    expect_difference(&c, other, NULL, "model.norm", "differs from the source");
    ram_ckpt_close(other);
    case_close(&c);
}

/* Writes 16-bit values over all of a tensor of the model. */
static void fill_tensor(struct test_case *c, const char *name, uint16_t value)
{
    const struct ram_tensor *tensor = ram_ckpt_find(c->ckpt, name);
    char path[700];
    assert_non_null(tensor);
    snprintf(path, sizeof path, "%s/%s", c->model, c->ckpt->files[tensor->file].name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)tensor->offset, SEEK_SET);
    for (size_t i = 0; i < tensor->n; i++)
        assert_int_equal(fwrite(&value, 2, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static struct width four_bits(const struct ram_target *target, void *user)
{
    (void)target;
    (void)user;
    return (struct width){4, 32};
}

/* Matrices below the coding's least step lose everything, which is what was written and no
 * difference; where weights of a usual size lie beside them, it is. */
static void small_weights(void **state)
{
    static const uint16_t values[] = {
        0x322c, /* 1e-8 */ 0x9f0e, /* -3e-20 */ 0x0da2, /* 1e-30 */ 0x0001, 0x0000,
        0x7149 /* 1e30 */
    };
    static const char down[] = "model.layers.1.mlp.down_proj.weight";

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct ram_ckpt *other = NULL;
        struct test_case c;
        char path[300];
        case_open(&c, &all_forms[2], four_bits, NULL);
        fill_tensor(&c, down, values[i]);
        if (case_convert(&c, &no_opts, 2, NULL))
            fail_msg("%s", c.err.message);
        expect_sound(&c, c.ckpt);
        snprintf(path, sizeof path, "%s/other", c.dir);
        make_ckpt(path, &all_forms[2]);
        assert_int_equal(ram_ckpt_open(&other, path, &c.err), RAM_OK);
        expect_difference(&c, other, NULL, "model.layers.1.mlp.down_proj",
                          "not the source's weights");
        ram_ckpt_close(other);
        case_close(&c);
    }
}

/* Without ram.json and of an architecture that nobody knows: what can be said is still said. */
static void unknown_architecture(void **state)
{
    struct test_case c;
    char path[700];
    char *text;

    (void)state;
    open_converted(&c);
    snprintf(path, sizeof path, "%s/ram.json", c.out);
    assert_int_equal(unlink(path), 0);
    edit(&c, "config.json", "\"model_type\": \"glm4_moe_lite\"", "\"model_type\": \"glm9\"");
    assert_int_equal(verify(&c, NULL, NULL, &text), RAM_OK);
    assert_non_null(strstr(text, "not known"));
    free(text);
    edit(&c, "config.json", "\"group_size\": ", "\"group_size\": 9");
    assert_int_equal(verify(&c, NULL, NULL, &text), RAM_EDIFF);
    free(text);
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(config_against_tensors),
        cmocka_unit_test(entries_that_break_loading),
        cmocka_unit_test(widths_against_config),
        cmocka_unit_test(files),
        cmocka_unit_test(tensor_types_and_names),
        cmocka_unit_test(values),
        cmocka_unit_test(plans),
        cmocka_unit_test(another_source),
        cmocka_unit_test(small_weights),
        cmocka_unit_test(unknown_architecture),
    };
    return cmocka_run_group_tests_name("convert/verify", tests, NULL, NULL);
}
