/*
 * The svd metric: against torch's figures for made-up matrices of every kind and orientation
 * (tests/data/analyze_spectrum.py), the same for any scale, type, stride and number of threads.
 */
#include "analyze/spectrum.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- matrices, as analyze_spectrum.py makes them --------------------------------------------- */

static uint32_t scramble(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352d;
    x ^= x >> 15;
    x *= 0x846ca68b;
    return x ^ x >> 16;
}

static int bell(uint32_t i)
{
    int sum = -60;
    for (uint32_t h = scramble(i), k = 0; k < 8; k++)
        sum += (int)(h >> 4 * k & 15);
    return sum;
}

static int sign(uint32_t i)
{
    return 1 - 2 * (int)(scramble(i + 77777777) >> 9 & 1);
}

static int element(const char *kind, uint32_t i, uint32_t j, uint32_t cols)
{
    const int w = bell(i * cols + j);

    if (!strcmp(kind, "spiked"))
        return w + 30 * sign(i) * sign(j + (1 << 20)) +
               20 * sign(i + (1 << 21)) * sign(j + (1 << 22));
    if (!strcmp(kind, "shifted"))
        return w + 100;
    if (!strcmp(kind, "scaled"))
        return w * (1 << j % 5) * (i % 2 ? 8 : 1);
    if (!strcmp(kind, "constant"))
        return 3;
    if (!strcmp(kind, "holes"))
        return i % 3 == 0 || j % 4 == 1 ? 0 : w;
    if (!strcmp(kind, "lonely"))
        return i < 40 && j < 300 ? w : 0;
    if (!strcmp(kind, "stair"))
        return i != j ? 0 : j < 956 ? 240 - (int)j / 4 : 1;
    if (!strcmp(kind, "lowrank")) {
        int sum = 0;
        for (uint32_t k = 0; k < 5; k++)
            sum += sign(i + k * 4096) * sign(j + k * 4096 + (1 << 23));
        return sum;
    }
    return w;
}

/* Whole numbers to any type, exactly, times 2^exponent. */
static void put(enum ram_dtype dtype, int value, int exponent, uint8_t *to)
{
    const float x = ldexpf((float)value, exponent);
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if (dtype == RAM_BF16)
        memcpy(to, (const uint8_t *)&bits + 2, 2);
    else
        memcpy(to, &x, 4);
}

struct matrix {
    struct ram_tensor tensor;
    uint8_t *data;
    double rms;
};

static struct matrix make(const char *kind, enum ram_dtype dtype, size_t rows, size_t cols,
                          int exponent)
{
    const size_t size = dtype == RAM_BF16 ? 2 : 4;
    struct matrix m = {.data = malloc(rows * cols * size + 1)};
    double sum = 0;

    assert_non_null(m.data);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            const int value = element(kind, (uint32_t)i, (uint32_t)j, (uint32_t)cols);
            /* At an odd address: a checkpoint's data need not be aligned. */
            put(dtype, value, exponent, m.data + 1 + (i * cols + j) * size);
            sum += (double)value * value;
        }
    m.rms = ldexp(sqrt(sum / (double)(rows * cols)), exponent);
    m.tensor = (struct ram_tensor){.name = "t",
                                   .dtype = dtype,
                                   .n_dims = 2,
                                   .shape = {rows, cols},
                                   .n = rows * cols,
                                   .size = rows * cols * size,
                                   .data = m.data + 1};
    return m;
}

static double measure(const struct matrix *m, struct ram_view view, uint64_t seed,
                      struct ram_pool *pool)
{
    struct ram_err err = {0};
    double c = -1;

    void *workspace = ram_calloc(ram_spectrum_workspace(&view), 1, &err);
    assert_non_null(workspace);
    const struct ram_spectrum_job job = {.view = view,
                                         .rms = m->rms,
                                         .seed = seed,
                                         .name = "t",
                                         .pool = pool,
                                         .workspace = workspace};
    if (ram_spectrum(&job, &c, &err))
        fail_msg("%s", err.message);
    free(workspace);
    return c;
}

static double measure_whole(const char *kind, enum ram_dtype dtype, size_t rows, size_t cols,
                            int exponent)
{
    const struct matrix m = make(kind, dtype, rows, cols, exponent);
    const double c = measure(&m, ram_view_whole(&m.tensor), 42, NULL);
    free(m.data);
    return c;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* One draw of ours lies within torch's own spread: five deviations of it and of the mean of twelve,
 * and 5e-6 for what is exact in both. */
static void agrees_with_torch(void **state)
{
    const char *source = getenv("RAM_SOURCE");
    char path[512], line[256], kind[32];
    size_t rows, cols, n = 0;
    double mean, deviation;
    (void)state;

    snprintf(path, sizeof path, "%s/tests/data/analyze_spectrum.txt", source ? source : ".");
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(
            sscanf(line, "%31s %zu %zu %lf %lf", kind, &rows, &cols, &mean, &deviation), 5);
        const double c = measure_whole(kind, RAM_BF16, rows, cols, 0);
        const double limit = 5 * deviation * sqrt(1 + 1.0 / 12) + 5e-6;
        if (!(fabs(c - mean) <= limit))
            fail_msg("%s %zu x %zu: %.7f, torch %.7f +- %.1e", kind, rows, cols, c, mean,
                     deviation);
        n++;
    }
    fclose(file);
    assert_int_equal(n, 66);
}

/* Many draws have torch's mean and deviation (analyze_spectrum.txt), so that nothing is hidden in
 * the noise of one. The exact singular values of `bell` would give less; the singular directions of
 * `stair` are coordinates, which a test matrix might favour. */
static void has_the_published_bias(void **state)
{
    enum { DRAWS = 12 };
    static const struct {
        const char *kind;
        double mean, deviation;
    } torch[] = {{"bell", 0.158930694, 7.76e-05}, {"stair", 0.131065930, 7.98e-05}};
    (void)state;

    for (size_t i = 0; i < sizeof torch / sizeof *torch; i++) {
        const struct matrix m = make(torch[i].kind, RAM_BF16, 1024, 640, 0);
        double sum = 0, squares = 0;
        for (uint64_t seed = 1; seed <= DRAWS; seed++) {
            const double c = measure(&m, ram_view_whole(&m.tensor), seed, NULL);
            sum += c;
            squares += c * c;
        }
        free(m.data);
        const double mean = sum / DRAWS;
        const double deviation = sqrt((squares / DRAWS - mean * mean) * DRAWS / (DRAWS - 1));
        assert_true(fabs(mean - torch[i].mean) < 4 * torch[i].deviation * sqrt(2.0 / DRAWS));
        assert_true(deviation > torch[i].deviation / 3 && deviation < torch[i].deviation * 3);
    }
}

/* A power of two changes nothing, f32 weights go another way but mean the same, and both ends of
 * the range of a float are far enough away. */
static void scale_and_type(void **state)
{
    static const size_t shapes[][2] = {{900, 768}, {640, 1024}, {300, 40}};
    static const int exponents[] = {0, 7, -9, 60, -60, 100, -100};
    (void)state;

    for (size_t s = 0; s < 6; s++) {
        const size_t rows = shapes[s / 2][0], cols = shapes[s / 2][1];
        /* One for each of the two ways with a Gram matrix. */
        const char *kind = s % 2 ? "bell" : "spiked";
        const double c = measure_whole(kind, RAM_BF16, rows, cols, 0);
        for (size_t k = 0; k < sizeof exponents / sizeof *exponents; k++) {
            /* The energy is about 1e8 times 4^exponent: it falls under 1e-12 from -35 on. */
            const double expected = exponents[k] < -35 ? 0 : c;
            const double bf16 = measure_whole(kind, RAM_BF16, rows, cols, exponents[k]);
            const double f32 = measure_whole(kind, RAM_F32, rows, cols, exponents[k]);
            assert_true(fabs(bf16 - expected) < 1e-5);
            assert_true(fabs(f32 - expected) < 1e-5);
        }
    }
}

/* Products in 8 bits are for bf16 weights alone; the same weights in f32 tell what they do. A tenth
 * of torch's deviation, whether the spectrum is flat enough for them or not. */
static void eight_bits_do_not_show(void **state)
{
    static const char *const kinds[] = {"bell",  "spiked", "shifted", "scaled",
                                        "holes", "lonely", "stair",   "lowrank"};
    static const size_t shapes[][2] = {{1500, 1600}, {1600, 1500}};
    (void)state;

    for (size_t i = 0; i < 2 * sizeof kinds / sizeof *kinds; i++) {
        const char *kind = kinds[i / 2];
        const size_t rows = shapes[i % 2][0], cols = shapes[i % 2][1];
        const double bf16 = measure_whole(kind, RAM_BF16, rows, cols, 0);
        const double f32 = measure_whole(kind, RAM_F32, rows, cols, 0);
        if (!(fabs(bf16 - f32) < 8e-6))
            fail_msg("%s %zu x %zu: %.7f, in f32 %.7f", kind, rows, cols, bf16, f32);
    }
    /* Whose columns lie together are not for 8 bits. */
    const struct matrix m = make("bell", RAM_BF16, 1600, 1500, 0);
    const struct ram_view whole = ram_view_whole(&m.tensor);
    const struct ram_view turned = {whole.tensor, 0, whole.cols, whole.rows, 1, whole.cols, 0};
    const double c = measure(&m, whole, 42, NULL), d = measure(&m, turned, 42, NULL);
    assert_true(fabs(c - d) < 8e-6);
    free(m.data);
}

/* The transpose as a view: the same matrix for torch's rule of the tall side. */
static void transposed_views(void **state)
{
    static const size_t shapes[][2] = {{900, 768}, {640, 1024}, {300, 40}};
    (void)state;

    for (size_t s = 0; s < 3; s++)
        for (int f32 = 0; f32 < 2; f32++) {
            const struct matrix m =
                make("spiked", f32 ? RAM_F32 : RAM_BF16, shapes[s][0], shapes[s][1], 0);
            const struct ram_view whole = ram_view_whole(&m.tensor);
            const struct ram_view turned = {whole.tensor, 0, whole.cols, whole.rows, 1,
                                            whole.cols,   0};
            const double c = measure(&m, whole, 42, NULL), d = measure(&m, turned, 42, NULL);
            assert_true(fabs(c - d) < 1e-6);
            free(m.data);
        }
}

static void threads_change_no_bit(void **state)
{
    static const size_t shapes[][2] = {
        {900, 768}, {768, 2000}, {640, 1024}, {1500, 1600}, {300, 400}};
    (void)state;

    for (size_t s = 0; s < 5; s++)
        for (int f32 = 0; f32 < 2; f32++) {
            const struct matrix m =
                make("bell", f32 ? RAM_F32 : RAM_BF16, shapes[s][0], shapes[s][1], 0);
            const double c = measure(&m, ram_view_whole(&m.tensor), 1, NULL);
            for (unsigned threads = 2; threads <= 7; threads += 5) {
                struct ram_err err = {0};
                struct ram_pool *pool = NULL;
                assert_int_equal(ram_pool_new(&pool, threads, &err), RAM_OK);
                assert_true(measure(&m, ram_view_whole(&m.tensor), 1, pool) == c);
                ram_pool_free(pool);
            }
            assert_true(s == 4 || measure(&m, ram_view_whole(&m.tensor), 2, NULL) != c);
            free(m.data);
        }
}

/* What there is nothing to say about. */
static void degenerate(void **state)
{
    (void)state;
    struct matrix m = make("constant", RAM_BF16, 768, 900, 0);

    memset(m.data, 0, m.tensor.size);
    m.rms = 0;
    assert_true(measure(&m, ram_view_whole(&m.tensor), 42, NULL) == 0);
    free(m.data);
    assert_true(measure_whole("constant", RAM_BF16, 1, 2000, 0) == 1);
    assert_true(measure_whole("constant", RAM_F32, 2000, 1, 0) == 1);
    assert_true(fabs(measure_whole("constant", RAM_F32, 2, 2, 0) - 1) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_torch), cmocka_unit_test(has_the_published_bias),
        cmocka_unit_test(scale_and_type),    cmocka_unit_test(eight_bits_do_not_show),
        cmocka_unit_test(transposed_views),  cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(degenerate),
    };
    return cmocka_run_group_tests_name("analyze/spectrum", tests, NULL, NULL);
}
