/* The sampled `output` metric against its closed form, and against its definition. */
#include "analyze/moment.h"
#include "analyze/noise.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static double sample(const float *w, size_t rows, size_t cols, size_t n, uint64_t seed, size_t step)
{
    struct ram_err err = {0};
    struct ram_noise noise = {.seed = seed, .name = "t", .cols = cols, .n = n};
    struct ram_moments moments;
    double sums[2] = {0};

    float *x = ram_calloc(cols * n, sizeof *x, &err);
    float *workspace = ram_calloc(ram_noise_workspace(&noise, step), sizeof *workspace, &err);
    assert_non_null(x);
    assert_non_null(workspace);
    noise.x = x;
    ram_noise_columns(&noise, x);
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (size_t i = 0; i < cols; i++)
            sum += (double)x[i * n + j] * (double)x[i * n + j];
        assert_true(fabs(sum - 1) < 1e-6);
    }
    for (size_t row = 0; row < rows; row += step) {
        const size_t m = rows - row < step ? rows - row : step;
        double part[2];
        assert_int_equal(ram_noise_block(&noise, w + row * cols, row, m, workspace, part, &err),
                         RAM_OK);
        sums[0] += part[0];
        sums[1] += part[1];
    }
    free(x);
    free(workspace);
    ram_moments_block(w, rows * cols, &moments);
    return ram_noise_output(sums, (double)moments.max - (double)moments.min);
}

/* The ratio of the two is 1 with a deviation of about 2 % for 32 columns of some hundred rows. */
static void agrees_with_the_closed_form(void **state)
{
    static const size_t shapes[][2] = {{300, 200}, {64, 1024}, {2000, 33}};
    struct ram_err err = {0};
    (void)state;

    for (size_t s = 0; s < 3; s++) {
        const size_t rows = shapes[s][0], cols = shapes[s][1];
        float *w = ram_calloc(rows * cols, sizeof *w, &err);
        struct ram_moments moments;
        double sum = 0;
        assert_non_null(w);
        ram_rng_normal(ram_rng_for(s, "weights"), 0, rows * cols, w);
        ram_moments_block(w, rows * cols, &moments);
        const double closed = ram_moments_output(&moments);
        for (uint64_t seed = 1; seed <= 8; seed++) {
            const double ratio = sample(w, rows, cols, 32, seed, 50) / closed;
            assert_true(fabs(ratio - 1) < 0.1);
            sum += ratio;
        }
        assert_true(fabs(sum / 8 - 1) < 0.03);
        free(w);
    }
}

/* Cutting in other blocks changes nothing but the order of sums; another seed changes all. */
static void blocks_do_not_matter(void **state)
{
    enum { ROWS = 101, COLS = 67 };
    float w[ROWS * COLS];
    (void)state;

    ram_rng_normal(ram_rng_for(9, "weights"), 0, ROWS * COLS, w);
    const double d = sample(w, ROWS, COLS, 8, 1, ROWS);
    assert_true(fabs(sample(w, ROWS, COLS, 8, 1, 7) / d - 1) < 1e-12);
    assert_true(fabs(sample(w, ROWS, COLS, 8, 2, 7) / d - 1) > 1e-6);
}

/* One column of one weight: W X = w, E X = e, and e is uniform in +-range / 32. */
static void noise_is_uniform(void **state)
{
    enum { ROWS = 4000 };
    float w[ROWS];
    double sums[2];
    const float one = 1;
    float workspace[2 * ROWS];
    struct ram_err err = {0};
    const struct ram_noise noise = {.seed = 3, .name = "t", .cols = 1, .n = 1, .x = &one};
    (void)state;

    for (int i = 0; i < ROWS; i++)
        w[i] = i % 2 ? 2 : -2;
    assert_int_equal(ram_noise_workspace(&noise, ROWS), 2 * ROWS);
    assert_int_equal(ram_noise_block(&noise, w, 0, ROWS, workspace, sums, &err), RAM_OK);
    double mean = 0, largest = 0;
    for (int i = 0; i < ROWS; i++) {
        mean += (double)workspace[i] / ROWS;
        largest = fmax(largest, fabs((double)workspace[i]));
    }
    assert_true(sums[1] == 4.0 * ROWS);
    assert_true(fabs(mean) < 0.04 && largest <= 1 && largest > 0.99);
    assert_true(fabs(sums[0] / ROWS - 1.0 / 3) < 0.02);
    const double none[2] = {1, 0};
    assert_true(ram_noise_output(none, 1) == 0);
    assert_true(ram_noise_output(sums, 4) == 4.0 / 32 * sqrt(sums[0] / sums[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_closed_form),
        cmocka_unit_test(blocks_do_not_matter),
        cmocka_unit_test(noise_is_uniform),
    };
    return cmocka_run_group_tests_name("analyze/noise", tests, NULL, NULL);
}
