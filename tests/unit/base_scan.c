/* The pull reader of JSON: what it takes and refuses is what jansson takes and refuses. */
#include "base/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A scan with all that it needs; begin clears what an earlier one left. */
struct fixture {
    struct ram_scan scan;
    struct ram_err err;
    struct ram_arena arena;
};

static struct ram_scan *begin(struct fixture *f, const char *text, size_t size)
{
    ram_arena_release(&f->arena);
    f->err = (struct ram_err){0};
    ram_scan_init(&f->scan, text, size, "text", &f->arena, &f->err);
    return &f->scan;
}

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
    struct fixture f = {0};
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const size_t size = strlen(texts[i]);
        json_t *tree = json_loadb(texts[i], size, JSON_DECODE_ANY, NULL);
        /* jansson has no doubles beyond the largest; a number that is only skipped may be any. */
        const bool huge = strstr(texts[i], "1e400") != NULL;

        struct ram_scan *const scan = begin(&f, texts[i], size);
        ram_scan_skip(scan);
        const bool taken = ram_scan_end(scan);
        if (taken != (tree != NULL || huge))
            fail_msg("'%s': %s", texts[i], taken ? "was taken" : f.err.message);
        assert_true(taken == (f.err.status == RAM_OK));
        json_decref(tree);
    }
    ram_arena_release(&f.arena);
}

static void strings_decode_as_jansson_does(void **state)
{
    struct fixture f = {0};
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *ours = NULL;
        char word[64];
        json_t *tree = json_loadb(texts[i], strlen(texts[i]), JSON_DECODE_ANY, NULL);

        if (json_is_string(tree)) {
            assert_true(ram_scan_string(begin(&f, texts[i], strlen(texts[i])), &ours));
            assert_string_equal(ours, json_string_value(tree));
            assert_true(ram_scan_word(begin(&f, texts[i], strlen(texts[i])), word, sizeof word));
            assert_string_equal(word, json_string_value(tree));
            n++;
        }
        json_decref(tree);
    }
    assert_true(n > 5);
    ram_arena_release(&f.arena);
}

/* Every prefix of a text in memory of just its size, so that a sanitizer sees a step too far. */
static void no_prefix_is_taken_or_read_past(void **state)
{
    static const char whole[] = "{\"a\\ud83d\\ude00\": [1, -2.5e+3, \"\xe2\x82\xac\\n\", null], "
                                "\"b\": {\"c\": [true, false, {}]}}";
    struct fixture f = {0};
    (void)state;

    for (size_t n = 0; n < sizeof whole; n++) {
        char *const text = malloc(n ? n : 1);
        assert_non_null(text);
        memcpy(text, whole, n);
        struct ram_scan *const scan = begin(&f, text, n);
        ram_scan_skip(scan);
        assert_true(ram_scan_end(scan) == (n == sizeof whole - 1));
        free(text);
    }
    ram_arena_release(&f.arena);
}

/* Plain characters are passed eight at a time: every byte at every place among them. */
static void every_byte_is_seen_in_a_string(void **state)
{
    char text[] = "\"0123456789abcdefghijklmn\"";
    struct fixture f = {0};
    (void)state;

    for (size_t at = 1; at < sizeof text - 2; at++) {
        const char kept = text[at];
        for (int byte = 0; byte < 256; byte++) {
            text[at] = (char)byte;
            json_t *tree = json_loadb(text, sizeof text - 1, JSON_DECODE_ANY, NULL);
            const char *ours;
            struct ram_scan *const scan = begin(&f, text, sizeof text - 1);
            const bool taken = ram_scan_string(scan, &ours) && ram_scan_end(scan);
            if (taken != (tree != NULL))
                fail_msg("byte 0x%02x at %zu: %s", byte, at, taken ? "taken" : f.err.message);
            if (taken)
                assert_string_equal(ours, json_string_value(tree));
            json_decref(tree);
        }
        text[at] = kept;
    }
    ram_arena_release(&f.arena);
}

static void walks_a_list_of_objects(void **state)
{
    static const char text[] = "{\"n\": [[], {}, [{}], 7, [1,2]], \"x\\ty\": null, \"w\": \"v\"}";
    struct fixture f = {0};
    struct ram_scan *const scan = begin(&f, text, sizeof text - 1);
    const char *name = NULL;
    char word[2];
    size_t n = 0;
    (void)state;

    assert_true(ram_scan_object(scan));
    assert_true(ram_scan_member(scan));
    assert_string_equal(scan->key, "n");
    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        assert_true(ram_scan_skip(scan));
        n++;
    }
    assert_int_equal(n, 5);
    assert_string_equal(scan->key, "n");
    assert_true(ram_scan_entry(scan, &name));
    assert_string_equal(name, "x\ty");
    assert_true(ram_scan_null(scan));
    assert_true(ram_scan_member(scan));
    assert_true(ram_scan_word(scan, word, sizeof word));
    assert_string_equal(word, "v");
    assert_false(ram_scan_member(scan));
    assert_true(ram_scan_end(scan));
    ram_arena_release(&f.arena);
}

static void mistakes_say_where_and_what(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\n  3}", "text: line 2, column 3: unit 2 (u): found '3', expected a key"},
        {"{\"k\" 3}", "column 6: unit 2 (u): found '3', expected ':'"},
        {"{\"k\": }", "found '}', expected an integer"},
        {"{\"k\": \x7f}", "found byte 0x7f, expected an integer"},
        {"{\"k\": 1", "column 8: unit 2 (u): found the end of the text, expected ',' or '}'"},
        {"{\"k\": 01}", "found 01, which is not a number of JSON"},
        {"{\"k\": -1}", "column 7: unit 2 (u): \"k\" is -1, expected an integer from 0 to 99"},
        {"{\"k\": 1.0}", "\"k\" is 1.0, expected an integer from 0 to 99"},
        {"{\"k\": 100}", "\"k\" is 100, expected an integer from 0 to 99"},
        {"{\"k", "found the end of the text, expected a closing quote"},
        {"{\"k\n\": 1}", "control character 0x0a in a string"},
        {"{\"k\\q\": 1}", "not a valid escape: JSON does not have it"},
        {"{\"k\\u12\": 1}", "not a valid escape: \\u needs four hexadecimal digits"},
        {"{\"k\\u0000\": 1}", "not a valid escape: \\u0000 is not allowed"},
        {"{\"k\\ud800\": 1}", "not a valid escape: half a surrogate pair"},
        {"{\"k\xff\": 1}", "found byte 0xff, expected UTF-8"},
        {"{\"k\": 1} 2", "found '2', expected the end of the text"},
        {"{\"0123456789012345678901234567890123456789012345678901234567890123456789\": x}",
         "found 'x', expected an integer"},
        {"{\"0123456789012345678901234567890123456789012345678901234567890123456789\": 1e2}",
         "\"012345678901234567890123456789012345678901234567890123456789...\" is 1e2"},
    };
    struct fixture f = {0};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t n = 0;
        struct ram_scan *const scan = begin(&f, cases[i].text, strlen(cases[i].text));
        scan->kind = "unit";
        scan->number = 2;
        scan->name = "u";
        ram_scan_object(scan);
        while (ram_scan_member(scan))
            ram_scan_uint(scan, 99, &n);
        assert_false(ram_scan_end(scan));
        if (!strstr(f.err.message, cases[i].message))
            fail_msg("'%s': '%s' does not say '%s'", cases[i].text, f.err.message,
                     cases[i].message);
    }
    ram_arena_release(&f.arena);
}

/* Whatever is asked for after a mistake is refused, and the first message stays. */
static void a_mistake_is_the_last_word(void **state)
{
    struct fixture f = {0};
    struct ram_scan *const scan = begin(&f, "[?, 1, \"a\", null, {}, []]", 26);
    const char *text;
    char word[8];
    json_t *tree;
    uint64_t n = 5;
    double x = 5;
    (void)state;

    assert_true(ram_scan_array(scan));
    assert_true(ram_scan_element(scan));
    assert_false(ram_scan_uint(scan, 9, &n));
    assert_false(ram_scan_element(scan) || ram_scan_uint(scan, 9, &n) || ram_scan_real(scan, &x));
    assert_false(ram_scan_string(scan, &text) || ram_scan_word(scan, word, sizeof word));
    assert_false(ram_scan_null(scan) || ram_scan_object(scan) || ram_scan_array(scan));
    assert_false(ram_scan_member(scan) || ram_scan_entry(scan, &text));
    assert_false(ram_scan_skip(scan) || ram_scan_tree(scan, &tree) || ram_scan_end(scan));
    assert_false(ram_scan_fail(scan, RAM_ERANGE, "another"));
    assert_true(n == 5 && x == 5);
    assert_false(ram_scan_good(scan));
    assert_int_equal(scan->status, RAM_EFORMAT);
    assert_string_equal(f.err.message, "text: line 1, column 2: found '?', expected an integer");
    ram_arena_release(&f.arena);
}

static void numbers_have_limits(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        int status;
    } cases[] = {
        {"0", 0, RAM_OK},
        {"1", 0, RAM_ERANGE},
        {"9", 9, RAM_OK},
        {"10", 9, RAM_ERANGE},
        {"18446744073709551615", UINT64_MAX, RAM_OK},
        {"18446744073709551616", UINT64_MAX, RAM_ERANGE},
        {"99999999999999999999", UINT64_MAX, RAM_ERANGE},
        {"184467440737095516150", UINT64_MAX, RAM_ERANGE},
        {"18446744073709551616.0", UINT64_MAX, RAM_EFORMAT},
        {"00", 9, RAM_EFORMAT},
        {"01", 9, RAM_EFORMAT},
        {"-0", 9, RAM_EFORMAT},
        {"1.0", 9, RAM_EFORMAT},
        {"1e0", 9, RAM_EFORMAT},
        {"1E0", 9, RAM_EFORMAT},
        {"1-", 9, RAM_EFORMAT},
        {"+1", 9, RAM_EFORMAT},
        {"0x1", 9, RAM_OK}, /* 0, and then something that the caller did not ask for */
        {"\"1\"", 9, RAM_EFORMAT},
        {"true", 9, RAM_EFORMAT},
        {"", 9, RAM_EFORMAT},
    };
    char digits[200];
    struct fixture f = {0};
    double x;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t n = 77;
        struct ram_scan *const scan = begin(&f, cases[i].text, strlen(cases[i].text));
        ram_scan_uint(scan, cases[i].max, &n);
        if (scan->status != cases[i].status)
            fail_msg("'%s': status %d, '%s'", cases[i].text, scan->status, f.err.message);
        assert_true(n == (cases[i].status ? 77 : strtoull(cases[i].text, NULL, 10)));
    }
    assert_false(ram_scan_real(begin(&f, "1e400", 5), &x));
    assert_string_equal(f.err.message, "text: line 1, column 1: number 1e400 is too large");
    memset(digits, '7', sizeof digits);
    assert_false(ram_scan_real(begin(&f, digits, sizeof digits), &x));
    assert_non_null(strstr(f.err.message, "a number of 128 characters or more"));
    assert_true(ram_scan_real(begin(&f, digits, 127), &x) && x > 7.7e126 && x < 7.8e126);
    ram_arena_release(&f.arena);
}

static void nesting_is_bounded(void **state)
{
    enum { DEEP = 100000 };
    struct fixture f = {0};
    char *const text = malloc(DEEP);
    (void)state;

    assert_non_null(text);
    memset(text, '[', DEEP);
    assert_false(ram_scan_skip(begin(&f, text, DEEP)));
    assert_non_null(strstr(f.err.message, "nested more than 64 deep"));
    memset(text + 65, ']', 65);
    assert_true(ram_scan_skip(begin(&f, text, 130)));
    free(text);
    ram_arena_release(&f.arena);
}

static void trees_refuse_duplicates(void **state)
{
    static const char twice[] = " {\"a\": {\"b\": 1, \"\\u0062\": 2}}", good[] = " {\"a\": [1]} ,";
    struct fixture f = {0};
    json_t *tree = NULL;
    (void)state;

    assert_false(ram_scan_tree(begin(&f, twice, sizeof twice - 1), &tree));
    assert_non_null(strstr(f.err.message, "column 2: "));
    assert_non_null(strstr(f.err.message, "duplicate"));
    assert_null(tree);
    assert_true(ram_scan_tree(begin(&f, good, sizeof good - 1), &tree));
    assert_int_equal(json_array_size(json_object_get(tree, "a")), 1);
    assert_false(ram_scan_end(&f.scan)); /* stands behind the value, before the comma */
    assert_non_null(strstr(f.err.message, "found ','"));
    json_decref(tree);
    ram_arena_release(&f.arena);
}

static void long_words_are_refused(void **state)
{
    struct fixture f = {0};
    char word[4];
    (void)state;

    assert_true(ram_scan_word(begin(&f, "\"abc\"", 5), word, sizeof word));
    assert_string_equal(word, "abc");
    assert_false(ram_scan_word(begin(&f, "\"abcd\"", 6), word, sizeof word));
    assert_non_null(strstr(f.err.message, "an unknown word of 4 bytes"));
    ram_arena_release(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_jansson),
        cmocka_unit_test(strings_decode_as_jansson_does),
        cmocka_unit_test(no_prefix_is_taken_or_read_past),
        cmocka_unit_test(every_byte_is_seen_in_a_string),
        cmocka_unit_test(walks_a_list_of_objects),
        cmocka_unit_test(mistakes_say_where_and_what),
        cmocka_unit_test(a_mistake_is_the_last_word),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(trees_refuse_duplicates),
        cmocka_unit_test(long_words_are_refused),
    };
    return cmocka_run_group_tests_name("base/scan", tests, NULL, NULL);
}
