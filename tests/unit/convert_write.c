/* What lies on the disk after a conversion: every byte of it, for every architecture. */
#include "convert_case.h"

#include "codec/affine.h"
#include "convert/verify.h"

#include <math.h>

/* A tensor of the output, found by scanning the raw header: no reader of ours. */
static const uint8_t *tensor_at(const char *file, const char *name, size_t *size)
{
    char key[256];
    unsigned long long begin, end;
    uint64_t header;

    snprintf(key, sizeof key, "\"%s\":{", name);
    const char *at = strstr(file + 8, key);
    if (!at || !(at = strstr(at, "\"data_offsets\":[")) ||
        sscanf(at, "\"data_offsets\":[%llu,%llu]", &begin, &end) != 2)
        return NULL;
    memcpy(&header, file, 8);
    *size = (size_t)(end - begin);
    return (const uint8_t *)file + 8 + header + begin;
}

/* All weights of a target as f32, in the type in which they are stored. */
static float *weights_of(const struct ram_target *target, size_t *rows, size_t *cols)
{
    struct ram_err err = {0};
    size_t n = 1, at = 0;
    for (int k = 0; k < target->n_dims; k++)
        n *= (size_t)target->shape[k];
    *cols = (size_t)target->shape[target->n_dims - 1];
    *rows = n / *cols;
    float *weights = calloc(n, sizeof *weights);
    assert_non_null(weights);
    for (size_t v = 0; v < target->n_views; v++) {
        const struct ram_view *view = &target->views[v];
        assert_int_equal(ram_view_read(view, 0, view->rows, weights + at, &err), RAM_OK);
        at += view->rows * view->cols;
    }
    assert_int_equal(at, n);
    for (size_t i = 0; i < n && target->dtype == RAM_BF16; i++) {
        uint32_t u; /* FP8 with its scale need not be a BF16 */
        memcpy(&u, &weights[i], 4);
        u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
        memcpy(&weights[i], &u, 4);
    }
    return weights;
}

static void same_bytes(const char *file, const char *module, const char *suffix,
                       const uint8_t *expected, size_t expected_size)
{
    char name[256];
    size_t size = 0;
    snprintf(name, sizeof name, "%s.%s", module, suffix);
    const uint8_t *data = tensor_at(file, name, &size);
    if (!data || size != expected_size || memcmp(data, expected, size))
        fail_msg("%s is not what it should be", name);
}

static void check_quantized(const char *file, const struct ram_target *target,
                            const struct width *w, enum ram_profile profile)
{
    size_t rows, cols;
    float *weights = weights_of(target, &rows, &cols);
    const struct ram_affine f = {.bits = w->bits,
                                 .group = ram_form_fit(ram_form_of(w->bits, w->group), cols)->group,
                                 .profile = profile,
                                 .scale_type = target->dtype == RAM_F16   ? RAM_SCALE_F16
                                               : target->dtype == RAM_F32 ? RAM_SCALE_F32
                                                                          : RAM_SCALE_BF16};
    const size_t codes_size = rows * ram_affine_code_size(&f, cols);
    const size_t scales_size = rows * ram_affine_scale_size(&f, cols);
    uint8_t *codes = malloc(codes_size), *scales = malloc(scales_size),
            *biases = malloc(scales_size);
    assert_true(codes && scales && biases);
    ram_affine_encode(&f, weights, rows, cols, codes, scales, biases);
    same_bytes(file, target->module, "weight", codes, codes_size);
    same_bytes(file, target->module, "scales", scales, scales_size);
    same_bytes(file, target->module, "biases", biases, scales_size);
    free(biases);
    free(scales);
    free(codes);
    free(weights);
}

static void check_plain(const char *file, const struct ram_target *target)
{
    size_t rows, cols;
    float *weights = weights_of(target, &rows, &cols);
    const size_t n = rows * cols, size = (size_t)ram_dtypes[target->dtype].bits / 8;
    uint8_t *bytes = malloc(n * size);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++)
        make_store(ram_dtypes[target->dtype].name, weights[i], bytes + i * size);
    same_bytes(file, target->module, target->suffix, bytes, n * size);
    free(bytes);
    free(weights);
}

static void check_targets(const struct test_case *c, const char *file, unsigned salt,
                          enum ram_profile profile)
{
    for (size_t i = 0; i < c->layout->n_targets; i++) {
        const struct ram_target *target = &c->layout->targets[i];
        const struct width w = mixed_width(target, &salt);
        const size_t cols = target->shape[target->n_dims - 1];
        if (target->quantizable && ram_form_fit(form_of_width(w), cols) != RAM_FORM_16)
            check_quantized(file, target, &w, profile);
        else
            check_plain(file, target);
    }
}

static void check_form(const struct make_opts *form, unsigned salt, enum ram_profile profile)
{
    const struct ram_convert_opts opts = {.profile = profile};
    struct test_case c;
    char *text = NULL;
    size_t size = 0;

    case_open(&c, form, mixed_width, &salt);
    if (case_convert(&c, &opts, 2, NULL))
        fail_msg("%s: %s", form->arch, c.err.message);
    char *file = slurp(c.out, "model.safetensors", &size);
    assert_non_null(file);
    check_targets(&c, file, salt, profile);
    const struct ram_run run = {.threads = 2};
    if (verify_by(&c, c.ckpt, c.plan, &run, RAM_TEXT, &text))
        fail_msg("%s: %s", c.err.message, text);
    free(text);
    free(file);
    case_close(&c);
}

static void convert_and_check(struct test_case *c, unsigned *salt)
{
    const struct ram_convert_opts opts = {.profile = RAM_PROFILE_CPU, .force = true};
    size_t size = 0;

    if (case_convert(c, &opts, 3, NULL))
        fail_msg("%s: %s", c->model, c->err.message);
    char *file = slurp(c->out, "model.safetensors", &size);
    check_targets(c, file, *salt, RAM_PROFILE_CPU);
    free(file);
    case_close(c);
}

/* Matrices of many blocks, in the trained model of examples/ ... */
static void matrices_of_many_blocks(void **state)
{
    const char *source = getenv("RAM_SOURCE");
    struct test_case c = {.layout = NULL};
    unsigned salt = 9;

    (void)state;
    snprintf(c.model, sizeof c.model, "%s/examples/tiny-qwen3", source ? source : ".");
    snprintf(c.dir, sizeof c.dir, "%s", make_temp_dir());
    snprintf(c.out, sizeof c.out, "%s/out", c.dir);
    assert_int_equal(ram_ckpt_open(&c.ckpt, c.model, &c.err), RAM_OK);
    assert_int_equal(ram_layout_new(&c.layout, c.ckpt, ram_format_at(0), &c.err), RAM_OK);
    c.plan = plan_for(c.layout, mixed_width, &salt);
    convert_and_check(&c, &salt);
}

/* ... and in stacks of experts and projections that are split. */
static void stacks_of_many_blocks(void **state)
{
    const struct make_opts large = {.arch = "glm4_moe_lite", .times = 8};
    struct test_case c;
    unsigned salt = 9;

    (void)state;
    case_open(&c, &large, mixed_width, &salt);
    assert_true(c.layout->n_targets > 30);
    convert_and_check(&c, &salt);
}

static void every_tensor(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMS; i++) {
        check_form(&all_forms[i], (unsigned)i, RAM_PROFILE_GPU);
        check_form(&all_forms[i], (unsigned)i + 3, RAM_PROFILE_CPU);
    }
}

static void files_as_announced(void **state)
{
    static const uint64_t sizes[] = {0, 30000};
    unsigned salt = 5;
    struct test_case c;

    (void)state;
    case_open(&c, &all_forms[12], mixed_width, &salt);
    spill(c.model, "tokenizer.json", "{}", 2);
    spill(c.model, "chat_template.jinja", "{{ x }}", 7);
    spill(c.model, "modeling.py", "pass", 4);
    spill(c.model, "pytorch_model.bin", "no", 2);
    for (size_t i = 0; i < 2; i++) {
        const struct ram_convert_opts dry = {.shard_size = sizes[i], .dry_run = true};
        const struct ram_convert_opts wet = {.shard_size = sizes[i], .force = true};
        char *announced = NULL, *told = NULL;
        if (case_convert(&c, &dry, 1, &announced))
            fail_msg("%s", c.err.message);
        assert_int_equal(count_entries(c.out), i ? count_entries(c.out) : -1);
        if (case_convert(&c, &wet, 1, &told))
            fail_msg("%s", c.err.message);
        json_t *root = json_loads(announced, JSON_REJECT_DUPLICATES, NULL);
        json_t *after = json_loads(told, JSON_REJECT_DUPLICATES, NULL);
        json_t *files = json_object_get(root, "files");
        assert_true(json_is_true(json_object_get(root, "dry_run")));
        assert_true(json_is_false(json_object_get(after, "dry_run")));
        assert_true(json_equal(files, json_object_get(after, "files")));
        assert_int_equal(json_array_size(files), count_entries(c.out));
        size_t n_weights = 0;
        for (size_t k = 0; k < json_array_size(files); k++) {
            const json_t *entry = json_array_get(files, k);
            const char *name = json_string_value(json_object_get(entry, "name"));
            const json_t *bytes = json_object_get(entry, "bytes");
            size_t size = 0;
            char *data = slurp(c.out, name, &size);
            if (!data)
                fail_msg("%s was not written", name);
            if (!json_is_null(bytes)) /* the card and ram.json hold what was measured */
                assert_int_equal(json_integer_value(bytes), size);
            n_weights += strstr(name, ".safetensors") && !strstr(name, ".json");
            free(data);
        }
        assert_true(i ? n_weights > 3 : n_weights == 1);
        json_decref(root);
        json_decref(after);
        free(announced);
        free(told);
    }
    size_t size;
    assert_null(slurp(c.out, "pytorch_model.bin", &size));
    case_close(&c);
}

static void index_lists_everything(void **state)
{
    const struct ram_convert_opts opts = {.shard_size = 20000};
    unsigned salt = 1;
    struct test_case c;
    size_t size = 0, n = 0;

    (void)state;
    case_open(&c, &all_forms[6], mixed_width, &salt);
    assert_int_equal(case_convert(&c, &opts, 2, NULL), RAM_OK);
    char *text = slurp(c.out, "model.safetensors.index.json", &size);
    json_t *index = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_t *map = json_object_get(index, "weight_map"), *value;
    const json_t *metadata = json_object_get(index, "metadata");
    const char *key, *before = "";
    assert_int_equal(json_integer_value(json_object_get(metadata, "total_size")),
                     c.plan->totals.bytes);
    assert_int_equal(json_integer_value(json_object_get(metadata, "total_parameters")),
                     c.plan->totals.parameters);
    json_object_foreach(map, key, value)
    {
        size_t file_size, tensor_size;
        char *file = slurp(c.out, json_string_value(value), &file_size);
        assert_non_null(file);
        assert_non_null(tensor_at(file, key, &tensor_size));
        assert_true(strcmp(before, key) < 0);
        before = key;
        free(file);
        n++;
    }
    assert_true(n > c.layout->n_targets);
    json_decref(index);
    free(text);
    case_close(&c);
}

/* The same bytes in every file, however many threads wrote them and however little memory. */
static void threads_do_not_matter(void **state)
{
    static const struct ram_run runs[] = {
        {.threads = 1}, {.threads = 2}, {.threads = 7}, {.threads = 7, .max_memory = 5 << 20}};
    const struct ram_convert_opts opts = {.force = true, .shard_size = 50000};
    unsigned salt = 2;
    struct test_case c;
    char *first[16] = {NULL};
    size_t sizes[16];

    (void)state;
    case_open(&c, &all_forms[10], mixed_width, &salt);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        if (convert_by(c.ckpt, c.plan, c.out, &opts, &runs[r], NULL, &c.err))
            fail_msg("%s", c.err.message);
        struct dirent **names = NULL;
        const int n = scandir(c.out, &names, NULL, alphasort);
        assert_true(n > 8 && n <= 16);
        for (int k = 0; k < n; k++) {
            size_t size = 0;
            char *data = *names[k]->d_name == '.' ? NULL : slurp(c.out, names[k]->d_name, &size);
            if (r == 0) {
                first[k] = data;
                sizes[k] = size;
            } else if (data) {
                if (size != sizes[k] || memcmp(data, first[k], size))
                    fail_msg("%s differs with %u threads", names[k]->d_name, runs[r].threads);
                free(data);
            }
            free(names[k]);
        }
        free(names);
    }
    for (size_t k = 0; k < 16; k++)
        free(first[k]);
    case_close(&c);
}

/* ram.json tells the error that the codes really have. */
static void errors_are_true(void **state)
{
    const struct ram_convert_opts opts = {.profile = RAM_PROFILE_CPU};
    struct width w = {3, 32};
    struct test_case c;
    size_t size = 0;

    (void)state;
    case_open(&c, &all_forms[0], same_width, &w);
    assert_int_equal(case_convert(&c, &opts, 2, NULL), RAM_OK);
    char *text = slurp(c.out, "ram.json", &size);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *tensors = json_object_get(root, "tensors");
    assert_int_equal(json_array_size(tensors), c.layout->n_targets);
    for (size_t i = 0; i < c.layout->n_targets; i++) {
        const struct ram_target *target = &c.layout->targets[i];
        const json_t *entry = json_array_get(tensors, i);
        const double told = json_number_value(json_object_get(entry, "relative_error"));
        size_t rows, cols;
        if (!target->quantizable)
            continue;
        float *weights = weights_of(target, &rows, &cols);
        double error = 0, energy = 0;
        for (size_t g = 0; g < rows * cols; g += 32) {
            /* Nearest of eight levels: the error of a value is at most half a step, and the mean
             * square over many is near a twelfth of the step squared. */
            float low = weights[g], high = weights[g];
            for (size_t k = g; k < g + 32; k++) {
                low = fminf(low, weights[k]);
                high = fmaxf(high, weights[k]);
                energy += (double)weights[k] * weights[k];
            }
            error += 32 * pow((high - low) / 7, 2) / 12;
        }
        assert_true(fabs(told / sqrt(error / energy) - 1) < 0.15);
        free(weights);
    }
    json_decref(root);
    free(text);
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor),           cmocka_unit_test(files_as_announced),
        cmocka_unit_test(index_lists_everything), cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(errors_are_true),        cmocka_unit_test(matrices_of_many_blocks),
        cmocka_unit_test(stacks_of_many_blocks),
    };
    return cmocka_run_group_tests_name("convert/write", tests, NULL, NULL);
}
