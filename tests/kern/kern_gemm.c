/*
 * kern_gemm.c - every kernel of the matrix product that this processor has, and AMX emulated,
 * against three nested loops.
 *
 * RAM_GEMM_F32 must give the loops' bits, and so must RAM_GEMM_BF16 where no special unit is used.
 * Where one is, the result must lie within the bound that gemm.c states, measured against sums in
 * f64. RAM_GEMM_INT8 must be exact while sums are small. Operands end where a page ends that must
 * not be read, and lie at odd addresses.
 */
#if defined(__x86_64__)
/* The tile instructions, as the Intel SDM (vol. 2, TDPBF16PS) describes them, so that everything
 * around them can be run here; see gemm_amx.c. */
#define ram_gemm_amx_bf16          emulated_amx
#define AMX                        RAM_AVX512
#define TILE_CONFIGURE(config)     emulated_configure(config)
#define TILE_RELEASE()             emulated_release()
#define TILE_ZERO(t)               emulated_zero(t)
#define TILE_LOAD(t, p, stride)    emulated_load(t, p, stride)
#define TILE_STORE(t, p, stride)   emulated_store(t, p, stride)
#define TILE_MULTIPLY_ADD(c, a, b) emulated_multiply_add(c, a, b)

#include <stdint.h>
#include <string.h>

static _Thread_local struct {
    uint8_t config[64];
    uint32_t tile[8][16][16];
} emulated;

static void emulated_configure(const void *config);
static void emulated_release(void);
static void emulated_zero(int t);
static void emulated_load(int t, const void *p, size_t stride);
static void emulated_store(int t, void *p, size_t stride);
static void emulated_multiply_add(int c, int a, int b);

#include "kern/gemm_amx.c"
#endif

#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/gemm_kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static float real(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#if defined(__x86_64__)
static void emulated_configure(const void *config)
{
    memcpy(emulated.config, config, sizeof emulated.config);
    assert_int_equal(emulated.config[0], 1);
    for (int t = 0; t < 8; t++) {
        assert_int_equal(emulated.config[16 + 2 * t] | emulated.config[17 + 2 * t] << 8, 64);
        assert_int_equal(emulated.config[48 + t], 16);
    }
}

static void emulated_release(void)
{
    memset(&emulated, 0, sizeof emulated);
}

/* Every instruction faults without a configuration. */
static void emulated_zero(int t)
{
    assert_int_equal(emulated.config[0], 1);
    memset(emulated.tile[t], 0, sizeof emulated.tile[t]);
}

static void emulated_load(int t, const void *p, size_t stride)
{
    assert_int_equal(emulated.config[0], 1);
    for (size_t i = 0; i < 16; i++)
        memcpy(emulated.tile[t][i], (const char *)p + i * stride, 64);
}

static void emulated_store(int t, void *p, size_t stride)
{
    assert_int_equal(emulated.config[0], 1);
    for (size_t i = 0; i < 16; i++)
        memcpy((char *)p + i * stride, emulated.tile[t][i], 64);
}

static float flushed(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

static float half_of(uint32_t pair, bool high)
{
    return flushed(real(high ? pair & 0xffff0000 : pair << 16));
}

static void emulated_multiply_add(int c, int a, int b)
{
    assert_int_equal(emulated.config[0], 1);
    for (size_t m = 0; m < 16; m++) {
        for (size_t n = 0; n < 16; n++) {
            float even = 0, odd = 0, sum;
            for (size_t k = 0; k < 16; k++) {
                const uint32_t x = emulated.tile[a][m][k], y = emulated.tile[b][k][n];
                even = flushed(fmaf(half_of(x, false), half_of(y, false), even));
                odd = flushed(fmaf(half_of(x, true), half_of(y, true), odd));
            }
            memcpy(&sum, &emulated.tile[c][m][n], sizeof sum);
            sum = flushed(flushed(sum) + flushed(even + odd));
            memcpy(&emulated.tile[c][m][n], &sum, sizeof sum);
        }
    }
}
#endif

/* ---- kernels and operands ------------------------------------------------------------------ */

static size_t all_kernels(enum ram_gemm_mode mode, const struct ram_gemm_kernel *out[])
{
    size_t n = ram_gemm_all(mode, out);
#if defined(__x86_64__)
    if (mode == RAM_GEMM_BF16 && ram_cpu()->avx512_bf16)
        out[n++] = &emulated_amx;
#endif
    return n;
}

/* A matrix as the library sees it, with the same numbers plainly in f32 beside it. */
struct operand {
    float *plain; /* rows x cols */
    float *row_scale, *col_scale;
    size_t rows, cols;
    void *pages;
    size_t pages_size;
    struct ram_mat mat;
};

enum layout { ROWS_TOGETHER, COLS_TOGETHER, NEITHER, N_LAYOUTS };

/* Numbers of mixed sign and size, drawn from a few seeds. */
static void operand_init(struct operand *op, size_t rows, size_t cols, enum ram_elem elem,
                         enum layout layout, const char *stream)
{
    const struct ram_rng rng = ram_rng_for(7, stream);
    const size_t size = elem == RAM_ELEM_F32 ? 4 : 2, page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t gap = layout == NEITHER ? 3 : 1, pad = 5;
    const size_t row = layout == COLS_TOGETHER ? gap : cols * gap + pad;
    const size_t col = layout == COLS_TOGETHER ? rows * gap + pad : gap;
    const size_t span = rows && cols ? (rows - 1) * row + (cols - 1) * col + 1 : 0;

    *op = (struct operand){.rows = rows, .cols = cols};
    op->pages_size = (span * size + page - 1) / page * page + page;
    op->pages =
        mmap(NULL, op->pages_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(op->pages != MAP_FAILED);
    /* bf16: one byte short of the page's end, so that every address is odd */
    unsigned char *data = (unsigned char *)op->pages + op->pages_size - page - span * size;
    if (elem == RAM_ELEM_BF16 && span * size < op->pages_size - page)
        data--;
    memset(op->pages, 0xff, op->pages_size - page); /* NaN wherever nothing should be read */
    op->plain = calloc(rows * cols + 1, sizeof *op->plain);
    assert_non_null(op->plain);
    op->row_scale = calloc(rows + 1, sizeof *op->row_scale);
    op->col_scale = calloc(cols + 1, sizeof *op->col_scale);
    assert_non_null(op->row_scale);
    assert_non_null(op->col_scale);
    for (size_t i = 0; i < rows; i++)
        op->row_scale[i] = 0.7f + 0.3f * (float)(i % 5);
    for (size_t j = 0; j < cols; j++)
        op->col_scale[j] = 1.9f - 0.4f * (float)(j % 4);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            float x;
            ram_rng_normal(rng, i * cols + j, 1, &x);
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            if (elem == RAM_ELEM_BF16)
                bits &= 0xffff0000;
            const uint16_t high = (uint16_t)(bits >> 16);
            unsigned char *p = data + (i * row + j * col) * size;
            memcpy(p, elem == RAM_ELEM_BF16 ? (const void *)&high : &bits, size);
            op->plain[i * cols + j] = real(bits);
        }
    }
    assert_int_equal(mprotect(op->pages, op->pages_size, PROT_READ), 0);
    assert_int_equal(mprotect((char *)op->pages + op->pages_size - page, page, PROT_NONE), 0);
    op->mat = (struct ram_mat){.data = data, .elem = elem, .row_stride = row, .col_stride = col};
}

static void operand_release(struct operand *op)
{
    munmap(op->pages, op->pages_size);
    free(op->plain);
    free(op->row_scale);
    free(op->col_scale);
}

static float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return real(ram_gemm_bf16(bits) << 16);
}

/* ---- the loops, and the comparison ---------------------------------------------------------- */

struct shape {
    size_t m, n, k;
};

static const float start = 0.625f; /* what C holds before */

static long integer(const struct operand *op, size_t i, size_t j)
{
    return lrintf(op->plain[i * op->cols + j] * op->row_scale[i] * op->col_scale[j]);
}

/* Exactly what RAM_GEMM_F32 promises for one element, and the others without a special unit. */
static float chain(enum ram_gemm_mode mode, const struct operand *a, const struct operand *b,
                   size_t i, size_t j, bool add)
{
    float sum = add ? start : 0;
    long whole = 0;

    for (size_t k = 0; k < a->cols && mode == RAM_GEMM_INT8; k++)
        whole += integer(a, i, k) * integer(b, k, j);
    if (mode == RAM_GEMM_INT8)
        return sum + (float)whole;
    for (size_t k = 0; k < a->cols; k++) {
        const float x = a->plain[i * a->cols + k], y = b->plain[k * b->cols + j];
        sum = mode == RAM_GEMM_F32 ? fmaf(x, y, sum) : fmaf(rounded(x), rounded(y), sum);
    }
    return sum;
}

/* How far from the exact sum the units may be, relative to what gemm.c promises: at most 1. */
static double excess(const struct operand *a, const struct operand *b, size_t i, size_t j, bool add,
                     float found)
{
    double sum = add ? start : 0, magnitude = fabs(sum);

    for (size_t k = 0; k < a->cols; k++) {
        const double x = rounded(a->plain[i * a->cols + k]);
        const double y = rounded(b->plain[k * b->cols + j]);
        sum += x * y;
        magnitude += fabs(x * y);
    }
    const double terms = (double)a->cols + 2;
    const double bound = terms * 0x1p-23 * magnitude + terms * 0x1p-125;
    return fabs((double)found - sum) / bound;
}

static void check_element(const struct ram_gemm_kernel *kern, const struct ram_gemm_call *call,
                          const struct operand *a, const struct operand *b, size_t i, size_t j)
{
    const float found = call->c[i * call->ldc + j];

    if (kern->k_unit == 2) {
        if (excess(a, b, i, j, call->add, found) <= 1)
            return;
        fail_msg("%s: %zu x %zu x %zu: element %zu %zu is %a, too far off", kern->name, call->m,
                 call->n, call->k, i, j, (double)found);
    }
    const float expected = chain(call->mode, a, b, i, j, call->add);
    if (memcmp(&found, &expected, sizeof found))
        fail_msg("%s: %zu x %zu x %zu: element %zu %zu is %a, expected %a", kern->name, call->m,
                 call->n, call->k, i, j, (double)found, (double)expected);
}

static struct ram_gemm_call make_call(enum ram_gemm_mode mode, const struct operand *a,
                                      const struct operand *b, float *c, size_t ldc, bool add)
{
    return (struct ram_gemm_call){.mode = mode,
                                  .m = a->rows,
                                  .n = b->cols,
                                  .k = a->cols,
                                  .a = {a->mat.data, a->mat.elem, a->mat.row_stride,
                                        a->mat.col_stride, a->row_scale, a->col_scale},
                                  .b = {b->mat.data, b->mat.elem, b->mat.col_stride,
                                        b->mat.row_stride, b->col_scale, b->row_scale},
                                  .c = c,
                                  .ldc = ldc,
                                  .add = add};
}

/* step: check every step-th element; what lies beside C must not change. */
static void check_product(const struct ram_gemm_kernel *kern, enum ram_gemm_mode mode,
                          const struct operand *a, const struct operand *b, bool add, size_t step)
{
    const size_t m = a->rows, n = b->cols, ldc = n + 3;
    float *c = malloc((m * ldc + 1) * sizeof *c);
    struct ram_err err = {0};

    assert_non_null(c);
    for (size_t i = 0; i <= m * ldc; i++)
        c[i] = start;
    const struct ram_gemm_call call = make_call(mode, a, b, c, ldc, add);
    assert_int_equal(ram_gemm_run(kern, &call, NULL, &err), RAM_OK);
    for (size_t at = 0; at < m * n; at += step)
        check_element(kern, &call, a, b, at / n, at % n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = n; j < ldc; j++)
            assert_true(c[i * ldc + j] == start);
    free(c);
}

/* The reference calls fmaf() for each product and the emulation more; both run the same schedule
 * as the others, and cross its blocks with shapes below this. */
enum { SLOW = 100 * 1000 * 1000 };

static bool is_slow(const struct ram_gemm_kernel *kern)
{
#if defined(__x86_64__)
    if (kern == &emulated_amx)
        return true;
#endif
    return kern == &ram_gemm_ref || kern == &ram_gemm_ref_int8;
}

static void check_shape(struct shape s, enum ram_elem elem_a, enum ram_elem elem_b,
                        enum layout layout_a, enum layout layout_b, size_t step)
{
    struct operand a, b;

    operand_init(&a, s.m, s.k, elem_a, layout_a, "a");
    operand_init(&b, s.k, s.n, elem_b, layout_b, "b");
    for (int mode = RAM_GEMM_F32; mode <= RAM_GEMM_INT8; mode++) {
        const struct ram_gemm_kernel *kernels[RAM_GEMM_KERNELS + 1];
        const size_t n = all_kernels(mode, kernels);
        for (size_t i = 0; i < n; i++)
            for (int add = 0; add < 2; add++)
                if (s.m * s.n * s.k < SLOW || !is_slow(kernels[i]))
                    check_product(kernels[i], mode, &a, &b, add, step);
    }
    operand_release(&a);
    operand_release(&b);
}

/* ---- the tests ------------------------------------------------------------------------------ */

static void test_every_small_shape(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 3, 5, 7, 13, 14, 15, 16, 17, 31, 33};
    enum { N = sizeof sizes / sizeof *sizes };

    (void)state;
    for (size_t i = 0; i < N * N * N; i++) {
        const struct shape s = {sizes[i % N], sizes[i / N % N], sizes[i / N / N]};
        check_shape(s, i & 1, i >> 1 & 1, i % N_LAYOUTS, i / 5 % N_LAYOUTS, 1);
    }
}

static void test_every_layout_and_type(void **state)
{
    static const struct shape shapes[] = {{70, 70, 70}, {1, 100, 65}, {29, 5, 530}, {15, 33, 300}};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int i = 0; i < 4 * N_LAYOUTS * N_LAYOUTS; i++)
            check_shape(shapes[s], i & 1, i >> 1 & 1, i / 4 % N_LAYOUTS,
                        (enum layout)(i / 4 / N_LAYOUTS), 1);
}

/* Sizes that cross every block: k-blocks, row blocks, column blocks, flipped rows. */
static void test_across_blocks(void **state)
{
    (void)state;
    check_shape((struct shape){1100, 70, 530}, RAM_ELEM_BF16, RAM_ELEM_F32, ROWS_TOGETHER,
                ROWS_TOGETHER, 37);
    check_shape((struct shape){1900, 130, 1100}, RAM_ELEM_BF16, RAM_ELEM_F32, COLS_TOGETHER,
                ROWS_TOGETHER, 1001);
    check_shape((struct shape){2100, 4170, 260}, RAM_ELEM_F32, RAM_ELEM_BF16, ROWS_TOGETHER,
                COLS_TOGETHER, 40009);
    check_shape((struct shape){4200, 3, 300}, RAM_ELEM_BF16, RAM_ELEM_F32, ROWS_TOGETHER,
                ROWS_TOGETHER, 7);
    check_shape((struct shape){3, 500, 9000}, RAM_ELEM_F32, RAM_ELEM_BF16, ROWS_TOGETHER,
                COLS_TOGETHER, 11);
}

/* Sums that cancel, and numbers at both ends of the range. */
static void test_bound_where_it_is_tight(void **state)
{
    static const float scale[] = {0x1p-70f, 0x1p-64f, 1, 0x1p60f};
    const struct ram_gemm_kernel *kernels[RAM_GEMM_KERNELS + 1];
    const size_t n = all_kernels(RAM_GEMM_BF16, kernels);
    enum { M = 20, N = 40, K = 1000 };

    (void)state;
    for (size_t s = 0; s < sizeof scale / sizeof *scale; s++) {
        struct operand a, b;
        operand_init(&a, M, K, RAM_ELEM_F32, ROWS_TOGETHER, "a");
        operand_init(&b, K, N, RAM_ELEM_F32, ROWS_TOGETHER, "b");
        float *in = calloc(M * K, sizeof *in);
        assert_non_null(in);
        for (size_t i = 0; i < M * K; i++)
            in[i] = a.plain[i] = (i % 2 ? -a.plain[i - 1] : a.plain[i]) * scale[s];
        a.mat = (struct ram_mat){in, RAM_ELEM_F32, K, 1};
        for (size_t i = 0; i < n; i++)
            if (kernels[i]->k_unit == 2)
                check_product(kernels[i], RAM_GEMM_BF16, &a, &b, false, 1);
        free(in);
        operand_release(&a);
        operand_release(&b);
    }
}

static void test_threads_change_nothing(void **state)
{
    static const struct shape shapes[] = {{900, 200, 1030}, {5, 1000, 700}, {3000, 4, 333}};
    static const unsigned threads[] = {2, 3, 7};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const struct shape *sh = &shapes[s];
        struct operand a, b;
        struct ram_err err = {0};
        operand_init(&a, sh->m, sh->k, RAM_ELEM_BF16, ROWS_TOGETHER, "a");
        operand_init(&b, sh->k, sh->n, RAM_ELEM_F32, ROWS_TOGETHER, "b");
        const size_t size = sh->m * sh->n * sizeof(float);
        float *one = malloc(size), *many = malloc(size);
        assert_non_null(one);
        assert_non_null(many);
        for (int mode = RAM_GEMM_F32; mode <= RAM_GEMM_BF16; mode++) {
            assert_int_equal(
                ram_gemm(mode, sh->m, sh->n, sh->k, a.mat, b.mat, one, sh->n, false, NULL, &err),
                RAM_OK);
            for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
                struct ram_pool *pool = NULL;
                assert_int_equal(ram_pool_new(&pool, threads[t], &err), RAM_OK);
                memset(many, 0xff, size);
                assert_int_equal(ram_gemm(mode, sh->m, sh->n, sh->k, a.mat, b.mat, many, sh->n,
                                          false, pool, &err),
                                 RAM_OK);
                assert_memory_equal(one, many, size);
                ram_pool_free(pool);
            }
        }
        free(one);
        free(many);
        operand_release(&a);
        operand_release(&b);
    }
}

/* A row's result must not depend on the rows beside it: one token or many, the same logits. */
static void check_rows(size_t n)
{
    enum { M = 700, K = 1000, MAX_N = 96 };
    static float all[M * MAX_N], one[MAX_N];
    struct operand a, b;
    struct ram_err err = {0};

    operand_init(&a, M, K, RAM_ELEM_F32, ROWS_TOGETHER, "a");
    operand_init(&b, K, n, RAM_ELEM_BF16, COLS_TOGETHER, "b");
    for (int mode = RAM_GEMM_F32; mode <= RAM_GEMM_BF16; mode++) {
        assert_int_equal(ram_gemm(mode, M, n, K, a.mat, b.mat, all, n, false, NULL, &err), RAM_OK);
        for (size_t i = 0; i < M; i += 99) {
            struct ram_mat row = a.mat;
            row.data = (const float *)row.data + i * row.row_stride;
            assert_int_equal(ram_gemm(mode, 1, n, K, row, b.mat, one, n, false, NULL, &err),
                             RAM_OK);
            assert_memory_equal(one, all + i * n, n * sizeof *one);
        }
    }
    operand_release(&a);
    operand_release(&b);
}

static void test_rows_are_independent(void **state)
{
    (void)state;
    check_rows(96);
    check_rows(4); /* few enough to be computed as the transpose, but not for one row */
}

static void test_gram(void **state)
{
    static const size_t sizes[] = {1, 2, 15, 64, 100, 257};

    (void)state;
    for (size_t s = 0; s < 6 * 3 * 2 * 2; s++) {
        const size_t m = sizes[s % 6], k = s % 4 ? 300 : 1025;
        const enum ram_gemm_mode mode = s / 18 % 2 ? RAM_GEMM_BF16 : RAM_GEMM_F32;
        struct operand a;
        struct ram_err err = {0};
        struct ram_pool *pool = NULL;
        float *full = malloc(m * m * sizeof *full), *half = malloc(m * m * sizeof *half);
        assert_non_null(full);
        assert_non_null(half);
        operand_init(&a, m, k, s / 36 ? RAM_ELEM_BF16 : RAM_ELEM_F32, s / 6 % 3, "a");
        struct ram_mat t = a.mat;
        t.row_stride = a.mat.col_stride;
        t.col_stride = a.mat.row_stride;
        for (size_t i = 0; i < m * m; i++)
            full[i] = half[i] = start;
        assert_int_equal(ram_pool_new(&pool, 1 + s % 3, &err), RAM_OK);
        assert_int_equal(ram_gemm(mode, m, m, k, a.mat, t, full, m, s % 2, NULL, &err), RAM_OK);
        assert_int_equal(ram_gram(mode, m, k, a.mat, half, m, s % 2, pool, &err), RAM_OK);
        assert_memory_equal(full, half, m * m * sizeof *full);
        ram_pool_free(pool);
        operand_release(&a);
        free(full);
        free(half);
    }
}

/* One bad weight spoils its row and column and nothing else. */
static void test_nan_and_infinity_stay_where_they_are(void **state)
{
    enum { M = 20, N = 40, K = 100, ROW = 3, COL = 7 };
    static float a[M * K], b[K * N], c[M * N];

    (void)state;
    for (size_t i = 0; i < M * K; i++)
        a[i] = 1;
    for (size_t i = 0; i < K * N; i++)
        b[i] = 1;
    a[ROW * K + 50] = NAN;
    b[20 * N + COL] = INFINITY;
    for (int mode = RAM_GEMM_F32; mode <= RAM_GEMM_BF16; mode++) {
        const struct ram_gemm_kernel *kernels[RAM_GEMM_KERNELS + 1];
        const size_t n = all_kernels(mode, kernels);
        for (size_t kern = 0; kern < n; kern++) {
            const struct ram_gemm_call call = {.mode = mode,
                                               .m = M,
                                               .n = N,
                                               .k = K,
                                               .a = {(void *)a, RAM_ELEM_F32, K, 1},
                                               .b = {(void *)b, RAM_ELEM_F32, 1, N},
                                               .c = c,
                                               .ldc = N};
            struct ram_err err = {0};
            assert_int_equal(ram_gemm_run(kernels[kern], &call, NULL, &err), RAM_OK);
            for (size_t i = 0; i < M; i++)
                for (size_t j = 0; j < N; j++)
                    assert_true(i == ROW   ? isnan(c[i * N + j])
                                : j == COL ? isinf(c[i * N + j])
                                           : c[i * N + j] == K);
        }
    }
}

static void test_rounding_to_bf16(void **state)
{
    static const uint32_t cases[][2] = {
        {0x3f800000, 0x3f80}, /* 1 */
        {0x3f808000, 0x3f80}, /* a tie goes to the even one */
        {0x3f818000, 0x3f82}, /* a tie goes to the even one, upwards */
        {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
        {0x7f800001, 0x7fc0}, {0x80000000, 0x8000}, {0x00008000, 0x0000}, {0x00018000, 0x0002},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ram_gemm_bf16(cases[i][0]), cases[i][1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding_to_bf16),
        cmocka_unit_test(test_every_small_shape),
        cmocka_unit_test(test_every_layout_and_type),
        cmocka_unit_test(test_across_blocks),
        cmocka_unit_test(test_bound_where_it_is_tight),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_gram),
        cmocka_unit_test(test_nan_and_infinity_stay_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
