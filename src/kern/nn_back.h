/*
 * nn_back.h - derivatives of the row loops of nn.h, in plain C: a row takes little beside the
 * matrix products around it. Sums are in f64 in increasing order, so every processor gives the same
 * bits.
 */
#ifndef RAM_KERN_NN_BACK_H
#define RAM_KERN_NN_BACK_H

#include <stddef.h>

/* y = weight * x / sqrt(mean(x^2) + eps), all [n]: dx += (dy / dx)^T dy. dx must not be dy. */
void ram_rmsnorm_back(const float *x, const float *weight, size_t n, double eps, const float *dy,
                      float *dx);

/* y = gate * sigmoid(gate) * up, all [n]: from dy to dgate and dup; either may be dy. */
void ram_swiglu_back(const float *gate, const float *up, size_t n, const float *dy, float *dgate,
                     float *dup);

/* p = softmax(scale * s), all [n]: ds from dp; ds may be dp. */
void ram_softmax_back(const float *p, size_t n, float scale, const float *dp, float *ds);

#endif
