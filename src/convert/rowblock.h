/*
 * rowblock.h - rows of a view on their way through memory: read, checked for non-finite values,
 * summed.
 */
#ifndef RAM_CONVERT_ROWBLOCK_H
#define RAM_CONVERT_ROWBLOCK_H

#include "ckpt/ckpt.h"

enum {
    RAM_BLOCK_WEIGHTS =
        128 * 1024,         /* 512 KiB as f32: fits the second-level cache beside its codes */
    RAM_BATCH_BLOCKS = 4096 /* between two folds of results */
};

/* How many rows make a block: a function of the shape alone, so that sums have one order. */
size_t ram_rows_in_block(size_t cols);

/*
 * Reads rows [row, row + n) of a view to out [n, cols] and adds the sum of their squares to
 * *squared (1,024 at a time in f32, to 2e-6; these in f64 from left to right). A NaN or an infinity
 * is RAM_EFORMAT with the tensor's name and the element's place in it.
 * dtype: what the output stores; weights of a wider type are rounded to it (nearest, ties to even).
 */
int ram_rows_read(const struct ram_view *view, size_t row, size_t n, enum ram_dtype dtype,
                  float *out, double *squared, struct ram_err *err);

/* f32 values as the bytes of dtype (BF16, F16, F32). */
void ram_rows_narrow(const float *in, size_t n, enum ram_dtype dtype, void *out);

/* The view's elements lie one after the other, as the output would store them. */
bool ram_view_contiguous(const struct ram_view *view);

#endif
