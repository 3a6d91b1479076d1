/*
 * kern_sketch.c - the product with a sparse matrix of signs against loops over the whole matrix,
 * and the matrix itself against what it promises.
 */
#include "base/mem.h"
#include "kern/sketch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { Q = RAM_SKETCH_COLS, PLACES = RAM_SKETCH_PLACES, LANES = 16 };

static void *need(size_t n, size_t size)
{
    struct ram_err err = {0};
    void *p = ram_calloc(n, size, &err);
    assert_non_null(p);
    return p;
}

/* What the places say, as a matrix [k, Q]. */
static float *whole(const uint16_t *places, size_t k)
{
    float *s = need(k * Q, sizeof *s);

    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < PLACES; j++)
            s[i * Q + places[i * PLACES + j] / LANES] += places[i * PLACES] % 2 ? -1.0f : 1.0f;
    return s;
}

/* Small whole numbers, so that every order of sums gives the same; and in bf16 as well. */
static float element(size_t i, size_t k)
{
    return (float)((i * 37 + k * 101 + i * k) % 61) - 30;
}

static void check(size_t n, size_t k, bool bf16, bool turned, bool add, struct ram_pool *pool)
{
    struct ram_err err = {0};
    uint16_t *places = need(k * PLACES, sizeof *places);
    float *a = need(n * k, sizeof *a), *c = need(n * Q, sizeof *c);
    uint16_t *half = need(n * k, sizeof *half);

    ram_sketch_draw(ram_rng_for(5, "sketch"), k, places);
    float *s = whole(places, k);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++)
            a[turned ? j * n + i : i * k + j] = element(i, j);
    ram_kern()->narrow_bf16(a, n * k, half);
    for (size_t i = 0; i < n * Q; i++)
        c[i] = (float)(i % 11);
    const struct ram_mat mat = {bf16 ? (const void *)half : a, bf16 ? RAM_ELEM_BF16 : RAM_ELEM_F32,
                                turned ? 1 : k, turned ? n : 1};
    assert_int_equal(ram_sketch(n, k, mat, places, c, add, pool, &err), RAM_OK);
    for (size_t i = 0; i < n; i++)
        for (size_t q = 0; q < Q; q++) {
            float sum = add ? (float)((i * Q + q) % 11) : 0;
            for (size_t j = 0; j < k; j++)
                sum += element(i, j) * s[j * Q + q];
            if (c[i * Q + q] != sum)
                fail_msg("%zu x %zu, bf16 %d, turned %d, add %d: (%zu, %zu) %g, not %g", n, k, bf16,
                         turned, add, i, q, (double)c[i * Q + q], (double)sum);
        }
    free(places);
    free(a);
    free(c);
    free(half);
    free(s);
}

static void products(void **state)
{
    static const size_t shapes[][2] = {{1, 1},    {16, 128}, {17, 5},
                                       {63, 129}, {64, 256}, {200, 300}};
    struct ram_err err = {0};
    struct ram_pool *pool = NULL;
    (void)state;

    assert_int_equal(ram_pool_new(&pool, 3, &err), RAM_OK);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes * 16; i++) {
        const size_t *shape = shapes[i / 16];
        check(shape[0], shape[1], i & 1, i & 2, i & 4, i & 8 ? pool : NULL);
    }
    ram_pool_free(pool);
}

/* Columns are hit alike, signs are balanced and in a row's first place only, rows differ, and fewer
 * rows are the beginning of more. */
static void draws(void **state)
{
    enum { K = 4096, FEW = 100 };
    uint16_t *places = need(K * PLACES, sizeof *places), few[FEW * PLACES];
    size_t hits[Q] = {0}, minus = 0, same = 0;
    (void)state;

    ram_sketch_draw(ram_rng_for(42, "a tensor"), K, places);
    ram_sketch_draw(ram_rng_for(42, "a tensor"), FEW, few);
    assert_memory_equal(places, few, sizeof few);
    ram_sketch_draw(ram_rng_for(43, "a tensor"), FEW, few);
    assert_memory_not_equal(places, few, sizeof few);
    for (size_t i = 0; i < K * PLACES; i++) {
        assert_true(places[i] / LANES < Q && places[i] % LANES <= (i % PLACES == 0));
        hits[places[i] / LANES]++;
        minus += places[i] % LANES;
        same += i >= PLACES && places[i] / LANES == places[i - PLACES] / LANES;
    }
    /* Six deviations of a binomial distribution each. */
    for (size_t q = 0; q < Q; q++)
        assert_true(fabs((double)hits[q] - K * PLACES / 256.0) < 6 * sqrt(K * PLACES / 256.0));
    assert_true(fabs((double)minus - K / 2.0) < 6 * sqrt(K / 4.0));
    assert_true(fabs((double)same - K * PLACES / 256.0) < 6 * sqrt(K * PLACES / 256.0));
    free(places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(draws)};

    return cmocka_run_group_tests_name("kern/sketch", tests, NULL, NULL);
}
