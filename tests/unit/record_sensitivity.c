/* Sensitivities survive their text to the byte, and nonsense in them is told by unit and key. */
#include "record/manifest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As ram analyze --probe --curves writes them. */
static const char manifest_text[] =
    "{\n  \"schema\": \"ram.manifest/1\",\n  \"ram\": \"0.1.0\",\n  \"model\": {\n    \"name\": "
    "\"m\",\n"
    "    \"model_type\": \"qwen3_moe\",\n    \"architecture\": \"\",\n    \"parameters\": 0,\n"
    "    \"bytes\": 0,\n    \"files\": [],\n    \"config\": {}\n  },\n  \"settings\": {},\n"
    "  \"sensitivities\": {\n    \"tier\": \"kl\",\n    \"settings\": {\n"
    "      \"encoder\": \"search\",\n      \"tokens\": \"text\",\n      \"sequences\": 4,\n"
    "      \"length\": 128,\n      \"seed\": 9007199254740993,\n"
    "      \"bits\": 3,\n      \"group\": 64,\n"
    "      \"calibration\": {\"file\": \"t.txt\", \"bytes\": 9, \"sha256\": \"ab\"}\n    },\n"
    "    \"joint\": 0.5,\n    \"units\": {\"b\": 0.25, \"a\": -1e-12, \"c\": null},\n"
    "    \"fine\": {\"bits\": 5, \"joint\": 0.0625, \"units\": {\"b\": 0.03, \"a\": 0.001}},\n"
    "    \"curves\": {\n      \"encoder\": \"gptq\",\n"
    "      \"settings\": {\"sequences\": 16, \"length\": 256, \"damp\": 0.05},\n"
    "      \"units\": {\"b\": {\"2g32\": 1.5, \"3g64\": 0.25, \"8g128\": 0.001}}\n"
    "    }\n  },\n  \"tensors\": []\n}\n";

static struct ram_manifest *parsed(const char *text)
{
    struct ram_manifest *m = NULL;
    struct ram_err err = {0};

    if (ram_manifest_parse(&m, text, strlen(text), "m.json", &err))
        fail_msg("%s", err.message);
    return m;
}

static void read_and_written(void **state)
{
    struct ram_manifest *m = parsed(manifest_text);
    const struct ram_sensitivity_record *const s = m->sensitivities;
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;

    assert_string_equal(s->tier, "kl");
    assert_string_equal(s->encoder, "search");
    assert_string_equal(s->tokens, "text");
    assert_int_equal(s->sequences, 4);
    assert_int_equal(s->length, 128);
    assert_int_equal(s->seed, 9007199254740993);
    assert_string_equal(s->coarse.form->id, "3g64");
    assert_string_equal(s->fine.form->id, "5g64"); /* the group of the coarse one */
    assert_true(s->coarse.joint == 0.5 && s->fine.joint == 0.0625);
    assert_true(*ram_unit_figures_find(&s->coarse.units, "a") == -1e-12);
    assert_true(*ram_unit_figures_find(&s->coarse.units, "b") == 0.25);
    assert_true(isnan(*ram_unit_figures_find(&s->coarse.units, "c")));
    assert_null(ram_unit_figures_find(&s->coarse.units, "d"));
    assert_null(ram_unit_figures_find(&s->fine.units, "c"));
    const double *const curve = ram_unit_figures_find(&s->curves.units, "b");
    assert_true(curve[ram_form_index(ram_form_find("3g64"))] == 0.25);
    assert_true(isnan(curve[ram_form_index(ram_form_find("4g64"))]));
    assert_int_equal(ram_manifest_text(m, &text, &err), RAM_OK);
    assert_string_equal(text, manifest_text);
    free(text);
    ram_manifest_free(m);
}

static char *edited(const char *from, const char *to)
{
    const char *const at = strstr(manifest_text, from);
    char *text = NULL;

    assert_non_null(at);
    if (asprintf(&text, "%.*s%s%s", (int)(at - manifest_text), manifest_text, to,
                 at + strlen(from)) < 0)
        abort();
    return text;
}

/* Records of earlier versions lack some settings, and a record may be annotated. */
static void what_may_be_missing(void **state)
{
    static const char *const without[] = {"\"encoder\": \"search\",", "\"tokens\": \"text\",",
                                          "\"joint\": 0.5,", "\"joint\": 0.0625,"};
    (void)state;

    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        char *const text = edited(without[i], "\"note\": {\"by\": \"me\"},");
        struct ram_manifest *m = parsed(text), *again;
        struct ram_err err = {0};
        char *once = NULL, *twice = NULL;
        assert_int_equal(ram_manifest_text(m, &once, &err), RAM_OK);
        again = parsed(once);
        assert_int_equal(ram_manifest_text(again, &twice, &err), RAM_OK);
        assert_string_equal(once, twice);
        ram_manifest_free(again);
        ram_manifest_free(m);
        free(twice);
        free(once);
        free(text);
    }
}

static void a_fine_probe_may_have_its_own_group(void **state)
{
    char *const text = edited("\"bits\": 5,", "\"bits\": 5, \"group\": 128,");
    struct ram_manifest *m = parsed(text);
    struct ram_err err = {0};
    char *again = NULL;
    (void)state;

    assert_string_equal(m->sensitivities->fine.form->id, "5g128");
    assert_int_equal(ram_manifest_text(m, &again, &err), RAM_OK);
    assert_non_null(strstr(again, "\"bits\": 5, \"group\": 128,"));
    ram_manifest_free(m);
    free(again);
    free(text);
}

static void nonsense_is_refused(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"bits\": 3", "\"bits\": 7", "probe 1: bits 7 with group 64; expected bits 2, 3"},
        {"\"bits\": 3,", "", "\"bits\" is missing"},
        {"\"group\": 64", "\"group\": null", "found 'n', expected an integer"},
        {"\"bits\": 5", "\"bits\": 9", "probe 2: bits 9 with group 64"},
        {"\"bits\": 5", "\"form\": \"5g32\", \"bits\": 5",
         "form \"5g32\" has bits 5 with group 32"},
        {"\"a\": -1e-12", "\"a\": \"1\"", "sensitivity 2 (a): "},
        {"\"a\": -1e-12", "\"b\": 1", "unit b stands in them twice"},
        {"\"a\": 0.001", "\"b\": 1", "unit b stands in them twice"},
        {"\"3g64\": 0.25", "\"3g64\": []", "curve 1 (b): found '[', expected a number"},
        {"\"3g64\": 0.25", "\"2g32\": 2", "curve 1 (b): \"2g32\" is given twice"},
        {"\"tier\": \"kl\",", "", "\"tier\" is missing"},
        {"\"sequences\": 4", "\"sequences\": -4", "\"sequences\" is -4"},
        {"\"encoder\": \"gptq\",", "", "\"encoder\" is missing"},
        {"\"calibration\": {", "\"calibration\": 3, \"x\": {", "\"calibration\" is not an object"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_manifest *m = NULL;
        struct ram_err err = {0};
        char *const text = edited(cases[i].from, cases[i].to);
        const int status = ram_manifest_parse(&m, text, strlen(text), "m.json", &err);
        if (!strstr(err.message, cases[i].message))
            print_error("%s: %s\n", cases[i].to, err.message);
        assert_true(status == RAM_EFORMAT || status == RAM_ERANGE);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_null(m);
        free(text);
    }
}

static void truncated_and_flipped_texts(void **state)
{
    char text[sizeof manifest_text];
    const size_t size = strlen(manifest_text);
    (void)state;

    memcpy(text, manifest_text, sizeof text);
    for (size_t i = 0; i < 8 * size; i++) {
        struct ram_manifest *m = NULL;
        struct ram_err err = {0};
        text[i / 8] ^= (char)(1 << i % 8);
        const int status = ram_manifest_parse(&m, text, size, "flipped", &err);
        assert_true(!status || status == RAM_EFORMAT || status == RAM_ERANGE);
        ram_manifest_free(m);
        text[i / 8] ^= (char)(1 << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_and_written),
        cmocka_unit_test(what_may_be_missing),
        cmocka_unit_test(a_fine_probe_may_have_its_own_group),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(truncated_and_flipped_texts),
    };
    return cmocka_run_group_tests_name("record/sensitivity", tests, NULL, NULL);
}
