/* The public face over records: what a program that includes ram.h alone may do with them. */
#include "golden/inventory.h"
#include "record/score.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct ram_manifest *moe(bool measured)
{
    struct ram_manifest *m = inventory_of(inventory_moe_config(4, 8));
    m->model_name = "M";
    if (measured)
        inventory_measure(m);
    return m;
}

static json_t *parsed(char *text)
{
    struct ram_err err = {0};
    json_t *root = NULL;
    if (ram_json_parse(&root, text, strlen(text), "json", &err))
        print_error("%s\n", err.message);
    assert_non_null(root);
    free(text);
    return root;
}

static double bytes_of(const json_t *methods, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)methods, i,
                       one) if (!strcmp(json_string_value(json_object_get(one, "method")),
                                        name)) return inventory_number(one, "bytes");
    return NAN;
}

static void methods_beside_each_other(void **state)
{
    static const char *const names[] = {"v1",         "v2",        "v3",       "v2-opt",
                                        "v3-opt",     "auto (v2)", "16-bit",   "8-bit g64",
                                        "4-bit g128", "3-bit g64", "2-bit g32"};
    struct ram_manifest *m = moe(true);
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;

    assert_int_equal(ram_allocate_compare(m, NULL, RAM_JSON, &text, &err), RAM_OK);
    json_t *const root = parsed(text);
    const json_t *const methods = json_object_get(root, "methods");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_false(isnan(bytes_of(methods, names[i])));
    assert_true(bytes_of(methods, "16-bit") == (double)m->parameters * 2);
    assert_true(bytes_of(methods, "auto (v2)") == bytes_of(methods, "v2"));
    /* The rival named beside a method takes no more bytes, and no better one does. */
    size_t i, k;
    json_t *one, *other;
    json_array_foreach((json_t *)(uintptr_t)methods, i, one)
    {
        const char *const rival =
            json_string_value(json_object_get(one, "uniform_in_no_more_bytes"));
        if (json_is_true(json_object_get(one, "uniform")))
            continue;
        assert_non_null(rival);
        double error = NAN;
        json_array_foreach(
            (json_t *)(uintptr_t)methods, k,
            other) if (!strcmp(rival, json_string_value(json_object_get(other, "method")))) error =
            inventory_number(json_object_get(other, "predicted"), "relative_error");
        assert_true(bytes_of(methods, rival) <= inventory_number(one, "bytes"));
        json_array_foreach((json_t *)(uintptr_t)methods, k,
                           other) if (json_is_true(json_object_get(other, "uniform")) &&
                                      inventory_number(other, "bytes") <=
                                          inventory_number(one, "bytes"))
            assert_true(error <=
                        inventory_number(json_object_get(other, "predicted"), "relative_error"));
    }
    json_decref(root);
    ram_manifest_free(m);
}

/* Options of all methods count; those of one are given to that one. */
static void options_reach_the_methods_they_belong_to(void **state)
{
    static const char *const set[] = {"embed_tokens=4"};
    const struct ram_allocate_opts opts = {
        .t8 = 0.5, .bits = 5, .set = set, .n_set = 1, .keep_embeddings = true};
    struct ram_manifest *m = moe(true);
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;
    assert_int_equal(ram_allocate_compare(m, &opts, RAM_TEXT, &text, &err), RAM_OK);
    assert_non_null(strstr(text, "v3-opt"));
    free(text);
    static const char *const broken[] = {"embed_tokens=9"};
    const struct ram_allocate_opts bad = {.set = broken, .n_set = 1};
    assert_int_equal(ram_allocate_compare(m, &bad, RAM_TEXT, &text, &err), RAM_EUSAGE);
    ram_manifest_free(m);
}

static void unmeasured_manifests_can_be_looked_at(void **state)
{
    struct ram_manifest *m = moe(false);
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;
    assert_int_equal(ram_allocate_compare(m, NULL, RAM_TEXT, &text, &err), RAM_OK);
    assert_non_null(strstr(text, "Nothing was measured"));
    assert_null(strstr(text, "v3-opt"));
    free(text);
    assert_int_equal(ram_manifest_describe(m, RAM_TEXT, false, &text, &err), RAM_OK);
    assert_non_null(strstr(text, "4-bit g128"));
    assert_non_null(strstr(text, "\n  experts       8, "));
    free(text);
    /* Measured in part, as an interrupted analysis leaves it. */
    inventory_measure(m);
    m->entries[3].measured = false;
    assert_int_equal(ram_manifest_describe(m, RAM_TEXT, true, &text, &err), RAM_OK);
    assert_non_null(strstr(text, m->entries[3].name));
    free(text);
    ram_manifest_free(m);
}

static void a_manifest_in_json(void **state)
{
    struct ram_manifest *m = moe(true);
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;
    assert_int_equal(ram_manifest_describe(m, RAM_JSON, true, &text, &err), RAM_OK);
    json_t *const root = parsed(text);
    assert_int_equal(json_integer_value(json_object_get(root, "tensors")), m->n_entries);
    assert_int_equal(json_array_size(json_object_get(root, "tensor_list")), m->n_entries);
    assert_int_equal(json_integer_value(json_object_get(root, "parameters")), m->parameters);
    assert_int_equal(json_integer_value(json_object_get(root, "experts")), 8);
    assert_int_equal(json_integer_value(json_object_get(root, "layers")), 4);
    assert_true(bytes_of(json_object_get(root, "sizes"), "v2") > 0);
    uint64_t parameters = 0;
    size_t i;
    json_t *role;
    json_array_foreach(json_object_get(root, "roles"), i, role) parameters +=
        inventory_key(role, "parameters");
    assert_int_equal(parameters, m->parameters);
    json_decref(root);
    ram_manifest_free(m);
}

/* The plan of a manifest just made names the digest of the file that it would be written as. */
static void a_plan_names_its_manifest(void **state)
{
    struct ram_manifest *m = moe(true), *back = NULL;
    struct ram_plan *before = NULL, *after = NULL;
    struct ram_err err = {0};
    char *text = NULL, *a = NULL, *b = NULL;
    (void)state;
    assert_int_equal(ram_manifest_text(m, &text, &err), RAM_OK);
    assert_int_equal(ram_manifest_parse(&back, text, strlen(text), "text", &err), RAM_OK);
    assert_int_equal(ram_allocate(m, NULL, &before, &err), RAM_OK);
    assert_int_equal(ram_allocate(back, NULL, &after, &err), RAM_OK);
    assert_int_equal(ram_plan_text(before, &a, &err), RAM_OK);
    assert_int_equal(ram_plan_text(after, &b, &err), RAM_OK);
    assert_string_equal(a, b);
    free(text);
    free(a);
    free(b);
    ram_plan_free(before);
    ram_plan_free(after);
    ram_manifest_free(m);
    ram_manifest_free(back);
}

/* A score may lack model and reference, whatever its results say. */
static void scores_without_models_are_shown(void **state)
{
    static const char score[] =
        "{\"schema\": \"ram.score/1\", \"ram\": \"\", \"task\": \"text\", \"model\": null, "
        "\"reference\": null, \"settings\": {}, \"machine\": {}, \"results\": {\"kld_mean\": 1}, "
        "\"peak_memory_bytes\": 0, \"seconds\": 0, \"tokens_per_second\": 0}";
    struct ram_score *one = NULL;
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;

    assert_int_equal(ram_score_parse(&one, score, sizeof score - 1, "score", &err), RAM_OK);
    const struct ram_score *const both[] = {one, one};
    assert_int_equal(ram_scores_describe(both, NULL, 1, RAM_TEXT, &text, &err), RAM_OK);
    assert_non_null(strstr(text, "reference   not named"));
    assert_null(strstr(text, "null"));
    free(text);
    assert_int_equal(ram_scores_describe(both, NULL, 2, RAM_JSON, &text, &err), RAM_OK);
    json_t *const root = parsed(text);
    assert_int_equal(json_array_size(json_object_get(root, "scores")), 2);
    json_decref(root);
    ram_score_free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_beside_each_other),
        cmocka_unit_test(options_reach_the_methods_they_belong_to),
        cmocka_unit_test(unmeasured_manifests_can_be_looked_at),
        cmocka_unit_test(a_manifest_in_json),
        cmocka_unit_test(a_plan_names_its_manifest),
        cmocka_unit_test(scores_without_models_are_shown),
    };
    return cmocka_run_group_tests_name("face/records", tests, NULL, NULL);
}
