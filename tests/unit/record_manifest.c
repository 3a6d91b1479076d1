/* A manifest survives its text, and no text makes it believe nonsense. */
#include "golden/inventory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static struct ram_manifest *example(void)
{
    struct ram_err err = {0};
    struct ram_manifest *m = inventory_of(inventory_moe_config(2, 3));
    m->version = "0.1.0";
    m->model_name = "a \"quoted\" n\xc3\xa4me\\";
    m->architecture = "Qwen3MoeForCausalLM";
    m->files = ram_calloc(1, sizeof *m->files, &err);
    m->n_files = 1;
    m->files[0] = (struct ram_manifest_file){"model.safetensors", 12345, "ab12"};
    json_object_set_new(m->settings, "seed", json_integer(42));
    json_object_set_new(m->settings, "rate", json_real(0.1));
    inventory_measure(m);
    /* What only some entries have: two stored matrices, none, another size, a missing figure. */
    struct ram_entry *const e = m->entries;
    e[1].n_stored = 2;
    e[1].stored[0] = (struct ram_stored){e[1].parameters / 256, 192};
    e[1].stored[1] = (struct ram_stored){e[1].parameters / 256, 64};
    e[2].n_stored = 0;
    e[2].skip = RAM_SKIP_NOT_WEIGHT;
    e[3].stored_size = 4;
    e[3].measured = false;
    e[4].metrics.svd = NAN; /* left out */
    return m;
}

static void same_figures(const struct ram_entry *a, const struct ram_entry *b)
{
    assert_int_equal(a->measured, b->measured);
    if (!a->measured)
        return;
    assert_int_equal(ram_entry_scored(a), ram_entry_scored(b));
    if (ram_entry_scored(a))
        assert_memory_equal(&a->metrics, &b->metrics, sizeof a->metrics);
    assert_memory_equal(&a->stats, &b->stats, sizeof a->stats);
    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        const double x = a->errors[i], y = b->errors[i];
        assert_true(x == y || (isnan(x) && isnan(y)));
    }
}

static void same_entry(const struct ram_entry *a, const struct ram_entry *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->dtype, b->dtype);
    assert_string_equal(a->file, b->file);
    assert_string_equal(a->role, b->role);
    assert_string_equal(a->unit, b->unit);
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->shape, b->shape, (size_t)a->n_dims * sizeof *a->shape);
    assert_int_equal(a->parameters, b->parameters);
    assert_int_equal(a->layer, b->layer);
    assert_int_equal(a->expert, b->expert);
    assert_int_equal(a->skip, b->skip);
    assert_int_equal(a->n_stored, b->n_stored);
    assert_memory_equal(a->stored, b->stored, (size_t)a->n_stored * sizeof *a->stored);
    assert_int_equal(a->stored_size, b->stored_size);
    same_figures(a, b);
}

static void survives_its_text(void **state)
{
    struct ram_manifest *m = example(), *back = NULL;
    struct ram_err err = {0};
    char *text = NULL, *again = NULL;
    (void)state;

    assert_int_equal(ram_manifest_text(m, &text, &err), RAM_OK);
    assert_int_equal(ram_manifest_parse(&back, text, strlen(text), "text", &err), RAM_OK);
    assert_string_equal(back->version, m->version);
    assert_string_equal(back->model_name, m->model_name);
    assert_string_equal(back->model_type, m->model_type);
    assert_string_equal(back->architecture, m->architecture);
    assert_int_equal(back->parameters, m->parameters);
    assert_int_equal(back->bytes, m->bytes);
    assert_int_equal(back->n_files, 1);
    assert_string_equal(back->files[0].name, "model.safetensors");
    assert_int_equal(back->files[0].bytes, 12345);
    assert_string_equal(back->files[0].header_sha256, "ab12");
    assert_true(json_equal(back->config, m->config));
    assert_true(json_equal(back->settings, m->settings));
    assert_int_equal(back->n_entries, m->n_entries);
    for (size_t i = 0; i < m->n_entries; i++)
        same_entry(&m->entries[i], &back->entries[i]);
    assert_int_equal(ram_manifest_text(back, &again, &err), RAM_OK);
    assert_string_equal(text, again);
    assert_int_equal(strlen(back->sha256), 64);
    free(text);
    free(again);
    ram_manifest_free(m);
    ram_manifest_free(back);
}

/* jansson reads the same text, so it is JSON, with the keys that are promised, in order. */
static void has_the_promised_keys(void **state)
{
    static const char *const top[] = {"schema", "ram", "model", "settings", "tensors"};
    static const char *const model[] = {"name",  "model_type", "architecture", "parameters",
                                        "bytes", "files",      "config"};
    static const char *const tensor[] = {"name",   "shape",   "dtype",  "parameters", "file",
                                         "role",   "layer",   "expert", "unit",       "skip",
                                         "stored", "metrics", "stats",  "errors"};
    struct ram_manifest *m = example();
    struct ram_err err = {0};
    char *text = NULL;
    const char *key;
    json_t *root = NULL, *value;
    size_t i;
    (void)state;

    assert_int_equal(ram_manifest_text(m, &text, &err), RAM_OK);
    assert_int_equal(ram_json_parse(&root, text, strlen(text), "text", &err), RAM_OK);
    i = 0;
    json_object_foreach(root, key, value) assert_string_equal(key, top[i++]);
    i = 0;
    json_object_foreach(json_object_get(root, "model"), key, value)
        assert_string_equal(key, model[i++]);
    i = 0;
    json_object_foreach(json_array_get(json_object_get(root, "tensors"), 0), key, value)
        assert_string_equal(key, tensor[i++]);
    assert_int_equal(i, sizeof tensor / sizeof *tensor);
    assert_string_equal(json_string_value(json_object_get(root, "schema")), "ram.manifest/1");
    json_decref(root);
    free(text);
    ram_manifest_free(m);
}

/* A text around one tensor. */
static char *around(const char *tensor)
{
    char *text = NULL;
    if (asprintf(&text,
                 "{\"schema\": \"ram.manifest/1\", \"ram\": \"x\", \"model\": {\"name\": \"m\", "
                 "\"model_type\": \"t\", \"architecture\": \"A\", \"parameters\": 8, \"bytes\": "
                 "16, \"files\": [], \"config\": {}}, \"settings\": {}, \"tensors\": [%s]}",
                 tensor) < 0)
        abort();
    return text;
}

#define GOOD_START "{\"name\": \"w\", \"dtype\": \"BF16\", \"role\": \"up\", \"unit\": \"w\", "
#define SHAPED     "\"shape\": [64, 64], \"parameters\": 4096, "

static void unknown_keys_are_forgotten(void **state)
{
    struct ram_manifest *m = NULL;
    struct ram_err err = {0};
    (void)state;

    char *const text = around(GOOD_START SHAPED "\"future\": {\"a\": [1, {\"b\": null}]}, "
                                                "\"metrics\": {\"svd\": 0.2, \"kurtosis\": 1, "
                                                "\"output\": 0.5, \"error\": 0.1, \"more\": [] }}");
    assert_int_equal(ram_manifest_parse(&m, text, strlen(text), "text", &err), RAM_OK);
    assert_int_equal(m->n_entries, 1);
    assert_true(m->entries[0].measured);
    assert_true(m->entries[0].metrics.kurtosis == 1);
    /* Nothing says how the output holds it: as it is. */
    assert_int_equal(m->entries[0].n_stored, 1);
    assert_int_equal(m->entries[0].stored[0].rows, 64);
    assert_int_equal(m->entries[0].stored[0].cols, 64);
    assert_int_equal(m->entries[0].stored_size, 2);
    assert_int_equal(m->entries[0].layer, -1);
    assert_true(isnan(m->entries[0].errors[0]));
    assert_true(isnan(m->entries[0].stats.rms));
    ram_manifest_free(m);
    free(text);
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        const char *tensor, *message;
    } cases[] = {
        {"{}", "tensor 1: \"name\" is missing"},
        {"3", "tensor 1: found '3', expected an object"},
        {"{\"name\": \"\"}", "\"name\" is empty"},
        {"{\"name\": \"w\", \"name\": \"w\"}", "tensor 1 (w): \"name\" is given twice"},
        {GOOD_START "\"shape\": [64, 64]}", "tensor 1 (w): \"parameters\" is missing"},
        {GOOD_START "\"shape\": 64}", "expected an array"},
        {GOOD_START "\"shape\": [1,1,1,1,1,1,1,1,1]}", "more than 8 dimensions"},
        {GOOD_START "\"shape\": [-1]}", "\"shape\" is -1, expected an integer"},
        {GOOD_START "\"shape\": [1.5]}", "\"shape\" is 1.5, expected an integer"},
        {GOOD_START "\"shape\": [1e3]}", "\"shape\" is 1e3, expected an integer"},
        {GOOD_START "\"shape\": [70368744177665]}", "expected an integer from 0 to 70368744177664"},
        {GOOD_START "\"shape\": [4294967296, 4294967296], \"parameters\": 1}",
         "a shape of more than 70368744177664 elements"},
        {GOOD_START "\"shape\": [64, 64], \"parameters\": 4097}",
         "4097 parameters in a shape of 4096 elements"},
        {GOOD_START SHAPED "\"layer\": -1}", "\"layer\" is -1"},
        {GOOD_START SHAPED "\"layer\": 2147483648}", "from 0 to 2147483647"},
        {GOOD_START SHAPED "\"skip\": \"2d\"}", "\"skip\" is \"2d\", expected null, \"1d\""},
        {GOOD_START SHAPED "\"skip\": 1}", "expected a string"},
        {GOOD_START SHAPED "\"stored\": {}}", "\"bytes\" is missing"},
        {GOOD_START SHAPED "\"stored\": {\"bytes\": 0, \"matrices\": []}}",
         "stored at 0 bytes a weight"},
        {GOOD_START SHAPED "\"stored\": {\"bytes\": 99, \"matrices\": []}}",
         "stored at 99 bytes a weight"},
        {GOOD_START SHAPED "\"stored\": {\"bytes\": 2, \"matrices\": [[64]]}}", "not [rows, cols]"},
        {GOOD_START SHAPED "\"stored\": {\"bytes\": 2, \"matrices\": [[64, 64, 1]]}}",
         "not [rows, cols]"},
        {GOOD_START SHAPED "\"stored\": {\"bytes\": 2, \"matrices\": [[1,1],[1,1],[1,1]]}}",
         "more than 2 stored matrices"},
        {GOOD_START SHAPED "\"stored\": {\"bytes\": 2, \"matrices\": [[64, 63]]}}",
         "stored matrices of 4032 elements, expected 4096"},
        {GOOD_START SHAPED
         "\"stored\": {\"bytes\": 2, \"matrices\": [[70368744177664, 70368744177664]]}}",
         "stored matrices of more than"},
        {GOOD_START SHAPED "\"metrics\": {\"svd\": 0.1}}", "\"kurtosis\" is missing"},
        {GOOD_START SHAPED
         "\"metrics\": {\"svd\": 1, \"kurtosis\": null, \"output\": 1, \"error\": 1}}",
         "a metric is null"},
        {GOOD_START SHAPED "\"metrics\": {\"svd\": \"1\"}}", "expected a number"},
        {GOOD_START SHAPED "\"metrics\": {\"svd\": 1e999}}", "number 1e999 is too large"},
        {GOOD_START SHAPED "\"metrics\": {\"svd\": NaN}}", "expected a number"},
        {GOOD_START SHAPED "\"errors\": {\"4g32\": -1}}",
         "error \"4g32\" is -1, expected at least 0"},
        {GOOD_START SHAPED "\"errors\": {\"4g32\": 1, \"4g32\": 1}}", "\"4g32\" is given twice"},
        {GOOD_START SHAPED "\"errors\": []}", "expected an object"},
        {GOOD_START SHAPED "\"stats\": {\"rms\": true}}", "expected a number"},
        {GOOD_START SHAPED "\"file\": null}", "expected a string"},
        {GOOD_START SHAPED "\"file\": \"\\u0000\"}", "\\u0000 is not allowed"},
        {GOOD_START SHAPED "\"x\": 1}, " GOOD_START SHAPED "\"x\": 1}",
         "tensor w stands in it twice"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_manifest *m = NULL;
        struct ram_err err = {0};
        char *const text = around(cases[i].tensor);
        const int status = ram_manifest_parse(&m, text, strlen(text), "file.json", &err);
        if (!status || !strstr(err.message, cases[i].message))
            print_error("%s\n  expected '%s'\n  got '%s'\n", cases[i].tensor, cases[i].message,
                        err.message);
        assert_true(status == RAM_EFORMAT || status == RAM_ERANGE);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_int_equal(strncmp(err.message, "file.json: ", 11), 0);
        assert_null(m);
        free(text);
    }
}

static void other_schemas_are_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "found the end of the text, expected an object"},
        {"[]", "found '[', expected an object"},
        {"{}", "\"schema\" is missing"},
        {"{\"schema\": \"ram.plan/1\"}",
         "\"schema\" is \"ram.plan/1\", expected \"ram.manifest/1\""},
        {"{\"schema\": \"ram.manifest/2\"}", "expected \"ram.manifest/1\""},
        {"{\"schema\": \"ram.manifest/1\"}", "\"model\" is missing"},
        {"{\"schema\": \"ram.manifest/1\", \"settings\": []}", "\"settings\" is not an object"},
        {"{\"schema\": \"ram.manifest/1\", \"settings\": {\"a\": 1, \"a\": 2}}", "duplicate"},
        {"{\"schema\": \"ram.manifest/1\", \"model\": {\"name\": 1}}", "expected a string"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_manifest *m = NULL;
        struct ram_err err = {0};
        assert_int_equal(ram_manifest_parse(&m, cases[i].text, strlen(cases[i].text), "f", &err),
                         RAM_EFORMAT);
        if (!strstr(err.message, cases[i].message))
            print_error("%s: %s\n", cases[i].text, err.message);
        assert_non_null(strstr(err.message, cases[i].message));
    }
}

/* Cut anywhere, or with any one byte flipped, a text is refused or read; never anything worse. */
static void truncated_and_flipped_texts(void **state)
{
    struct ram_manifest *m = example(), *back = NULL;
    struct ram_err err = {0};
    char *text = NULL;
    size_t n_taken = 0;
    (void)state;

    m->n_entries = 4; /* enough for every kind of field, few enough to flip every byte */
    assert_int_equal(ram_manifest_text(m, &text, &err), RAM_OK);
    const size_t size = strlen(text);
    for (size_t cut = 0; cut + 2 < size; cut++) {
        err = (struct ram_err){0};
        assert_int_equal(ram_manifest_parse(&back, text, cut, "cut", &err), RAM_EFORMAT);
    }
    for (size_t i = 0; i < size; i++) {
        err = (struct ram_err){0};
        text[i] ^= 0x04;
        const int status = ram_manifest_parse(&back, text, size, "flipped", &err);
        assert_true(!status || status == RAM_EFORMAT || status == RAM_ERANGE);
        n_taken += !status;
        ram_manifest_free(back);
        back = NULL;
        text[i] ^= 0x04;
    }
    assert_true(n_taken < size); /* letters of names may change; the structure may not */
    free(text);
    ram_manifest_free(m);
}

static void a_file_is_written_and_read(void **state)
{
    char path[] = "/tmp/ram-manifest-XXXXXX";
    struct ram_manifest *m = example(), *back = NULL;
    struct ram_err err = {0};
    (void)state;

    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ram_manifest_write(m, path, false, &err), RAM_EEXIST);
    err = (struct ram_err){0};
    assert_int_equal(ram_manifest_write(m, path, true, &err), RAM_OK);
    assert_int_equal(ram_manifest_read(&back, path, &err), RAM_OK);
    assert_int_equal(back->n_entries, m->n_entries);
    ram_manifest_free(back);
    ram_manifest_free(m);
    remove(path);
    assert_int_equal(ram_manifest_read(&back, path, &err), RAM_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_its_text),          cmocka_unit_test(has_the_promised_keys),
        cmocka_unit_test(unknown_keys_are_forgotten), cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(other_schemas_are_refused),  cmocka_unit_test(truncated_and_flipped_texts),
        cmocka_unit_test(a_file_is_written_and_read),
    };
    return cmocka_run_group_tests_name("record/manifest", tests, NULL, NULL);
}
