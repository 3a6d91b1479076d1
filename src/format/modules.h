/*
 * modules.h - the modules of a directory as its tensors show them, for ram_format.find.
 */
#ifndef RAM_FORMAT_MODULES_H
#define RAM_FORMAT_MODULES_H

#include "base/checksum.h"
#include "format/expected.h"
#include "format/findings.h"

/* A tensor as it is, or those of the planes of a quantised matrix. */
struct ram_found {
    const char *name;                    /* of its first tensor; first: ram_names finds by it */
    const char *module;                  /* without ".weight" and the like */
    const struct ram_expected *expected; /* NULL if the architecture is not known */
    struct ram_storage as;               /* RAM_FORM_16: as it is */
    bool quantized;                      /* in another form than that */
    uint64_t rows, cols;                 /* of all its matrices, in weights */
    const struct ram_tensor *parts[RAM_MAX_PLANES];
    /* What a pass over the values adds (convert/verify_values.h). */
    double squared_error, squared;
    double worst; /* largest squared error of a group */
    uint64_t worst_row, worst_col;
    struct ram_checksum sums[RAM_MAX_PLANES];
};

struct ram_found_list {
    struct ram_arena arena;
    struct ram_found *items;
    size_t n, cap;
};

void ram_found_release(struct ram_found_list *list);

/* The number of its tensors. */
size_t ram_found_parts(const struct ram_found *found);

/* ---- for ram_format.find ------------------------------------------------------------------- */

struct ram_finder {
    const struct ram_ckpt *ckpt;
    struct ram_found_list *list;
    struct ram_findings *findings;
    bool *used; /* n_tensors: belongs to a module */
};

/* The tensor of this name, which then counts as used; NULL: there is none. */
const struct ram_tensor *ram_finder_take(struct ram_finder *finder, const char *name);

/* Rows and columns of a module that is one tensor of floats. False, with a finding, if it has
 * another shape than expected, or another type. */
bool ram_finder_check_plain(struct ram_finder *finder, struct ram_found *found);
bool ram_finder_is_float(enum ram_dtype dtype);

/* Hands every expected tensor that is there to add; the others, and those that are not expected,
 * are findings. */
int ram_finder_expected(struct ram_finder *finder, const struct ram_expectation *expectation,
                        int (*add)(struct ram_finder *finder, const struct ram_expected *expected,
                                   const char *module, const struct ram_tensor *tensor,
                                   struct ram_err *err),
                        struct ram_err *err);

int ram_finder_keep(struct ram_finder *finder, const struct ram_found *found, struct ram_err *err);

#endif
