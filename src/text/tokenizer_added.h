/* tokenizer_added.h - added tokens ("<|im_end|>"): where they stand in a text. */
#ifndef RAM_TEXT_TOKENIZER_ADDED_H
#define RAM_TEXT_TOKENIZER_ADDED_H

#include "base/err.h"

struct ram_added {
    const char *content; /* as decoding writes it */
    const char *text;    /* what is looked for: the content, normalised if need be */
    size_t size;         /* of text, at least 1 */
    uint32_t id;
    bool single_word; /* not beside a letter, number or mark */
    bool lstrip;      /* takes the white space before it ... */
    bool rstrip;      /* ... or after it along */
    bool normalized;  /* matched in the normalised text instead of the raw one */
    bool special;
};

/* Added tokens in byte order of their texts. */
struct ram_added_set {
    const struct ram_added **items;
    size_t n;
    size_t first[257]; /* those that begin with byte b: [first[b], first[b + 1]) */
};

/* Sorts items; the set takes the array, not what it points to. */
void ram_added_set_init(struct ram_added_set *set, const struct ram_added **items, size_t n);
void ram_added_set_release(struct ram_added_set *set);

struct ram_added_match {
    const struct ram_added *token;
    size_t start, end; /* the bytes that become its id */
};

/*
 * The next match in valid UTF-8, leftmost-longest. *at: where to look from, moved behind the
 * match. done: the end of the match before. White space that a token takes along (rstrip) is
 * looked at again, as in Hugging Face's: a token that begins with white space may be found in it,
 * and one that reaches back (lstrip) is left empty there, start >= end: it becomes nothing.
 */
bool ram_added_set_next(const struct ram_added_set *set, const uint8_t *text, size_t size,
                        size_t done, size_t *at, struct ram_added_match *match);

#endif
