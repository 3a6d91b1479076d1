/*
 * nn.h - the loops of a transformer that are not matrix products, row by row, all in f32.
 *
 * nn_ref.c defines them; vector variants give the same bits. Sums run in 16 lanes (lane i takes
 * elements i, i + 16, ...), folded by halves, and exp is one polynomial for all (nn_ref.c).
 */
#ifndef RAM_KERN_NN_H
#define RAM_KERN_NN_H

#include <stdbool.h>
#include <stddef.h>

/* A head's query and key [k_dim] and value [v_dim] at one position. */
struct ram_delta_step {
    const float *q, *k, *v;
    size_t k_dim, v_dim;
    float decay, beta;
};

struct ram_nn {
    const char *name;

    /* out = weight * x / sqrt(mean(x^2) + eps), all [n]; out may be x. */
    void (*rmsnorm)(const float *x, const float *weight, size_t n, double eps, float *out);

    /* out = gate * sigmoid(gate) * up, all [n]; out may be gate. */
    void (*swiglu)(const float *gate, const float *up, size_t n, float *out);

    /* x = softmax(x * scale) in place, x [n], n >= 1. */
    void (*softmax)(float *x, size_t n, float scale);

    /* log(sum(exp(x))) with the maximum taken out and the sum in f64; *argmax is the first index
     * of the maximum. x [n], n >= 1; NaN in x gives NaN. */
    double (*log_sum_exp)(const float *x, size_t n, size_t *argmax);

    /* KL(P || Q) in nats of two rows of logits [n] whose log_sum_exp are known; sum in f64. */
    double (*divergence)(const float *p, double p_lse, const float *q, double q_lse, size_t n);

    /* Rotates the first 2 n_pairs elements of x by angles with these cosines and sines [n_pairs]:
     * pairs (j, j + n_pairs), or (2j, 2j + 1) if interleaved. */
    void (*rotate)(float *x, const float *cosine, const float *sine, size_t n_pairs,
                   bool interleaved);

    /* y += a x, both [n]. */
    void (*axpy)(float a, const float *x, size_t n, float *y);

    /*
     * One position of the gated delta rule (Yang et al. 2024, "Gated Delta Networks"), for one
     * head. state [k_dim, v_dim] is multiplied by decay; what it then gives for k is corrected
     * towards v, by beta of the difference; and out [v_dim] is what it gives for q:
     *   S = decay S;  change = beta (v - S^T k);  S += k change^T;  out = S^T q.
     * Sums run over k_dim in increasing order. change [v_dim] is written.
     */
    void (*delta)(const struct ram_delta_step *step, float *state, float *change, float *out);
};

extern const struct ram_nn ram_nn_ref;
#if defined(__x86_64__)
extern const struct ram_nn ram_nn_avx2, ram_nn_avx512;
#elif defined(__aarch64__)
extern const struct ram_nn ram_nn_neon;
#endif

/* exp as all of the above use it: within 2 ulp on [-87, 88], 0 below, exp(88) above; NaN stays. */
float ram_nn_exp(float x);

/* The best table this processor can run, as RAM_CPU allows. */
const struct ram_nn *ram_nn(void);

/* All tables this processor can run, worst first, for the checker; returns their number. */
size_t ram_nn_all(const struct ram_nn *tables[8]);

#endif
