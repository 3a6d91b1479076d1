/*
 * scan.h - a strict pull reader of JSON for texts of many thousand tensors, which may be hostile:
 * safetensors headers, shard indexes, manifests and plans. Everything small is read through
 * base/json.h.
 *
 * Why not jansson for these: a header of 44,691 tensors takes it 260 ms and 50 MB, this reader
 * 13 ms and the names; the manifest of a 30B mixture of experts (20 MB, 18,867 tensors) 0.8 s and
 * 130 MB, nearly all of both for nodes that live until they are copied once. This reader goes
 * straight to the struct, and is as strict: RFC 8259, valid UTF-8, no NUL in strings, nesting of
 * unknown values bounded. The caller decides which keys may occur, and how often.
 *
 * The first mistake goes to err, with file, line, column, what was being read, what was found and
 * what was expected; from then on every call returns false and moves nothing. So a caller may go
 * on without a check until a value matters.
 */
#ifndef RAM_BASE_SCAN_H
#define RAM_BASE_SCAN_H

#include "base/json.h"
#include "base/mem.h"

struct ram_scan {
    const char *start, *p, *end;
    struct ram_arena *arena; /* where strings go */
    const char *where;       /* what messages begin with, usually a path */
    struct ram_err *err;
    int status; /* of the first mistake; who fails on his own account sets it as well */
    /* What is being read, for messages: "tensor", its number from 1, its name once known. */
    const char *kind, *name;
    size_t number;
    char key[64]; /* of the last _member; one that does not fit is cut, and ends in "..." */
    bool opened;  /* nothing was read behind the last opening bracket */
};

void ram_scan_init(struct ram_scan *scan, const char *text, size_t size, const char *where,
                   struct ram_arena *arena, struct ram_err *err);

/* Whether there was no mistake so far. */
static inline bool ram_scan_good(const struct ram_scan *scan)
{
    return scan->status == RAM_OK;
}

/* Reports a mistake of the content that was just read, unless there was one before; false. */
bool ram_scan_fail(struct ram_scan *scan, int status, const char *fmt, ...) RAM_PRINTF(3, 4);

/*
 * Objects and arrays are walked so; the body consumes the value:
 *
 *     ram_scan_object(scan);
 *     while (ram_scan_member(scan))
 *         ...scan->key...
 *     return ram_scan_good(scan);
 *
 * _entry is _member for keys that are names, of any length: they go to the arena.
 */
bool ram_scan_object(struct ram_scan *scan);
bool ram_scan_member(struct ram_scan *scan);
bool ram_scan_entry(struct ram_scan *scan, const char **name);
bool ram_scan_array(struct ram_scan *scan);
bool ram_scan_element(struct ram_scan *scan);

/* Whether the next value is null, which is then consumed. */
bool ram_scan_null(struct ram_scan *scan);

/* The next value must be one of these. A string goes to the arena, or is only checked (NULL); */
bool ram_scan_string(struct ram_scan *scan, const char **out);
/* a word is a short string, which goes to word [size]; */
bool ram_scan_word(struct ram_scan *scan, char *word, size_t size);
/* the decimal point is that of the locale (record/emit.h); */
bool ram_scan_real(struct ram_scan *scan, double *out);
/* digits alone: no sign, fraction or exponent. More than max: RAM_ERANGE. */
bool ram_scan_uint(struct ram_scan *scan, uint64_t max, uint64_t *out);

/* Any value, checked whole; or made a tree, where duplicate keys are refused too (json_decref). */
bool ram_scan_skip(struct ram_scan *scan);
bool ram_scan_tree(struct ram_scan *scan, json_t **out);

/* Nothing but white space may follow. */
bool ram_scan_end(struct ram_scan *scan);

#endif
