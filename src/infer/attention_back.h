/* attention_back.h - derivatives of attention; for block_back.c. */
#ifndef RAM_INFER_ATTENTION_BACK_H
#define RAM_INFER_ATTENTION_BACK_H

#include "infer/block_back.h"

/* From scratch.q, k, v (rotated) and dattended: dq, dk, dv. Places have no parents. */
int ram_attention_back(struct ram_back *back, size_t window, const struct ram_place *places,
                       size_t n_places, struct ram_err *err);

#endif
