/*
 * tokenizer_text.h - what a tokenizer must know of Unicode: UTF-8 and its repair, normal form C,
 * classes of characters.
 */
#ifndef RAM_INFER_TOKENIZER_TEXT_H
#define RAM_INFER_TOKENIZER_TEXT_H

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

/* The length of the valid UTF-8 at the start of text. */
size_t ram_utf8_valid(const uint8_t *text, size_t size);

/* Appends text with one U+FFFD for each maximal subpart of an ill-formed sequence (Unicode
 * section 3.9, "U+FFFD Substitution of Maximal Subparts"; Python's errors="replace"). */
void ram_utf8_repair(const uint8_t *text, size_t size, struct ram_buf *out);

/* The length of the longest start of valid UTF-8 that is in NFC whatever follows it. */
size_t ram_nfc_stable(const uint8_t *text, size_t size);

/* Appends the NFC of valid UTF-8; linear in its size, however many marks are stacked. */
int ram_nfc(const uint8_t *text, size_t size, struct ram_buf *out, struct ram_err *err);

/* What the published patterns tell apart. Combining marks are OTHER: \p{L} leaves them out. */
enum ram_char_class { RAM_CHAR_OTHER, RAM_CHAR_LETTER, RAM_CHAR_NUMBER, RAM_CHAR_SPACE };

enum ram_char_class ram_char_class(uint32_t c);
bool ram_char_is_space(uint32_t c); /* Unicode White_Space, \s of Oniguruma and Rust */
bool ram_char_is_word(uint32_t c);  /* \w of Rust's regex crate */

#endif
