/*
 * GPTQ against what it promises: under correlated inputs it beats the search, the search beats
 * rounding; no row is worse than the search; a textbook implementation, with the inverse of H and
 * in f64, finds the same codes.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "codec/affine_search.h"
#include "codec/gptq.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_COLS = 1152, ROWS = 24, TOKENS = 640, MAX_N = ROWS * MAX_COLS };

struct encoded {
    uint8_t codes[MAX_N], scales[MAX_N], biases[MAX_N];
    float values[MAX_N];
};

static struct ram_err err;

static float *zeros(size_t n)
{
    float *x = ram_calloc(n, sizeof *x, &err);
    assert_non_null(x);
    return x;
}

/* H of inputs with a few strong directions, as a transformer's are, and channels of any size. */
static float *correlated(size_t cols)
{
    enum { STRONG = 12 };
    float *h = zeros(cols * cols), *z = zeros(TOKENS * (STRONG + cols)),
          *mix = zeros(STRONG * cols);
    float *x = zeros(cols);

    ram_rng_normal(ram_rng_for(3, "inputs"), 0, TOKENS * (STRONG + cols), z);
    ram_rng_normal(ram_rng_for(4, "mix"), 0, STRONG * cols, mix);
    for (size_t t = 0; t < TOKENS; t++) {
        const float *draw = z + t * (STRONG + cols);
        for (size_t j = 0; j < cols; j++) {
            x[j] = 0.3f * draw[STRONG + j];
            for (size_t k = 0; k < STRONG; k++)
                x[j] += mix[k * cols + j] * draw[k];
            x[j] *= 0.2f + (float)(j * 7 % 5);
        }
        for (size_t i = 0; i < cols; i++)
            for (size_t j = 0; j < cols; j++)
                h[i * cols + j] += x[i] * x[j];
    }
    free(z);
    free(mix);
    free(x);
    return h;
}

static void weights(size_t n, float *w)
{
    ram_rng_normal(ram_rng_for(5, "weights"), 0, n, w);
    for (size_t i = 0; i < n; i++)
        w[i] *= 0.02f;
}

static struct ram_gptq_factor *factor_of(const float *h, size_t cols, double damp)
{
    struct ram_gptq_factor *factor;
    float *copy = zeros(cols * cols);

    memcpy(copy, h, cols * cols * sizeof *copy);
    assert_int_equal(ram_gptq_factor_new(&factor, "test", copy, cols, damp, NULL, &err), RAM_OK);
    return factor;
}

static double encode(const struct ram_gptq *how, const float *w, size_t n, size_t cols,
                     struct encoded *out)
{
    const struct ram_gptq_bytes bytes = {out->codes, out->scales, out->biases};
    double sum;

    assert_int_equal(ram_gptq_encode(how, w, n, cols, &bytes, &sum, &err), RAM_OK);
    ram_affine_decode(&how->form, out->codes, out->scales, out->biases, n, cols, out->values);
    return sum;
}

/* e H e^T of one row, damped as the factor's H is. */
static double row_error(const float *h, size_t cols, double damp, const float *w, const float *q)
{
    double sum = 0, mean = 0;

    for (size_t j = 0; j < cols; j++)
        mean += (double)h[j * (cols + 1)] / (double)cols;
    for (size_t i = 0; i < cols; i++) {
        const double e = (double)q[i] - (double)w[i];
        double product = damp * mean * e;
        for (size_t j = 0; j < cols; j++)
            product += (double)h[i * cols + j] * ((double)q[j] - (double)w[j]);
        sum += e * product;
    }
    return sum;
}

static double error_of(const float *h, size_t cols, const float *w, const float *q)
{
    double sum = 0;

    for (size_t row = 0; row < ROWS; row++)
        sum += row_error(h, cols, 0, w + row * cols, q + row * cols);
    return sum;
}

static void beats_search_beats_rounding(void **state)
{
    enum { COLS = 256 };
    static float w[MAX_N];
    static struct encoded rounded, searched, coded, swept;
    float *h = correlated(COLS);
    struct ram_gptq_factor *factor = factor_of(h, COLS, 0.05);

    (void)state;
    weights((size_t)ROWS * COLS, w);
    for (size_t b = 0; b < RAM_KERN_N_BITS; b++)
        for (size_t g = 0; g < RAM_KERN_N_GROUPS; g++) {
            struct ram_gptq how = {.form = {.bits = ram_kern_bits[b], .group = ram_kern_groups[g]}};
            ram_affine_encode(&how.form, w, ROWS, COLS, rounded.codes, rounded.scales,
                              rounded.biases);
            ram_affine_decode(&how.form, rounded.codes, rounded.scales, rounded.biases, ROWS, COLS,
                              rounded.values);
            encode(&how, w, ROWS, COLS, &searched);
            how.factor = factor;
            encode(&how, w, ROWS, COLS, &coded);
            how.sweeps = 2;
            encode(&how, w, ROWS, COLS, &swept);
            const double plain = error_of(h, COLS, w, searched.values);
            const double once = error_of(h, COLS, w, coded.values);
            assert_true(plain < error_of(h, COLS, w, rounded.values));
            assert_true(once < 0.5 * plain);
            assert_true(error_of(h, COLS, w, swept.values) < 0.97 * once);
        }
    ram_gptq_factor_free(factor);
    free(h);
}

/* Inputs without correlation: nothing to gain by correcting, so the search must hold. */
static void never_worse_than_search(void **state)
{
    enum { COLS = 192 };
    static float w[MAX_N];
    static struct encoded searched, coded;
    float *correlation = correlated(COLS), *identity = zeros(COLS * COLS);

    (void)state;
    weights((size_t)ROWS * COLS, w);
    for (size_t j = 0; j < COLS; j++)
        identity[j * (COLS + 1)] = 1;
    for (int which = 0; which < 3; which++) {
        const float *const h = which ? correlation : identity;
        if (which == 2) /* a few channels thousands of times as strong, as transformers have them */
            for (size_t i = 0; i < COLS * COLS; i++)
                correlation[i] *=
                    (i / COLS % 60 == 7 ? 100.0f : 1) * (i % COLS % 60 == 7 ? 100 : 1);
        struct ram_gptq_factor *factor = factor_of(h, COLS, 0.05);
        for (size_t b = 0; b < RAM_KERN_N_BITS; b++) {
            struct ram_gptq how = {
                .form = {.bits = ram_kern_bits[b], .group = 64}, .factor = factor, .sweeps = 2};
            const struct ram_search search = {0, factor->importance};
            encode(&how, w, ROWS, COLS, &coded);
            ram_search_encode(&how.form, &search, w, ROWS, COLS, searched.codes, searched.scales,
                              searched.biases);
            ram_affine_decode(&how.form, searched.codes, searched.scales, searched.biases, ROWS,
                              COLS, searched.values);
            for (size_t row = 0; row < ROWS; row++) {
                const size_t at = row * COLS;
                assert_true(row_error(h, COLS, 0.05, w + at, coded.values + at) <=
                            row_error(h, COLS, 0.05, w + at, searched.values + at) * (1 + 1e-4));
            }
        }
        ram_gptq_factor_free(factor);
    }
    free(correlation);
    free(identity);
}

/* However rows are cut, the bytes are the same, and the sum is that of the decoded values. */
static void rows_of(size_t cols)
{
    static float w[MAX_N];
    static struct encoded whole, one;
    float *h = correlated(cols);
    struct ram_gptq how = {.form = {.bits = 3, .group = 64, .scale_type = RAM_SCALE_F16},
                           .factor = factor_of(h, cols, 0.1),
                           .sweeps = 2};
    const size_t code_size = ram_affine_code_size(&how.form, cols);
    const size_t scale_size = ram_affine_scale_size(&how.form, cols);
    double sum = 0;

    weights(ROWS * cols, w);
    const double squared_error = encode(&how, w, ROWS, cols, &whole);
    for (size_t row = 0; row < ROWS; row++) {
        encode(&how, w + row * cols, 1, cols, &one);
        assert_memory_equal(one.codes, whole.codes + row * code_size, code_size);
        assert_memory_equal(one.scales, whole.scales + row * scale_size, scale_size);
        assert_memory_equal(one.biases, whole.biases + row * scale_size, scale_size);
    }
    for (size_t i = 0; i < ROWS * cols; i++)
        sum += ((double)whole.values[i] - (double)w[i]) * ((double)whole.values[i] - (double)w[i]);
    assert_true(fabs(squared_error - sum) <= 1e-9 * sum);
    ram_gptq_factor_free((struct ram_gptq_factor *)(uintptr_t)how.factor);
    free(h);
}

static void rows_are_independent(void **state)
{
    (void)state;
    rows_of(320);
    rows_of(1152);
}

/* More columns than are worked on at a time: no row is worse than the search's, sweeps help, and
 * the error that is told is that of what was coded. */
static void wide_matrices(void **state)
{
    enum { COLS = 1152 };
    static const struct ram_affine forms[] = {
        {.bits = 2, .group = 32}, {.bits = 4, .group = 64}, {.bits = 8, .group = 128}};
    static float w[MAX_N], e[MAX_N];
    static struct encoded searched, coded, swept;
    float *h = correlated(COLS);
    struct ram_gptq_factor *factor = factor_of(h, COLS, 0.05);
    const struct ram_search search = {0, factor->importance};
    double mean = 0; /* of H's diagonal, whose parts a factor is in */

    (void)state;
    for (size_t j = 0; j < COLS; j++)
        mean += (double)h[j * (COLS + 1)] / COLS;
    weights((size_t)ROWS * COLS, w);
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
        struct ram_gptq how = {.form = forms[k], .factor = factor};
        double expected = 0, told, once = 0;
        encode(&how, w, ROWS, COLS, &coded);
        how.sweeps = 2;
        encode(&how, w, ROWS, COLS, &swept);
        ram_search_encode(&how.form, &search, w, ROWS, COLS, searched.codes, searched.scales,
                          searched.biases);
        ram_affine_decode(&how.form, searched.codes, searched.scales, searched.biases, ROWS, COLS,
                          searched.values);
        for (size_t row = 0; row < ROWS; row++) {
            const size_t at = row * COLS;
            const double mine = row_error(h, COLS, 0.05, w + at, swept.values + at);
            assert_true(mine <=
                        row_error(h, COLS, 0.05, w + at, searched.values + at) * (1 + 1e-4));
            once += row_error(h, COLS, 0.05, w + at, coded.values + at);
            expected += mine;
        }
        assert_true(expected < once);
        for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
            e[i] = swept.values[i] - w[i];
        assert_int_equal(ram_gptq_error(factor, e, ROWS, COLS, &told, &err), RAM_OK);
        assert_true(fabs(told * mean / expected - 1) < 1e-4);
    }
    ram_gptq_factor_free(factor);
    free(h);
}

/* ---- the textbook ----------------------------------------------------------------------- */

/* u = upper Cholesky factor of h^-1, by Gauss and Jordan, then column by column. */
static void inverse_factor(const double *h, size_t n, double *u)
{
    double *a = ram_calloc(n * n, sizeof *a, &err), *inverse = ram_calloc(n * n, sizeof *a, &err);

    memcpy(a, h, n * n * sizeof *a);
    for (size_t i = 0; i < n; i++)
        inverse[i * n + i] = 1;
    for (size_t p = 0; p < n; p++) {
        const double pivot = a[p * n + p];
        for (size_t j = 0; j < n; j++) {
            a[p * n + j] /= pivot;
            inverse[p * n + j] /= pivot;
        }
        for (size_t i = 0; i < n; i++) {
            const double factor = a[i * n + p];
            for (size_t j = 0; i != p && j < n; j++) {
                a[i * n + j] -= factor * a[p * n + j];
                inverse[i * n + j] -= factor * inverse[p * n + j];
            }
        }
    }
    memset(u, 0, n * n * sizeof *u);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double sum = inverse[i * n + j];
            for (size_t k = 0; k < i; k++)
                sum -= u[k * n + i] * u[k * n + j];
            u[i * n + j] = i == j ? sqrt(sum) : sum / u[i * n + i];
        }
    free(a);
    free(inverse);
}

static void textbook(const struct ram_affine *form, const double *u, size_t cols, const float *w,
                     float *out)
{
    const size_t group = (size_t)form->group;
    double x[MAX_COLS];
    float scale = 0, bias = 0;

    for (size_t j = 0; j < cols; j++)
        x[j] = (double)w[j];
    for (size_t j = 0; j < cols; j++) {
        if (j % group == 0) {
            float part[128], weight[128];
            uint8_t codes[128], s[2], b[2];
            for (size_t k = 0; k < group; k++) {
                part[k] = (float)x[j + k];
                weight[k] = (float)(1 / (u[(j + k) * (cols + 1)] * u[(j + k) * (cols + 1)]));
            }
            ram_kern()->affine_search(form, 0, part, weight, group, codes, s, b);
            ram_kern()->widen_bf16(s, 1, &scale);
            ram_kern()->widen_bf16(b, 1, &bias);
        }
        const double code = rint((x[j] - (double)bias) / (double)scale);
        const double clamped = fmin(fmax(code, 0), (1 << form->bits) - 1);
        out[j] = scale * (float)clamped + bias;
        const double e = (x[j] - (double)out[j]) / u[j * (cols + 1)];
        for (size_t k = j; k < cols; k++)
            x[k] -= e * u[j * cols + k];
    }
}

static void agrees_with_textbook(void **state)
{
    enum { COLS = 256 };
    static float w[MAX_N], values[MAX_N];
    static struct encoded coded;
    float *h = correlated(COLS);
    double *damped = ram_calloc(COLS * COLS, sizeof *damped, &err), mean = 0;
    double *u = ram_calloc(COLS * COLS, sizeof *u, &err);

    (void)state;
    weights((size_t)ROWS * COLS, w);
    struct ram_gptq how = {.form = {.bits = 4, .group = 64}, .factor = factor_of(h, COLS, 0.1)};
    for (size_t j = 0; j < COLS; j++)
        mean += (double)h[j * (COLS + 1)] / COLS;
    for (size_t i = 0; i < COLS; i++)
        for (size_t j = 0; j < COLS; j++)
            damped[i * COLS + j] = (double)h[i * COLS + j] / mean + (i == j ? 0.1 : 0);
    inverse_factor(damped, COLS, u);
    encode(&how, w, ROWS, COLS, &coded);
    size_t same = 0;
    for (size_t row = 0; row < ROWS; row++)
        textbook(&how.form, u, COLS, w + row * COLS, values + row * COLS);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
        same += values[i] == coded.values[i];
    /* A code on an edge falls either way, and what follows it in the row with it. */
    assert_true(same > (size_t)ROWS * COLS * 9 / 10);
    const double ours = error_of(h, COLS, w, coded.values), theirs = error_of(h, COLS, w, values);
    assert_true(fabs(ours / theirs - 1) < 0.02);
    ram_gptq_factor_free((struct ram_gptq_factor *)(uintptr_t)how.factor);
    free(damped);
    free(u);
    free(h);
}

/* ---- what should not happen ------------------------------------------------------------- */

static void odd_inputs(void **state)
{
    enum { COLS = 96 };
    static float w[MAX_N];
    static struct encoded plain, coded;
    struct ram_gptq_factor *factor;
    struct ram_gptq how = {.form = {.bits = 4, .group = 32}, .sweeps = 2};
    float *h = zeros(COLS * COLS);

    (void)state;
    weights((size_t)ROWS * COLS, w);
    assert_int_equal(ram_gptq_factor_new(&factor, "zero", h, COLS, 0.05, NULL, &err), RAM_OK);
    assert_null(factor);

    h = correlated(COLS);
    h[5 * COLS + 7] = NAN;
    assert_int_equal(ram_gptq_factor_new(&factor, "layer 3", h, COLS, 0.05, NULL, &err),
                     RAM_EFORMAT);
    assert_non_null(strstr(err.message, "layer 3"));
    err = (struct ram_err){0};
    h = zeros(COLS * COLS);
    h[3 * (COLS + 1)] = -1;
    assert_int_equal(ram_gptq_factor_new(&factor, "negative", h, COLS, 0.05, NULL, &err),
                     RAM_EFORMAT);
    err = (struct ram_err){0};

    /* Only the diagonal known: the search weighted by it. */
    float diagonal[COLS];
    for (size_t j = 0; j < COLS; j++)
        diagonal[j] = (float)(j % 3);
    assert_int_equal(ram_gptq_factor_diagonal(&factor, "diagonal", diagonal, COLS, &err), RAM_OK);
    const struct ram_search search = {0, factor->importance};
    ram_search_encode(&how.form, &search, w, ROWS, COLS, plain.codes, plain.scales, plain.biases);
    how.factor = factor;
    encode(&how, w, ROWS, COLS, &coded);
    assert_memory_equal(coded.codes, plain.codes, ROWS * ram_affine_code_size(&how.form, COLS));
    ram_gptq_factor_free(factor);

    /* Columns that no token reaches, and a matrix of other columns. */
    h = correlated(COLS);
    for (size_t j = 0; j < COLS; j++)
        h[40 * COLS + j] = h[j * COLS + 40] = 0;
    assert_int_equal(ram_gptq_factor_new(&factor, "dead", h, COLS, 0.05, NULL, &err), RAM_OK);
    how.factor = factor;
    encode(&how, w, ROWS, COLS, &coded);
    for (size_t row = 0; row < ROWS; row++)
        assert_true(fabsf(coded.values[row * COLS + 40] - w[row * COLS + 40]) < 0.03f);
    const struct ram_gptq_bytes bytes = {coded.codes, coded.scales, coded.biases};
    double sum;
    assert_int_equal(ram_gptq_encode(&how, w, 1, 2 * COLS, &bytes, &sum, &err), RAM_EINTERNAL);
    err = (struct ram_err){0};
    ram_gptq_factor_free(factor);
}

static void odd_weights(void **state)
{
    enum { COLS = 128 };
    static float w[MAX_N];
    static struct encoded coded;
    float *h = correlated(COLS);
    struct ram_gptq_factor *factor = factor_of(h, COLS, 0.05);

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        static const float level[] = {0, 0.3125f, 1e-30f, 1e37f};
        /* At 2 bits MLX itself is half off on the last, and what one column lacks another has. */
        static const float tolerance[] = {0, 0.01f, 0, 2};
        for (size_t b = 0; b < RAM_KERN_N_BITS; b++) {
            const struct ram_gptq how = {
                .form = {.bits = ram_kern_bits[b], .group = 32}, .factor = factor, .sweeps = 2};
            for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
                w[i] = kind == 3 && i % 2 ? -level[kind] : level[kind];
            encode(&how, w, ROWS, COLS, &coded);
            for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
                if (!(fabsf(coded.values[i] - w[i]) <= tolerance[kind] * level[kind] + 1e-6f))
                    fail_msg("%g became %g", (double)w[i], (double)coded.values[i]);
        }
    }
    ram_gptq_factor_free(factor);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beats_search_beats_rounding),
        cmocka_unit_test(never_worse_than_search),
        cmocka_unit_test(rows_are_independent),
        cmocka_unit_test(wide_matrices),
        cmocka_unit_test(agrees_with_textbook),
        cmocka_unit_test(odd_inputs),
        cmocka_unit_test(odd_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
