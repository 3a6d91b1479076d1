/*
 * nn_back.h - derivatives of the row loops of nn.h, in plain C: a row takes little beside the
 * matrix products around it. Sums are in f64 in increasing order, so every processor gives the same
 * bits.
 */
#ifndef RAM_KERN_NN_BACK_H
#define RAM_KERN_NN_BACK_H

#include "kern/nn.h"

#include <stddef.h>

/* y = weight * x / sqrt(mean(x^2) + eps), all [n]: dx += (dy / dx)^T dy. dx must not be dy. */
void ram_rmsnorm_back(const float *x, const float *weight, size_t n, double eps, const float *dy,
                      float *dx);

/* y = gate * sigmoid(gate) * up, all [n]: from dy to dgate and dup; either may be dy. */
void ram_swiglu_back(const float *gate, const float *up, size_t n, const float *dy, float *dgate,
                     float *dup);

/* p = softmax(scale * s), all [n]: ds from dp; ds may be dp. */
void ram_softmax_back(const float *p, size_t n, float scale, const float *dp, float *ds);

/* Derivatives of one position of the delta rule (nn.h). */
struct ram_delta_back {
    float *dq, *dk; /* [k_dim]: are added to */
    float *dv;      /* [v_dim] */
    double ddecay, dbeta;
};

/*
 * before, after: the state before the position, and behind it; change: as the forward step wrote
 * it; dout [v_dim]. dstate [k_dim, v_dim], the derivative by the state behind the position, becomes
 * that by the state before it. room: [v_dim].
 */
void ram_delta_back(const struct ram_delta_step *step, const float *before, const float *after,
                    const float *change, const float *dout, float *dstate, float *room,
                    struct ram_delta_back *out);

#endif
