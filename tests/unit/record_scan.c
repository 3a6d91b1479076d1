/* The pull reader of JSON: what it takes and refuses is what jansson takes and refuses. */
#include "base/json.h"
#include "record/emit.h"
#include "record/scan.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const texts[] = {
    "null",
    "true",
    "false",
    " \t\r\n null \n",
    "nul",
    "nulll",
    "True",
    "",
    " ",
    "[",
    "]",
    "[]",
    "[ ]",
    "[1]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,2]",
    "[1,[2,[3]]]",
    "{",
    "}",
    "{}",
    "{ }",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1}",
    "{\"a\":1,}",
    "{\"a\":1,\"b\":2}",
    "{a:1}",
    "{\"a\" 1}",
    "{,}",
    "{1:2}",
    "[}",
    "{]",
    "[1]x",
    "0",
    "-0",
    "-",
    "+1",
    "01",
    "-01",
    "1",
    "10",
    "1.",
    "1.5",
    ".5",
    "-.5",
    "1.5.5",
    "1e5",
    "1E5",
    "1e+5",
    "1e-5",
    "1e",
    "1e+",
    "1.e5",
    "1.0e5",
    "0e0",
    "0.0",
    "00",
    "0x10",
    "1e400",
    "-1e400",
    "1e-400",
    "Infinity",
    "NaN",
    "1-1",
    "1,2",
    "--1",
    "\"\"",
    "\"a\"",
    "\"a",
    "\"a\\",
    "\"a\\\"",
    "\"\\n\\t\\r\\b\\f\\/\\\\\\\"\"",
    "\"\\x\"",
    "\"\\u0041\"",
    "\"\\u004\"",
    "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\ud83dx\"",
    "\"\\ud83d\\n\"",
    "\"\\ude00\"",
    "\"\\ud83d\\ud83d\"",
    "\"\\uD83D\\uDE00\"",
    "\"\\u0000\"",
    "\"\n\"",
    "\"\t\"",
    "\"\x7f\"",
    "\"\x01\"",
    "'a'",
    "\"\xc3\xa9\"",
    "\"\xc3\"",
    "\"\xa9\"",
    "\"\xc0\x80\"",
    "\"\xe2\x82\xac\"",
    "\"\xed\xa0\x80\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xf8\x88\x80\x80\x80\"",
    "\xef\xbb\xbf[]",
    "// a\n1",
    "[1]/**/",
    "{\"a\":{\"b\":[true,false,null,\"x\",-1.5e-3]}}",
};

static void agrees_with_jansson(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ram_err err = {0};
        struct ram_arena arena = {0};
        struct ram_scan scan;
        const size_t size = strlen(texts[i]);
        json_t *tree = json_loadb(texts[i], size, JSON_DECODE_ANY, NULL);
        /* jansson has no doubles beyond the largest; a number that is only skipped may be any. */
        const bool huge = strstr(texts[i], "1e400") != NULL;

        ram_scan_init(&scan, texts[i], size, "text", &arena);
        int status = ram_scan_skip(&scan, NULL, NULL, &err);
        if (!status)
            status = ram_scan_end(&scan, &err);
        if (status && tree)
            print_error("'%s': %s\n", texts[i], err.message);
        if (!status && !tree && !huge)
            print_error("'%s' was taken\n", texts[i]);
        assert_true((status == 0) == (tree != NULL || huge));
        json_decref(tree);
        ram_arena_release(&arena);
    }
}

static void strings_decode_as_jansson_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ram_err err = {0};
        struct ram_arena arena = {0};
        struct ram_scan scan;
        const char *ours = NULL;
        json_t *tree = json_loadb(texts[i], strlen(texts[i]), JSON_DECODE_ANY, NULL);

        if (json_is_string(tree)) {
            ram_scan_init(&scan, texts[i], strlen(texts[i]), "text", &arena);
            assert_int_equal(ram_scan_string(&scan, &ours, &err), RAM_OK);
            assert_string_equal(ours, json_string_value(tree));
        }
        json_decref(tree);
        ram_arena_release(&arena);
    }
}

static int number(const char *text, double *out, struct ram_err *err)
{
    struct ram_scan scan;
    ram_scan_init(&scan, text, strlen(text), "text", NULL);
    return ram_scan_real(&scan, out, err);
}

static void reals_survive_a_round_trip(void **state)
{
    static const double values[] = {0.0,
                                    -0.0,
                                    1.0,
                                    0.1,
                                    0.65,
                                    1e-300,
                                    5e-324,
                                    1e300,
                                    1.0 / 3.0,
                                    123456789012345678.0,
                                    2.5e-10,
                                    -1e15,
                                    1e16,
                                    0.30000000000000004,
                                    1.7976931348623157e308};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct ram_err err = {0};
        struct ram_buf buf = {0};
        double back = 1;
        ram_emit_real(&buf, values[i]);
        assert_int_equal(number(buf.data, &back, &err), RAM_OK);
        assert_memory_equal(&back, &values[i], sizeof back);
        json_t *const tree = json_loadb(buf.data, buf.size, JSON_DECODE_ANY, NULL);
        assert_true(json_is_real(tree));
        assert_true(json_real_value(tree) == values[i]);
        json_decref(tree);
        ram_buf_release(&buf);
    }
}

static void numbers_are_short(void **state)
{
    struct ram_buf buf = {0};
    (void)state;
    ram_emit_real(&buf, 0.65);
    ram_buf_puts(&buf, " ");
    ram_emit_real(&buf, 2);
    assert_string_equal(buf.data, "0.65 2.0");
    ram_buf_release(&buf);
}

static void too_large_a_number_is_refused(void **state)
{
    struct ram_err err = {0};
    struct ram_scan scan;
    uint64_t n;
    double x;
    (void)state;
    assert_int_equal(number("1e400", &x, &err), RAM_EFORMAT);
    assert_string_equal(err.message, "text: line 1, column 1: number 1e400 is too large");
    err = (struct ram_err){0};
    ram_scan_init(&scan, "\n\n  18446744073709551616", 24, "text", NULL);
    assert_int_equal(ram_scan_uint(&scan, UINT64_MAX, &n, &err), RAM_ERANGE);
    assert_non_null(strstr(err.message, "line 3, column 3"));
    err = (struct ram_err){0};
    ram_scan_init(&scan, "1.0", 3, "text", NULL);
    assert_int_equal(ram_scan_uint(&scan, 10, &n, &err), RAM_EFORMAT);
    err = (struct ram_err){0};
    ram_scan_init(&scan, "18446744073709551615", 20, "text", NULL);
    assert_int_equal(ram_scan_uint(&scan, UINT64_MAX, &n, &err), RAM_OK);
    assert_true(n == UINT64_MAX);
}

static void nesting_is_bounded(void **state)
{
    enum { DEEP = 100000 };
    struct ram_err err = {0};
    struct ram_scan scan;
    char *const text = malloc(DEEP);
    (void)state;
    assert_non_null(text);
    memset(text, '[', DEEP);
    ram_scan_init(&scan, text, DEEP, "text", NULL);
    assert_int_equal(ram_scan_skip(&scan, NULL, NULL, &err), RAM_EFORMAT);
    assert_non_null(strstr(err.message, "nested more than 64 deep"));
    free(text);
}

static void text_that_is_not_utf8_becomes_valid(void **state)
{
    struct ram_buf buf = {0};
    (void)state;
    ram_emit_string(&buf, "a\xff\"\\\n\x7f\xc3\xa9");
    json_t *const back = json_loadb(buf.data, buf.size, JSON_DECODE_ANY, NULL);
    assert_non_null(back);
    assert_string_equal(json_string_value(back), "a\xef\xbf\xbd\"\\\n\x7f\xc3\xa9");
    json_decref(back);
    ram_buf_release(&buf);
}

/* jansson is the judge: what we lay out in lines must be the same value. */
static void layout_keeps_the_value(void **state)
{
    static const char text[] =
        "{\"short\":[1,2,3],\"empty\":{},\"none\":[],\"nested\":{\"a\":{\"b\":[{\"c\":0.1}]}},"
        "\"long\":[\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\","
        "\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\","
        "\"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\"],\"t\":true,\"n\":null,\"i\":-5}";
    struct ram_buf buf = {0};
    (void)state;
    json_t *const value = json_loads(text, 0, NULL);
    assert_non_null(value);
    ram_emit_json(&buf, value, 0);
    json_t *const back = json_loads(buf.data, 0, NULL);
    assert_true(json_equal(value, back));
    assert_non_null(strstr(buf.data, "\n  \"short\": [1, 2, 3],\n"));
    json_decref(value);
    json_decref(back);
    ram_buf_release(&buf);
}

/* A program may have set a locale whose decimal point is a comma. */
static void locale_does_not_matter(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    struct ram_c_locale locale;
    struct ram_err err = {0};
    struct ram_buf buf = {0};
    double x = 0;
    size_t i = 0;
    (void)state;
    while (i < sizeof names / sizeof *names && !setlocale(LC_ALL, names[i]))
        i++;
    assert_int_equal(ram_c_locale_enter(&locale, &err), RAM_OK);
    ram_emit_real(&buf, 0.5);
    assert_int_equal(number("0.25", &x, &err), RAM_OK);
    ram_c_locale_leave(&locale);
    setlocale(LC_ALL, "C");
    assert_string_equal(buf.data, "0.5");
    assert_true(x == 0.25);
    ram_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_jansson),
        cmocka_unit_test(strings_decode_as_jansson_does),
        cmocka_unit_test(reals_survive_a_round_trip),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(too_large_a_number_is_refused),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(text_that_is_not_utf8_becomes_valid),
        cmocka_unit_test(layout_keeps_the_value),
        cmocka_unit_test(locale_does_not_matter),
    };
    return cmocka_run_group_tests_name("record/scan", tests, NULL, NULL);
}
