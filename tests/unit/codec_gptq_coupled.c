/*
 * Rows that are coded for each other: what it minimises falls, nothing changes where outputs do not
 * depend on each other, and the first phases are what the definition says.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "codec/gptq_coupled.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 90, COLS = 128, STRONG = 6, TOKENS = 400 };

struct coded {
    uint8_t codes[ROWS * COLS], scales[ROWS * COLS], biases[ROWS * COLS];
    float values[ROWS * COLS];
};

static struct ram_err err;
static float w[ROWS * COLS];

static float *zeros(size_t n)
{
    float *x = ram_calloc(n, sizeof *x, &err);
    assert_non_null(x);
    return x;
}

/* The moments [n, n] of vectors with a few strong directions; independent: of none. */
static float *moments(size_t n, const char *name, bool independent)
{
    float *m = zeros(n * n), *draw = zeros(TOKENS * (STRONG + n)), *mix = zeros(STRONG * n);
    float *x = zeros(n);

    ram_rng_normal(ram_rng_for(3, name), 0, TOKENS * (STRONG + n), draw);
    ram_rng_normal(ram_rng_for(4, name), 0, STRONG * n, mix);
    for (size_t t = 0; t < TOKENS; t++) {
        const float *z = draw + t * (STRONG + n);
        for (size_t i = 0; i < n; i++) {
            x[i] = 0.5f * z[STRONG + i];
            for (size_t k = 0; k < STRONG; k++)
                x[i] += mix[k * n + i] * z[k];
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                m[i * n + j] += i == j || !independent ? x[i] * x[j] : 0;
    }
    free(draw);
    free(mix);
    free(x);
    return m;
}

static struct ram_gptq_factor *inputs(float **h)
{
    struct ram_gptq_factor *factor;
    float *copy = zeros(COLS * COLS);

    *h = moments(COLS, "inputs", false);
    memcpy(copy, *h, COLS * COLS * sizeof *copy);
    assert_int_equal(ram_gptq_factor_new(&factor, "h", copy, COLS, 0.05, NULL, &err), RAM_OK);
    return factor;
}

static double encode(const struct ram_gptq *how, size_t n, struct coded *out)
{
    const struct ram_gptq_bytes bytes = {out->codes, out->scales, out->biases};
    double sum, found = 0;

    assert_int_equal(ram_gptq_encode(how, w, n, COLS, &bytes, &sum, &err), RAM_OK);
    ram_affine_decode(&how->form, out->codes, out->scales, out->biases, n, COLS, out->values);
    for (size_t i = 0; i < n * COLS; i++) {
        const double e = (double)out->values[i] - (double)w[i];
        found += e * e;
    }
    assert_true(fabs(found - sum) <= 1e-6 * found);
    return sum;
}

/* tr(G E H E^T), G damped by half of its mean diagonal. */
static double cost(const float *g, size_t n, const float *h, const struct coded *c)
{
    static double e[ROWS * COLS], eh[ROWS * COLS];
    double mean = 0, sum = 0;

    for (size_t i = 0; i < n; i++)
        mean += (double)g[i * (n + 1)] / (double)n;
    for (size_t i = 0; i < n * COLS; i++)
        e[i] = (double)c->values[i] - (double)w[i];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < COLS; j++) {
            eh[i * COLS + j] = 0;
            for (size_t k = 0; k < COLS; k++)
                eh[i * COLS + j] += e[i * COLS + k] * (double)h[k * COLS + j];
        }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            const double weight = (double)g[i * n + k] + (i == k ? mean / 2 : 0);
            for (size_t j = 0; j < COLS; j++)
                sum += weight * e[i * COLS + j] * eh[k * COLS + j];
        }
    return sum;
}

static int setup(void **state)
{
    (void)state;
    ram_rng_normal(ram_rng_for(5, "weights"), 0, ROWS * COLS, w);
    for (size_t i = 0; i < ROWS * COLS; i++)
        w[i] *= 0.02f;
    return 0;
}

static void the_cost_falls(void **state)
{
    static const size_t rows[] = {2, 16, 17, ROWS};
    static struct coded alone, together;
    float *h;
    struct ram_gptq_factor *of_inputs = inputs(&h);

    (void)state;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (int bits = 2; bits <= 4; bits++) {
            const size_t n = rows[k];
            struct ram_gptq_factor *of_outputs;
            struct ram_gptq how = {.form = {.bits = bits, .group = 64}, .factor = of_inputs};
            float *g = moments(n, "outputs", false);
            assert_int_equal(ram_gptq_coupling_new(&of_outputs, "g", g, n, NULL, &err), RAM_OK);
            how.sweeps = RAM_GPTQ_SWEEPS;
            encode(&how, n, &alone);
            how.outputs = of_outputs;
            encode(&how, n, &together);
            const double ratio = cost(g, n, h, &together) / cost(g, n, h, &alone);
            /* Up to 16 rows are one phase, whose rows do not know of each other. */
            if (n <= 16 ? ratio != 1 : ratio > (n == ROWS ? 0.8 : 1))
                fail_msg("%zu rows, %d bits: %.3f of the cost", n, bits, ratio);
            ram_gptq_factor_free(of_outputs);
            free(g);
        }
    ram_gptq_factor_free(of_inputs);
    free(h);
}

static void independent_outputs_change_nothing(void **state)
{
    static struct coded alone, together;
    struct ram_gptq_factor *of_outputs;
    float *h, *g = moments(ROWS, "outputs", true);
    struct ram_gptq_factor *of_inputs = inputs(&h);
    struct ram_gptq how = {.form = {.bits = 3, .group = 32}, .factor = of_inputs, .sweeps = 1};

    (void)state;
    assert_int_equal(ram_gptq_coupling_new(&of_outputs, "g", g, ROWS, NULL, &err), RAM_OK);
    encode(&how, ROWS, &alone);
    how.outputs = of_outputs;
    encode(&how, ROWS, &together);
    assert_memory_equal(alone.values, together.values, sizeof alone.values);
    ram_gptq_factor_free(of_outputs);
    ram_gptq_factor_free(of_inputs);
    free(g);
    free(h);
}

/* Without derivatives nothing is known; of another matrix it is a fault of the caller. */
static void nothing_and_something_else(void **state)
{
    static struct coded out;
    const struct ram_gptq_bytes bytes = {out.codes, out.scales, out.biases};
    struct ram_gptq_factor *factor;
    float *none = zeros(ROWS * ROWS), *g = moments(ROWS, "outputs", false);
    struct ram_gptq how = {.form = {.bits = 3, .group = 32}};
    double sum;

    (void)state;
    assert_int_equal(ram_gptq_coupling_new(&factor, "g", none, ROWS, NULL, &err), RAM_OK);
    assert_null(factor);
    assert_int_equal(ram_gptq_coupling_new(&factor, "g", g, ROWS, NULL, &err), RAM_OK);
    how.outputs = factor;
    assert_int_equal(ram_gptq_encode(&how, w, ROWS - 1, COLS, &bytes, &sum, &err), RAM_EINTERNAL);
    err = (struct ram_err){0};
    ram_gptq_factor_free(factor);
    free(none);
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cost_falls),
        cmocka_unit_test(independent_outputs_change_nothing),
        cmocka_unit_test(nothing_and_something_else),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
