/*
 * tokenizer_parts.h - what a tokenizer is made of; for tokenizer_*.c alone.
 *
 * tokenizer_files.c   the files of a model directory
 * tokenizer_absent.c  what lies there instead
 * tokenizer_load.c    tokenizer.json
 * tokenizer_encode.c  the pipeline over a text, and back
 * tokenizer_added.c   finding added tokens
 * tokenizer_text.c    UTF-8 repair, NFC, classes of characters
 * tokenizer_split.c   the published pre-tokenizer patterns; tokenizer_regex.c all others
 * tokenizer_bpe.c     merging the bytes of a word; tokenizer_queue.c for long ones
 * tokenizer_vocab.c   vocabulary and merges
 */
#ifndef RAM_TEXT_TOKENIZER_PARTS_H
#define RAM_TEXT_TOKENIZER_PARTS_H

#include "base/json.h"
#include "base/mem.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_split.h"

enum {
    RAM_TOK_MAX_FILE = 256 << 20,  /* bytes of one file; the largest published one has 33 MB */
    RAM_TOK_MAX_ADDED = 1 << 16,   /* added tokens */
    RAM_TOK_MAX_ADDED_SIZE = 1024, /* bytes of one */
    RAM_TOK_MAX_STEPS = 16,        /* pre-tokenizers in sequence */
    RAM_TOK_MAX_AROUND = 16        /* tokens that a post-processor puts before or after */
};

enum ram_split_behavior {
    RAM_SPLIT_ISOLATED,       /* matches and what lies between are words */
    RAM_SPLIT_REMOVED,        /* only what lies between */
    RAM_SPLIT_CONTIGUOUS,     /* matches side by side are one word */
    RAM_SPLIT_MERGE_PREVIOUS, /* a match joins what is before it */
    RAM_SPLIT_MERGE_NEXT,
    RAM_SPLIT_N_BEHAVIORS
};

enum ram_step_kind {
    RAM_STEP_STYLE, /* a published pattern, isolated */
    RAM_STEP_REGEX,
    RAM_STEP_SPACE /* a space before a piece that does not begin with one */
};

struct ram_split_step {
    enum ram_step_kind kind;
    enum ram_split_style style;
    struct ram_split_rx *rx;
    enum ram_split_behavior behavior;
    bool invert; /* what lies between counts as match and the other way round */
};

struct ram_tokenizer {
    struct ram_bpe_model model;
    bool nfc;
    struct ram_added *added;
    size_t n_added, added_cap;
    uint32_t next_added;            /* one more than the highest id among them */
    struct ram_added_set raw;       /* matched before normalisation */
    struct ram_added_set normal;    /* matched after it */
    const struct ram_added **by_id; /* [n_ids]; NULL: an ordinary token, or none */
    size_t n_ids;
    size_t n_rows; /* of the embedding, as config.json states them; 0: unknown */
    struct ram_split_step steps[RAM_TOK_MAX_STEPS];
    size_t n_steps;
    uint32_t before[RAM_TOK_MAX_AROUND], after[RAM_TOK_MAX_AROUND]; /* post-processor */
    size_t n_before, n_after;
    const char *post_refused; /* the type of a post-processor that we cannot run, or NULL */
    uint32_t bos, eos;        /* RAM_TOK_NO_ID: none */
    struct ram_arena arena;   /* texts of added tokens */
};

/* A tokenizer that knows nothing yet; ram_tokenizer_free it. */
int ram_tokenizer_new(struct ram_tokenizer **out, struct ram_err *err);

/* Appends an added token: a content of size bytes, flags, and an id unless it is RAM_TOK_NO_ID:
 * then it gets the vocabulary's or the next free one, as Hugging Face gives them. vocab: the
 * vocabulary as its file spells it; known: {content: place in added[]}, kept up here. */
int ram_tokenizer_add(struct ram_tokenizer *tokenizer, const struct ram_added *token,
                      const json_t *vocab, json_t *known, const char *where, struct ram_err *err);

/* An item of tokenizer.json's added_tokens or of added_tokens_decoder, but for the id. */
int ram_added_read(struct ram_added *token, const json_t *item, const char *where,
                   struct ram_err *err);

/* Says which files of other tokenizers a directory has, or that it has none; never RAM_OK. */
int ram_tokenizer_absent(const char *dir, struct ram_err *err);

/* Makes the sets and the table by id; nothing is added later. */
int ram_tokenizer_finish(struct ram_tokenizer *tokenizer, struct ram_err *err);

/* Appends a pre-tokenizer step for a pattern, the hand-written one if there is one. */
int ram_tokenizer_add_split(struct ram_tokenizer *tokenizer, const char *pattern,
                            enum ram_split_behavior behavior, bool invert, const char *where,
                            struct ram_err *err);

#endif
