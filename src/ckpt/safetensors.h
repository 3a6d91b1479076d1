/*
 * safetensors.h - the container: reading headers that are never trusted, and writing shards.
 *
 * Format: u64 header size, JSON header, data (huggingface/safetensors, docs/formats.md).
 */
#ifndef RAM_CKPT_SAFETENSORS_H
#define RAM_CKPT_SAFETENSORS_H

#include "ckpt/ckpt.h"

enum { RAM_ST_MAX_HEADER = 100000000 }; /* MLX rejects this many bytes and more */

/* One file's header: appends to *tensors (grown with ram_grow; n, cap), names in arena, file set
 * to `file`. Checks all of the specification's rules. The fuzz target calls this. */
int ram_st_parse(const uint8_t *data, size_t size, const char *where, unsigned file,
                 struct ram_arena *arena, struct ram_tensor **tensors, size_t *n, size_t *cap,
                 struct ram_err *err);

/* A tensor to be written. */
struct ram_st_item {
    const char *name;
    enum ram_dtype dtype;
    int n_dims;
    uint64_t shape[RAM_CKPT_MAX_DIMS];
    uint64_t size; /* bytes */
};

/* Header bytes for items in the order given, data contiguous in that order, padded with spaces so
 * that data starts at a multiple of 8, `__metadata__` {"format": "mlx"}. */
int ram_st_header(const struct ram_st_item *items, size_t n, struct ram_buf *out,
                  struct ram_err *err);

#endif
