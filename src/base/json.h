/*
 * json.h - the few calls we need over jansson: strict reading of files that may be hostile, and
 * getters that say where they were and what they expected.
 *
 * Duplicate keys, NUL in strings, invalid UTF-8, trailing bytes and deep nesting (jansson stops
 * at 2048) are errors.
 */
#ifndef RAM_BASE_JSON_H
#define RAM_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* where: what messages begin with, usually a path. RAM_EFORMAT with line and column. */
int ram_json_parse(json_t **out, const char *text, size_t size, const char *where,
                   struct ram_err *err);

/* Reads a file of at most max bytes. json_decref the result. */
int ram_json_read(json_t **out, const char *path, size_t max, struct ram_err *err);

/* The same with every number as a real, for a file that may hold integers beyond 64 bits: Python
 * writes them, and tokenizer_config.json is known to have them. */
int ram_json_read_reals(json_t **out, const char *path, size_t max, struct ram_err *err);

/* Members of an object; absent, or of another type: RAM_EFORMAT "where: key: ...". Strings are
 * borrowed from the object. An integer may not be given as a real. */
int ram_json_get_string(const json_t *obj, const char *key, const char **out, const char *where,
                        struct ram_err *err);
int ram_json_get_uint(const json_t *obj, const char *key, uint64_t max, uint64_t *out,
                      const char *where, struct ram_err *err);
int ram_json_get_number(const json_t *obj, const char *key, double *out, const char *where,
                        struct ram_err *err);
int ram_json_get_object(const json_t *obj, const char *key, json_t **out, const char *where,
                        struct ram_err *err);
int ram_json_get_array(const json_t *obj, const char *key, json_t **out, const char *where,
                       struct ram_err *err);

/* Text of a value: keys in insertion order (sorted: in byte order), indent spaces a level
 * (0: one line), reals with the 17 digits that survive a round trip. Free it. */
int ram_json_text(const json_t *value, size_t indent, bool sorted, char **out,
                  struct ram_err *err);

/* A real that JSON can hold: null for NaN and infinities. */
json_t *ram_json_real(double x);

#endif
