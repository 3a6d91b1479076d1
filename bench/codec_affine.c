/*
 * Time of the kernels over weights, for every variant this processor runs, beside a plain pass
 * over the same memory. One thread, processor time, best of several runs; weights are normal,
 * rounded to bf16, with scales in bf16.
 */
#include "base/rng.h"
#include "codec/affine.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 1024, COLS = 2048, N = ROWS * COLS, REPEATS = 7 };

struct bench {
    const struct ram_kern *kern;
    struct ram_affine form;
    float *w, *out;
    uint8_t *half, *codes, *scales, *biases;
    double sink; /* keeps results alive */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void memory_pass(struct bench *b)
{
    memcpy(b->out, b->w, N * sizeof *b->w);
}

static void widen_bf16(struct bench *b)
{
    b->kern->widen_bf16(b->half, N, b->out);
}

static void widen_f16(struct bench *b)
{
    b->kern->widen_f16(b->half, N, b->out);
}

static void widen_f8(struct bench *b)
{
    b->kern->widen_f8(b->half, N, b->out);
}

static void narrow_bf16(struct bench *b)
{
    b->kern->narrow_bf16(b->w, N, (uint16_t *)(void *)b->half);
}

static void encode(struct bench *b)
{
    const size_t n = RAM_KERN_BLOCK, n_groups = n / (size_t)b->form.group;

    for (size_t i = 0; i < N / n; i++)
        b->sink += (double)b->kern->affine_encode(
            &b->form, b->w + i * n, n, b->codes + i * ram_affine_code_size(&b->form, n),
            b->scales + i * 2 * n_groups, b->biases + i * 2 * n_groups);
}

static void decode(struct bench *b)
{
    const size_t n = RAM_KERN_BLOCK, n_groups = n / (size_t)b->form.group;

    for (size_t i = 0; i < N / n; i++)
        b->kern->affine_decode(&b->form, b->codes + i * ram_affine_code_size(&b->form, n),
                               b->scales + i * 2 * n_groups, b->biases + i * 2 * n_groups, n,
                               b->out + i * n);
}

static void errors(struct bench *b)
{
    float sums[6][3];

    for (size_t i = 0; i < N; i += RAM_KERN_BLOCK) {
        b->kern->affine_errors(b->form.profile, b->form.scale_type, b->w + i, RAM_KERN_BLOCK, 3,
                               sums);
        b->sink += (double)sums[0][0];
    }
}

static void recon(struct bench *b)
{
    for (size_t i = 0; i < N; i += RAM_KERN_BLOCK)
        b->sink += (double)b->kern->recon(b->w + i, RAM_KERN_BLOCK);
}

static void moments(struct bench *b)
{
    struct ram_kern_moments m;

    for (size_t i = 0; i < N; i += RAM_KERN_MOMENT_BLOCK) {
        b->kern->moments(b->w + i, RAM_KERN_MOMENT_BLOCK, b->w[i], &m);
        b->sink += m.sum[0];
    }
}

/* bytes: read and written for each weight. */
static void measure(struct bench *b, const char *what, void (*run)(struct bench *b), double bytes)
{
    double best = 1e9;

    for (int i = 0; i < REPEATS; i++) {
        const double start = now();
        run(b);
        const double took = now() - start;
        best = took < best ? took : best;
        if (took > 1) /* the reference is slow enough to be measured once */
            break;
    }
    printf("%-8s %-22s %8.3f ns/weight %8.2f GB/s\n", b->kern->name, what, 1e9 * best / N,
           1e-9 * bytes * N / best);
}

static void measure_forms(struct bench *b)
{
    static const int forms[][2] = {{2, 32}, {3, 64}, {4, 32}, {4, 64}, {4, 128}, {6, 64}, {8, 64}};
    char what[64];

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const double bytes = 4 + forms[i][0] / 8.0 + 4.0 / forms[i][1];
        b->form.bits = forms[i][0];
        b->form.group = forms[i][1];
        snprintf(what, sizeof what, "encode %d bits g%d", forms[i][0], forms[i][1]);
        measure(b, what, encode, bytes);
        snprintf(what, sizeof what, "decode %d bits g%d", forms[i][0], forms[i][1]);
        measure(b, what, decode, bytes);
    }
}

int main(void)
{
    const struct ram_kern *tables[8];
    const size_t n_tables = ram_kern_all(tables);
    struct bench b = {
        .form = {4, 64, RAM_PROFILE_GPU, RAM_SCALE_BF16},
        .w = malloc(N * sizeof(float)),
        .out = malloc(N * sizeof(float)),
        .half = malloc(2 * N),
        .codes = malloc(N),
        .scales = malloc(N),
        .biases = malloc(N),
    };

    if (!b.w || !b.out || !b.half || !b.codes || !b.scales || !b.biases)
        return 1;
    ram_rng_normal(ram_rng_for(1, "bench"), 0, N, b.w);
    for (size_t i = 0; i < N; i++)
        b.w[i] *= 0.02f;
    ram_kern_ref.narrow_bf16(b.w, N, (uint16_t *)(void *)b.half);
    ram_kern_ref.widen_bf16(b.half, N, b.w);
    memset(b.out, 0, N * sizeof *b.out);
    for (size_t t = n_tables; t-- > 0;) {
        b.kern = tables[t];
        if (t == n_tables - 1)
            measure(&b, "(memcpy of f32)", memory_pass, 8);
        measure(&b, "widen bf16", widen_bf16, 6);
        measure(&b, "widen f16", widen_f16, 6);
        measure(&b, "widen f8", widen_f8, 5);
        measure(&b, "narrow bf16", narrow_bf16, 6);
        measure(&b, "moments", moments, 4);
        measure(&b, "error metric", recon, 4);
        measure(&b, "18 forms' errors", errors, 4);
        measure_forms(&b);
    }
    printf("(%g)\n", b.sink);
    free(b.w);
    free(b.out);
    free(b.half);
    free(b.codes);
    free(b.scales);
    free(b.biases);
    return 0;
}
