/* A plan survives its text and a person's edits, and nothing worse. */
#include "golden/inventory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char plan_text[] =
    "{\"schema\": \"ram.plan/1\", \"method\": \"v2\", \"settings\": {\"thresholds\": {\"t8\": "
    "0.65}}, \"manifest\": \"ab\", \"format\": \"mlx\", \"summary\": {\"span\": 0.5, "
    "\"per_expert_distribution\": {\"2\": {\"parameters\": 7, \"tensors\": 1}}, "
    "\"predicted\": {\"squared_error\": 2.5}}, \"units\": [\n"
    "{\"name\": \"b\", \"role\": \"up\", \"layer\": 3, \"members\": 2, \"parameters\": 5120, "
    "\"bits\": 4, \"group\": 128, \"scores\": {\"svd\": 0.1, \"kurtosis\": 0.2, \"output\": 0.3, "
    "\"error\": 0.4, \"composite\": 0.25}, \"reason\": \"default\", \"bytes\": 2720, \"stored\": "
    "{\"bytes\": 2, \"matrices\": [[2, 10, 256]]}, \"read\": [3, 8]},\n"
    "{\"name\": \"a\", \"role\": \"norm\", \"layer\": null, \"members\": 1, \"parameters\": 64, "
    "\"bits\": 16, \"group\": 0, \"scores\": null, \"reason\": \"1d\", \"bytes\": 128}\n]}";

static struct ram_plan *parsed(const char *text)
{
    struct ram_err err = {0};
    struct ram_plan *plan = NULL;
    if (ram_plan_parse(&plan, text, strlen(text), "plan.json", &err))
        print_error("%s\n", err.message);
    assert_non_null(plan);
    return plan;
}

static void sums_follow_from_units(void **state)
{
    struct ram_plan *plan = parsed(plan_text);
    struct ram_totals t;
    (void)state;

    ram_plan_totals(plan, &t);
    assert_int_equal(t.parameters, 5184);
    assert_int_equal(t.bytes, 2 * 10 * (128 + 8) + 128);
    assert_int_equal(t.bytes_per_token, 2 * 10 * (128 + 8) * 3 / 8 + 128);
    assert_true(fabs(t.nominal_bits - (5120 * 4 + 64 * 16) / 5184.0) < 1e-12);
    assert_true(fabs(t.effective_bits - 2848 * 8 / 5184.0) < 1e-12);
    assert_true(fabs(t.compression - 5184 * 2 / 2848.0) < 1e-12);
    assert_int_equal(plan->shares[4].parameters, 5120);
    assert_int_equal(plan->shares[4].tensors, 2);
    assert_int_equal(plan->shares[16].parameters, 64);
    assert_true(plan->has_expert_shares);
    assert_int_equal(plan->expert_shares[2].parameters, 7);
    assert_true(plan->span == 0.5);
    assert_string_equal(ram_plan_find(plan, "a")->reason, "1d");
    assert_int_equal(ram_plan_find(plan, "b")->layer, 3);
    assert_null(ram_plan_find(plan, "c"));
    ram_plan_free(plan);
}

static void survives_its_text(void **state)
{
    struct ram_plan *plan = parsed(plan_text), *back;
    struct ram_err err = {0};
    char *text = NULL, *again = NULL;
    (void)state;

    assert_int_equal(ram_plan_text(plan, &text, &err), RAM_OK);
    back = parsed(text);
    assert_int_equal(ram_plan_text(back, &again, &err), RAM_OK);
    assert_string_equal(text, again);
    assert_int_equal(back->n_units, 2);
    assert_string_equal(back->method, "v2");
    assert_string_equal(back->manifest_sha256, "ab");
    assert_true(json_equal(back->settings, plan->settings));
    assert_true(json_equal(back->predicted, plan->predicted));
    assert_memory_equal(&back->totals, &plan->totals, sizeof back->totals);
    assert_int_equal(back->units[0].read, 3);
    assert_int_equal(back->units[0].parts, 8);
    assert_memory_equal(back->shares, plan->shares, sizeof back->shares);
    assert_memory_equal(&back->units[0].scores, &plan->units[0].scores,
                        sizeof back->units[0].scores);
    ram_plan_free(plan);
    ram_plan_free(back);
    free(text);
    free(again);
}

static void has_the_promised_keys(void **state)
{
    static const char *const top[] = {"schema",   "method", "model",   "settings",
                                      "manifest", "format", "summary", "units"};
    static const char *const summary[] = {
        "parameters", "bytes",        "bytes_per_token",         "gib",
        "gb",         "nominal_bits", "effective_bits",          "compression",
        "span",       "distribution", "per_expert_distribution", "predicted"};
    static const char *const unit[] = {"name",       "role",  "layer",  "members",
                                       "parameters", "bits",  "group",  "scores",
                                       "reason",     "bytes", "stored", "read"};
    static const char *const bits[] = {"2", "3", "4", "5", "6", "8", "16"};
    struct ram_plan *plan = parsed(plan_text);
    struct ram_err err = {0};
    char *text = NULL;
    const char *key;
    json_t *root = NULL, *value;
    size_t i = 0;
    (void)state;

    assert_int_equal(ram_plan_text(plan, &text, &err), RAM_OK);
    assert_int_equal(ram_json_parse(&root, text, strlen(text), "text", &err), RAM_OK);
    json_object_foreach(root, key, value) assert_string_equal(key, top[i++]);
    const json_t *const sums = json_object_get(root, "summary");
    i = 0;
    json_object_foreach((json_t *)(uintptr_t)sums, key, value)
        assert_string_equal(key, summary[i++]);
    i = 0;
    json_object_foreach(json_object_get(sums, "distribution"), key, value)
        assert_string_equal(key, bits[i++]);
    i = 0;
    json_object_foreach(json_array_get(json_object_get(root, "units"), 0), key, value)
        assert_string_equal(key, unit[i++]);
    assert_int_equal(i, sizeof unit / sizeof *unit);
    json_decref(root);
    free(text);
    ram_plan_free(plan);
}

/* text with one replacement. */
static char *edited(const char *from, const char *to)
{
    const char *const at = strstr(plan_text, from);
    char *text = NULL;
    assert_non_null(at);
    if (asprintf(&text, "%.*s%s%s", (int)(at - plan_text), plan_text, to, at + strlen(from)) < 0)
        abort();
    return text;
}

static void a_person_may_edit_widths(void **state)
{
    char *const text = edited("\"bits\": 4, \"group\": 128", "\"bits\": 6, \"group\": 64");
    struct ram_plan *plan = parsed(text);
    (void)state;

    assert_int_equal(plan->units[0].form->bits, 6);
    assert_int_equal(plan->units[0].bytes, 2 * 10 * (192 + 4 * 4));
    assert_int_equal(plan->totals.bytes, 2 * 10 * (192 + 4 * 4) + 128);
    assert_string_equal(plan->units[0].reason, "user");
    assert_null(plan->predicted); /* it was foretold of another plan */
    assert_int_equal(plan->shares[6].parameters, 5120);
    ram_plan_free(plan);
    free(text);
}

/* Two forms may have the same bits and group: then the id says which one it is. */
static void a_form_may_be_named(void **state)
{
    static const struct ram_form other = {.id = "other", .bits = 4, .group = 128};
    char *const text = edited("\"bits\": 4, ", "\"form\": \"4g128\", \"bits\": 4, ");
    struct ram_plan *plan = parsed(text);
    enum ram_plan_origin origin;
    struct ram_err err = {0};
    char *again = NULL;
    (void)state;

    assert_ptr_equal(plan->units[0].form, ram_form_of(4, 128));
    assert_int_equal(ram_plan_text(plan, &again, &err), RAM_OK);
    assert_null(strstr(again, "\"form\"")); /* it goes without saying */
    free(again);
    assert_int_equal(ram_plan_seal(plan, &err), RAM_OK);
    plan->units[0].form = &other;
    assert_int_equal(ram_plan_origin(plan, &origin, &err), RAM_OK);
    assert_int_equal(origin, RAM_PLAN_EDITED);
    assert_int_equal(ram_plan_text(plan, &again, &err), RAM_OK);
    assert_non_null(strstr(again, "\"bits\": 4, \"group\": 128, \"form\": \"other\", \"scores\""));
    free(again);
    free(text);
    ram_plan_free(plan);
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"bits\": 4", "\"bits\": 7", "unit 1 (b): bits 7 with group 128; expected bits 2, 3"},
        {"\"bits\": 4", "\"bits\": 4.0", "\"bits\" is 4.0, expected an integer"},
        {"\"bits\": 4", "\"bits\": 4294967300", "unit 1 (b): bits 4294967300 with group 128"},
        {"\"group\": 128", "\"group\": 16", "bits 4 with group 16"},
        {"\"group\": 128", "\"group\": 0", "bits 4 with group 0"},
        {"\"group\": 0", "\"group\": 64", "unit 2 (a): bits 16 with group 64"},
        {"\"bits\": 4, ", "\"form\": \"4g1\", \"bits\": 4, ",
         "\"form\" is \"4g1\", which is no form"},
        {"\"bits\": 4, ", "\"form\": \"3g64\", \"bits\": 4, ",
         "unit 1 (b): bits 4 with group 128; form \"3g64\" has bits 3 with group 64"},
        {"\"name\": \"a\"", "\"name\": \"b\"", "unit b stands in it twice"},
        {"[3, 8]", "[9, 8]", "unit 1 (b): a token reads 9 of 8 parts"},
        {"[3, 8]", "[0, 0]", "a token reads 0 of 0 parts"},
        {"[3, 8]", "[3, 8, 8]", "what a token reads is not [read, parts]"},
        {"\"name\": \"a\", ", "", "unit 2: \"name\" is missing"},
        {"\"parameters\": 5120", "\"parameters\": 5121",
         "stored matrices of 5120 elements, expected 5121"},
        {"[2, 10, 256]", "[2, 10]", "not [count, rows, cols]"},
        {"[2, 10, 256]", "[70368744177664, 70368744177664, 9]", "more than 70368744177664"},
        {"[2, 10, 256]", "[70368744177664, 8, 9]", "more than 70368744177664"},
        {"\"bytes\": 128", "\"bytes\": 1040", "1040 bytes for 64 parameters"},
        {"\"bytes\": 128", "\"bytes\": -1", "\"bytes\" is -1"},
        {"\"bytes\": 128", "\"bytes\": 99999999999999999999", "\"bytes\" is 99999999999999999999"},
        {"\"composite\": 0.25", "\"composit\": 0.25", "\"composite\" is missing"},
        {"\"reason\": \"1d\"", "\"reason\": null", "expected a string"},
        {"ram.plan/1", "ram.manifest/1", "expected \"ram.plan/1\""},
        {"\"units\"", "\"unite\"", "\"units\" is missing"},
        {"\"predicted\": {", "\"predicted\": [{", "expected ',' or ']'"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_plan *plan = NULL;
        struct ram_err err = {0};
        char *const text = edited(cases[i].from, cases[i].to);
        const int status = ram_plan_parse(&plan, text, strlen(text), "plan.json", &err);
        if (!strstr(err.message, cases[i].message))
            print_error("%s: %s\n", cases[i].to, err.message);
        assert_true(status == RAM_EFORMAT || status == RAM_ERANGE);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_null(plan);
        free(text);
    }
}

static void truncated_and_flipped_texts(void **state)
{
    char text[sizeof plan_text];
    const size_t size = strlen(plan_text);
    (void)state;

    memcpy(text, plan_text, sizeof text);
    for (size_t i = 0; i < 8 * size; i++) {
        struct ram_plan *plan = NULL;
        struct ram_err err = {0};
        text[i / 8] ^= (char)(1 << i % 8);
        const int status = ram_plan_parse(&plan, text, size, "flipped", &err);
        assert_true(!status || status == RAM_EFORMAT || status == RAM_ERANGE);
        assert_true(!status == (plan != NULL));
        ram_plan_free(plan);
        text[i / 8] ^= (char)(1 << i % 8);
        if (i >= size)
            continue;
        err = (struct ram_err){0};
        assert_int_equal(ram_plan_parse(&plan, text, i, "cut", &err), RAM_EFORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_follow_from_units),      cmocka_unit_test(survives_its_text),
        cmocka_unit_test(has_the_promised_keys),       cmocka_unit_test(a_person_may_edit_widths),
        cmocka_unit_test(a_form_may_be_named),         cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(truncated_and_flipped_texts),
    };
    return cmocka_run_group_tests_name("record/plan", tests, NULL, NULL);
}
