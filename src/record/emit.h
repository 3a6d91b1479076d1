/*
 * emit.h - JSON text of records, written so that people can read and edit it.
 *
 * jansson writes 0.65 as 0.65000000000000002 and a record as one line or as one number a line.
 * Here reals get the fewest digits that survive a round trip, and lists of tensors stand one
 * to a line.
 */
#ifndef RAM_RECORD_EMIT_H
#define RAM_RECORD_EMIT_H

#include "base/buf.h"
#include "base/json.h"

#include <locale.h>

/* Numbers are read and written with a decimal point whatever locale the caller's thread is in. */
struct ram_c_locale {
    locale_t c, before;
};
int ram_c_locale_enter(struct ram_c_locale *locale, struct ram_err *err);
void ram_c_locale_leave(struct ram_c_locale *locale);

/* Quoted and escaped; bytes that are not UTF-8 become U+FFFD. NULL: null. */
void ram_emit_string(struct ram_buf *buf, const char *s);
/* The same of n bytes, which may hold NUL. */
void ram_emit_bytes(struct ram_buf *buf, const char *s, size_t n);

/* null if it is not finite. */
void ram_emit_real(struct ram_buf *buf, double x);

/* A value over several lines, members indented by depth + 1 times two spaces; objects and arrays
 * that fit in one short line stay in it. NULL: null. */
void ram_emit_json(struct ram_buf *buf, json_t *value, int depth);

/* A value as a text of its own; the value is released. NULL: RAM_ENOMEM, so that the making of a
 * value need not be checked. */
int ram_emit_text(json_t *value, char **out, struct ram_err *err);

#endif
