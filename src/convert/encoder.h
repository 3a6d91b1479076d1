/*
 * encoder.h - the ways to choose the codes of rows of weights.
 *
 * Whatever reads a form reads what any of them wrote; they differ in how small the error is and how
 * long they take.
 */
#ifndef RAM_CONVERT_ENCODER_H
#define RAM_CONVERT_ENCODER_H

#include "base/buf.h"
#include "base/json.h"
#include "codec/gptq.h"

/* What is known of a matrix's part in the model, for rows that are encoded. */
struct ram_weight_factors {
    const struct ram_gptq_factor *inputs;  /* of what flows into it; NULL: nothing */
    const struct ram_gptq_factor *outputs; /* of the derivatives by these rows; NULL: nothing */
};

struct ram_weight_encoder {
    const char *name;
    const char *what; /* one line for a person */
    bool wants_inputs;
    /* Rows that it wants at a time, and the bytes that it needs for each of their weights; NULL and
     * 0: as they come, and next to none. */
    size_t (*rows)(size_t cols);
    size_t weight_bytes;
    /* Encodes n rows of w [n, cols]: the contract of ram_gptq_encode. Both factors are NULL for
     * encoders that do not want to know. */
    int (*encode)(const struct ram_storage *as, const struct ram_weight_factors *factors,
                  const float *w, size_t n, size_t cols, uint8_t *const planes[RAM_MAX_PLANES],
                  double *squared_error, struct ram_err *err);
};

const struct ram_weight_encoder *ram_weight_encoders(size_t *n);

/* name: NULL means "rtn". RAM_EUSAGE lists what there is. */
int ram_weight_encoder_find(const struct ram_weight_encoder **out, const char *name,
                            struct ram_err *err);

/* Provider of factors: a model that was run. Called from the thread that converts, in the order of
 * modules. */
struct ram_weight_inputs {
    void *ctx;
    /* Called before the first factor is asked for. Long computations are done here, after all
     * checks of the conversion. */
    int (*open)(void *ctx, struct ram_err *err);
    /* The factor of a matrix of this unit; in a stack, of the expert with this index. turned: the
     * matrix is stored [in, out]. *out becomes NULL if nothing is known. Borrowed until forget. */
    int (*factor)(void *ctx, const char *unit, size_t expert, bool turned,
                  const struct ram_gptq_factor **out, struct ram_err *err);
    /* The same of the derivatives by rows [row, row + n) of a matrix of this unit (of a stack, of
     * this expert), as the encoder's `rows` divides it. */
    int (*outputs)(void *ctx, const char *unit, size_t matrix, size_t row, size_t n,
                   const struct ram_gptq_factor **out, struct ram_err *err);
    void (*forget)(void *ctx);
    /* How the factors were made, for ram.json; the caller owns the reference. */
    json_t *(*settings)(void *ctx);
    /* Adds everything that could change a factor, so that rows that were encoded with it belong to
     * these settings. After open. */
    void (*identify)(void *ctx, struct ram_buf *text);
};

#endif
