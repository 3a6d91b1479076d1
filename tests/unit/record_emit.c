/* What the records write: numbers and texts that come back as they were, in any locale. */
#include "base/scan.h"
#include "record/emit.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool number(const char *text, double *out)
{
    struct ram_err err = {0};
    struct ram_scan scan;

    ram_scan_init(&scan, text, strlen(text), "text", NULL, &err);
    return ram_scan_real(&scan, out) && ram_scan_end(&scan);
}

static const char *text_of(const struct ram_buf *buf)
{
    assert_false(buf->failed);
    return buf->data;
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
        struct ram_buf buf = {0};
        double back = 1;
        ram_emit_real(&buf, values[i]);
        assert_true(number(text_of(&buf), &back));
        assert_memory_equal(&back, &values[i], sizeof back);
        json_t *const tree = json_loadb(text_of(&buf), buf.size, JSON_DECODE_ANY, NULL);
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
    assert_string_equal(text_of(&buf), "0.65 2.0");
    ram_buf_release(&buf);
}

static void text_that_is_not_utf8_becomes_valid(void **state)
{
    struct ram_buf buf = {0};
    (void)state;
    ram_emit_string(&buf, "a\xff\"\\\n\x7f\xc3\xa9");
    json_t *const back = json_loadb(text_of(&buf), buf.size, JSON_DECODE_ANY, NULL);
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
    json_t *const back = json_loads(text_of(&buf), 0, NULL);
    assert_true(json_equal(value, back));
    assert_non_null(strstr(text_of(&buf), "\n  \"short\": [1, 2, 3],\n"));
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
    assert_true(number("0.25", &x));
    ram_c_locale_leave(&locale);
    setlocale(LC_ALL, "C");
    assert_string_equal(text_of(&buf), "0.5");
    assert_true(x == 0.25);
    ram_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reals_survive_a_round_trip),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(text_that_is_not_utf8_becomes_valid),
        cmocka_unit_test(layout_keeps_the_value),
        cmocka_unit_test(locale_does_not_matter),
    };
    return cmocka_run_group_tests_name("record/emit", tests, NULL, NULL);
}
