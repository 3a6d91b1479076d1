/* Statistics against figures worked by hand or by numpy and scipy (calls beside them). */
#include "evaluate/statistics.h"
#include "evaluate/windows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void close_to(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%.17g, expected %.17g", found, expected);
}

static void means_and_quantiles(void **state)
{
    double x[] = {4, 1, 3, 2, 100};
    const struct ram_mean m = ram_mean_of(x, 5);
    (void)state;

    close_to(m.mean, 22, 0);
    close_to(m.stderr_mean, 19.506409203131156, 1e-12); /* numpy: std(ddof=1) / sqrt(5) */
    ram_sort(x, 5);
    close_to(ram_quantile(x, 5, 0.5), 3, 0);
    close_to(ram_quantile(x, 5, 0.9), 61.6, 1e-12);
    close_to(ram_quantile(x, 5, 1), 100, 0);
    close_to(ram_trimmed_mean(x, 5, 0.2), 3, 0);
    close_to(ram_trimmed_mean(x, 5, 0.01), 22, 0);
    assert_true(isnan(ram_mean_of(x, 1).stderr_mean));
}

static void mcnemar(void **state)
{
    (void)state;
    close_to(ram_mcnemar(0, 0), 1, 1e-12);
    close_to(ram_mcnemar(5, 5), 1, 1e-12);
    close_to(ram_mcnemar(2, 8), 0.109375, 1e-12); /* scipy.stats.binomtest(2, 10).pvalue */
    close_to(ram_mcnemar(0, 10), 0.001953125, 1e-12);
}

static void bootstrap_covers_the_difference(void **state)
{
    double a[200], b[200];
    struct ram_interval d, r;
    struct ram_err err = {0};
    (void)state;

    for (size_t i = 0; i < 200; i++) {
        b[i] = 10 + (double)(i % 7);
        a[i] = b[i] * 2 + (i % 2 ? 1 : -1);
    }
    assert_int_equal(ram_bootstrap_pairs(a, b, 200, 1, 42, &d, &r, &err), RAM_OK);
    assert_true(d.low < 13 && d.high > 12.9 && d.high - d.low < 1.2);
    assert_true(r.low < 2 && r.high > 2 && r.high - r.low < 0.05);
}

static void windows(void **state)
{
    struct ram_windows w;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_windows_cut(&w, 1050, 100, 256, 42, 0, &err), RAM_OK);
    assert_int_equal(w.n, 10);
    assert_int_equal(w.first[9], 900);
    ram_windows_release(&w);
    /* Python: x = list(range(10)); random.Random(42).shuffle(x); sorted(x[:3]) -> 2 3 7 */
    assert_int_equal(ram_windows_cut(&w, 1050, 100, 3, 42, 0, &err), RAM_OK);
    assert_int_equal(w.n, 3);
    assert_int_equal(w.first[0], 200);
    assert_int_equal(w.first[1], 300);
    assert_int_equal(w.first[2], 700);
    ram_windows_release(&w);
    /* A limit means the first windows of the text, whatever the cap would have chosen. */
    assert_int_equal(ram_windows_cut(&w, 1050, 100, 4, 42, 2, &err), RAM_OK);
    assert_int_equal(w.n, 2);
    assert_int_equal(w.n_available, 10);
    assert_int_equal(w.first[0], 0);
    assert_int_equal(w.first[1], 100);
    ram_windows_release(&w);
    assert_int_equal(ram_windows_cut(&w, 99, 100, 4, 42, 0, &err), RAM_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_and_quantiles),
        cmocka_unit_test(mcnemar),
        cmocka_unit_test(bootstrap_covers_the_difference),
        cmocka_unit_test(windows),
    };
    return cmocka_run_group_tests_name("evaluate/statistics", tests, NULL, NULL);
}
