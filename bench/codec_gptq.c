/*
 * codec_gptq.c - processor time of GPTQ: of a factor, and a weight of a matrix.
 * Usage: bench_codec_gptq [columns ...]
 */
#include "base/mem.h"
#include "base/rng.h"
#include "codec/gptq.h"
#include "kern/gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 256, TOKENS = 512 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int measure(size_t cols, struct ram_err *err)
{
    float *x = ram_calloc(TOKENS * cols, sizeof *x, err);
    float *h = ram_calloc(cols * cols, sizeof *h, err);
    float *w = ram_calloc(ROWS * cols, sizeof *w, err);
    uint8_t *bytes = ram_calloc(3 * ROWS * cols, 1, err);
    struct ram_gptq_factor *factor = NULL;
    int status = x && h && w && bytes ? RAM_OK : RAM_ENOMEM;

    if (!status) {
        ram_rng_normal(ram_rng_for(1, "x"), 0, TOKENS * cols, x);
        for (size_t i = 0; i < TOKENS * cols; i++) /* neighbours alike, as a model's inputs are */
            x[i] = i % cols ? 0.8f * x[i - 1] + 0.6f * x[i] : x[i];
        ram_rng_normal(ram_rng_for(2, "w"), 0, ROWS * cols, w);
        const struct ram_mat a = {x, RAM_ELEM_F32, 1, cols};
        status = ram_gram(RAM_GEMM_F32, cols, TOKENS, a, h, cols, false, NULL, err);
    }
    double start = seconds();
    if (!status)
        status = ram_gptq_factor_new(&factor, "bench", h, cols, 0.05, NULL, err);
    if (!status)
        printf("%5zu columns: factor %6.2f s;", cols, seconds() - start);
    for (unsigned sweeps = 0; !status && sweeps <= 2; sweeps++) {
        const struct ram_gptq how = {
            .form = {.bits = 4, .group = 64}, .factor = factor, .sweeps = sweeps};
        const struct ram_gptq_bytes out = {bytes, bytes + ROWS * cols, bytes + 2 * ROWS * cols};
        double sum;
        start = seconds();
        status = ram_gptq_encode(&how, w, ROWS, cols, &out, &sum, err);
        printf("  %u sweeps %6.1f ns a weight", sweeps, (seconds() - start) * 1e9 / ROWS / cols);
    }
    printf("\n");
    ram_gptq_factor_free(factor);
    free(x);
    free(w);
    free(bytes);
    return status;
}

int main(int argc, char **argv)
{
    static const size_t cols[] = {256, 1024, 2048, 4096};
    struct ram_err err = {0};

    for (int i = 1; i < argc && !err.status; i++)
        measure(strtoul(argv[i], NULL, 10) / 128 * 128, &err);
    for (size_t i = 0; argc == 1 && i < sizeof cols / sizeof *cols && !err.status; i++)
        measure(cols[i], &err);
    if (err.status)
        fprintf(stderr, "%s\n", err.message);
    return err.status ? 1 : 0;
}
