/* nn_back.c - see nn_back.h. */
#include "kern/nn_back.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void ram_rmsnorm_back(const float *x, const float *weight, size_t n, double eps, const float *dy,
                      float *dx)
{
    double squares = 0, along = 0;

    assert(dx != dy);
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

/* With S' = decay S: change = beta (v - S'^T k), S = S' + k change^T, out = S^T q. */
void ram_delta_back(const struct ram_delta_step *step, const float *before, const float *after,
                    const float *change, const float *dout, float *dstate, float *room,
                    struct ram_delta_back *out)
{
    const size_t n = step->v_dim;
    float *const dchange = room;
    double along = 0;

    memset(dchange, 0, n * sizeof *dchange);
    for (size_t i = 0; i < step->k_dim; i++) {
        float *const d = dstate + i * n;
        double by_q = 0, by_k = 0;
        for (size_t j = 0; j < n; j++) {
            d[j] += step->q[i] * dout[j];
            dchange[j] += step->k[i] * d[j];
            by_q += (double)after[i * n + j] * (double)dout[j];
            by_k += (double)d[j] * (double)change[j];
        }
        out->dq[i] += (float)by_q;
        out->dk[i] += (float)by_k;
    }
    for (size_t j = 0; j < n; j++) {
        along += (double)dchange[j] * (double)change[j];
        out->dv[j] = step->beta * dchange[j];
    }
    out->dbeta = step->beta > 0 ? along / (double)step->beta : 0;
    out->ddecay = 0;
    for (size_t i = 0; i < step->k_dim; i++) {
        float *const d = dstate + i * n;
        double by_k = 0;
        for (size_t j = 0; j < n; j++) {
            const float by = d[j] - step->k[i] * out->dv[j]; /* the derivative by S' */
            out->ddecay += (double)by * (double)before[i * n + j];
            by_k += (double)before[i * n + j] * (double)out->dv[j];
            d[j] = step->decay * by;
        }
        out->dk[i] -= (float)(by_k * (double)step->decay);
    }
}
