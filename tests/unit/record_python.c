/* JSON as Python's json module reads it. Expected: what json.loads of Python 3.11 gives. */
#include "base/json.h"
#include "record/emit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static json_t *read_text(const char *text)
{
    json_t *value = NULL;
    struct ram_err err = {0};

    if (ram_json_parse_python(&value, text, strlen(text), "x.json", &err))
        fail_msg("%s: %s", text, err.message);
    return value;
}

static void what_python_reads(void **state)
{
    static const struct {
        const char *text, *written;
    } cases[] = {
        {" {\"a\" : [1,2.5 , true,false,null]}\n", "{\"a\": [1, 2.5, true, false, null]}"},
        {"[NaN, Infinity, -Infinity]", "[NaN, Infinity, -Infinity]"},
        {"[1e400, -1e400]", "[1e400, -1e400]"},
        {"[1000000000000000000000000000000]", "[1000000000000000000000000000000]"},
        {"[-9223372036854775808, 9223372036854775807, 9223372036854775808]",
         "[-9223372036854775808, 9223372036854775807, 9223372036854775808]"},
        {"{\"a\": 1, \"b\": 2, \"a\": 3}", "{\"a\": 3, \"b\": 2}"}, /* the last counts */
        {"[\"\\ud800\", \"a\\u0000b\", \"\\ud83d\\ude00\"]",
         "[\"\\ud800\", \"a\\u0000b\", \"\xf0\x9f\x98\x80\"]"},
        {"{\"\\udfff\": 1}", "{\"\\udfff\": 1}"},
        {"[-0, -0.0, 1E2]", "[0, -0.0, 100.0]"},
        {"17", "17"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_buf buf = {0};
        json_t *value = read_text(cases[i].text);
        ram_emit_json(&buf, value, 0);
        assert_string_equal(buf.data, cases[i].written);
        ram_buf_release(&buf);
        json_decref(value);
    }
}

static void what_python_refuses(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "{\"a\": 1,}",
                                        "[1,]",
                                        "{'a': 1}",
                                        "{a: 1}",
                                        "[01]",
                                        "[1.]",
                                        "[.5]",
                                        "[+1]",
                                        "[1e]",
                                        "[-NaN]",
                                        "[nan]",
                                        "[infinity]",
                                        "[True]",
                                        "{} {}",
                                        "[1] // x",
                                        "\xef\xbb\xbf{}",
                                        "[\"a\nb\"]",
                                        "[\"\xff\"]",
                                        "[\"\\x\"]",
                                        "[\"\\u12\"]",
                                        "[\"abc",
                                        "[1 2]",
                                        "{\"a\" 1}",
                                        "[\"\xed\xa0\x80\"]"};
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *value = NULL;
        struct ram_err err = {0};
        if (ram_json_parse_python(&value, texts[i], strlen(texts[i]), "x.json", &err) !=
            RAM_EFORMAT)
            fail_msg("%s is taken", texts[i]);
        assert_null(value);
        assert_non_null(strstr(err.message, "x.json: line "));
    }
}

/* Nothing takes such a value for a number, and a message says what it is. */
static void tokens_are_no_numbers(void **state)
{
    json_t *value = read_text("{\"a\": NaN, \"b\": \"NaN\"}");
    struct ram_err err = {0};
    uint64_t n;
    (void)state;

    assert_string_equal(ram_json_token(json_object_get(value, "a")), "NaN");
    assert_null(ram_json_token(json_object_get(value, "b")));
    assert_false(ram_json_is_plain(value));
    assert_true(ram_json_is_plain(json_object_get(value, "b")));
    assert_int_equal(ram_json_get_uint(value, "a", 9, &n, "x.json", &err), RAM_EFORMAT);
    assert_string_equal(err.message, "x.json: \"a\" is NaN, expected an integer of at least 0");
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_python_reads),
        cmocka_unit_test(what_python_refuses),
        cmocka_unit_test(tokens_are_no_numbers),
    };
    return cmocka_run_group_tests_name("base/json_python", tests, NULL, NULL);
}
