/* The error metric: groups whose error can be counted by hand, short groups, normal weights. */
#include "analyze/recon.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GROUP = 128 };

/* A row of n weights that has 0 and 15 in it, so that the step is 1, and x everywhere else. */
static void fill(float *w, size_t n, float x)
{
    for (size_t i = 0; i < n; i++)
        w[i] = i == 1 ? 0 : i == n - 1 ? 15 : x;
}

static void by_hand(void **state)
{
    static const struct {
        float x, error;
    } cases[] = {
        {3, 0},
        {3.25f, 0.25f},
        {7.75f, 0.25f}, /* nearest */
        {0.5f, 0.5f},
        {1.5f, 0.5f},
        {2.5f, 0.5f}, /* ties: one half whichever way */
        {14.625f, 0.375f},
    };
    float w[GROUP];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill(w, GROUP, cases[i].x);
        assert_true(ram_recon_block(w, 1, GROUP) ==
                    (double)(cases[i].error * cases[i].error) * (GROUP - 2));
        for (int k = 0; k < GROUP; k++) /* moving a group does not matter */
            w[k] = w[k] / 4 - 2;
        assert_true(ram_recon_block(w, 1, GROUP) ==
                    (double)(cases[i].error * cases[i].error) * (GROUP - 2) / 16);
    }
}

/* 0 and 15 in each of three whole groups and a tail: only the tail's own range counts for it. */
static void short_groups(void **state)
{
    enum { COLS = 3 * GROUP + 37, ROWS = 3 };
    float w[ROWS * COLS];
    (void)state;

    for (size_t tail = 1; tail <= 37; tail++) {
        const size_t cols = 3 * GROUP + tail;
        for (size_t row = 0; row < ROWS; row++) {
            for (size_t g = 0; g < 3; g++)
                fill(w + row * cols + g * GROUP, GROUP, 4.25f);
            for (size_t i = 0; i < tail; i++) /* a step of 1/15 hits both values */
                w[row * cols + 3 * GROUP + i] = i % 2 ? 100 : 101;
        }
        assert_true(ram_recon_block(w, ROWS, cols) == ROWS * 3 * (GROUP - 2) * 0.0625);
    }
    /* Shorter than a group. */
    fill(w, 20, 4.25f);
    assert_true(ram_recon_block(w, 1, 20) == 18 * 0.0625);
}

static void degenerate(void **state)
{
    float w[2 * GROUP];
    struct ram_moments m;
    (void)state;

    for (int i = 0; i < 2 * GROUP; i++)
        w[i] = i < GROUP ? 0.1f : 0;
    assert_true(ram_recon_block(w, 1, 2 * GROUP) == 0);
    memset(w, 0, sizeof w);
    ram_moments_block(w, 2 * GROUP, &m);
    assert_true(ram_recon_nrmse(0, &m) == 0);
    /* Below the floor of the step everything rounds to the minimum. */
    for (int i = 0; i < GROUP; i++)
        w[i] = i ? 1e-14f : 0;
    assert_float_equal(ram_recon_block(w, 1, GROUP) / (127 * 1e-28), 1, 1e-5);
}

/* 4-bit groups of 128 of normal weights: 0.100, whatever the scale, and blocks add up. */
static void normal(void **state)
{
    enum { ROWS = 256, COLS = 2048 + 128 };
    float *const w = malloc(ROWS * COLS * sizeof *w);
    struct ram_moments m;
    double sum = 0, whole;
    (void)state;

    assert_non_null(w);
    ram_rng_normal(ram_rng_for(6, "recon"), 0, ROWS * COLS, w);
    for (size_t i = 0; i < ROWS * COLS; i++)
        w[i] *= 0.02f;
    ram_moments_block(w, ROWS * COLS, &m);
    whole = ram_recon_block(w, ROWS, COLS);
    assert_float_equal(ram_recon_nrmse(whole, &m), 0.100, 0.001);
    for (size_t row = 0; row < ROWS; row++)
        sum += ram_recon_block(w + row * COLS, 1, COLS);
    assert_true(sum == whole);
    free(w);
}

/* Where squares leave the range of f32. The step is 1e-12 at least, so that of smaller weights the
 * minimum alone remains. */
static void extreme_weights(void **state)
{
    const double left = 3.25 * 3.25 * (GROUP - 2) + 15 * 15;
    float w[GROUP];
    (void)state;

    fill(w, GROUP, 3.25f);
    for (int k = 0; k < GROUP; k++)
        w[k] *= 0x1p100f;
    assert_true(ram_recon_block(w, 1, GROUP) == ldexp(0.0625 * (GROUP - 2), 200));
    for (int k = 0; k < GROUP; k++)
        w[k] = w[k] * 0x1p-85f * 0x1p-85f;
    assert_true(ram_recon_block(w, 1, GROUP) == ldexp(left, -140));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),      cmocka_unit_test(extreme_weights),
        cmocka_unit_test(short_groups), cmocka_unit_test(degenerate),
        cmocka_unit_test(normal),
    };
    return cmocka_run_group_tests_name("analyze/recon", tests, NULL, NULL);
}
