/* tokenizer_bpe.h - merging the bytes of one word into tokens. */
#ifndef RAM_TEXT_TOKENIZER_BPE_H
#define RAM_TEXT_TOKENIZER_BPE_H

#include "text/tokenizer.h"
#include "text/tokenizer_queue.h"
#include "text/tokenizer_vocab.h"

/* What merging needs of a tokenizer. */
struct ram_bpe_model {
    struct ram_vocab vocab;
    struct ram_merges merges;
    bool ignore_merges; /* a word that is a token needs no merging */
    uint32_t unk;       /* for a byte without a token; RAM_TOK_NO_ID: it is left out */
    bool fuse_unk;      /* one unk for a run of such bytes */
};

/* Buffers for long words, of one thread. Zeroed storage is empty. */
struct ram_bpe {
    struct ram_bpe_symbol *symbols;
    size_t symbols_cap;
    struct ram_queue queue;
};

/* Appends the ids of a word. Of all pairs the one of lowest rank merges first, of equals the
 * leftmost. Time n log n at worst. */
int ram_bpe_word(struct ram_bpe *bpe, const struct ram_bpe_model *model, const uint8_t *word,
                 size_t size, struct ram_ids *ids, struct ram_err *err);
void ram_bpe_release(struct ram_bpe *bpe);

/* Room for n more ids. */
int ram_ids_reserve(struct ram_ids *ids, size_t n, struct ram_err *err);

#endif
