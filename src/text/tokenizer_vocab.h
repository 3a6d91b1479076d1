/*
 * tokenizer_vocab.h - a byte-level vocabulary, and which pairs of its tokens merge.
 *
 * Files spell tokens in GPT-2's byte alphabet, in which every byte is a printable character:
 * 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves, the other 68 in increasing order are
 * U+0100, U+0101, ... In memory a token is the bytes it stands for.
 */
#ifndef RAM_TEXT_TOKENIZER_VOCAB_H
#define RAM_TEXT_TOKENIZER_VOCAB_H

#include "base/json.h"

enum {
    RAM_TOK_MAX_IDS = 1 << 22,  /* the largest published vocabularies have 262,144 */
    RAM_TOK_MAX_TOKEN = 1 << 16 /* bytes of one token */
};
#define RAM_TOK_NO_ID UINT32_MAX

struct ram_vocab_token {
    uint32_t at, size; /* in bytes[] */
    bool used;         /* ids may have holes */
};

struct ram_vocab {
    uint8_t *bytes; /* of all tokens */
    size_t bytes_size;
    struct ram_vocab_token *tokens; /* by id */
    size_t n_ids;                   /* highest id + 1 */
    uint32_t *slots;                /* open hash over the bytes: an id or RAM_TOK_NO_ID */
    size_t n_slots;                 /* a power of 2 */
    uint32_t byte_ids[256];         /* RAM_TOK_NO_ID for a byte that has no token */
};

/* From {"token": id, ...}. Tokens with a character beyond the alphabet are kept for decoding: no
 * text leads to them. */
int ram_vocab_init(struct ram_vocab *vocab, const json_t *ids, const char *where,
                   struct ram_err *err);
void ram_vocab_release(struct ram_vocab *vocab);

/* RAM_TOK_NO_ID if no token is these bytes. */
uint32_t ram_vocab_find(const struct ram_vocab *vocab, const uint8_t *bytes, size_t size);

/* What two tokens become. */
struct ram_pair {
    uint32_t rank, id; /* rank RAM_TOK_NO_RANK: they do not merge */
};
#define RAM_TOK_NO_RANK UINT32_MAX

struct ram_merge {
    uint32_t left, right; /* ids */
    struct ram_pair pair;
};

/* Ids below this are mostly bytes and the first merges, so their pairs have a table. */
enum { RAM_TOK_NEAR_IDS = 256 };

struct ram_merges {
    struct ram_merge *slots; /* open hash over (left, right) */
    uint16_t *tags;          /* of each slot: bits of its hash, 0 for a free one */
    size_t n_slots;          /* a power of 2 */
    struct ram_pair *near;   /* [RAM_TOK_NEAR_IDS][RAM_TOK_NEAR_IDS] */
};

/* Room for n merges. */
int ram_merges_init(struct ram_merges *merges, size_t n, struct ram_err *err);
void ram_merges_release(struct ram_merges *merges);

/* A token's spelling, not 0-terminated. */
struct ram_spelling {
    const char *text;
    size_t size;
};

/* Of equal pairs the last added counts, as in Hugging Face's. RAM_EFORMAT if one of the three
 * tokens is not in the vocabulary. */
int ram_merges_add(struct ram_merges *merges, const struct ram_vocab *vocab, uint32_t rank,
                   const struct ram_spelling pair[2], const char *where, struct ram_err *err);

struct ram_pair ram_merges_find(const struct ram_merges *merges, uint32_t left, uint32_t right);

/* Of the words of a text, too. */
uint64_t ram_tok_hash(const uint8_t *bytes, size_t size);

#endif
