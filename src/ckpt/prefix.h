/* prefix.h - names that transformers reads although they are not those of the whole model. */
#ifndef RAM_CKPT_PREFIX_H
#define RAM_CKPT_PREFIX_H

#include "ckpt/index.h"

/*
 * A model that was saved without its head names its tensors without "model." ("layers.0. ..."), and
 * some tools write it twice ("model.model.layers.0. ..."). Transformers reads both, and a note says
 * so. Beside a vision tower the text model is called "model.language_model." or, by MLX,
 * "language_model.model.". Of a known family all of them get the names of the model alone, here and
 * in the index. Before ram_ckpt_seal.
 */
int ram_prefix_settle(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err);

/* For a message about a tensor that is missing: a name that is there, and what is before it or
 * inside it if that is the matter; "" if no name resembles the wanted one. Returns text. */
enum { RAM_PREFIX_TEXT = 1024 };
const char *ram_prefix_describe(const struct ram_ckpt *ckpt, const char *wanted,
                                char text[RAM_PREFIX_TEXT]);

#endif
