/* The row loops: every variant gives the reference's bits, and the reference is near the truth as
 * f64 from the C library knows it. */
#include "kern/nn.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_N = 1100 };

static const size_t lengths[] = {1, 2, 15, 16, 17, 31, 64, 100, 128, 1000, 1024, 1099};

static float *random_row(const char *name, float scale)
{
    float *x = calloc(MAX_N + 16, sizeof *x);
    assert_non_null(x);
    ram_rng_normal(ram_rng_for(1, name), 0, MAX_N, x);
    for (size_t i = 0; i < MAX_N; i++)
        x[i] *= scale;
    return x;
}

static void exp_is_within_two_ulp(void **state)
{
    (void)state;
    for (int i = -870000; i <= 880000; i++) {
        const float x = (float)i * 1e-4f;
        const double truth = exp((double)x), found = (double)ram_nn_exp(x);
        const double ulp = ldexp(1, ilogb(truth) - 23);
        if (!(fabs(found - truth) <= 2 * ulp))
            fail_msg("exp(%.9g) = %.9g, expected %.9g", (double)x, found, truth);
    }
    assert_true(ram_nn_exp(-87.5f) == 0);
    assert_true(ram_nn_exp(-INFINITY) == 0);
    assert_true(ram_nn_exp(1000) == ram_nn_exp(88));
    assert_true(isnan(ram_nn_exp(NAN)));
}

struct row_results {
    float rmsnorm[MAX_N], swiglu[MAX_N], softmax[MAX_N], halves[MAX_N], pairs[MAX_N], axpy[MAX_N];
    float state[3 * MAX_N], change[MAX_N], delta[MAX_N];
    double lse, divergence;
    size_t argmax;
};

static void run(const struct ram_nn *nn, size_t n, const float *x, const float *y,
                struct row_results *out)
{
    size_t at;
    memset(out, 0, sizeof *out);
    nn->rmsnorm(x, y, n, 1e-6, out->rmsnorm);
    nn->swiglu(x, y, n, out->swiglu);
    memcpy(out->softmax, x, n * sizeof *x);
    nn->softmax(out->softmax, n, 0.7f);
    out->lse = nn->log_sum_exp(x, n, &out->argmax);
    out->divergence = nn->divergence(x, out->lse, y, nn->log_sum_exp(y, n, &at), n);
    memcpy(out->halves, x, n * sizeof *x);
    nn->rotate(out->halves, y, y + 3, n / 2, false);
    memcpy(out->pairs, x, n * sizeof *x);
    nn->rotate(out->pairs, y, y + 3, n / 2, true);
    memcpy(out->axpy, x, n * sizeof *x);
    nn->axpy(0.3f, y, n, out->axpy);
    const struct ram_delta_step step = {x + 1, y + 2, y, 3, n, 0.9f, 0.6f};
    for (size_t i = 0; i < 3 * n; i++)
        out->state[i] = x[i / 3];
    nn->delta(&step, out->state, out->change, out->delta);
}

static void variants_give_the_same_bits(void **state)
{
    const struct ram_nn *tables[8];
    const size_t n_tables = ram_nn_all(tables);
    struct row_results *expected = malloc(sizeof *expected), *found = malloc(sizeof *found);
    (void)state;

    assert_non_null(expected);
    assert_non_null(found);
    for (int scale = 1; scale <= 1000; scale *= 10) {
        float *x = random_row("x", (float)scale), *y = random_row("y", (float)scale);
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            run(&ram_nn_ref, lengths[k], x, y, expected);
            for (size_t t = 0; t < n_tables; t++) {
                run(tables[t], lengths[k], x, y, found);
                if (memcmp(found, expected, sizeof *found))
                    fail_msg("%s differs at n = %zu, scale %d", tables[t]->name, lengths[k], scale);
            }
        }
        free(x);
        free(y);
    }
    free(expected);
    free(found);
}

static void near(double found, double truth, double tolerance, const char *what)
{
    if (!(fabs(found - truth) <= tolerance))
        fail_msg("%s: %.9g, expected %.9g", what, found, truth);
}

static void the_reference_is_near_the_truth(void **state)
{
    const size_t n = 1000;
    float *x = random_row("x", 3), *y = random_row("y", 3);
    struct row_results *r = malloc(sizeof *r);
    double squares = 0, sum = 0, sum_y = 0, scaled = 0, kl = 0;
    (void)state;

    assert_non_null(r);
    run(&ram_nn_ref, n, x, y, r);
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        sum += exp((double)x[i]);
        sum_y += exp((double)y[i]);
        scaled += exp(0.7 * (double)x[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const double p = (double)x[i] - log(sum), q = (double)y[i] - log(sum_y);
        kl += exp(p) * (p - q);
        near((double)r->rmsnorm[i], (double)x[i] * (double)y[i] / sqrt(squares / 1000 + 1e-6), 1e-5,
             "rmsnorm");
        near((double)r->swiglu[i], (double)x[i] * (double)y[i] / (1 + exp(-(double)x[i])), 1e-5,
             "swiglu");
        near((double)r->softmax[i], exp(0.7 * (double)x[i]) / scaled, 1e-7, "softmax");
    }
    near(r->lse, log(sum), 1e-6, "log_sum_exp");
    near(r->divergence, kl, 1e-5, "divergence");
    free(x);
    free(y);
    free(r);
}

/* A head with a key of 2 and a value of 1 element, by hand: the state (1, 2) decays to (.5, 1),
 * gives .5 x 2 - 1 = 0 for the key, is corrected by .25 x 4 along it, and is read. */
static void a_delta_step_by_hand(void **state)
{
    const float q[] = {3, 1}, k[] = {2, -1}, v[] = {4};
    const struct ram_delta_step step = {q, k, v, 2, 1, 0.5f, 0.25f};
    float s[] = {1, 2}, change, out;
    (void)state;

    ram_nn()->delta(&step, s, &change, &out);
    assert_true(change == 1);
    assert_true(s[0] == 2.5f && s[1] == 0);
    assert_true(out == 7.5f);
}

static void hostile_rows(void **state)
{
    const struct ram_nn *tables[8];
    const size_t n_tables = ram_nn_all(tables);
    (void)state;

    for (size_t t = 0; t < n_tables; t++) {
        float x[40];
        size_t at;
        for (size_t i = 0; i < 40; i++)
            x[i] = (float)(i % 7);
        assert_true(isfinite(tables[t]->log_sum_exp(x, 40, &at)));
        assert_int_equal(at, 6);
        x[21] = NAN;
        assert_true(isnan(tables[t]->log_sum_exp(x, 40, &at)));
        x[0] = NAN;
        assert_true(isnan(tables[t]->log_sum_exp(x, 40, &at)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_two_ulp),
        cmocka_unit_test(variants_give_the_same_bits),
        cmocka_unit_test(the_reference_is_near_the_truth),
        cmocka_unit_test(a_delta_step_by_hand),
        cmocka_unit_test(hostile_rows),
    };
    return cmocka_run_group_tests_name("kern/nn", tests, NULL, NULL);
}
