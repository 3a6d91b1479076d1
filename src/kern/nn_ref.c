/*
 * nn_ref.c - the row loops in plain C: their definition.
 *
 * exp(x) = 2^k exp(r) with k = round(x / ln 2) and |r| <= ln(2)/2; ln 2 is subtracted in two parts,
 * exp(r) is the polynomial of Cephes' expf (S. L. Moshier). Every operation is a single IEEE
 * operation in the order written, so vectors of any width repeat it exactly.
 */
#include "kern/nn.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16 };

/* Lanes folded by halves: i + 8, then i + 4, i + 2, i + 1. */
static float fold(float lanes[LANES])
{
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

static double fold_double(double lanes[LANES])
{
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

float ram_nn_exp(float x)
{
    const float magic = 12582912; /* 1.5 x 2^23: adding it rounds to an integer */
    float clipped = x < -87.0f ? -87.0f : x;
    uint32_t bits, magic_bits;

    clipped = clipped > 88.0f ? 88.0f : clipped;
    const float shifted = clipped * 1.44269504088896341f + magic;
    const float k = shifted - magic;
    float r = clipped - k * 0.693359375f;
    r = r - k * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r;
    p = p + 1.0f;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&magic_bits, &magic, sizeof magic_bits);
    bits = (bits - magic_bits + 127) << 23; /* 2^k */
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0 : p * power;
}

static void rmsnorm(const float *x, const float *weight, size_t n, double eps, float *out)
{
    float lanes[LANES] = {0};

    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] += x[i] * x[i];
    const float scale = (float)(1 / sqrt((double)fold(lanes) / (double)n + eps));
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static void swiglu(const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + ram_nn_exp(-gate[i])) * up[i];
}

/* The largest value, and the first place where it occurs. A NaN in the first place is kept; others
 * are skipped. */
static float largest(const float *x, size_t n, size_t *at)
{
    float max = x[0];
    *at = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > max) {
            max = x[i];
            *at = i;
        }
    return max;
}

static void softmax(float *x, size_t n, float scale)
{
    float lanes[LANES] = {0};
    size_t at;
    const float max = largest(x, n, &at);

    assert(n >= 1);
    for (size_t i = 0; i < n; i++) {
        x[i] = ram_nn_exp((x[i] - max) * scale);
        lanes[i % LANES] += x[i];
    }
    const float inverse = 1.0f / fold(lanes);
    for (size_t i = 0; i < n; i++)
        x[i] *= inverse;
}

static double log_sum_exp(const float *x, size_t n, size_t *argmax)
{
    double lanes[LANES] = {0};
    const float max = largest(x, n, argmax);

    assert(n >= 1);
    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] += (double)ram_nn_exp(x[i] - max);
    return (double)max + log(fold_double(lanes));
}

static double divergence(const float *p, double p_lse, const float *q, double q_lse, size_t n)
{
    double lanes[LANES] = {0};

    for (size_t i = 0; i < n; i++) {
        const double log_p = (double)p[i] - p_lse, log_q = (double)q[i] - q_lse;
        lanes[i % LANES] += (double)ram_nn_exp((float)log_p) * (log_p - log_q);
    }
    return fold_double(lanes);
}

static void rotate(float *x, const float *cosine, const float *sine, size_t n_pairs,
                   bool interleaved)
{
    const size_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : n_pairs;

    for (size_t j = 0; j < n_pairs; j++) {
        const float a = x[j * step], b = x[j * step + apart];
        x[j * step] = a * cosine[j] - b * sine[j];
        x[j * step + apart] = b * cosine[j] + a * sine[j];
    }
}

static void axpy(float a, const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void delta(const struct ram_delta_step *step, float *state, float *change, float *out)
{
    const size_t n = step->v_dim;

    memset(change, 0, n * sizeof *change);
    memset(out, 0, n * sizeof *out);
    for (size_t i = 0; i < step->k_dim; i++)
        for (size_t j = 0; j < n; j++) {
            state[i * n + j] *= step->decay;
            change[j] += step->k[i] * state[i * n + j];
        }
    for (size_t j = 0; j < n; j++)
        change[j] = step->beta * (step->v[j] - change[j]);
    for (size_t i = 0; i < step->k_dim; i++)
        for (size_t j = 0; j < n; j++) {
            state[i * n + j] += step->k[i] * change[j];
            out[j] += step->q[i] * state[i * n + j];
        }
}

const struct ram_nn ram_nn_ref = {"ref",      rmsnorm, swiglu, softmax, log_sum_exp,
                                  divergence, rotate,  axpy,   delta};
