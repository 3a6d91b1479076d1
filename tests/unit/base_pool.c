/* The pool: every index once, the lowest failure wins, nested loops run in place. */
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 10007 };

static int square(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    (void)worker;
    (void)err;
    ((uint64_t *)ctx)[i] += (uint64_t)i * i;
    return RAM_OK;
}

static int fail_from_100(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    (void)ctx;
    (void)worker;
    return i >= 100 ? ram_fail(err, RAM_EFORMAT, "index %zu", i) : RAM_OK;
}

struct nest {
    struct ram_pool *pool;
    uint64_t rows[64][32];
};

static int nested(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct nest *nest = ctx;
    (void)worker;
    return ram_pool_for(nest->pool, 32, square, nest->rows[i], err);
}

static void every_index_once(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 7; threads += 3) {
        struct ram_err err = {0};
        struct ram_pool *pool = NULL;
        uint64_t *squares = calloc(N, sizeof *squares);
        assert_non_null(squares);
        assert_int_equal(ram_pool_new(&pool, threads, &err), RAM_OK);
        assert_int_equal(ram_pool_threads(pool), threads);
        for (int round = 0; round < 50; round++)
            assert_int_equal(ram_pool_for(pool, N, square, squares, &err), RAM_OK);
        for (uint64_t i = 0; i < N; i++)
            assert_int_equal(squares[i], 50 * i * i);
        ram_pool_free(pool);
        free(squares);
    }
}

static void lowest_failure_wins(void **state)
{
    struct ram_pool *pool = NULL;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_pool_new(&pool, 4, &err), RAM_OK);
    for (int round = 0; round < 100; round++) {
        err = (struct ram_err){0};
        assert_int_equal(ram_pool_for(pool, N, fail_from_100, NULL, &err), RAM_EFORMAT);
        assert_string_equal(err.message, "index 100");
    }
    ram_pool_free(pool);
}

static void nested_loops_run_in_place(void **state)
{
    struct nest *nest = calloc(1, sizeof *nest);
    struct ram_err err = {0};
    (void)state;

    assert_non_null(nest);
    assert_int_equal(ram_pool_new(&nest->pool, 3, &err), RAM_OK);
    assert_int_equal(ram_pool_for(nest->pool, 64, nested, nest, &err), RAM_OK);
    for (uint64_t i = 0; i < 64; i++)
        for (uint64_t j = 0; j < 32; j++)
            assert_int_equal(nest->rows[i][j], j * j);
    ram_pool_free(nest->pool);
    free(nest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_once),
        cmocka_unit_test(lowest_failure_wins),
        cmocka_unit_test(nested_loops_run_in_place),
    };
    return cmocka_run_group_tests_name("base/pool", tests, NULL, NULL);
}
