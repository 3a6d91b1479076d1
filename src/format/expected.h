/*
 * expected.h - the tensors that a loader will look for in a directory, before they are quantised:
 * from config.json alone, or from the layout of a source.
 */
#ifndef RAM_FORMAT_EXPECTED_H
#define RAM_FORMAT_EXPECTED_H

#include "format/layout.h"

struct ram_expected {
    const char *name;   /* of the tensor when it is not quantised; first: ram_names finds by it */
    const char *module; /* "model.layers.3.mlp.switch_mlp.up_proj" */
    const char *unit;   /* whose decision it obeys */
    int n_dims;
    uint64_t shape[RAM_CKPT_MAX_DIMS];
    bool quantizable;
    bool optional;                   /* a head where config.json does not say whether it is tied */
    const struct ram_target *target; /* with a source: where its weights come from */
};

struct ram_expectation {
    struct ram_arena arena;
    bool known;                 /* the architecture; else nothing is expected */
    struct ram_expected *items; /* order of slots */
    size_t n, cap;
};

/* config: that of the directory. RAM_EFORMAT if it lacks what shapes follow from. */
int ram_expect_config(struct ram_expectation *out, const struct ram_format *format,
                      const json_t *config, const char *where, struct ram_err *err);

int ram_expect_layout(struct ram_expectation *out, const struct ram_layout *layout,
                      struct ram_err *err);

void ram_expect_release(struct ram_expectation *expectation);

#endif
