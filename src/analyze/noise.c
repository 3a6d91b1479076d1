/* noise.c - see noise.h. */
#include "analyze/noise.h"

#include "base/rng.h"
#include "kern/gemm.h"

#include <math.h>

/* Streams of their own, apart from the test matrix of the spectrum. */
static struct ram_rng stream(const struct ram_noise *noise, const char *what)
{
    struct ram_rng rng = ram_rng_for(noise->seed, noise->name);
    rng.key ^= ram_rng_for(noise->seed, what).key;
    return rng;
}

void ram_noise_columns(const struct ram_noise *noise, float *x)
{
    ram_rng_normal(stream(noise, "output columns"), 0, noise->cols * noise->n, x);
    for (size_t j = 0; j < noise->n; j++) {
        double sum = 0;
        for (size_t i = 0; i < noise->cols; i++)
            sum += (double)x[i * noise->n + j] * (double)x[i * noise->n + j];
        const float scale = (float)(1 / sqrt(sum));
        for (size_t i = 0; i < noise->cols; i++)
            x[i * noise->n + j] *= scale;
    }
}

size_t ram_noise_workspace(const struct ram_noise *noise, size_t rows)
{
    return rows * (noise->cols + noise->n);
}

/* Uniform in [-1, 1), two from each draw; the matrix's own index counts. */
static void uniform(struct ram_rng rng, uint64_t first, size_t n, float *u)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t index = first + i, bits = ram_rng_u64(rng, index / 2);
        const uint32_t half = (uint32_t)(index % 2 ? bits >> 32 : bits);
        u[i] = (float)(half >> 8) * 0x1p-23f - 1;
    }
}

/* ||A X||^2 for a [rows, cols]; y [rows, n] is workspace. */
static int energy(const struct ram_noise *noise, const float *a, size_t rows, float *y, double *sum,
                  struct ram_err *err)
{
    const struct ram_mat left = {a, RAM_ELEM_F32, noise->cols, 1};
    const struct ram_mat right = {noise->x, RAM_ELEM_F32, noise->n, 1};

    const int status = ram_gemm(RAM_GEMM_F32, rows, noise->n, noise->cols, left, right, y, noise->n,
                                false, NULL, err);
    *sum = 0;
    for (size_t i = 0; i < rows * noise->n && !status; i++)
        *sum += (double)y[i] * (double)y[i];
    return status;
}

int ram_noise_block(const struct ram_noise *noise, const float *w, size_t first_row, size_t rows,
                    float *workspace, double sums[2], struct ram_err *err)
{
    float *const u = workspace, *const y = workspace + rows * noise->cols;

    uniform(stream(noise, "output noise"), (uint64_t)first_row * noise->cols, rows * noise->cols,
            u);
    const int status = energy(noise, u, rows, y, &sums[0], err);
    return status ? status : energy(noise, w, rows, y, &sums[1], err);
}

double ram_noise_output(const double sums[2], double range)
{
    return sums[1] > 0 ? range / 32 * sqrt(sums[0] / sums[1]) : 0;
}
