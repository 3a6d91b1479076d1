/* The time that is left of a run: estimates, corrected by what finished stages took. */
#include "../../cli/eta.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void near(double x, double expected)
{
    if (!(fabs(x - expected) <= 1e-9 * (1 + fabs(expected))))
        fail_msg("%.9g, expected %.9g", x, expected);
}

static void the_estimate_comes_first(void **state)
{
    const struct eta_stage stages[] = {{10, 0}, {20, 0}, {30, 0}};

    (void)state;
    near(eta_left(stages, 3, 0, 0, 0, 0), 60);
    near(eta_left(stages, 3, 2, 0, 0, 0), 30);
}

static void finished_stages_correct_it(void **state)
{
    const struct eta_stage slow[] = {{10, 20}, {20, 0}, {30, 0}};
    const struct eta_stage both[] = {{10, 20}, {20, 10}, {30, 0}};

    (void)state;
    near(eta_left(slow, 3, 1, 0, 0, 0), 100);
    near(eta_left(both, 3, 2, 0, 0, 0), 30);
}

/* Half of a stage of 20 seconds took 20: the second half takes 20 or, by the corrected estimate of
 * both stages, 40 / 20 * 20 / 2 = 20 too; the last takes 60. */
static void the_running_stage_corrects_it(void **state)
{
    const struct eta_stage stages[] = {{10, 20}, {20, 0}, {30, 0}};

    (void)state;
    near(eta_left(stages, 3, 1, 0.5, 0, 20), 80);
}

static void earlier_runs_say_nothing_of_the_speed(void **state)
{
    const struct eta_stage stages[] = {{10, 0}, {20, 0}};

    (void)state;
    /* Resumed in the middle: a quarter in 10 seconds, so the last quarter takes as long. */
    near(eta_left(stages, 2, 1, 0.75, 0.5, 10), 0.75 * 10 + 0.25 * (10 / 5.0 * 20 * 0.25));
    near(eta_left(stages, 2, 1, 0, 0, 0), 20);
}

static void what_is_not_known_is_not_told(void **state)
{
    const struct eta_stage stages[] = {{0, 0}, {0, 0}};

    (void)state;
    assert_true(isnan(eta_left(stages, 2, 0, 0.5, 0, 10)));
    assert_true(isnan(eta_left(stages, 1, 0, 0, 0, 10)));
    near(eta_left(stages, 1, 0, 0.5, 0, 10), 10); /* a single stage needs no estimate */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_estimate_comes_first),
        cmocka_unit_test(finished_stages_correct_it),
        cmocka_unit_test(the_running_stage_corrects_it),
        cmocka_unit_test(earlier_runs_say_nothing_of_the_speed),
        cmocka_unit_test(what_is_not_known_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
