/*
 * FP8 in every packaging converts to the bytes of its dequantised twin, whatever config.json calls
 * it and whatever lies beside; what is left out of the source is said, and what only its container
 * needs is not.
 */
#include "convert_case.h"

#include "base/buf.h"

/* Scales as one packaging stores them. */
static const struct packaging {
    const char *config;       /* the value of "quantization_config"; NULL: none */
    const char *suffix;       /* of the scales, behind the weight's name */
    const char *dtype, *code; /* of the scales, of the weights */
    int block[2];             /* 0: all of that axis */
    int n_dims;               /* of the scales */
    const char *activation;   /* stored beside each weight, or NULL */
} packagings[] = {
    {"{\"quant_method\": \"fp8\", \"weight_block_size\": [48, 32]}",
     "_scale_inv",
     "F32",
     "F8_E4M3",
     {48, 32},
     2,
     NULL},
    {"{\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\", \"ignore\": "
     "[\"lm_head\"]}",
     "_scale",
     "BF16",
     "F8_E4M3",
     {1, 0},
     2,
     NULL},
    {"{\"quant_method\": \"fbgemm_fp8\"}", "_scale", "F32", "F8_E4M3", {1, 0}, 1, "input_scale_ub"},
    {"{\"quant_method\": \"modelopt\", \"quant_algo\": \"FP8\"}",
     "_scale",
     "F32",
     "F8_E4M3",
     {0, 0},
     0,
     "input_scale"},
    {"{\"quant_method\": \"fp8\", \"activation_scheme\": \"static\"}",
     "_scale_inv",
     "BF16",
     "F8_E4M3",
     {0, 0},
     1,
     "activation_scale"},
    {"{\"quant_method\": \"fp8\", \"scale_fmt\": \"ue8m0\", \"weight_block_size\": [128, 128]}",
     "_scale_inv",
     "F8_E8M0",
     "F8_E4M3",
     {128, 128},
     2,
     NULL},
    {NULL, "_scale", "U8", "F8_E5M2", {1, 32}, 2, "input_scale"},
};

static float scale_of(const struct packaging *p, size_t i)
{
    const bool power = make_dtype_size(p->dtype) == 1;
    return power ? ldexpf(1, (int)(i % 5) - 8) : (float)(8 + i % 8) * 0x1p-10f;
}

/* E4M3 or E5M2, finite and by the definition of the format. */
static float value_of(const struct packaging *p, unsigned char code)
{
    const int fraction_bits = p->code[6] == '3' ? 3 : 2, bias = fraction_bits == 3 ? 7 : 15;
    const int exponent = (code & 0x7f) >> fraction_bits,
              fraction = code & ((1 << fraction_bits) - 1);
    const float size =
        exponent ? ldexpf((float)((1 << fraction_bits) + fraction), exponent - bias - fraction_bits)
                 : ldexpf((float)fraction, 1 - bias - fraction_bits);
    return code & 0x80 ? -size : size;
}

static void put_scale(const struct packaging *p, float value, unsigned char *to)
{
    uint32_t bits;

    memcpy(&bits, &value, 4);
    if (make_dtype_size(p->dtype) == 1)
        *to = (unsigned char)(bits >> 23);
    else
        make_store(p->dtype, value, to);
}

/* Codes to `coded` and the floats that they mean, exact in BF16, to `plain`. */
static void code_matrix(const struct packaging *p, struct make_set *coded, struct make_set *plain,
                        const struct make_tensor *t)
{
    const long rows = t->shape[0], cols = t->shape[1];
    const long block[2] = {p->block[0] ? p->block[0] : rows, p->block[1] ? p->block[1] : cols};
    const long shape[2] = {(rows + block[0] - 1) / block[0], (cols + block[1] - 1) / block[1]};
    char name[160];

    unsigned char *codes = make_add(coded, p->code, 2, t->shape, t->name)->data;
    unsigned char *floats = make_add(plain, "BF16", 2, t->shape, t->name)->data;
    snprintf(name, sizeof name, "%s%s", t->name, p->suffix);
    const long one[1] = {shape[0]};
    struct make_tensor *scale =
        make_add(coded, p->dtype, p->n_dims, p->n_dims == 1 ? one : shape, name);
    for (long i = 0; i < shape[0] * shape[1]; i++)
        put_scale(p, scale_of(p, (size_t)i), scale->data + (size_t)i * make_dtype_size(p->dtype));
    for (long i = 0; i < rows * cols; i++) {
        const unsigned char code = (unsigned char)(make_random(coded) & 0xbf); /* finite */
        const long at = i / cols / block[0] * shape[1] + i % cols / block[1];
        codes[i] = code;
        make_store("BF16", value_of(p, code) * scale_of(p, (size_t)at), floats + 2 * i);
    }
    if (p->activation) {
        snprintf(name, sizeof name, "%.*s%s", (int)(strlen(t->name) - strlen("weight")), t->name,
                 p->activation);
        make_fill(coded, make_add(coded, "F32", 0, NULL, name));
    }
}

static void make_twins(const struct packaging *p, const char *coded_dir, const char *plain_dir)
{
    const struct make_opts opts = {.arch = "llama", .layers = 2};
    struct make_set all = make_tensors(&opts);
    struct make_set coded = {.opts = &opts, .state = 7}, plain = {.opts = &opts};
    size_t size;

    make_ckpt(coded_dir, &opts);
    make_ckpt(plain_dir, &opts);
    for (size_t i = 0; i < all.n; i++) {
        const struct make_tensor *t = &all.tensors[i];
        if (strstr(t->name, "_proj.weight")) {
            code_matrix(p, &coded, &plain, t);
            continue;
        }
        memcpy(make_add(&coded, t->dtype, t->n_dims, t->shape, t->name)->data, t->data, t->size);
        memcpy(make_add(&plain, t->dtype, t->n_dims, t->shape, t->name)->data, t->data, t->size);
    }
    make_weights(&coded, coded_dir);
    make_weights(&plain, plain_dir);
    if (p->config) {
        char *config = slurp(coded_dir, "config.json", &size), text[8192];
        snprintf(text, sizeof text, "{\"quantization_config\": %s,%s", p->config, config + 1);
        spill(coded_dir, "config.json", text, strlen(text));
        free(config);
    }
    make_release(&all);
    make_release(&coded);
    make_release(&plain);
}

static void note(void *user, const char *line)
{
    ram_buf_printf(user, "%s\n", line);
}

/* Converts and returns model.safetensors of the result; notices go to notes. */
static char *convert(const char *model, const char *out, size_t *size, struct ram_buf *notes)
{
    static const struct ram_convert_opts no_opts;
    const struct ram_run run = {.threads = 2, .notice = note, .user = notes};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;

    if (ram_ckpt_open(&ckpt, model, &err) || ram_layout_new(&layout, ckpt, ram_format_at(0), &err))
        fail_msg("%s", err.message);
    struct ram_plan *plan = plan_for(layout, mixed_width, NULL);
    if (convert_by(ckpt, plan, out, &no_opts, &run, NULL, &err))
        fail_msg("%s", err.message);
    ram_plan_free(plan);
    ram_layout_free(layout);
    ram_ckpt_close(ckpt);
    return slurp(out, "model.safetensors", size);
}

static void bytes_of_the_twin(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof packagings / sizeof *packagings; i++) {
        const struct packaging *p = &packagings[i];
        const char *dir = make_temp_dir();
        char coded[300], plain[300], out[2][320];
        struct ram_buf notes[2] = {{0}};
        size_t size[2];

        snprintf(coded, sizeof coded, "%s/coded", dir);
        snprintf(plain, sizeof plain, "%s/plain", dir);
        snprintf(out[0], sizeof out[0], "%s/out-0", dir);
        snprintf(out[1], sizeof out[1], "%s/out-1", dir);
        make_twins(p, coded, plain);
        char *ours = convert(coded, out[0], &size[0], &notes[0]);
        char *theirs = convert(plain, out[1], &size[1], &notes[1]);
        assert_int_equal(size[0], size[1]);
        if (memcmp(ours, theirs, size[0]))
            fail_msg("packaging %zu: other bytes than the twin's", i);
        const char *said = notes[0].data ? notes[0].data : "";
        if (p->activation)
            assert_non_null(strstr(said, "14 tensors (scales of activations), such as "
                                         "'model.layers.0.mlp.down_proj."));
        else
            assert_null(strstr(said, "left out"));
        assert_null(strstr(notes[1].data ? notes[1].data : "", "left out"));
        free(ours);
        free(theirs);
        ram_buf_release(&notes[0]);
        ram_buf_release(&notes[1]);
        make_remove_dir(dir);
    }
}

/* A layer for multi-token prediction is used by the runtimes of the source: it is said. Stored
 * rotary frequencies are used by none. */
static void what_is_left_out_is_said(void **state)
{
    static const struct {
        struct make_opts opts;
        const char *says;
    } cases[] = {
        {{.arch = "glm4_moe", .mtp = true}, "(multi-token prediction), such as 'model.layers.3."},
        {{.arch = "llama", .inv_freq = true}, NULL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *dir = make_temp_dir();
        char model[300], out[300];
        struct ram_buf notes = {0};
        size_t size;

        snprintf(model, sizeof model, "%s/model", dir);
        snprintf(out, sizeof out, "%s/out", dir);
        make_ckpt(model, &cases[i].opts);
        free(convert(model, out, &size, &notes));
        const char *said = notes.data ? notes.data : "";
        if (cases[i].says ? !strstr(said, cases[i].says) : strstr(said, "left out") != NULL)
            fail_msg("'%s' does not say '%s'", said, cases[i].says ? cases[i].says : "nothing");
        ram_buf_release(&notes);
        make_remove_dir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_the_twin),
        cmocka_unit_test(what_is_left_out_is_said),
    };
    return cmocka_run_group_tests_name("convert/fp8", tests, NULL, NULL);
}
