/* JSON when memory runs out: a document is read whole, or the reader says that there was no memory.
 */
#include "base/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The process's own allocator, set before the library reads JSON for the first time. */
static size_t countdown; /* the allocation of which number fails; 0: none */

static void *failing_malloc(size_t size)
{
    if (!countdown || --countdown)
        return malloc(size);
    errno = ENOMEM;
    return NULL;
}

static int set_allocator(void **state)
{
    (void)state;
    json_set_alloc_funcs(failing_malloc, free);
    return 0;
}

typedef int reader(json_t **, const char *, size_t, const char *, struct ram_err *);

/* Lets every allocation of a load fail in turn; returns how many there are. */
static size_t read_with_failures(reader *read, const char *text)
{
    for (size_t nth = 1; nth < 1000; nth++) {
        struct ram_err err = {0};
        json_t *value = NULL;
        char *again = NULL;

        countdown = nth;
        const int status = read(&value, text, strlen(text), "here", &err);
        if (countdown) {
            countdown = 0;
            assert_int_equal(status, RAM_OK);
            assert_int_equal(ram_json_text(value, 0, false, &again, &err), RAM_OK);
            assert_string_equal(again, text);
            free(again);
            json_decref(value);
            assert_int_equal(ram_losses(), 0);
            return nth - 1;
        }
        assert_int_equal(status, RAM_ENOMEM);
        assert_null(value);
    }
    fail_msg("no load of \"%s\" without a failure", text);
    return 0;
}

/* Jansson's lexer has 16 bytes at first, and doubles them without looking whether it could. */
static void no_long_token_loses_its_end(void **state)
{
    static const char text[] = "{\"a_key_of_more_than_fifteen_bytes\":"
                               "\"a text of more than thirty-two bytes, which takes more\","
                               "\"real\":0.12345678901234568,\"next\":[1,true,null]}";
    (void)state;
    assert_true(read_with_failures(ram_json_parse, text) > 10);
    assert_true(read_with_failures(ram_json_parse_python, text) > 5);
}

static void a_text_is_written_whole_or_not_at_all(void **state)
{
    struct ram_err err = {0};
    json_t *value = json_pack("{s:[i, s], s:f}", "b", 1, "x", "a", 0.5);
    char *text = NULL;
    size_t nth = 1;

    (void)state;
    for (; nth < 1000; nth++) {
        countdown = nth;
        const int status = ram_json_text(value, 0, true, &text, &err);
        if (countdown) {
            assert_int_equal(status, RAM_OK);
            break;
        }
        assert_int_equal(status, RAM_ENOMEM);
        err = (struct ram_err){0};
    }
    countdown = 0;
    assert_true(nth > 1);
    assert_string_equal(text, "{\"a\":0.5,\"b\":[1,\"x\"]}");
    free(text);
    json_decref(value);
}

/* Those who build values need not look at each: no text is made of what is incomplete. */
static void a_value_that_was_lost_is_missed(void **state)
{
    struct ram_err err = {0};
    json_t *value = NULL;
    char *text = NULL;

    (void)state;
    assert_int_equal(ram_json_parse(&value, "{\"a\":1}", 7, "here", &err), RAM_OK);
    countdown = 1;
    json_object_set_new(value, "b", json_integer(2));
    assert_int_equal(ram_json_text(value, 0, false, &text, &err), RAM_ENOMEM);
    assert_string_equal(err.message, "no memory for a text");
    err = (struct ram_err){0};
    json_object_set_new(value, "b", json_integer(2)); /* the loss is reported, and forgotten */
    assert_int_equal(ram_json_text(value, 0, false, &text, &err), RAM_OK);
    assert_string_equal(text, "{\"a\":1,\"b\":2}");
    free(text);
    json_decref(value);
}

static json_t *make(void)
{
    struct ram_made list = ram_made_array(), all = ram_made_object();

    ram_made_add(&list, json_integer(1));
    ram_made_add(&list, ram_json_string("x"));
    ram_made_put(&all, "list", ram_made_take(&list));
    ram_made_update(&all, json_pack("{s:b}", "more", 1));
    return ram_made_take(&all);
}

static void a_value_is_made_whole_or_not_at_all(void **state)
{
    struct ram_err err = {0};
    json_t *value = NULL;
    char *text = NULL;
    size_t nth = 1;

    (void)state;
    for (; nth < 1000; nth++) {
        countdown = nth;
        value = make();
        if (countdown)
            break;
        assert_null(value);
        assert_int_equal(ram_json_text(value, 0, false, &text, &err), RAM_ENOMEM);
        err = (struct ram_err){0};
    }
    countdown = 0;
    assert_true(nth > 5);
    assert_int_equal(ram_json_text(value, 0, false, &text, &err), RAM_OK);
    assert_string_equal(text, "{\"list\":[1,\"x\"],\"more\":true}");
    free(text);
    json_decref(value);
}

/* Members of an object that is there are told of by a status; so is a value that could not be made.
 */
static void an_object_gets_members_or_a_status(void **state)
{
    struct ram_err err = {0}, none = {0};
    json_t *object = json_object();
    struct ram_made into = ram_made_into(object);

    (void)state;
    ram_made_put(&into, "a", json_null());
    assert_int_equal(ram_made_end(&into, &err), RAM_OK);
    assert_int_equal(ram_json_put(object, "b", json_true(), &err), RAM_OK);
    assert_int_equal(json_object_size(object), 2);
    into = ram_made_into(object);
    ram_made_put(&into, "c", NULL);
    ram_made_put(&into, "d", json_true());
    assert_int_equal(ram_made_end(&into, &err), RAM_ENOMEM);
    assert_int_equal(ram_json_put(object, "e", NULL, &none), RAM_ENOMEM);
    assert_int_equal(json_object_size(object), 2);
    json_decref(object);
}

/* A path may have any bytes. */
static void a_string_of_any_bytes(void **state)
{
    struct ram_made made = ram_made_object();
    struct ram_err err = {0};

    (void)state;
    ram_made_put(&made, "good", ram_json_string("caf\xc3\xa9"));
    ram_made_put(&made, "bad", ram_json_string("caf\xe9"));
    ram_made_put(&made, "none", ram_json_string(NULL));
    json_t *const root = ram_made_take(&made);
    assert_int_equal(root ? RAM_OK : ram_fail(&err, RAM_ENOMEM, "no memory for strings"), RAM_OK);
    assert_string_equal(json_string_value(json_object_get(root, "good")), "caf\xc3\xa9");
    assert_string_equal(json_string_value(json_object_get(root, "bad")), "caf\xef\xbf\xbd");
    assert_true(json_is_null(json_object_get(root, "none")));
    json_decref(root);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_long_token_loses_its_end),
        cmocka_unit_test(a_value_that_was_lost_is_missed),
        cmocka_unit_test(a_text_is_written_whole_or_not_at_all),
        cmocka_unit_test(a_value_is_made_whole_or_not_at_all),
        cmocka_unit_test(an_object_gets_members_or_a_status),
        cmocka_unit_test(a_string_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, set_allocator, NULL);
}
