/*
 * safetensors.h - the container: reading headers that are never trusted, and writing them.
 *
 * Format: u64 header size, JSON header, data (huggingface/safetensors, docs/formats.md).
 */
#ifndef RAM_CKPT_SAFETENSORS_H
#define RAM_CKPT_SAFETENSORS_H

#include "ckpt/ckpt.h"

enum { RAM_ST_MAX_HEADER = 100000000 }; /* MLX rejects this many bytes and more */

/* Tensors being collected from one file or several. */
struct ram_st_list {
    struct ram_tensor *tensors; /* free() */
    size_t n, cap;
    struct ram_arena *arena; /* of their names */
};

/*
 * One whole file: appends its tensors to list, in the order of the header, `file` their file
 * number. Checks all of the specification's rules; where begins every message. *header_size (may
 * be NULL) receives the bytes of the JSON header.
 */
int ram_st_parse(const uint8_t *data, size_t size, const char *where, unsigned file,
                 struct ram_st_list *list, size_t *header_size, struct ram_err *err);

/* A tensor to be written. */
struct ram_st_item {
    const char *name;
    enum ram_dtype dtype;
    int n_dims;
    uint64_t shape[RAM_CKPT_MAX_DIMS];
    uint64_t size; /* bytes; must be what dtype and shape say */
};

/*
 * The first bytes of a file, up to its data: size, header with `__metadata__` {"format": format},
 * spaces up to a multiple of 8. Data follows in the order of items, without gaps. Readers
 * that map a file need every tensor aligned: give items of wider types first, as the reference
 * writer does (order of enum ram_dtype, descending).
 */
int ram_st_header(const struct ram_st_item *items, size_t n, const char *format,
                  struct ram_buf *out, struct ram_err *err);

/* Elements and bytes of a shape; false on overflow or if they are not whole bytes. */
bool ram_st_size(enum ram_dtype dtype, const uint64_t *shape, int n_dims, size_t *n, size_t *size);

#endif
