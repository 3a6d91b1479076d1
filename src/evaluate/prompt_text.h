/*
 * prompt_text.h - what the harness's Python does to text before a tokenizer sees it: white space,
 * capitals and lengths of `str`, and the clean-up of HellaSwag's sentences.
 *
 * Texts are UTF-8; a byte that is not counts as a character without properties.
 */
#ifndef RAM_EVALUATE_PROMPT_TEXT_H
#define RAM_EVALUATE_PROMPT_TEXT_H

#include "base/buf.h"

/* Bytes that str.rstrip() would take from the end. */
size_t ram_text_space_at_end(const char *text, size_t size);

/* len(text): code points. */
size_t ram_text_length(const char *text, size_t size);

/* Appends text.capitalize(): the first character in title case, all others in lower case. */
void ram_text_capitalize(const char *text, struct ram_buf *out);

/* Appends HellaSwag's preprocess(text): stripped, " [title]" as ". ", brackets cut out, every two
 * spaces as one (once: three become two). */
void ram_text_clean(const char *text, struct ram_buf *out);

#endif
