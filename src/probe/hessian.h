/*
 * hessian.h - the second moments H = sum x x^T of the inputs of a model's matrices, on text that
 * the model generates itself, layer by layer, for codec/gptq.h.
 *
 * The model runs forward on synthetic tokens with its original weights, as far as the layer that is
 * asked for. The inputs of that one layer are kept, and a factor is computed from them when it is
 * needed. Going back to an earlier layer starts again from the first, so callers should ask in the
 * order of layers.
 *
 * Matrices that have the same input share a factor: q, k, v; gate and up. An expert sees few
 * tokens. Its moments are therefore those of its own rows, plus the average moments of the layer's
 * experts with the weight of kappa tokens, where kappa is an eighth of its columns; an expert that
 * no token chose has the average. For an encoder, a token counts by the square of the share that
 * the router gave it. An embedding that is also the head has the head's moments, with
 * more damping. If a factor would not fit in memory, only the diagonal is known. Nothing is known
 * of the inputs of an embedding that is not the head, and of the half of kv_b_proj that is stored
 * transposed.
 */
#ifndef RAM_PROBE_HESSIAN_H
#define RAM_PROBE_HESSIAN_H

#include "codec/gptq.h"
#include "probe/tokens.h"

struct ram_hessians;

/* The damping that encoders are given (docs/notebook.md, Encoders). */
#define RAM_HESSIAN_DAMP 0.05

/* And the tokens. bytes: of the checkpoint, since in a smaller one more tokens take no longer;
 * text: a file in the tokens' place, or NULL. */
struct ram_synthetic ram_hessian_tokens(uint64_t bytes, const char *text);

/* What a factor is made of: for an encoder of everything; for error curves, where there are fewer
 * than eight tokens for a column, of all but an eighth of the inputs, on which they are then
 * measured. With more, an eighth would say less than what it avoids would mislead. */
enum ram_hessian_use { RAM_HESSIAN_ENCODE, RAM_HESSIAN_MEASURE };

/*
 * Makes the tokens; fewer sequences than what->n if their inputs in one layer took more than a
 * quarter of max_memory. A factor takes at most five eighths, a forward pass an eighth and 24 MiB a
 * thread. damp: as ram_gptq_factor_new has it, and at least half of the columns over the tokens:
 * what few tokens happen to have none of is not free.
 */
int ram_hessians_open(struct ram_hessians **out, const struct ram_model *model,
                      const struct ram_synthetic *what, double damp, enum ram_hessian_use use,
                      const struct ram_exec *exec, struct ram_err *err);
void ram_hessians_close(struct ram_hessians *hessians);

/* Adds to `text` everything that a factor depends on, beside the model and the tokens' seed: what
 * is kept of factors' consequences belongs to these settings. */
void ram_hessians_settings(const struct ram_hessians *hessians, struct ram_buf *text);

/* What is really used, and its tokens, which live as long as the hessians. */
const struct ram_synthetic *ram_hessians_tokens(const struct ram_hessians *hessians);
struct ram_sequences ram_hessians_sequences(const struct ram_hessians *hessians);

/*
 * unit: as plans name it; expert: of a stack, otherwise any number; turned: the matrix is stored
 * [in, out]. *out: NULL if nothing is known; borrowed until ram_hessians_forget.
 */
int ram_hessians_factor(struct ram_hessians *hessians, const char *unit, size_t expert, bool turned,
                        const struct ram_gptq_factor **out, struct ram_err *err);

/* Inputs of a matrix that its factor was not made of, and what damps it however many there are. */
struct ram_unseen {
    const float *x; /* [n, cols], until the next layer is asked for */
    size_t n, cols;
    double damp;
};

/* Of the matrix that ram_hessians_factor was just asked for; n 0: there are too few. */
struct ram_unseen ram_hessians_unseen(const struct ram_hessians *hessians, const char *unit,
                                      size_t expert);

/* Factors that were handed out are not used any more. */
void ram_hessians_forget(struct ram_hessians *hessians);

#endif
