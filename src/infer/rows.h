/*
 * rows.h - the activations of all tokens between two layers: in memory, or in a temporary file
 * when they would not fit. [n, width] of f32.
 */
#ifndef RAM_INFER_ROWS_H
#define RAM_INFER_ROWS_H

#include "base/err.h"

struct ram_rows {
    size_t n, width;
    float *memory; /* all of them, or NULL */
    int fd;        /* else the file, already unlinked */
};

/* spill: keep them in a file in TMPDIR (or /tmp). */
int ram_rows_new(struct ram_rows *rows, size_t n, size_t width, bool spill, struct ram_err *err);
void ram_rows_release(struct ram_rows *rows);

/* Rows [first, first + n) for reading and changing: where they are, or read into buffer [n,
 * width]. _store puts back what _load gave. */
int ram_rows_load(struct ram_rows *rows, size_t first, size_t n, float *buffer, float **out,
                  struct ram_err *err);
int ram_rows_store(struct ram_rows *rows, size_t first, size_t n, const float *from,
                   struct ram_err *err);

#endif
