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

/* json_loadb for text that may be malformed, with an answer that tells lack of memory (RAM_ENOMEM)
 * from a mistake in the text (RAM_EFORMAT); at->text says what it was. Writes no message. */
int ram_json_load(json_t **out, const char *text, size_t size, size_t flags, json_error_t *at);

/* where: what messages begin with, usually a path. RAM_EFORMAT with line and column. */
int ram_json_parse(json_t **out, const char *text, size_t size, const char *where,
                   struct ram_err *err);

/* Reads a file of at most max bytes. json_decref the result. */
int ram_json_read(json_t **out, const char *path, size_t max, struct ram_err *err);

/*
 * Reads JSON as Python's json.loads does, for files that Python writes and the loaders read so:
 * config.json, tokenizer_config.json. NaN, Infinity, -Infinity and numbers beyond the range of a
 * double or of 64 bits are kept as they are spelled (ram_json_token); of a key that occurs twice
 * the last value counts; strings may hold NUL and lone surrogates. All else is as strict as above:
 * no comments, no trailing commas, no byte order mark.
 */
int ram_json_parse_python(json_t **out, const char *text, size_t size, const char *where,
                          struct ram_err *err);
int ram_json_read_python(json_t **out, const char *path, size_t max, struct ram_err *err);

/* The spelling of a number that JSON or C has no value for ("NaN", "1e999"), else NULL. Jansson
 * takes it for a string, whose first byte no text of a file can hold. */
const char *ram_json_token(const json_t *value);

/* Is everything in it what strict JSON can say? */
bool ram_json_is_plain(const json_t *value);

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

/* Says what a value is (NULL: nothing) and what was expected; RAM_EFORMAT. */
int ram_json_unexpected(const json_t *value, const char *key, const char *expected,
                        const char *where, struct ram_err *err);

/* Text of a value: keys in insertion order (sorted: in byte order), indent spaces a level
 * (0: one line), reals with the 17 digits that survive a round trip. Free it. */
int ram_json_text(const json_t *value, size_t indent, bool sorted, char **out, struct ram_err *err);

/* A real that JSON can hold: null for NaN and infinities. */
json_t *ram_json_real(double x);

/* A string that JSON can hold, of bytes from anywhere, such as a path: what is not UTF-8 becomes
 * U+FFFD. NULL: null. */
json_t *ram_json_string(const char *s);

/* ---- making values ------------------------------------------------------------------------
 *
 * A value that a function makes is NULL if memory ran out, as those of jansson are; everything that
 * takes a value takes NULL for that. So a tree is made without a check at every member, and who has
 * it checks once: ram_json_put into a record, ram_json_text into a file. Besides, no text is made
 * as long as an allocation of jansson's that failed is not reported (err.h).
 */

/* An object or an array in the making. After a failure additions only release their values. */
struct ram_made {
    json_t *json;
    bool failed;
};

struct ram_made ram_made_object(void);
struct ram_made ram_made_array(void);
struct ram_made ram_made_from(json_t *json); /* which is taken over */
/* A member of an object, an item of an array. The value is taken over. */
void ram_made_put(struct ram_made *made, const char *key, json_t *value);
void ram_made_add(struct ram_made *made, json_t *value);
/* All members of another object, which is taken over. */
void ram_made_update(struct ram_made *made, json_t *object);
/* The value, or NULL if anything failed. */
json_t *ram_made_take(struct ram_made *made);

/* The same for an object that is there: further members, and RAM_ENOMEM if one failed. */
struct ram_made ram_made_into(json_t *object);
int ram_made_end(struct ram_made *made, struct ram_err *err);

/* A member of an object that is there, which takes the value over; RAM_ENOMEM, of NULL, too. */
int ram_json_put(json_t *object, const char *key, json_t *value, struct ram_err *err);

#endif
