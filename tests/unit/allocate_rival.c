/* The uniform width that a plan is compared with. */
#include "allocate/rival.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t best(const struct ram_rival *rivals, size_t n, uint64_t bytes)
{
    return ram_rival_best(rivals, n, bytes);
}

static void test_only_what_fits(void **state)
{
    const struct ram_rival rivals[] = {{100, .3, NAN}, {200, .2, NAN}, {300, .1, NAN}};
    (void)state;

    assert_int_equal(best(rivals, 3, 99), 3);
    assert_int_equal(best(rivals, 3, 100), 0);
    assert_int_equal(best(rivals, 3, 299), 1);
    assert_int_equal(best(rivals, 3, 300), 2);
    assert_int_equal(best(rivals, 0, 300), 0);
}

/* The most telling figure that both have. */
static void test_what_loses_less(void **state)
{
    const struct ram_rival by_both[] = {{100, .3, .1}, {90, .2, .4}};
    const struct ram_rival by_error[] = {{100, NAN, .5}, {90, .2, .4}};
    const struct ram_rival by_bytes[] = {{90, .2, NAN}, {100, NAN, .4}};
    (void)state;

    assert_int_equal(best(by_both, 2, 100), 1);
    assert_int_equal(best(by_error, 2, 100), 1);
    assert_int_equal(best(by_bytes, 2, 100), 1);
    assert_true(ram_rival_loses_less(&by_both[1], &by_both[0]));
    assert_false(ram_rival_loses_less(&by_both[0], &by_both[1]));
}

static void test_first_of_equals(void **state)
{
    const struct ram_rival rivals[] = {{100, .2, .1}, {90, .2, .1}, {80, .2, .05}};
    (void)state;

    assert_int_equal(best(rivals, 3, 100), 0);
    assert_int_equal(best(rivals, 3, 95), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_fits),
        cmocka_unit_test(test_what_loses_less),
        cmocka_unit_test(test_first_of_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
