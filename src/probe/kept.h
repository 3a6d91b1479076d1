/*
 * kept.h - how the probing stages keep what they have finished in the store of a run, and how a
 * forward pass over the model is kept in its middle.
 *
 * What a stage finishes in seconds (tokens after a round, the curves of a layer) is a record. A
 * pass that takes longer is kept as its activations between two layers: that is little beside the
 * weights, and a later run continues behind that layer without reading the layers before it.
 */
#ifndef RAM_PROBE_KEPT_H
#define RAM_PROBE_KEPT_H

#include "base/store.h"
#include "infer/forward.h"

struct ram_kept {
    struct ram_store *store; /* or NULL: nothing is kept, nothing is found */
    struct ram_store_scope scope;
};

/* settings: everything but the model that could change a figure. */
struct ram_kept ram_kept_for(const struct ram_exec *exec, const char *stage, const char *settings);

void ram_kept_put(const struct ram_kept *kept, const char *name, const void *value, size_t size);
/* True: value [size] was found. */
bool ram_kept_get(const struct ram_kept *kept, const char *name, void *value, size_t size);
/* The same of a value of any size, as much of it as there is and fits; returns the whole size, 0 if
 * nothing was found. */
size_t ram_kept_get_part(const struct ram_kept *kept, const char *name, void *value, size_t size);

/* Where a forward pass is: `layer` is the next to be run, rows [0, n_rows) are in use. */
struct ram_kept_pass {
    struct ram_forward *forward;
    size_t hidden;
    size_t layer, n_rows;
    double *figures; /* [n_figures] what the stage has summed up so far */
    size_t n_figures;
};

/* Keeps the pass, if it is time to (base/store.h). */
int ram_kept_save(const struct ram_kept *kept, const struct ram_kept_pass *pass,
                  struct ram_err *err);

/* True if a pass with as many figures was kept: layer, n_rows and figures are filled in. */
bool ram_kept_find(const struct ram_kept *kept, struct ram_kept_pass *pass);
/* Its activations, into pass->forward. */
int ram_kept_load(const struct ram_kept *kept, const struct ram_kept_pass *pass,
                  struct ram_err *err);

/* The pass is over. */
void ram_kept_drop(const struct ram_kept *kept);

#endif
