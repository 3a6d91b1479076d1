/*
 * files.h - which files of a directory hold its weights, and what is there if none does.
 */
#ifndef RAM_CKPT_FILES_H
#define RAM_CKPT_FILES_H

#include "ckpt/index.h"

extern const char ram_ckpt_index_name[]; /* "model.safetensors.index.json" */

/*
 * Fills ckpt->files (names only). An index decides, as for transformers; without one every
 * model*.safetensors counts, as for mlx_lm. An index none of whose shards is there gives way to a
 * model.safetensors. *index is empty if it has no say. Refusals name what is missing, and what lies
 * there instead. What is passed over becomes a note of the checkpoint.
 */
int ram_ckpt_find_files(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err);

/* The end of a sentence about what a directory without a config.json holds; "" if that says
 * nothing. text has room for RAM_FILES_HINT bytes. */
enum { RAM_FILES_HINT = 400 };
const char *ram_ckpt_config_hint(const char *dir, char text[RAM_FILES_HINT]);

#endif
