/*
 * kern_gemm.c - how fast the matrix product is, beside what the core can do at best.
 *
 *     bench_kern_gemm [threads [part of a line's name]]
 *
 * GFLOP/s and the share of the peak that peak.h measures (times threads); where there are too few
 * rows for arithmetic to matter, GB/s of the larger operand. Best of the runs within half a second
 * a line; with one thread its own time, which leaves out what other processes take.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "kern/gemm.h"
#include "peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    const char *what;
    size_t m, n, k;
    enum ram_elem a, b;
    bool a_columns, b_columns; /* which stride is 1 */
    bool gram;
};

#define F32  RAM_ELEM_F32
#define BF16 RAM_ELEM_BF16

static const struct line lines[] = {
    {"square, f32", 2048, 2048, 2048, F32, F32, false, false, false},
    {"square, bf16", 2048, 2048, 2048, BF16, BF16, false, false, false},
    {"W Q", 4096, 256, 4096, BF16, F32, false, false, false},
    {"W Q", 4096, 256, 12288, BF16, F32, false, false, false},
    {"W' Y", 12288, 256, 4096, BF16, F32, true, false, false},
    {"W Q of an expert", 768, 256, 2048, BF16, F32, false, false, false},
    {"W' Y of an expert", 2048, 256, 768, BF16, F32, true, false, false},
    {"gram of an expert", 768, 768, 2048, BF16, BF16, false, false, true},
    {"gram of tall Y", 256, 256, 12288, F32, F32, true, false, true},
    {"X W', 1 row", 1, 4096, 4096, F32, BF16, false, true, false},
    {"X W', 1 row, expert", 1, 768, 2048, F32, BF16, false, true, false},
    {"X W', 8 rows, expert", 8, 768, 2048, F32, BF16, false, true, false},
    {"X W', 64 rows, expert", 64, 768, 2048, F32, BF16, false, true, false},
    {"X W', 512 rows", 512, 4096, 4096, F32, BF16, false, true, false},
    {"X W', 2048 rows, expert", 2048, 768, 2048, F32, BF16, false, true, false},
    {"scores of a head", 128, 2048, 128, F32, F32, false, true, false},
    {"values of a head", 128, 128, 2048, F32, F32, false, false, false},
    {"W x", 4096, 1, 4096, BF16, F32, false, false, false},
};

static struct ram_mat make(size_t rows, size_t cols, enum ram_elem elem, bool columns)
{
    const size_t n = rows * cols, size = elem == F32 ? 4 : 2;
    struct ram_err err = {0};
    unsigned char *data = ram_calloc(n, size, &err);
    const struct ram_rng rng = ram_rng_for(1, "bench");
    float x[4096];

    if (!data) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    ram_rng_normal(rng, 0, sizeof x / sizeof *x, x);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i * 2654435761u % 4096], sizeof bits);
        const uint16_t high = (uint16_t)(bits >> 16);
        memcpy(data + i * size, elem == F32 ? (const void *)&bits : &high, size);
    }
    return (struct ram_mat){.data = data,
                            .elem = elem,
                            .row_stride = columns ? 1 : cols,
                            .col_stride = columns ? rows : 1};
}

static double best_time(const struct line *line, enum ram_gemm_mode mode, struct ram_pool *pool)
{
    struct ram_err err = {0};
    const struct ram_mat a = make(line->m, line->k, line->a, line->a_columns);
    const struct ram_mat b = make(line->k, line->n, line->b, line->b_columns);
    float *c = ram_calloc(line->m * line->n, sizeof *c, &err);
    const clockid_t clock = ram_pool_threads(pool) == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double best = 1e9;

    for (double t0 = ram_seconds_of(clock), t = t0; c && t < t0 + 0.5 && !err.status;) {
        if (line->gram)
            ram_gram(mode, line->m, line->k, a, c, line->n, false, pool, &err);
        else
            ram_gemm(mode, line->m, line->n, line->k, a, b, c, line->n, false, pool, &err);
        const double now = ram_seconds_of(clock);
        best = now - t < best ? now - t : best;
        t = now;
    }
    if (err.status) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    free((void *)(uintptr_t)a.data);
    free((void *)(uintptr_t)b.data);
    free(c);
    return best;
}

static void print_line(const struct line *line, enum ram_gemm_mode mode, struct ram_pool *pool,
                       double peak)
{
    const double t = best_time(line, mode, pool);
    const double flops =
        (line->gram ? 1.0 : 2.0) * (double)line->m * (double)line->n * (double)line->k;
    const double a_bytes = (double)line->m * (double)line->k * (line->a == F32 ? 4 : 2);
    const double b_bytes = (double)line->k * (double)line->n * (line->b == F32 ? 4 : 2);

    printf("%-5s %-24s %6zu %6zu %6zu %9.3f ms %8.1f GFLOP/s %5.1f %%", mode ? "bf16" : "f32",
           line->what, line->m, line->n, line->k, t * 1e3, flops / t * 1e-9,
           100 * flops / t * 1e-9 / peak);
    if (line->m < 16 || line->n < 16)
        printf(" %6.1f GB/s", (a_bytes > b_bytes ? a_bytes : b_bytes) / t * 1e-9);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const unsigned threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    const char *const part = argc > 2 ? argv[2] : "";
    struct ram_pool *pool = NULL;
    struct ram_err err = {0};

    if (ram_pool_new(&pool, threads, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const double peak[2] = {ram_peak_f32() * ram_pool_threads(pool),
                            ram_peak_bf16() * ram_pool_threads(pool)};
    printf("%s, %s, %u threads\npeak of registers alone: f32 %.1f, bf16 %.1f GFLOP/s\n",
           ram_cpu()->name, ram_cpu()->level, ram_pool_threads(pool), peak[0], peak[1]);
    for (int mode = RAM_GEMM_F32; mode <= RAM_GEMM_BF16; mode++)
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
            if (strstr(lines[i].what, part))
                print_line(&lines[i], mode, pool, peak[mode]);
    ram_pool_free(pool);
    return 0;
}
