/* utf8.h - UTF-8: characters, validity and repair. */
#ifndef RAM_BASE_UTF8_H
#define RAM_BASE_UTF8_H

#include "base/buf.h"

/* The code point at p and the bytes it takes; p must be valid UTF-8. */
static inline uint32_t ram_utf8_get(const uint8_t *p, size_t *size)
{
    if (p[0] < 0x80) {
        *size = 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *size = 2;
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    }
    if (p[0] < 0xF0) {
        *size = 3;
        return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    }
    *size = 4;
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

/* The start of the character that ends before p. */
static inline const uint8_t *ram_utf8_back(const uint8_t *p)
{
    do
        p--;
    while ((*p & 0xC0) == 0x80);
    return p;
}

/* Bytes below 0x80 at the start, eight at a time; may stop early. */
size_t ram_utf8_ascii(const uint8_t *p, size_t size);

/* The bytes of the character at s: 1 to 4, or 0 if it is not valid UTF-8. */
size_t ram_utf8_size(const char *s, size_t left);

/* The length of the valid UTF-8 at the start of text. */
size_t ram_utf8_valid(const uint8_t *text, size_t size);

/* How many times one U+FFFD would stand in its repair (see below). */
size_t ram_utf8_count_invalid(const uint8_t *text, size_t size);

/* Whether these bytes, the last of a text, are the beginning of a character whose end is missing.
 */
bool ram_utf8_is_cut(const uint8_t *p, size_t size);

/* Appends text with one U+FFFD for each maximal subpart of an ill-formed sequence (Unicode
 * section 3.9, "U+FFFD Substitution of Maximal Subparts"; Python's errors="replace"). */
void ram_utf8_repair(const uint8_t *text, size_t size, struct ram_buf *out);

#endif
