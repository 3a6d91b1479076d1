/* nn_back.c - see nn_back.h. */
#include "kern/nn_back.h"

#include "kern/nn.h"

#include <math.h>

void ram_rmsnorm_back(const float *x, const float *weight, size_t n, double eps, const float *dy,
                      float *dx)
{
    double squares = 0, along = 0;

    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        along += (double)weight[i] * (double)dy[i] * (double)x[i];
    }
    const double inverse = 1 / sqrt(squares / (double)n + eps);
    const double back = along * inverse * inverse * inverse / (double)n;
    for (size_t i = 0; i < n; i++)
        dx[i] += (float)((double)weight[i] * (double)dy[i] * inverse - (double)x[i] * back);
}

void ram_swiglu_back(const float *gate, const float *up, size_t n, const float *dy, float *dgate,
                     float *dup)
{
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i], d = dy[i];
        const float s = 1 / (1 + ram_nn_exp(-g));
        dgate[i] = d * up[i] * (s + g * s * (1 - s));
        dup[i] = d * g * s;
    }
}

void ram_softmax_back(const float *p, size_t n, float scale, const float *dp, float *ds)
{
    double mean = 0;

    for (size_t i = 0; i < n; i++)
        mean += (double)p[i] * (double)dp[i];
    for (size_t i = 0; i < n; i++)
        ds[i] = p[i] * (dp[i] - (float)mean) * scale;
}
