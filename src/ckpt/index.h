/*
 * index.h - model.safetensors.index.json: which shard holds which tensor.
 */
#ifndef RAM_CKPT_INDEX_H
#define RAM_CKPT_INDEX_H

#include "ckpt/ckpt.h"

enum { RAM_INDEX_MAX = 512 << 20 }; /* bytes of the file */

struct ram_index_entry {
    const char *name;  /* first: ram_names finds entries by it */
    const char *shard; /* = files[file] */
    size_t file;
};

struct ram_index {
    struct ram_arena arena;
    struct ram_index_entry *entries; /* in the order of the file */
    size_t n_entries;
    const char **files; /* shards, in order of first mention */
    size_t n_files;
};

/*
 * Parses the text. Every shard is a plain file name: one with '/' or that begins with '.' is
 * refused, for it would lead out of the checkpoint. The fuzz target calls this.
 */
int ram_index_parse(struct ram_index *index, const char *text, size_t size, const char *where,
                    struct ram_err *err);
void ram_index_release(struct ram_index *index);

/* Index and headers must agree in both directions; ckpt->files[i] was opened for files[i]. */
int ram_index_check(const struct ram_index *index, const struct ram_ckpt *ckpt, const char *where,
                    struct ram_err *err);

#endif
