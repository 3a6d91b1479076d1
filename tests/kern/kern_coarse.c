/* kern_coarse.c - the product in 8 bits against f64, within what its rounding can do at most. */
#include "base/pool.h"
#include "base/rng.h"
#include "kern/coarse.h"
#include "kern/kern.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { Q = RAM_COARSE_COLS, TOP = 127 };

/* A [n, k] whose rows or columns lie together, 3 numbers apart; F; and what they are in floats. */
struct operands {
    size_t n, k;
    bool by_rows;
    uint16_t *stored;
    float *a, *f; /* [n, k], [k, Q] */
    struct ram_mat mat;
};

static void make(struct operands *o, size_t n, size_t k, bool by_rows)
{
    const size_t rows = by_rows ? n : k, cols = by_rows ? k : n, stride = cols + 3;

    *o = (struct operands){.n = n, .k = k, .by_rows = by_rows};
    o->stored = calloc(rows * stride, sizeof *o->stored);
    o->a = calloc(n * k, sizeof *o->a);
    o->f = calloc(k * Q, sizeof *o->f);
    assert_true(o->stored && o->a && o->f);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            uint16_t *at = o->stored + (by_rows ? i * stride + j : j * stride + i);
            float x;
            ram_rng_normal(ram_rng_for(3, "a"), i * k + j, 1, &x);
            /* Rows of memory of several sizes; one of zeros, and one whose inverse overflows. */
            x *= by_rows && i == 1   ? 0
                 : by_rows && i == 2 ? 1e-38f
                                     : 1 + (float)((by_rows ? i : j) % 3);
            ram_kern()->narrow_bf16(&x, 1, at);
            ram_kern()->widen_bf16(at, 1, &o->a[i * k + j]);
        }
    }
    ram_rng_normal(ram_rng_for(3, "f"), 0, k * Q, o->f);
    o->mat = (struct ram_mat){o->stored, RAM_ELEM_BF16, by_rows ? stride : 1, by_rows ? 1 : stride};
}

static void release(struct operands *o)
{
    free(o->stored);
    free(o->a);
    free(o->f);
}

/* Half a step of the row of memory that element (i, k) of A belongs to. */
static double half_step(const struct operands *o, size_t i, size_t k)
{
    double largest = 0;

    for (size_t x = 0; x < (o->by_rows ? o->k : o->n); x++)
        largest =
            fmax(largest, fabs((double)(o->by_rows ? o->a[i * o->k + x] : o->a[x * o->k + k])));
    return largest / TOP / 2;
}

/* Of f as it is rounded: where rows of memory run along k, times their steps. */
static double weight(const struct operands *o, size_t k)
{
    return o->by_rows ? 1 : 2 * half_step(o, 0, k);
}

static void check(const struct operands *o, const float *c, double start)
{
    double *half = calloc(o->k, sizeof *half), *weights = calloc(o->k, sizeof *weights);
    assert_true(half && weights);

    for (size_t k = 0; k < o->k; k++)
        weights[k] = weight(o, k);
    for (size_t i = 0; i < o->n; i += i < 3 ? 1 : 7) {
        for (size_t k = 0; k < o->k; k++)
            half[k] = o->by_rows && k ? half[0] : half_step(o, i, k);
        for (size_t j = 0; j < Q; j += 15) {
            double step = 0, sum = start, bound = 0;
            for (size_t k = 0; k < o->k; k++)
                step = fmax(step, fabs((double)o->f[k * Q + j]) * weights[k] / TOP);
            for (size_t k = 0; k < o->k; k++) {
                const double a = (double)o->a[i * o->k + k], f = (double)o->f[k * Q + j];
                const double f_half = weights[k] > 0 ? step / 2 / weights[k] : 0;
                sum += a * f;
                bound += half[k] * fabs(f) + (fabs(a) + half[k]) * f_half;
            }
            if (!(fabs((double)c[i * Q + j] - sum) <= bound * 1.0001 + 1e-5))
                fail_msg("%zu %zu: %g, expected %g within %g", i, j, (double)c[i * Q + j], sum,
                         bound);
        }
    }
    free(half);
    free(weights);
}

static void multiply(const struct operands *o, float *c, bool add, double *lost, unsigned threads)
{
    const size_t rows = o->by_rows ? o->n : o->k, cols = o->by_rows ? o->k : o->n;
    float *scratch = calloc(o->n * Q, sizeof *scratch), *largest = calloc(rows, sizeof *largest);
    struct ram_mat memory = o->mat;
    struct ram_pool *pool = NULL;
    struct ram_err err = {0};

    assert_true(scratch && largest);
    memory.row_stride = cols + 3;
    memory.col_stride = 1;
    assert_int_equal(ram_pool_new(&pool, threads, &err), RAM_OK);
    assert_int_equal(ram_coarse_measure(memory, rows, cols, largest, lost, pool, &err), RAM_OK);
    const struct ram_coarse_weights a = {o->mat, largest};
    assert_int_equal(ram_coarse(o->n, o->k, a, o->f, c, add, scratch, pool, &err), RAM_OK);
    ram_pool_free(pool);
    free(scratch);
    free(largest);
}

static void test_product(void **state)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 70}, {130, 33}, {70, 700}};

    (void)state;
    for (size_t s = 0; s < 2 * sizeof shapes / sizeof *shapes; s++) {
        const size_t n = shapes[s / 2][0], k = shapes[s / 2][1];
        struct operands o;
        float *c = calloc(n * Q, sizeof *c), *again = calloc(n * Q, sizeof *again);
        double lost = 0, also_lost = 0;
        assert_true(c && again);
        make(&o, n, k, s % 2);
        memset(c, 0xff, n * Q * sizeof *c);
        multiply(&o, c, false, &lost, 1);
        check(&o, c, 0);
        multiply(&o, again, false, &also_lost, 3);
        assert_memory_equal(c, again, n * Q * sizeof *c);
        assert_true(lost == also_lost);
        for (size_t i = 0; i < n * Q; i++)
            c[i] = 0.5f;
        multiply(&o, c, true, &lost, 2);
        check(&o, c, 0.5);
        assert_true(lost == 2 * also_lost);
        free(c);
        free(again);
        release(&o);
    }
}

/* What rounding A loses is foretold. */
static void test_loss(void **state)
{
    struct operands o;
    double lost = 0, found = 0;
    float *c = calloc(200 * Q, sizeof *c);

    (void)state;
    assert_non_null(c);
    make(&o, 200, 900, true);
    multiply(&o, c, false, &lost, 1);
    for (size_t i = 0; i < o.n; i++) {
        const double step = 2 * half_step(&o, i, 0);
        for (size_t k = 0; k < o.k; k++) {
            const double a = (double)o.a[i * o.k + k];
            found += step > 0 ? pow(a - rint(a / step) * step, 2) : 0;
        }
    }
    assert_true(lost > 0.95 * found && lost < 1.05 * found);
    free(c);
    release(&o);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
