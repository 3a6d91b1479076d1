/*
 * backward.h - derivatives of a model's loss by what its matrices give: one backward pass, layer by
 * layer, with the inputs of every layer kept from the forward pass (in a file if memory asks for
 * it).
 *
 * The loss is -log p(label), summed over all rows; the label of a row is drawn from what the model
 * itself predicts there, unless it is given. With drawn labels the derivatives g at the output of a
 * matrix and its inputs a are samples of the Fisher information: the divergence that an error E of
 * the matrix causes is half of the mean of (g^T E a)^2 over tokens, to second order (Martens and
 * Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate curvature").
 *
 * Derivatives by weights are not formed. Products are in f32 and sums in a fixed order: the same
 * bits for any number of threads, any memory and every instruction set.
 */
#ifndef RAM_INFER_BACKWARD_H
#define RAM_INFER_BACKWARD_H

#include "infer/forward.h"
#include "infer/sight.h"

struct ram_backward_opts {
    const struct ram_exec *exec;
    const uint32_t *labels; /* [rows of all spans]; NULL: drawn */
    uint64_t seed;          /* of the labels */
    /* Sees every matrix of every layer, the last layer first, from the calling thread. */
    int (*see)(void *ctx, const struct ram_sight *sight, struct ram_err *err);
    /* Called after every layer, forward and backward; NULL: not called. */
    int (*step)(void *ctx, size_t done, size_t total, struct ram_err *err);
    void *ctx;
};

/* spans: without parents. */
int ram_backward(const struct ram_model *model, const struct ram_span *spans, size_t n_spans,
                 const struct ram_backward_opts *opts, struct ram_err *err);

#endif
