/*
 * What the search of scales and biases gains and costs: squared error relative to MLX's own
 * encoding and processor time a weight, for every form, on normal and on heavy-tailed weights in
 * bf16. One thread, the best kernels of this processor.
 */
#include "base/rng.h"
#include "codec/affine_search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 64, COLS = 1024, N = ROWS * COLS };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Student's t with 9 degrees of freedom: normal over the root of a mean of 9 squares. */
static void fill(bool heavy, float *w)
{
    static float z[10 * N];
    uint16_t half;

    ram_rng_normal(ram_rng_for(1, heavy ? "t9" : "normal"), 0, heavy ? 10 * N : N, z);
    for (size_t i = 0; i < N; i++) {
        float square = 0;
        for (size_t k = 0; heavy && k < 9; k++)
            square += z[N + 9 * i + k] * z[N + 9 * i + k];
        w[i] = 0.02f * (heavy ? z[i] / sqrtf(square / 9) : z[i]);
        ram_kern()->narrow_bf16(&w[i], 1, &half);
        ram_kern()->widen_bf16(&half, 1, &w[i]);
    }
}

int main(void)
{
    static float w[N];
    static uint8_t codes[N], scales[N / 8], biases[N / 8];

    printf("%s: squared error / MLX's own, ns a weight in brackets\n", ram_kern()->name);
    for (int heavy = 0; heavy < 2; heavy++) {
        fill(heavy, w);
        for (unsigned effort = 1; effort <= 3; effort++) {
            printf("%s, effort %u\n      ", heavy ? "Student t, 9 degrees" : "normal", effort);
            for (size_t b = 0; b < RAM_KERN_N_BITS; b++)
                printf("   %d bits    ", ram_kern_bits[b]);
            for (size_t g = 0; g < RAM_KERN_N_GROUPS; g++) {
                printf("\n g%-4d", ram_kern_groups[g]);
                for (size_t b = 0; b < RAM_KERN_N_BITS; b++) {
                    const struct ram_affine f = {ram_kern_bits[b], ram_kern_groups[g],
                                                 RAM_PROFILE_GPU, RAM_SCALE_BF16};
                    const struct ram_search how = {.effort = effort};
                    const double mlx = ram_affine_encode(&f, w, ROWS, COLS, codes, scales, biases);
                    const double start = now();
                    const double sum =
                        ram_search_encode(&f, &how, w, ROWS, COLS, codes, scales, biases);
                    printf(" %.3f (%5.1f)", sum / mlx, 1e9 * (now() - start) / N);
                }
            }
            printf("\n");
        }
    }
    return 0;
}
