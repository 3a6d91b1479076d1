/*
 * stream.h - the weights on their way from the checkpoint to the output's files.
 *
 * Memory is bounded by blocks of rows, not by the model. Every byte has its place before the first
 * is read (outline.h), so that any thread may write any block; what a block contributes to a
 * module's error and checksum is folded in the order of blocks.
 */
#ifndef RAM_CONVERT_STREAM_H
#define RAM_CONVERT_STREAM_H

#include "codec/distance.h"
#include "convert/encoder.h"
#include "convert/result.h"
#include "format/outline.h"

struct ram_encoding {
    const struct ram_weight_encoder *encoder;
    const struct ram_weight_inputs *inputs; /* NULL: nothing is known of any */
    const char *name;                       /* of the output, for messages */
};

/*
 * Writes every file of the outline into dir, each flushed to the disk. results: one for each
 * module, zeroed. With exec->store the files may be those of an earlier run, and what it recorded
 * as written is not encoded again; *resumable (may be NULL) says after a failure that some is.
 * RAM_EFORMAT for a weight that is not finite, RAM_EINTERRUPT if the caller has cancelled.
 */
int ram_stream(const struct ram_ckpt *ckpt, const struct ram_outline *outline,
               const struct ram_encoding *encoding, const char *dir, const struct ram_exec *exec,
               struct ram_module_result *results, bool *resumable, struct ram_err *err);

#endif
