/*
 * analyze_speed.c - how long measuring takes, against what the processor could do at best and,
 * if RAM_RIVAL says where it lies, against the method authors' own program (analyze_rival.py).
 *
 * Limit: the products that the metric consists of at the peak of the instruction that they use,
 * counted as the algorithm needs them (a Gram matrix half), plus one pass over the weights in
 * memory. One thread; time is the thread's own.
 */
#include "analyze/moment.h"
#include "analyze/recon.h"
#include "analyze/spectrum.h"
#include "base/mem.h"
#include "base/rng.h"
#include "codec/affine.h"
#include "kern/coarse.h"
#include "kern/kern.h"
#include "peak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { Q = RAM_SPECTRUM_RANK, BLOCK = 1 << 17 };

static double clock_now(void)
{
    return ram_seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

static void *need(void *p)
{
    if (!p) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

/* ---- one matrix ---------------------------------------------------------------------------- */

struct matrix {
    size_t rows, cols, n;
    uint16_t *w;
    struct ram_tensor tensor;
};

static struct matrix make_matrix(size_t rows, size_t cols)
{
    struct ram_err err = {0};
    struct matrix m = {.rows = rows, .cols = cols, .n = rows * cols};
    float piece[4096];

    m.w = need(ram_calloc(m.n, sizeof *m.w, &err));
    for (size_t i = 0; i < m.n; i += 4096) {
        const size_t size = m.n - i < 4096 ? m.n - i : 4096;
        ram_rng_normal(ram_rng_for(1, "bench"), i, size, piece);
        for (size_t j = 0; j < size; j++)
            piece[j] *= 0.02f;
        ram_kern()->narrow_bf16(piece, size, m.w + i);
    }
    m.tensor = (struct ram_tensor){.name = "w",
                                   .dtype = RAM_BF16,
                                   .n_dims = 2,
                                   .shape = {rows, cols},
                                   .n = m.n,
                                   .size = 2 * m.n,
                                   .data = (const uint8_t *)m.w};
    return m;
}

static double sink; /* keeps results alive */

/* Seconds of the pass over rows that gives kurtosis, output and error (and the statistics), or of
 * the errors of every (bits, group). */
static double time_pass(const struct matrix *m, bool errors, float *buffer)
{
    const struct ram_view view = ram_view_whole(&m->tensor);
    const size_t step = BLOCK / m->cols ? BLOCK / m->cols : 1;
    double sums[6][3] = {{0}};
    struct ram_err err = {0};

    const double start = clock_now();
    for (size_t row = 0; row < m->rows; row += step) {
        const size_t n = m->rows - row < step ? m->rows - row : step;
        struct ram_moments moments;
        ram_view_read(&view, row, n, buffer, &err);
        if (errors) {
            ram_affine_errors(RAM_PROFILE_GPU, RAM_SCALE_BF16, buffer, n, m->cols, sums);
            continue;
        }
        ram_moments_block(buffer, n * m->cols, &moments);
        sink += moments.m4 + ram_recon_block(buffer, n, m->cols);
    }
    sink += sums[0][0];
    return clock_now() - start;
}

static double time_spectrum(const struct matrix *m, void *workspace)
{
    const struct ram_spectrum_job job = {.view = ram_view_whole(&m->tensor),
                                         .rms = 0.02,
                                         .seed = 42,
                                         .name = "w",
                                         .workspace = workspace};
    struct ram_err err = {0};
    double c;

    const double start = clock_now();
    if (ram_spectrum(&job, &c, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    sink += c;
    return clock_now() - start;
}

/* One pass over the weights, as fast as this core reads: an exclusive or of all words. */
static double time_read(const struct matrix *m)
{
    const uint64_t *p = (const uint64_t *)m->w;
    uint64_t x[8] = {0};

    const double start = clock_now();
    for (size_t i = 0; i + 8 <= m->n / 4; i += 8)
        for (size_t k = 0; k < 8; k++)
            x[k] ^= p[i + k];
    const double time = clock_now() - start;
    for (size_t k = 0; k < 8; k++)
        sink += (double)(x[k] & 1);
    return time;
}

/* ---- limits -------------------------------------------------------------------------------- */

struct flops {
    double int8, bf16, f32;
};

/* What spectrum.c multiplies for a matrix whose spectrum is flat, as a normal one's is;
 * additions of the sketch, which no multiplier does, are not counted. */
static struct flops flops_of(const struct matrix *m)
{
    const double n = (double)(m->rows > m->cols ? m->rows : m->cols);
    const double s = (double)m->n / n, q = Q;
    /* a basis: x^T x, x w; and in f32 x^T x, then m2 w and (m2 w)^T w, w triangular */
    const double basis = 2.5 * s * q * q, small = s * q * q + 3 * q * q * q;

    if (0.5 * n * s + 2 * s * q < 0.9 * 5 * n * q)
        /* G; two products with it; z^T x in f32 */
        return (struct flops){0, n * s * s + 4 * s * s * q + basis, small + 1.5 * s * q * q};
    /* five tall products, of which four may be in 8 bits; t^T t */
    const double tall = 2 * n * s * q, coarse = ram_coarse_pays() ? 4 * tall : 0;
    return (struct flops){coarse, 5 * tall - coarse + n * q * q + basis, small};
}

/* What the published algorithm multiplies, as products of the same kind: six tall ones. */
static double published_flops(const struct matrix *m)
{
    return 12 * (double)m->n * Q;
}

/* ---- the rival ----------------------------------------------------------------------------- */

/* ns a weight: all, svd, kurtosis, output, error; false if there is no rival. */
static bool ask_rival(size_t rows, size_t cols, double ns[5])
{
    const char *python = getenv("RAM_RIVAL_PYTHON"), *source = getenv("RAM_SOURCE");
    char command[1024];
    size_t r, c;

    if (!getenv("RAM_RIVAL"))
        return false;
    snprintf(command, sizeof command, "'%s' '%s/bench/analyze_rival.py' %zux%zu",
             python ? python : "python3", source ? source : ".", rows, cols);
    FILE *pipe = popen(command, "r");
    const bool good = pipe && fscanf(pipe, "%zu %zu %lf %lf %lf %lf %lf", &r, &c, &ns[0], &ns[1],
                                     &ns[2], &ns[3], &ns[4]) == 7;
    if (pipe)
        pclose(pipe);
    return good;
}

static void measure(size_t rows, size_t cols)
{
    struct ram_err err = {0};
    const struct matrix m = make_matrix(rows, cols);
    const struct ram_view view = ram_view_whole(&m.tensor);
    void *workspace = need(ram_calloc(ram_spectrum_workspace(&view), 1, &err));
    float *buffer = need(ram_calloc(BLOCK + cols, sizeof *buffer, &err));
    const int runs = m.n > 10000000 ? 3 : 15;
    double pass = 1e9, errors = 1e9, spectrum = 1e9, read = 1e9, rival[5];

    for (int i = 0; i < runs; i++) {
        pass = fmin(pass, time_pass(&m, false, buffer));
        errors = fmin(errors, time_pass(&m, true, buffer));
        spectrum = fmin(spectrum, time_spectrum(&m, workspace));
        read = fmin(read, time_read(&m));
    }
    const struct flops f = flops_of(&m);
    const double bf16 = ram_peak_bf16(), f32 = ram_peak_f32(), int8 = ram_peak_int8();
    const double limit = (f.int8 > 0 ? f.int8 / (int8 * 1e9) : 0) + f.bf16 / (bf16 * 1e9) +
                         f.f32 / (f32 * 1e9) + read;
    const double ns = 1e9 / (double)m.n, total = pass + spectrum;
    printf("%5zu x %5zu  four metrics %6.2f ns a weight (svd %6.2f, the rest %5.2f); limit %6.2f, "
           "%4.2f x; all (bits, group) errors %5.2f\n",
           rows, cols, total * ns, spectrum * ns, pass * ns, limit * ns, total / limit,
           errors * ns);
    printf("               products of the svd metric: %.0f flop a weight; as published %.0f\n",
           (f.int8 + f.bf16 + f.f32) / (double)m.n, published_flops(&m) / (double)m.n);
    if (ask_rival(rows, cols, rival))
        printf("               rival %6.2f (svd %.2f, kurtosis %.2f, output %.2f, error %.2f): "
               "%.1f x\n",
               rival[0], rival[1], rival[2], rival[3], rival[4], rival[0] / (total * ns));
    fflush(stdout);
    free(m.w);
    free(workspace);
    free(buffer);
}

int main(int argc, char **argv)
{
    static const size_t shapes[][2] = {{768, 2048}, {2048, 768}, {4096, 4096}, {4096, 12288}};
    printf("%s; peak of one core: int8 %.0f, bf16 %.0f, f32 %.0f GFLOP/s\n", ram_cpu()->name,
           ram_peak_int8(), ram_peak_bf16(), ram_peak_f32());
    if (argc == 3) {
        measure(strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10));
    } else {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            measure(shapes[i][0], shapes[i][1]);
    }
    return isnan(sink);
}
