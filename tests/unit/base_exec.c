/* How a stage runs: defaults are resolved once, shares keep everything else, a caller is told. */
#include "base/exec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GIB ((uint64_t)1 << 30)

struct heard {
    struct ram_progress last;
    char line[64];
    size_t n_lines;
    bool cancel;
};

static void hear_progress(void *user, const struct ram_progress *p)
{
    ((struct heard *)user)->last = *p;
}

static void hear_notice(void *user, const char *line)
{
    struct heard *heard = user;

    heard->n_lines++;
    snprintf(heard->line, sizeof heard->line, "%s", line);
}

static bool hear_cancelled(void *user)
{
    return ((struct heard *)user)->cancel;
}

static void defaults_become_figures(void **state)
{
    struct ram_exec exec;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_exec_begin(&exec, NULL, &err), RAM_OK);
    assert_true(exec.max_memory == 2 * GIB);
    assert_non_null(exec.pool);
    ram_exec_end(&exec);
    ram_exec_end(&exec);
    const struct ram_run run = {.threads = 3, .max_memory = 5 * GIB};
    assert_int_equal(ram_exec_begin(&exec, &run, &err), RAM_OK);
    assert_true(exec.max_memory == 5 * GIB);
    assert_int_equal(ram_pool_threads(exec.pool), 3);
    ram_exec_end(&exec);
    assert_null(ram_exec_alone(&run).pool);
    assert_true(ram_exec_alone(NULL).max_memory == 2 * GIB);
}

static void shares_keep_the_rest(void **state)
{
    struct heard heard = {0};
    const struct ram_run run = {.threads = 3, .notice = hear_notice, .user = &heard};
    struct ram_exec exec, same, fewer;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_exec_begin(&exec, &run, &err), RAM_OK);
    struct ram_exec half = ram_exec_share(&exec, GIB);
    assert_true(half.max_memory == GIB && half.pool == exec.pool);
    ram_exec_notice(&half, "%d of %s", 1, "two");
    assert_string_equal(heard.line, "1 of two");
    ram_exec_end(&half);
    assert_true(ram_exec_share(&exec, 0).max_memory > 0); /* it would mean the default again */

    assert_int_equal(ram_exec_narrow(&same, &exec, 3, &err), RAM_OK);
    assert_ptr_equal(same.pool, exec.pool);
    ram_exec_end(&same);
    assert_int_equal(ram_exec_narrow(&fewer, &exec, 2, &err), RAM_OK);
    assert_int_equal(ram_pool_threads(fewer.pool), 2);
    assert_true(fewer.max_memory == 2 * GIB && fewer.user == &heard);
    ram_exec_end(&fewer);
    assert_int_equal(ram_pool_threads(exec.pool), 3);
    ram_exec_end(&exec);
}

/* Items 10 to 29 of 80, in a run that counts 40 of something. */
static void a_part_is_told_as_part(void **state)
{
    const struct ram_progress now = {.stage = "s", .item = "i", .done = 30, .total = 40};
    struct heard heard = {0};
    const struct ram_run run = {.progress = hear_progress, .user = &heard};
    const struct ram_exec exec = ram_exec_alone(&run), part = ram_exec_part(&exec, 10, 20, 80);
    (void)state;

    ram_exec_progress(&exec, &now);
    assert_true(heard.last.done == 30 && heard.last.total == 40);
    ram_exec_progress(&part, &now);
    assert_true(heard.last.done == 50 && heard.last.total == 160);
}

static void cancels_and_says_where(void **state)
{
    const struct ram_progress now = {.stage = "probe", .item = "layer 3"};
    struct heard heard = {0};
    const struct ram_run run = {.cancelled = hear_cancelled, .user = &heard};
    const struct ram_exec exec = ram_exec_alone(&run);
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_exec_report(&exec, &now, &err), RAM_OK);
    heard.cancel = true;
    assert_true(ram_exec_cancelled(&exec));
    assert_int_equal(ram_exec_report(&exec, &now, &err), RAM_EINTERRUPT);
    assert_string_equal(err.message, "interrupted: probe, layer 3");
}

static void tells_nobody(void **state)
{
    const struct ram_progress now = {.stage = "probe", .item = "layer 3"};
    const struct ram_exec exec = ram_exec_alone(NULL);
    struct ram_err err = {0};
    (void)state;

    ram_exec_notice(&exec, "nothing");
    ram_exec_notice(NULL, "nothing");
    assert_int_equal(ram_exec_report(&exec, &now, &err), RAM_OK);
    assert_int_equal(ram_exec_report(NULL, &now, &err), RAM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_become_figures),
        cmocka_unit_test(shares_keep_the_rest),
        cmocka_unit_test(a_part_is_told_as_part),
        cmocka_unit_test(cancels_and_says_where),
        cmocka_unit_test(tells_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
