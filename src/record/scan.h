/*
 * scan.h - a pull reader of JSON for records of many thousand tensors, which may be hostile.
 *
 * Why not jansson: as a tree the manifest of a 30B mixture of experts (21 MB, 18,867 tensors)
 * takes 0.7 s and 128 MB, most of both for nodes that live until they are copied once. This
 * reader goes straight to the struct (docs/allocation.md has the figures). It is as strict:
 * RFC 8259, valid UTF-8, no NUL in strings, bounded nesting. Small values of free form are cut
 * out with _skip and left to jansson.
 */
#ifndef RAM_RECORD_SCAN_H
#define RAM_RECORD_SCAN_H

#include "base/mem.h"

struct ram_scan {
    const char *start, *p, *end;
    struct ram_arena *arena; /* where strings go */
    const char *where;       /* what messages begin with, usually a path */
    /* What is being read, for messages: "tensor", its number from 1, its name once known. */
    const char *kind, *name;
    size_t number;
    char key[64]; /* the member that _member found; "" if it is longer than any we know */
};

void ram_scan_init(struct ram_scan *scan, const char *text, size_t size, const char *where,
                   struct ram_arena *arena);

/* RAM_EFORMAT with line, column and what is being read. */
int ram_scan_fail(const struct ram_scan *scan, struct ram_err *err, const char *fmt, ...)
    RAM_PRINTF(3, 4);

/*
 * Objects and arrays are walked so; the body consumes the value, *more ends the loop:
 *
 *     for (status = ram_scan_object(s, &more, err); !status && more;
 *          status = ram_scan_member(s, &more, err))
 *         status = ...s->key...
 *
 * _object and _array enter and stand before the first value, the others before the next.
 */
int ram_scan_object(struct ram_scan *scan, bool *more, struct ram_err *err);
int ram_scan_member(struct ram_scan *scan, bool *more, struct ram_err *err);
int ram_scan_array(struct ram_scan *scan, bool *more, struct ram_err *err);
int ram_scan_element(struct ram_scan *scan, bool *more, struct ram_err *err);

/* Is the next value null? Consumes it if so. */
bool ram_scan_null(struct ram_scan *scan);

/* The next value must be one of these. */
int ram_scan_string(struct ram_scan *scan, const char **out, struct ram_err *err);
int ram_scan_real(struct ram_scan *scan, double *out, struct ram_err *err);
int ram_scan_uint(struct ram_scan *scan, uint64_t max, uint64_t *out, struct ram_err *err);

/* Any value, checked whole. text, size (may be NULL): where it stands. */
int ram_scan_skip(struct ram_scan *scan, const char **text, size_t *size, struct ram_err *err);

/* Nothing but white space may follow. */
int ram_scan_end(struct ram_scan *scan, struct ram_err *err);

#endif
