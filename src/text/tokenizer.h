/*
 * tokenizer.h - text to token ids and back, as Hugging Face `tokenizers` does it for byte-level
 * BPE: Qwen2/3, GLM-4, Llama-3, GPT-2, DeepSeek and whatever else says so in its tokenizer.json.
 *
 * The order of things (docs/models.md has the details):
 *   1. invalid UTF-8 becomes U+FFFD, one for each maximal ill-formed subpart;
 *   2. added tokens that are matched before normalisation are cut out, leftmost-longest;
 *   3. what lies between is put into Unicode normal form C if the tokenizer says so;
 *   4. the other added tokens are cut out of that;
 *   5. pre-tokenizers cut the rest into words;
 *   6. the bytes of each word are merged pair by pair, lowest rank first, leftmost on a tie.
 *
 * Left out, and refused with the name of the field: WordPiece, Unigram, sentencepiece-like BPE
 * (Metaspace, byte fallback), dropout, normalisers other than NFC. Truncation and padding
 * requests in a tokenizer.json are ignored, because all ids of the text are wanted here.
 */
#ifndef RAM_TEXT_TOKENIZER_H
#define RAM_TEXT_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"

/* Token ids in a growing array. Zeroed storage is empty. */
struct ram_ids {
    uint32_t *items;
    size_t n, cap;
};

void ram_ids_release(struct ram_ids *ids);

/* What the files say. Immutable: threads may share it. */
struct ram_tokenizer;

/*
 * Reads the tokenizer of a model directory: tokenizer.json, or else vocab.json + merges.txt, with
 * the pre-tokenizer of tokenizer_config.json's class and the added tokens named there or in
 * added_tokens.json. RAM_EFORMAT and RAM_ERANGE for broken files; RAM_EUNSUPPORTED names file,
 * field and value of what this library does not do.
 */
int ram_tokenizer_read(struct ram_tokenizer **out, const char *dir, struct ram_err *err);

/* The same from the text of a tokenizer.json. where: what messages begin with. */
int ram_tokenizer_parse(struct ram_tokenizer **out, const char *text, size_t size,
                        const char *where, struct ram_err *err);
void ram_tokenizer_free(struct ram_tokenizer *tokenizer);

/* One more than the highest id; a model may have more rows than that (padding). */
size_t ram_tokenizer_n_ids(const struct ram_tokenizer *tokenizer);

/* Rows of the embedding as the config.json beside the tokenizer states them; 0: it does not. */
size_t ram_tokenizer_n_rows(const struct ram_tokenizer *tokenizer);

/* The id of an added token, or of an entry of the vocabulary that is exactly this text. */
bool ram_tokenizer_find(const struct ram_tokenizer *tokenizer, const char *text, size_t size,
                        uint32_t *id);

/* RAM_ERANGE if an id has no row in an embedding of n_rows: names the token, and says whose
 * embedding it is. where: what the message begins with; NULL: nothing. */
int ram_tokenizer_check_ids(const struct ram_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                            size_t n_rows, const char *whose, const char *where,
                            struct ram_err *err);

/* tokenizer_config.json's bos_token and eos_token; false if there is none. */
bool ram_tokenizer_bos(const struct ram_tokenizer *tokenizer, uint32_t *id);
bool ram_tokenizer_eos(const struct ram_tokenizer *tokenizer, uint32_t *id);

enum ram_decode { RAM_DECODE_ALL, RAM_DECODE_SKIP_SPECIAL };

/* Appends the bytes that ids stand for, added tokens verbatim; ids without a token give nothing.
 * The bytes need not be valid UTF-8: a token may end inside a character. */
void ram_tokenizer_decode(const struct ram_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                          enum ram_decode mode, struct ram_buf *out);

/* What one thread needs to encode: buffers, and a cache of words, which changes no result. */
struct ram_encoder;

/* The tokenizer must outlive the encoder. */
int ram_encoder_new(struct ram_encoder **out, const struct ram_tokenizer *tokenizer,
                    struct ram_err *err);
void ram_encoder_free(struct ram_encoder *encoder);

enum ram_encode {
    RAM_ENCODE_PLAIN,  /* the text alone; special tokens that stand in it are recognised */
    RAM_ENCODE_SPECIAL /* with what the file's post-processor puts around a text (a BOS) */
};

/* Appends the ids of text. After a failure ids holds what it held before. RAM_ERANGE for a
 * pattern of the tokenizer that takes too long or too much memory on this text. */
int ram_encoder_run(struct ram_encoder *encoder, const char *text, size_t size,
                    enum ram_encode mode, struct ram_ids *ids, struct ram_err *err);

#endif
