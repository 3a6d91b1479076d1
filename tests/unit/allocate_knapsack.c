/* The knapsack against exhaustive search, and its bound against everything. */
#include "allocate/knapsack.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 7, OPTIONS = 4 };

static struct ram_option options[N][OPTIONS];
static struct ram_item items[N];

static void make(uint64_t seed)
{
    const struct ram_rng rng = ram_rng_for(seed, "knapsack");
    uint64_t k = 0;

    for (size_t i = 0; i < N; i++) {
        uint64_t bytes = 0;
        double cost = 1000 * ram_rng_uniform(rng, k++);
        for (size_t o = 0; o < OPTIONS; o++) {
            bytes += 1 + ram_rng_u64(rng, k++) % 50;
            cost *= ram_rng_uniform(rng, k++);
            options[i][o] = (struct ram_option){bytes, o == OPTIONS - 1 ? 0 : cost};
        }
        items[i] = (struct ram_item){options[i], OPTIONS};
    }
}

static double exhaustive(uint64_t budget)
{
    double best = INFINITY;

    for (unsigned code = 0; code < 1u << (2 * N); code++) {
        uint64_t bytes = 0;
        double cost = 0;
        for (size_t i = 0; i < N; i++) {
            bytes += options[i][code >> (2 * i) & 3].bytes;
            cost += options[i][code >> (2 * i) & 3].cost;
        }
        if (bytes <= budget && cost < best)
            best = cost;
    }
    return best;
}

static void finds_the_optimum(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        make(seed);
        for (uint64_t budget = 100; budget < 600; budget += 90) {
            const double best = exhaustive(budget);
            struct ram_choice result;
            struct ram_err err = {0};
            size_t choice[N];
            const int status = ram_knapsack_solve(items, N, budget, choice, &result, &err);
            if (isinf(best)) {
                assert_int_equal(status, RAM_EBUDGET);
                assert_true(result.bytes > budget);
                continue;
            }
            assert_int_equal(status, RAM_OK);
            uint64_t bytes = 0;
            double cost = 0;
            for (size_t i = 0; i < N; i++) {
                bytes += options[i][choice[i]].bytes;
                cost += options[i][choice[i]].cost;
            }
            assert_true(bytes <= budget && bytes == result.bytes);
            assert_true(fabs(cost - result.cost) < 1e-9 && fabs(cost - best) < 1e-9);
            assert_true(result.bound <= best + 1e-9);
        }
    }
}

static void large_problems_are_within_their_bound(void **state)
{
    enum { LARGE = 400, WIDTHS = 19 };
    struct ram_option *all = calloc(LARGE * WIDTHS, sizeof *all);
    struct ram_item *large = calloc(LARGE, sizeof *large);
    size_t *choice = calloc(LARGE, sizeof *choice);
    const struct ram_rng rng = ram_rng_for(3, "large");
    struct ram_choice result;
    struct ram_err err = {0};
    uint64_t whole = 0;
    (void)state;

    assert_true(all && large && choice);
    for (size_t i = 0; i < LARGE; i++) {
        const uint64_t weights = 131072 * (1 + ram_rng_u64(rng, 2 * i) % 100);
        const double alpha = exp(4 * ram_rng_uniform(rng, 2 * i + 1));
        for (size_t o = 0; o < WIDTHS; o++) {
            const double bits = 2.25 + 0.35 * (double)o;
            all[i * WIDTHS + o] =
                (struct ram_option){(uint64_t)((double)weights * bits / 8), alpha * pow(4, -bits)};
        }
        large[i] = (struct ram_item){all + i * WIDTHS, WIDTHS};
        whole += weights;
    }
    assert_int_equal(ram_knapsack_solve(large, LARGE, whole * 9 / 16, choice, &result, &err),
                     RAM_OK);
    assert_true(result.bytes <= whole * 9 / 16 && result.bound <= result.cost);
    assert_true(result.cost <= 1.001 * result.bound);
    free(all);
    free(large);
    free(choice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_optimum),
        cmocka_unit_test(large_problems_are_within_their_bound),
    };
    return cmocka_run_group_tests_name("allocate/knapsack", tests, NULL, NULL);
}
