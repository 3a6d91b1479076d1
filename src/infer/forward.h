/*
 * forward.h - many token sequences through a model, layer by layer.
 *
 * All sequences pass through a layer before the next layer is read, so that weights are read once
 * however large the model is; what lies between two layers is kept in memory or in a file. A
 * sequence may continue another (its parent): it then sees the parent's keys, and the parent is
 * computed once for all that continue it.
 */
#ifndef RAM_INFER_FORWARD_H
#define RAM_INFER_FORWARD_H

#include "base/exec.h"
#include "infer/model.h"
#include "infer/span.h"

struct ram_forward_opts {
    bool f32;                    /* every product in f32; otherwise bf16 operands where it pays */
    const struct ram_exec *exec; /* its memory is that of this forward pass */
    /* [n_layers, n_spans]: every span continues what is in its own, and no span has a parent.
     * Where there is no room left, k and v are reallocated. NULL: no sequence grows. */
    struct ram_kv *kv;
    size_t positions; /* with kv: that a sequence may come to hold; 0: those of the spans */
};

struct ram_forward;

/* Looks the embeddings up. Tokens and spans are copied; the model must outlive it. RAM_ERANGE for
 * a token beyond the vocabulary or a position beyond what the model can hold. */
int ram_forward_new(struct ram_forward **out, const struct ram_model *model,
                    const struct ram_span *spans, size_t n_spans,
                    const struct ram_forward_opts *opts, struct ram_err *err);
void ram_forward_free(struct ram_forward *forward);

/* With kv, and spans of one token: the next token of every span [n_spans] is looked up and stands
 * behind what its keys hold by now. Then the layers are run again. */
int ram_forward_next(struct ram_forward *forward, const uint32_t *tokens, struct ram_err *err);

/* Layers in order, 0 first. RAM_EFORMAT with layer, span and position if a value is not finite. */
int ram_forward_layer(struct ram_forward *forward, size_t layer, struct ram_err *err);

/*
 * For probes: from now on span i is computed as if unit_of[i] (0: none; RAM_ALL_UNITS) were stored
 * in the form that as_if [n_units] gives it (none: as it is). as_if must outlive that. Rows have
 * the same bits whatever other spans are computed beside them.
 */
void ram_forward_as_if(struct ram_forward *forward, const struct ram_storage *as_if,
                       const unsigned *unit_of);

/* The embeddings of a span, looked up anew. */
int ram_forward_embed(struct ram_forward *forward, size_t span, const uint32_t *tokens,
                      struct ram_err *err);

/* The layer over spans [0, n) only; the activations of span `from` given to span `to` of the same
 * length. */
int ram_forward_part(struct ram_forward *forward, size_t layer, size_t n, struct ram_err *err);
int ram_forward_copy(struct ram_forward *forward, size_t from, size_t to, struct ram_err *err);

/* The activations of rows [first, first + n) of all, as the last layer left them: out [n, hidden].
 */
int ram_forward_read(struct ram_forward *forward, size_t first, size_t n, float *out,
                     struct ram_err *err);

/* What lies between the activations of two spans of the same length: the sum of squares of their
 * difference, and of `from` itself. */
int ram_forward_distance(struct ram_forward *forward, size_t from, size_t to, double *difference,
                         double *energy, struct ram_err *err);

/* From now on the observer (linear.h) sees the inputs of every layer that is run; NULL: no more. */
struct ram_observer;
void ram_forward_observe(struct ram_forward *forward, const struct ram_observer *observer);

/* The activations [hidden] of one row among all rows, as they lie between two layers: a pass that
 * is given them continues where another one stopped. */
int ram_forward_get_row(struct ram_forward *forward, size_t row, float *out, struct ram_err *err);
int ram_forward_set_row(struct ram_forward *forward, size_t row, const float *x,
                        struct ram_err *err);

/* Row of a span's first token among all rows. */
size_t ram_forward_row(const struct ram_forward *forward, size_t span);

/* After the last layer: logits [n, vocab] of these rows, as if all units were stored so (as_if
 * [n_units], NULL: as they are). */
int ram_forward_logits(struct ram_forward *forward, const size_t *rows, size_t n,
                       const struct ram_storage *as_if, float *logits, struct ram_err *err);

/* The inputs of the head instead: the final norm's output [n, hidden] of these rows. */
int ram_forward_normed(struct ram_forward *forward, const size_t *rows, size_t n, float *out,
                       struct ram_err *err);

#endif
