/*
 * pull.h - a strict pull scanner over JSON text in memory, for the two files whose entries come by
 * the ten thousand: safetensors headers and shard indexes. (jansson needs 170 ms and 50 MB for a
 * header of 44,691 tensors; this needs about 20 ms and the names.) Everything else is read
 * through base/json.h.
 *
 * Strict: UTF-8, escapes, no control characters in strings, no trailing commas. The caller says
 * what must come next, so nothing nests deeper than its code; duplicate keys are its business. The
 * first mistake is written to err with file, byte and what was expected; after it every call
 * returns false.
 */
#ifndef RAM_CKPT_PULL_H
#define RAM_CKPT_PULL_H

#include "base/json.h"
#include "base/mem.h"

struct ram_pull {
    const char *begin, *p, *end;
    const char *where; /* a path, for messages */
    struct ram_err *err;
};

/* Space, and then this punctuation: one of { } [ ] : , */
bool ram_pull_char(struct ram_pull *scan, char c);

/*
 * Steps to the next element of an array or object, whose end is `close`: true if one follows. The
 * first element of a list: *first is true, and set to false. False at the end and after a mistake.
 */
bool ram_pull_next(struct ram_pull *scan, char close, bool *first);

/* A string, decoded, 0-terminated, in arena; one that contains NUL is refused. */
bool ram_pull_string(struct ram_pull *scan, struct ram_arena *arena, const char **out);

/* A short string, decoded, to word [size]; a longer one is a mistake. */
bool ram_pull_word(struct ram_pull *scan, char *word, size_t size);

/* The key of an object's member and the colon after it. */
bool ram_pull_key(struct ram_pull *scan, struct ram_arena *arena, const char **out);

/* A plain integer: no sign, leading zero, fraction or exponent; at most 2^64 - 1. */
bool ram_pull_uint(struct ram_pull *scan, uint64_t *out);

/* Any value; arrays and objects are given to jansson, duplicate keys inside them are refused. */
bool ram_pull_skip(struct ram_pull *scan);

/* Nothing but space up to the end. */
bool ram_pull_end(struct ram_pull *scan);

/* Has a mistake been found? */
bool ram_pull_failed(const struct ram_pull *scan);

/* Reports a mistake of the content at the present byte; returns false. */
bool ram_pull_fail(struct ram_pull *scan, int status, const char *fmt, ...) RAM_PRINTF(3, 4);

#endif
