/*
 * verify_modules.h - the modules of an MLX directory as its tensors and config.json show them, and
 * every way in which the two may contradict each other or what mlx_lm expects.
 */
#ifndef RAM_CONVERT_VERIFY_MODULES_H
#define RAM_CONVERT_VERIFY_MODULES_H

#include "convert/checksum.h"
#include "convert/verify_expected.h"
#include "convert/verify_findings.h"

/* A tensor as it is, or the three of a quantised matrix. */
struct ram_found {
    const char *name;                    /* of its first tensor; first: ram_names finds by it */
    const char *module;                  /* without ".weight" and the like */
    const struct ram_expected *expected; /* NULL if the architecture is not known */
    struct ram_storage as;               /* RAM_FORM_16: as it is */
    bool quantized;                      /* in another form than that */
    uint64_t rows, cols;                 /* of all its matrices, in weights */
    const struct ram_tensor *parts[3];   /* weight, scales, biases */
    /* What a pass over the values adds (compare.h). */
    double squared_error, squared;
    double worst; /* largest squared error of a group */
    uint64_t worst_row, worst_col;
    struct ram_checksum sums[3];
};

struct ram_found_list {
    struct ram_arena arena;
    struct ram_found *items;
    size_t n, cap;
};

/* Everything that can be said without reading values. Differences go to findings; only memory
 * fails. expectation->known may be false. */
int ram_found_new(struct ram_found_list *out, const struct ram_ckpt *ckpt,
                  const struct ram_expectation *expectation, struct ram_findings *findings,
                  struct ram_err *err);
void ram_found_release(struct ram_found_list *list);

size_t ram_found_parts(const struct ram_found *found);

#endif
