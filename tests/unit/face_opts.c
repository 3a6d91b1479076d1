/* What ram.h promises of its structs: NULL and zeros are the defaults, reserved members are
 * refused, everything can be listed and visited. */
#include "ckpt_make.h"
#include "record/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char dir[64] = "/tmp/ram-test-XXXXXX";
static struct ram_ckpt *ckpt;
static struct ram_manifest *manifest;

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static int set_up(void **state)
{
    struct ram_err err = {0};
    (void)state;

    assert_non_null(mkdtemp(dir));
    make_ckpt(dir, &(struct make_opts){.arch = "qwen3"});
    ok(ram_ckpt_open(&ckpt, dir, &err), &err);
    ok(ram_analyze(ckpt, NULL, NULL, &manifest, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ram_manifest_free(manifest);
    ram_ckpt_close(ckpt);
    make_remove_dir(dir);
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    const bool same = a && b && !strcmp(a, b);

    return same;
}

/* Each function that takes options, without them and with zeroed ones. */
static void null_is_the_default(void **state)
{
    static const struct ram_allocate_opts zeroed;
    struct ram_effort efforts[RAM_N_EFFORTS];
    enum ram_effort_level usual;
    struct ram_plan *plan = NULL, *other = NULL;
    char *a = NULL, *b = NULL, parent[] = "/tmp/ram-test-XXXXXX", out[80];
    struct ram_err err = {0};
    struct ram_totals totals, again;
    (void)state;

    ok(ram_efforts(manifest, NULL, efforts, &usual, &err), &err);
    ok(ram_allocate(manifest, NULL, &plan, &err), &err);
    ok(ram_allocate(manifest, &zeroed, &other, &err), &err);
    ram_plan_totals(plan, &totals);
    ram_plan_totals(other, &again);
    assert_true(totals.bytes == again.bytes);
    ok(ram_allocate_compare(manifest, NULL, RAM_TEXT, &a, &err), &err);
    ok(ram_allocate_compare(manifest, &zeroed, RAM_TEXT, &b, &err), &err);
    assert_true(same_text(a, b));
    free(a);
    free(b);
    ok(ram_allocate_family(manifest, NULL, RAM_TEXT, &a, &err), &err);
    ok(ram_allocate_family(manifest, &zeroed, RAM_TEXT, &b, &err), &err);
    assert_true(same_text(a, b));
    free(a);
    free(b);
    assert_non_null(mkdtemp(parent));
    snprintf(out, sizeof out, "%s/out", parent);
    ok(ram_convert(ckpt, plan, out, NULL, NULL, RAM_TEXT, NULL, &err), &err);
    ok(ram_verify(out, ckpt, plan, NULL, RAM_TEXT, NULL, &err), &err);
    make_remove_dir(out);
    make_remove_dir(parent);
    ok(ram_probe_check(ckpt, NULL, &err), &err);
    ram_plan_free(plan);
    ram_plan_free(other);
    ram_quantized_release(NULL);
    ram_plan_free(NULL);
    ram_manifest_free(NULL);
}

/* Where a member has no default, that is said. */
static void what_is_needed_is_named(void **state)
{
    struct ram_score *score = NULL;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_evaluate(ckpt, NULL, NULL, NULL, &score, &err), RAM_EUSAGE);
    assert_non_null(strstr(err.message, "hellaswag"));
    err = (struct ram_err){0};
    assert_true(ram_generate(ckpt, NULL, NULL, NULL, NULL, &err) != RAM_OK);
}

static void unknown_members_are_refused(void **state)
{
    struct ram_allocate_opts allocate = {.reserved = {[3] = 1}};
    const struct ram_analyze_opts analyze = {.reserved = {1}};
    const struct ram_probe_opts probe = {.reserved = {1}};
    const struct ram_convert_opts convert = {.reserved = {1}};
    const struct ram_run run = {.reserved = {[RAM_RESERVED - 1] = 1}};
    const struct ram_quantize_opts nested = {.analyze = analyze};
    const struct ram_quantize_opts quantize = {.reserved = {1}};
    const struct ram_evaluate_opts evaluate = {.task = "text", .reserved = {1}};
    const struct ram_generate_opts generate = {.prompt = "a", .reserved = {1}};
    const struct ram_synthesize_opts synthesize = {.ids = true, .reserved = {1}};
    struct ram_manifest *m = NULL;
    struct ram_plan *plan = NULL;
    struct ram_score *score = NULL;
    struct ram_err err = {0};
    char *text = NULL;
    size_t size;
    int statuses[10];
    (void)state;

    assert_int_equal(ram_allocate(manifest, &allocate, &plan, &err), RAM_EUSAGE);
    assert_non_null(strstr(err.message, "struct ram_allocate_opts: reserved[3]"));
    ok(ram_allocate(manifest, NULL, &plan, &(struct ram_err){0}), &err);
    statuses[0] = ram_analyze(ckpt, &analyze, NULL, &m, &err);
    statuses[1] = ram_analyze(ckpt, NULL, &run, &m, &err);
    statuses[2] = ram_probe_check(ckpt, &probe, &err);
    statuses[3] = ram_probe(ckpt, manifest, &probe, NULL, &err);
    statuses[4] = ram_convert(ckpt, plan, "/nowhere/out", &convert, NULL, RAM_TEXT, NULL, &err);
    statuses[5] = ram_quantize(ckpt, "/nowhere/out", &nested, NULL, NULL, &err);
    statuses[6] = ram_quantize(ckpt, "/nowhere/out", &quantize, NULL, NULL, &err);
    statuses[7] = ram_evaluate(ckpt, NULL, &evaluate, NULL, &score, &err);
    statuses[8] = ram_generate(ckpt, &generate, NULL, NULL, NULL, &err);
    statuses[9] = ram_synthesize(ckpt, &synthesize, NULL, RAM_TEXT, &text, &size, &err);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] != RAM_EUSAGE)
            fail_msg("call %zu: status %d", i, statuses[i]);
    ram_plan_free(plan);
}

static void entries_and_units_are_visited(void **state)
{
    const struct ram_allocate_opts opts = {.method = "uniform", .bits = 4, .group = 64};
    struct ram_entry_info entry;
    struct ram_unit_info unit;
    struct ram_plan *plan = NULL;
    struct ram_totals totals;
    struct ram_err err = {0};
    uint64_t parameters = 0, members = 0, bytes = 0;
    size_t n = 0, n_decided = 0, n_units = 0;
    (void)state;

    for (; ram_manifest_entry(manifest, n, &entry); n++) {
        parameters += entry.parameters;
        n_decided += entry.decided;
        assert_true(entry.rows * entry.cols == entry.parameters);
        assert_true(isnan(entry.sensitivity));
        assert_true(entry.decided == !isnan(entry.kurtosis));
        assert_int_equal(entry.expert, -1);
    }
    assert_int_equal(n, manifest->n_entries);
    assert_true(parameters == manifest->parameters);
    assert_true(n_decided > 0 && n_decided < n);
    assert_false(ram_manifest_entry(manifest, SIZE_MAX, &entry));

    ok(ram_allocate(manifest, &opts, &plan, &err), &err);
    ram_plan_totals(plan, &totals);
    for (; ram_plan_unit(plan, n_units, &unit); n_units++) {
        bytes += unit.bytes;
        members += unit.members;
        assert_non_null(unit.reason);
        assert_true(isnan(unit.score));
        assert_true(unit.bits == 16 || (unit.bits == 4 && unit.group > 0));
    }
    assert_true(bytes == totals.bytes);
    assert_true(members <= n && n_units == plan->n_units);
    ram_plan_free(plan);
}

static void lists_are_those_of_the_options(void **state)
{
    const char *what = NULL;
    struct ram_effort efforts[RAM_N_EFFORTS];
    enum ram_effort_level usual;
    struct ram_err err = {0};
    (void)state;

    assert_string_equal(ram_version(), RAM_VERSION);
    ok(ram_efforts(manifest, NULL, efforts, &usual, &err), &err);
    for (size_t i = 0; i < RAM_N_EFFORTS; i++)
        assert_string_equal(ram_list_item(RAM_LIST_EFFORTS, i, NULL), efforts[i].name);
    assert_string_equal(ram_list_item(RAM_LIST_PROFILES, RAM_PROFILE_CPU, &what), "cpu");
    assert_true(what && *what);
    for (size_t i = 0; ram_list_item(RAM_LIST_METHODS, i, NULL); i++) {
        const struct ram_allocate_opts opts = {.method = ram_list_item(RAM_LIST_METHODS, i, NULL)};
        struct ram_plan *plan = NULL;
        ok(ram_allocate(manifest, &opts, &plan, &err), &err);
        ram_plan_free(plan);
    }
    for (int list = RAM_LIST_METHODS; list <= RAM_LIST_FAMILIES; list++) {
        assert_non_null(ram_list_item((enum ram_list)list, 0, NULL));
        assert_null(ram_list_item((enum ram_list)list, 1000, NULL));
    }
    assert_null(ram_list_item((enum ram_list)99, 0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_is_the_default),
        cmocka_unit_test(what_is_needed_is_named),
        cmocka_unit_test(unknown_members_are_refused),
        cmocka_unit_test(entries_and_units_are_visited),
        cmocka_unit_test(lists_are_those_of_the_options),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
