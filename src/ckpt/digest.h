/*
 * digest.h - do two checkpoints hold the same weights? An answer in seconds, from samples.
 *
 * Of every tensor the name, type, shape and sampled bytes, and config.json as a value. A checkpoint
 * of at most a gigabyte is read whole. Of a larger one 65,536 pieces of 16 KiB are read, spread
 * over the tensors by their size, and at least two of each tensor (a smaller tensor whole): a model
 * that was trained further, merged or converted again differs in most of them. A change of a few
 * rows of one large matrix can be missed. Names, times and places of files do not matter, so that a
 * copy has the same digest.
 */
#ifndef RAM_CKPT_DIGEST_H
#define RAM_CKPT_DIGEST_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/pool.h"
#include "ckpt/ckpt.h"

struct ram_digest {
    char sha256[RAM_SHA256_HEX]; /* of everything below */
    uint64_t config;
    uint64_t *tensors; /* [n] in the order of ckpt->tensors: name, type, shape and samples */
    size_t n;
};

int ram_digest_new(struct ram_digest **out, const struct ram_ckpt *ckpt, struct ram_pool *pool,
                   struct ram_err *err);
void ram_digest_free(struct ram_digest *digest);

/* Adds to `buf` what the earlier digest of n tensors was of, if that was something else: "another
 * config.json", or "other weights: tensor ...". False: it was of this checkpoint. */
bool ram_digest_differs(const struct ram_digest *digest, const struct ram_ckpt *ckpt,
                        uint64_t config, const uint64_t *tensors, size_t n, struct ram_buf *buf);

#endif
