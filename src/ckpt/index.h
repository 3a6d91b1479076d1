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
 * Parses the text. Every shard is a file below the directory: an absolute path, or one with a part
 * that begins with '.', is refused, for it would lead out of the checkpoint. Members other than
 * weight_map are checked as JSON and passed over. The fuzz target calls this.
 */
int ram_index_parse(struct ram_index *index, const char *text, size_t size, const char *where,
                    struct ram_err *err);
void ram_index_release(struct ram_index *index);

/* The shards' headers decide which tensors there are, as for transformers and mlx_lm. What the
 * index says otherwise becomes a note of the checkpoint; ckpt->files[i] was opened for files[i]. */
int ram_index_compare(const struct ram_index *index, struct ram_ckpt *ckpt, struct ram_err *err);

#endif
