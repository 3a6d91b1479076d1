/* Moments: distributions whose moments are known, cuts, large means, bad weights. */
#include "analyze/moment.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_close(double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("%.17g is not %.17g", got, want);
}

static void four_numbers(void **state)
{
    const float w[] = {1, 2, 3, 4};
    struct ram_moments m;
    struct ram_stats s;
    (void)state;

    ram_moments_block(w, 4, &m);
    ram_moments_stats(&m, &s);
    assert_int_equal(m.n, 4);
    assert_close(s.mean, 2.5, 1e-15);
    assert_close(s.std, sqrt(1.25), 1e-15);
    assert_close(s.rms, sqrt(7.5), 1e-15);
    assert_true(s.min == 1 && s.max == 4);
    assert_close(ram_moments_kurtosis(&m), 2.5625 / (1.25 * 1.25) - 3, 1e-14);
    assert_close(ram_moments_output(&m), 3 / (16 * sqrt(12) * sqrt(7.5)), 1e-14);
}

/* Of 0 .. n - 1: variance (n^2 - 1) / 12, excess kurtosis -6 (n^2 + 1) / (5 (n^2 - 1)). Far from
 * zero, where powers of the values themselves would have lost everything. */
static void uniform_far_away(void **state)
{
    enum { N = 100003 };
    static const float offsets[] = {0, -N / 2, 1e6f, -1.6e7f};
    const double n = N;
    float *const w = malloc(N * sizeof *w);
    (void)state;

    assert_non_null(w);
    for (size_t k = 0; k < sizeof offsets / sizeof *offsets; k++) {
        struct ram_moments m;
        struct ram_stats s;
        for (int i = 0; i < N; i++)
            w[(size_t)i * 7919 % N] = offsets[k] + (float)i;
        ram_moments_block(w, N, &m);
        ram_moments_stats(&m, &s);
        assert_true(fabs(s.mean - ((double)offsets[k] + (n - 1) / 2)) < 1e-8);
        assert_close(s.std, sqrt((n * n - 1) / 12), 1e-12);
        assert_close(ram_moments_kurtosis(&m), -1.2 * (n * n + 1) / (n * n - 1), 1e-11);
        assert_true(m.min == offsets[k] && m.max == offsets[k] + N - 1);
    }
    free(w);
}

/* One 1 among n - 1 zeros: p = 1/n, excess kurtosis (1 - 6 p q) / (p q). The first weight, about
 * which powers are summed, is the outlier once. */
static void one_hot(void **state)
{
    enum { N = 10000 };
    const double pq = 1.0 / N * (1 - 1.0 / N);
    float *const w = calloc(N, sizeof *w);
    (void)state;

    assert_non_null(w);
    for (size_t at = 0; at < N; at += 4999) {
        struct ram_moments m;
        memset(w, 0, N * sizeof *w);
        w[at] = 1000;
        ram_moments_block(w, N, &m);
        assert_close(m.m2 / N, 1e6 * pq, 1e-12);
        assert_close(ram_moments_kurtosis(&m), (1 - 6 * pq) / pq, 1e-9);
    }
    free(w);
}

static void nothing_and_constants(void **state)
{
    struct ram_moments m = {0};
    struct ram_stats s;
    float w[5000];
    (void)state;

    ram_moments_stats(&m, &s);
    assert_true(s.mean == 0 && s.std == 0 && s.rms == 0 && s.min == 0 && s.max == 0);
    assert_true(ram_moments_kurtosis(&m) == 0 && ram_moments_output(&m) == 0);
    for (int i = 0; i < 5000; i++)
        w[i] = 0.1f;
    ram_moments_block(w, 5000, &m);
    ram_moments_stats(&m, &s);
    assert_true(s.std == 0 && s.mean == (double)0.1f && ram_moments_kurtosis(&m) == 0);
    assert_true(ram_moments_output(&m) == 0);
    memset(w, 0, sizeof w);
    w[17] = -0.0f;
    ram_moments_block(w, 5000, &m);
    assert_true(ram_moments_output(&m) == 0 && !signbit(m.min) && !signbit(m.max));
}

/* A matrix cut at any places and merged in order: the same but for rounding, and the same cut
 * gives the same bits. */
static void cuts(void **state)
{
    enum { N = 50000 };
    float *const w = malloc(N * sizeof *w);
    struct ram_moments whole, cut[2];
    (void)state;

    assert_non_null(w);
    ram_rng_normal(ram_rng_for(1, "cuts"), 0, N, w);
    for (int i = 0; i < N; i++)
        w[i] = 3 + 0.02f * w[i] * w[i] * w[i];
    ram_moments_block(w, N, &whole);
    for (size_t step = 1; step < N; step = step * 3 + 1) {
        memset(cut, 0, sizeof cut);
        for (int k = 0; k < 2; k++) {
            for (size_t i = 0; i < N; i += step) {
                struct ram_moments next;
                ram_moments_block(w + i, N - i < step ? N - i : step, &next);
                ram_moments_merge(&cut[k], &next);
            }
        }
        assert_memory_equal(&cut[0], &cut[1], sizeof cut[0]);
        assert_int_equal(cut[0].n, N);
        assert_close(cut[0].mean, whole.mean, 1e-13);
        assert_close(cut[0].m2, whole.m2, 1e-11);
        assert_close(cut[0].m3, whole.m3, 1e-9);
        assert_close(cut[0].m4, whole.m4, 1e-11);
        assert_true(cut[0].min == whole.min && cut[0].max == whole.max);
    }
    free(w);
}

static void bad_weights(void **state)
{
    enum { N = 20000 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float *const w = malloc(N * sizeof *w);
    (void)state;

    assert_non_null(w);
    for (size_t k = 0; k < 3; k++) {
        for (size_t at = 0; at < N; at = at * 5 + 3) {
            struct ram_moments m = {0}, next;
            ram_rng_normal(ram_rng_for(2, "bad"), 0, N, w);
            w[at] = bad[k];
            w[N - 1] = bad[k];
            ram_moments_block(w, N, &m);
            assert_int_equal(m.n_bad, 2);
            assert_int_equal(m.first_bad, at);
            m = (struct ram_moments){0};
            for (size_t i = 0; i < N; i += 5000) {
                ram_moments_block(w + i, 5000, &next);
                ram_moments_merge(&m, &next);
            }
            assert_int_equal(m.n_bad, 2);
            assert_int_equal(m.first_bad, at);
        }
    }
    /* Not bad: the largest floats and the smallest. */
    for (int i = 0; i < N; i++)
        w[i] = i % 2 ? 3.4e38f : i % 3 ? -3.4e38f : 1e-45f;
    struct ram_moments m;
    ram_moments_block(w, N, &m);
    assert_true(m.n_bad == 0 && isfinite(ram_moments_kurtosis(&m)));
    free(w);
}

/* Normal weights: kurtosis 0, a range of some 9 to 11 standard deviations. */
static void normal(void **state)
{
    enum { N = 1 << 20 };
    float *const w = malloc(N * sizeof *w);
    struct ram_moments m;
    struct ram_stats s;
    (void)state;

    assert_non_null(w);
    ram_rng_normal(ram_rng_for(5, "normal"), 0, N, w);
    ram_moments_block(w, N, &m);
    ram_moments_stats(&m, &s);
    assert_true(fabs(s.mean) < 4 / sqrt(N) && fabs(s.std - 1) < 4 / sqrt(2.0 * N));
    assert_true(fabs(ram_moments_kurtosis(&m)) < 4 * sqrt(24.0 / N));
    assert_true(ram_moments_output(&m) > 8.5 / 55.4 && ram_moments_output(&m) < 12 / 55.4);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_numbers), cmocka_unit_test(uniform_far_away),
        cmocka_unit_test(one_hot),      cmocka_unit_test(nothing_and_constants),
        cmocka_unit_test(cuts),         cmocka_unit_test(bad_weights),
        cmocka_unit_test(normal),
    };
    return cmocka_run_group_tests_name("analyze/moment", tests, NULL, NULL);
}
