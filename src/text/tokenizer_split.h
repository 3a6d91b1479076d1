/*
 * tokenizer_split.h - pre-tokenizers: cutting a text into words by a pattern.
 *
 * The patterns that nearly every model uses are spelled out in C (tokenizer_split.c); any other
 * goes through PCRE2 (tokenizer_regex.c). Texts are valid UTF-8.
 */
#ifndef RAM_TEXT_TOKENIZER_SPLIT_H
#define RAM_TEXT_TOKENIZER_SPLIT_H

#include "base/err.h"

enum { RAM_TOK_MAX_PATTERN = 1 << 14 }; /* bytes of a pattern */

enum ram_split_style {
    RAM_SPLIT_QWEN2,  /* each digit alone */
    RAM_SPLIT_LLAMA3, /* up to three digits; GLM-4 too */
    RAM_SPLIT_GPT2,   /* ByteLevel with use_regex */
    RAM_SPLIT_N_STYLES
};

/* The pattern of each style, as tokenizer.json spells it. */
extern const char *const ram_split_patterns[RAM_SPLIT_N_STYLES];

/* The length of the first word of a text that is not empty. */
size_t ram_split_next(enum ram_split_style style, const uint8_t *text, size_t size);

/* A pattern in Oniguruma's syntax (Ruby's), compiled. Immutable. */
struct ram_split_rx;

/* RAM_EUNSUPPORTED for a construct that PCRE2 reads otherwise or not at all. */
int ram_split_rx_new(struct ram_split_rx **out, const char *pattern, const char *where,
                     struct ram_err *err);
void ram_split_rx_free(struct ram_split_rx *rx);

/* What one thread needs to match. */
struct ram_split_scratch;
int ram_split_scratch_new(struct ram_split_scratch **out, struct ram_err *err);
void ram_split_scratch_free(struct ram_split_scratch *scratch);

struct ram_text_range {
    size_t start, end;
};

/* The first match at or after match->end: 1 and where it lies, 0 if there is none, or a negative
 * status (RAM_ERANGE: it takes too many steps or too much memory). */
int ram_split_rx_find(const struct ram_split_rx *rx, struct ram_split_scratch *scratch,
                      const uint8_t *text, size_t size, struct ram_text_range *match,
                      struct ram_err *err);

#endif
