/*
 * encoder.h - the ways to choose codes, scales and biases for rows of weights.
 *
 * All of them write the same format, so that whatever reads MLX affine reads the result; they
 * differ in how small the error is and how long they take.
 */
#ifndef RAM_CONVERT_ENCODER_H
#define RAM_CONVERT_ENCODER_H

#include "base/json.h"
#include "codec/gptq.h"

struct ram_weight_encoder {
    const char *name;
    const char *what; /* one line for a person */
    bool wants_inputs;
    /* Rows that it wants at a time, and the bytes that it needs for each of their weights; NULL and
     * 0: as they come, and next to none. */
    size_t (*rows)(size_t cols);
    size_t weight_bytes;
    /* Encodes n rows of w [n, cols]: the contract of ram_gptq_encode. factor is NULL where nothing
     * is known of the inputs, and for encoders that do not want to know. */
    int (*encode)(const struct ram_affine *f, const struct ram_gptq_factor *factor, const float *w,
                  size_t n, size_t cols, const struct ram_gptq_bytes *out, double *squared_error,
                  struct ram_err *err);
};

/* name: NULL means "rtn". RAM_EUSAGE lists what there is. */
int ram_weight_encoder_find(const struct ram_weight_encoder **out, const char *name,
                            struct ram_err *err);

/* Whoever can say what flows into the matrices: a model that was run. Called from the thread that
 * converts, in the order of modules. */
struct ram_weight_inputs {
    void *ctx;
    /* Before the first question; what takes long is done here, after all checks. */
    int (*open)(void *ctx, struct ram_err *err);
    /* Of a matrix of this unit (of a stack: the index of its expert); turned: it is stored [in,
     * out]. NULL in *out: nothing is known. Borrowed until forget. */
    int (*factor)(void *ctx, const char *unit, size_t expert, bool turned,
                  const struct ram_gptq_factor **out, struct ram_err *err);
    void (*forget)(void *ctx);
    /* What made them, for the record: the caller's reference. */
    json_t *(*settings)(void *ctx);
};

#endif
