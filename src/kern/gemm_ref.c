/* gemm_ref.c - the matrix product's kernel in plain C: what the others must equal to the bit. */
#include "kern/gemm_kernel.h"

#include <math.h>

enum { MR = 4, NR = 16 };

void ram_gemm_pack_part(const struct ram_gemm_pack *job, size_t lane0, size_t lane1, size_t unit0,
                        uint32_t *out)
{
    for (size_t u = unit0; u < job->n_units; u++)
        for (size_t lane = lane0; lane < lane1; lane++)
            out[u * job->width + lane] = ram_gemm_unit(job, lane, u);
}

void ram_gemm_pack_ref(const struct ram_gemm_pack *job, uint32_t *out)
{
    ram_gemm_pack_part(job, 0, job->width, 0, out);
}

static float real(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void tile(size_t n_units, const uint32_t *a, const uint32_t *b, float *c, size_t ldc,
                 size_t rows, bool add)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < NR; j++) {
            float sum = add ? c[i * ldc + j] : 0;
            for (size_t u = 0; u < n_units; u++)
                sum = fmaf(real(a[u * MR + i]), real(b[u * NR + j]), sum);
            c[i * ldc + j] = sum;
        }
    }
}

const struct ram_gemm_kernel ram_gemm_ref = {.name = "ref",
                                             .k_unit = 1,
                                             .mr = MR,
                                             .nr = NR,
                                             .unit_round = 1,
                                             .kc = 256,
                                             .mc = 64,
                                             .mc_min = 16,
                                             .pack_a = ram_gemm_pack_ref,
                                             .pack_b = ram_gemm_pack_ref,
                                             .tile = tile};

static int32_t byte(uint32_t unit, size_t i)
{
    return (int8_t)(unit >> 8 * i & 0xff);
}

static void tile_quads(size_t n_units, const uint32_t *a, const uint32_t *b, float *c, size_t ldc,
                       size_t rows, bool add)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < NR; j++) {
            int32_t sum = 0;
            for (size_t u = 0; u < n_units; u++)
                for (size_t k = 0; k < 4; k++)
                    sum += byte(a[u * MR + i], k) * byte(b[u * NR + j], k);
            c[i * ldc + j] = (add ? c[i * ldc + j] : 0) + (float)sum;
        }
    }
}

const struct ram_gemm_kernel ram_gemm_ref_int8 = {.name = "ref int8",
                                                  .k_unit = 4,
                                                  .mr = MR,
                                                  .nr = NR,
                                                  .unit_round = 1,
                                                  .kc = 512,
                                                  .mc = 64,
                                                  .mc_min = 16,
                                                  .pack_a = ram_gemm_pack_ref,
                                                  .pack_b = ram_gemm_pack_ref,
                                                  .tile = tile_quads};
