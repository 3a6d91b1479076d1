/* CPython's random.Random: words, sample and shuffle. Vectors: Python 3.11.7,
 *   r = random.Random(1234); [r.getrandbits(32) for _ in range(5)]
 *   r = random.Random(1234); r.sample(range(1119), 25)
 *   r = random.Random(42); x = list(range(10)); r.shuffle(x) */
#include "evaluate/rng_mt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ARC = 1119, HELLASWAG = 39905 };

static void words(void **state)
{
    static const uint32_t expected[] = {4150886329u, 3342196574u, 1892932127u, 501869158u,
                                        32175636u};
    struct ram_mt mt;
    (void)state;

    ram_mt_seed(&mt, 1234);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(ram_mt_u32(&mt), expected[i]);
}

static void check_sample(struct ram_mt *mt, size_t n, size_t k, const size_t *expected,
                         size_t n_expected)
{
    size_t out[32];
    size_t *work = calloc(n, sizeof *work);

    assert_non_null(work);
    ram_mt_sample(mt, n, k, out, work);
    for (size_t i = 0; i < n_expected; i++)
        assert_int_equal(out[i], expected[i]);
    free(work);
}

static void samples_of_few_shot_tasks(void **state)
{
    static const size_t arc0[] = {902, 239, 15,  185, 71,  171, 201, 726,  484, 35,  63,  32,  708,
                                  991, 949, 304, 186, 374, 234, 29,  1030, 996, 511, 132, 1108};
    static const size_t arc1[] = {954, 140, 182, 1054, 94, 552};
    static const size_t swag0[] = {28883, 7657, 490,   5940,  38156, 2288,
                                   5500,  6450, 23241, 15519, 1142};
    static const size_t swag1[] = {2019, 1038,  22681, 31735, 30379, 9735,
                                   5982, 11999, 7498,  958,   32970};
    static const size_t last[] = {656, 436, 1082, 803, 812, 44};
    struct ram_mt mt;
    (void)state;

    ram_mt_seed(&mt, 1234);
    check_sample(&mt, ARC, 25, arc0, 25);
    check_sample(&mt, ARC, 25, arc1, 6);
    for (int i = 2; i < 1171; i++)
        check_sample(&mt, ARC, 25, NULL, 0);
    check_sample(&mt, ARC, 25, last, 6);
    ram_mt_seed(&mt, 1234);
    check_sample(&mt, HELLASWAG, 11, swag0, 11);
    check_sample(&mt, HELLASWAG, 11, swag1, 11);
}

static void small_populations_draw_from_a_pool(void **state)
{
    static const size_t expected[] = {10, 1, 0}; /* Random(42).sample(range(12), 3) */
    struct ram_mt mt;
    (void)state;

    ram_mt_seed(&mt, 42);
    check_sample(&mt, 12, 3, expected, 3);
}

static void shuffle(void **state)
{
    static const size_t expected[] = {7, 3, 2, 8, 5, 6, 9, 4, 0, 1};
    size_t items[10];
    struct ram_mt mt;
    (void)state;

    for (size_t i = 0; i < 10; i++)
        items[i] = i;
    ram_mt_seed(&mt, 42);
    ram_mt_shuffle(&mt, items, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(items[i], expected[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(samples_of_few_shot_tasks),
        cmocka_unit_test(small_populations_draw_from_a_pool),
        cmocka_unit_test(shuffle),
    };
    return cmocka_run_group_tests_name("evaluate/rng_mt", tests, NULL, NULL);
}
