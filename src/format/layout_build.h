/* layout_build.h - the parts of building a layout; private to layout.c, source.c and target.c. */
#ifndef RAM_FORMAT_LAYOUT_BUILD_H
#define RAM_FORMAT_LAYOUT_BUILD_H

#include "arch/family.h"
#include "format/layout.h"

struct ram_build {
    const struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    size_t *first;  /* n_tensors + 1: sources of tensor i are first[i] up to first[i + 1] */
    bool *is_scale; /* n_tensors: holds the scales of an FP8 tensor */
    bool *used;     /* n_tensors: part of a target */
    size_t source_cap, target_cap;
    char missing[512]; /* names of tensors that are not there, as a list */
    char first_missing[256];
    size_t n_missing;
    struct ram_err *err;
};

/* All tensors to sources. */
int ram_build_sources(struct ram_build *b);

/* A known architecture's targets, in order; tells sources how they are stored. What is not there
 * goes to b->missing (the first few), which is not yet a failure. */
int ram_build_targets(struct ram_build *b);

#endif
