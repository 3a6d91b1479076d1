/*
 * tokenizer_text.h - what a tokenizer needs of Unicode: normal form C and the classes of
 * characters.
 */
#ifndef RAM_TEXT_TOKENIZER_TEXT_H
#define RAM_TEXT_TOKENIZER_TEXT_H

#include "base/utf8.h"

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
