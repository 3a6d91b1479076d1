/* tokenizer_encode.c - from text to ids, in the order that tokenizer.h states, and back. */
#include "infer/tokenizer_parts.h"

#include "infer/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

/* ---- the tokenizer as an object -------------------------------------------------------------- */

int ram_tokenizer_new(struct ram_tokenizer **out, struct ram_err *err)
{
    struct ram_tokenizer *tokenizer = ram_calloc(1, sizeof *tokenizer, err);

    if (!tokenizer)
        return RAM_ENOMEM;
    tokenizer->bos = tokenizer->eos = tokenizer->model.unk = RAM_TOK_NO_ID;
    *out = tokenizer;
    return RAM_OK;
}

void ram_tokenizer_free(struct ram_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    for (size_t i = 0; i < tokenizer->n_steps; i++)
        ram_split_rx_free(tokenizer->steps[i].rx);
    ram_vocab_release(&tokenizer->model.vocab);
    ram_merges_release(&tokenizer->model.merges);
    ram_added_set_release(&tokenizer->raw);
    ram_added_set_release(&tokenizer->normal);
    ram_arena_release(&tokenizer->arena);
    free(tokenizer->added);
    free(tokenizer->by_id);
    free(tokenizer);
}

/* Tokens that are matched in normalised text are looked for in normal form. */
static int normalise_added(struct ram_tokenizer *tokenizer, struct ram_added *token,
                           struct ram_err *err)
{
    struct ram_buf text = {0};

    int status = ram_nfc((const uint8_t *)token->content, strlen(token->content), &text, err);
    if (!status) {
        token->text = ram_arena_strdup(&tokenizer->arena, text.data, err);
        token->size = text.size;
        status = token->text ? RAM_OK : RAM_ENOMEM;
    }
    ram_buf_release(&text);
    return status;
}

int ram_tokenizer_finish(struct ram_tokenizer *tokenizer, struct ram_err *err)
{
    const size_t n = tokenizer->n_added;
    const struct ram_added **raw = ram_calloc(n, sizeof *raw, err);
    const struct ram_added **normal = ram_calloc(n, sizeof *normal, err);
    size_t n_raw = 0, n_normal = 0;
    int status = raw && normal ? RAM_OK : RAM_ENOMEM;

    tokenizer->n_ids = tokenizer->model.vocab.n_ids;
    for (size_t i = 0; i < n; i++)
        if (tokenizer->n_ids <= tokenizer->added[i].id)
            tokenizer->n_ids = (size_t)tokenizer->added[i].id + 1;
    if (!status) {
        tokenizer->by_id = ram_calloc(tokenizer->n_ids, sizeof *tokenizer->by_id, err);
        status = tokenizer->by_id ? RAM_OK : RAM_ENOMEM;
    }
    for (size_t i = 0; i < n && !status; i++) {
        struct ram_added *token = &tokenizer->added[i];
        tokenizer->by_id[token->id] = token;
        if (token->normalized && tokenizer->nfc)
            status = normalise_added(tokenizer, token, err);
        if (token->normalized)
            normal[n_normal++] = token;
        else
            raw[n_raw++] = token;
    }
    if (status) {
        free(raw);
        free(normal);
        return status;
    }
    ram_added_set_init(&tokenizer->raw, raw, n_raw);
    ram_added_set_init(&tokenizer->normal, normal, n_normal);
    return RAM_OK;
}

size_t ram_tokenizer_n_ids(const struct ram_tokenizer *tokenizer)
{
    return tokenizer->n_ids;
}

static bool known_id(uint32_t id, uint32_t *out)
{
    if (id != RAM_TOK_NO_ID)
        *out = id;
    return id != RAM_TOK_NO_ID;
}

bool ram_tokenizer_bos(const struct ram_tokenizer *tokenizer, uint32_t *id)
{
    return known_id(tokenizer->bos, id);
}

bool ram_tokenizer_eos(const struct ram_tokenizer *tokenizer, uint32_t *id)
{
    return known_id(tokenizer->eos, id);
}

bool ram_tokenizer_find(const struct ram_tokenizer *tokenizer, const char *text, size_t size,
                        uint32_t *id)
{
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        const struct ram_added *token = &tokenizer->added[i];
        if (strlen(token->content) == size && !memcmp(token->content, text, size))
            return known_id(token->id, id);
    }
    return size &&
           known_id(ram_vocab_find(&tokenizer->model.vocab, (const uint8_t *)text, size), id);
}

void ram_tokenizer_decode(const struct ram_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                          enum ram_decode mode, struct ram_buf *out)
{
    const struct ram_vocab *vocab = &tokenizer->model.vocab;

    for (size_t i = 0; i < n; i++) {
        const uint32_t id = ids[i];
        const struct ram_added *added = id < tokenizer->n_ids ? tokenizer->by_id[id] : NULL;
        if (added && !(added->special && mode == RAM_DECODE_SKIP_SPECIAL))
            ram_buf_puts(out, added->content);
        else if (!added && id < vocab->n_ids && vocab->tokens[id].used)
            ram_buf_add(out, vocab->bytes + vocab->tokens[id].at, vocab->tokens[id].size);
    }
}

/* ---- words, and the cache of them ---------------------------------------------------------------
 */

/*
 * Text repeats itself: nearly every word has been merged before. A slot remembers one short word
 * and its ids and gives way to the next word that falls on it; it fills two cache lines.
 */
enum { CACHE_SLOTS = 1 << 15, CACHED_BYTES = 48, CACHED_IDS = 16 };

struct cached_word {
    uint32_t ids[CACHED_IDS];
    uint8_t bytes[CACHED_BYTES];
    uint8_t size, n_ids; /* size 0: free */
};

struct ram_encoder {
    const struct ram_tokenizer *tokenizer;
    struct ram_split_scratch *scratch; /* NULL if no step needs it */
    struct cached_word *cache;         /* [CACHE_SLOTS] */
    struct ram_bpe bpe;
    struct ram_buf repaired, normal, spaced;
};

/* A run over one text. */
struct encode {
    struct ram_encoder *encoder;
    const struct ram_tokenizer *tokenizer;
    struct ram_ids *ids;
    struct ram_err *err;
};

static int encode_word(const struct encode *run, const uint8_t *word, size_t size)
{
    struct ram_ids *ids = run->ids;
    const size_t before = ids->n;

    if (size > CACHED_BYTES)
        return ram_bpe_word(&run->encoder->bpe, &run->tokenizer->model, word, size, ids, run->err);
    struct cached_word *slot = &run->encoder->cache[ram_tok_hash(word, size) & (CACHE_SLOTS - 1)];
    if (slot->size == size && !memcmp(slot->bytes, word, size)) {
        if (ids->cap - ids->n < CACHED_IDS && ram_ids_reserve(ids, CACHED_IDS, run->err))
            return RAM_ENOMEM;
        memcpy(ids->items + ids->n, slot->ids, slot->n_ids * sizeof *slot->ids);
        ids->n += slot->n_ids;
        return RAM_OK;
    }
    const int status =
        ram_bpe_word(&run->encoder->bpe, &run->tokenizer->model, word, size, ids, run->err);
    const size_t n = ids->n - before;
    if (!status && n <= CACHED_IDS) {
        slot->size = (uint8_t)size;
        slot->n_ids = (uint8_t)n;
        memcpy(slot->bytes, word, size);
        memcpy(slot->ids, ids->items + before, n * sizeof *slot->ids);
    }
    return status;
}

/* ---- pre-tokenizers
 * --------------------------------------------------------------------------------- */

static int encode_piece(const struct encode *run, size_t i_step, const uint8_t *text, size_t size);

static int split_by_style(const struct encode *run, size_t i_step, const uint8_t *text, size_t size)
{
    const enum ram_split_style style = run->tokenizer->steps[i_step].style;
    const bool last = i_step + 1 == run->tokenizer->n_steps;
    int status = RAM_OK;

    while (size && !status) {
        const size_t n = ram_split_next(style, text, size);
        status = last ? encode_word(run, text, n) : encode_piece(run, i_step + 1, text, n);
        text += n;
        size -= n;
    }
    return status;
}

/* Puts pieces, alternately matches and gaps, together as the behavior says, and hands each whole
 * one to the next step. */
struct joiner {
    const struct encode *run;
    size_t i_step; /* of the split */
    const uint8_t *text;
    struct ram_span held; /* may still grow; empty: nothing is held */
    bool was_match;       /* the piece before */
};

static int flush(struct joiner *joiner)
{
    const struct ram_span span = joiner->held;

    joiner->held = (struct ram_span){0, 0};
    return span.start == span.end ? RAM_OK
                                  : encode_piece(joiner->run, joiner->i_step + 1,
                                                 joiner->text + span.start, span.end - span.start);
}

static int join(struct joiner *joiner, struct ram_span span, bool is_match)
{
    const struct ram_split_step *step = &joiner->run->tokenizer->steps[joiner->i_step];
    const bool match = is_match != step->invert, was_match = joiner->was_match;
    bool grows = false;

    joiner->was_match = match;
    switch (step->behavior) {
    case RAM_SPLIT_REMOVED:
        if (match)
            return flush(joiner);
        break;
    case RAM_SPLIT_CONTIGUOUS:
        grows = match == was_match;
        break;
    case RAM_SPLIT_MERGE_PREVIOUS:
        grows = match && !was_match;
        break;
    case RAM_SPLIT_MERGE_NEXT:
        grows = !match && was_match;
        break;
    default:
        break;
    }
    if (grows && joiner->held.end == span.start && joiner->held.start < joiner->held.end) {
        joiner->held.end = span.end;
        return RAM_OK;
    }
    const int status = flush(joiner);
    joiner->held = span;
    return status;
}

/* Matches in the order in which Oniguruma's iterator gives them: an empty one counts unless it
 * lies at the end of the match before. */
static int split_by_regex(const struct encode *run, size_t i_step, const uint8_t *text, size_t size)
{
    const struct ram_split_rx *rx = run->tokenizer->steps[i_step].rx;
    struct joiner joiner = {.run = run, .i_step = i_step, .text = text};
    size_t from = 0, done = 0, step;
    bool any = false;
    int status = RAM_OK;

    while (from <= size) {
        struct ram_span match;
        const int found =
            ram_split_rx_find(rx, run->encoder->scratch, text, size, from, &match, run->err);
        if (found < 0)
            return found;
        if (!found)
            break;
        if (match.start == match.end && any && match.end == done) {
            if (from == size)
                break;
            ram_utf8_get(text + from, &step);
            from += step;
            continue;
        }
        if (match.start > done)
            status = join(&joiner, (struct ram_span){done, match.start}, false);
        if (!status)
            status = join(&joiner, match, true);
        if (status)
            return status;
        from = done = match.end;
        any = true;
    }
    if (done < size)
        status = join(&joiner, (struct ram_span){done, size}, false);
    return status ? status : flush(&joiner);
}

static int add_space(const struct encode *run, size_t i_step, const uint8_t *text, size_t size)
{
    struct ram_buf *spaced = &run->encoder->spaced;

    if (*text == ' ')
        return encode_piece(run, i_step + 1, text, size);
    spaced->size = 0;
    ram_buf_puts(spaced, " ");
    ram_buf_add(spaced, text, size);
    if (spaced->failed)
        return ram_fail(run->err, RAM_ENOMEM, "no memory for %zu bytes of text", size);
    return encode_piece(run, i_step + 1, (const uint8_t *)spaced->data, spaced->size);
}

/* Steps i_step and later on a piece of text, which is not empty. */
static int encode_piece(const struct encode *run, size_t i_step, const uint8_t *text, size_t size)
{
    if (i_step == run->tokenizer->n_steps)
        return encode_word(run, text, size);
    switch (run->tokenizer->steps[i_step].kind) {
    case RAM_STEP_STYLE:
        return split_by_style(run, i_step, text, size);
    case RAM_STEP_REGEX:
        return split_by_regex(run, i_step, text, size);
    default:
        return add_space(run, i_step, text, size);
    }
}

/* ---- added tokens and normalisation
 * -------------------------------------------------------------------- */

typedef int piece_fn(const struct encode *run, const uint8_t *text, size_t size);

/* Cuts the added tokens of a set out of text; what lies between goes to piece(). */
static int cut_added(const struct encode *run, const struct ram_added_set *set, const uint8_t *text,
                     size_t size, piece_fn *piece)
{
    struct ram_added_match match;
    size_t at = 0, done = 0;
    int status = RAM_OK;

    while (!status && ram_added_set_next(set, text, size, done, &at, &match)) {
        if (done < match.start)
            status = piece(run, text + done, match.start - done);
        if (!status)
            status = ram_ids_reserve(run->ids, 1, run->err);
        if (!status)
            run->ids->items[run->ids->n++] = match.token->id;
        done = match.end;
    }
    if (!status && done < size)
        status = piece(run, text + done, size - done);
    return status;
}

static int encode_plain(const struct encode *run, const uint8_t *text, size_t size)
{
    return encode_piece(run, 0, text, size);
}

static int encode_raw(const struct encode *run, const uint8_t *text, size_t size)
{
    struct ram_buf *normal = &run->encoder->normal;

    if (run->tokenizer->nfc && ram_nfc_stable(text, size) < size) {
        normal->size = 0;
        const int status = ram_nfc(text, size, normal, run->err);
        if (status)
            return status;
        text = (const uint8_t *)normal->data;
        size = normal->size;
    }
    return cut_added(run, &run->tokenizer->normal, text, size, encode_plain);
}

/* ---- a whole text
 * ---------------------------------------------------------------------------------------- */

int ram_encoder_new(struct ram_encoder **out, const struct ram_tokenizer *tokenizer,
                    struct ram_err *err)
{
    struct ram_encoder *encoder = ram_calloc(1, sizeof *encoder, err);
    int status = encoder ? RAM_OK : RAM_ENOMEM;

    if (!status) {
        encoder->tokenizer = tokenizer;
        encoder->cache = ram_calloc(CACHE_SLOTS, sizeof *encoder->cache, err);
        status = encoder->cache ? RAM_OK : RAM_ENOMEM;
    }
    for (size_t i = 0; i < tokenizer->n_steps && !status; i++)
        if (tokenizer->steps[i].kind == RAM_STEP_REGEX && !encoder->scratch)
            status = ram_split_scratch_new(&encoder->scratch, err);
    if (status)
        ram_encoder_free(encoder);
    else
        *out = encoder;
    return status;
}

void ram_encoder_free(struct ram_encoder *encoder)
{
    if (!encoder)
        return;
    ram_split_scratch_free(encoder->scratch);
    ram_bpe_release(&encoder->bpe);
    ram_buf_release(&encoder->repaired);
    ram_buf_release(&encoder->normal);
    ram_buf_release(&encoder->spaced);
    free(encoder->cache);
    free(encoder);
}

static int add_ids(struct ram_ids *ids, const uint32_t *more, size_t n, struct ram_err *err)
{
    const int status = ram_ids_reserve(ids, n, err);

    if (!status && n) {
        memcpy(ids->items + ids->n, more, n * sizeof *more);
        ids->n += n;
    }
    return status;
}

int ram_encoder_run(struct ram_encoder *encoder, const char *text, size_t size,
                    enum ram_encode mode, struct ram_ids *ids, struct ram_err *err)
{
    const struct ram_tokenizer *tokenizer = encoder->tokenizer;
    const struct encode run = {encoder, tokenizer, ids, err};
    const bool around = mode == RAM_ENCODE_SPECIAL;
    const uint8_t *bytes = (const uint8_t *)text;
    const size_t before = ids->n;
    int status = RAM_OK;

    if (around && tokenizer->post_refused)
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "tokenizer.json: post_processor.type is \"%.80s\", which this version "
                        "cannot run",
                        tokenizer->post_refused);
    if (ram_utf8_valid(bytes, size) < size) {
        encoder->repaired.size = 0;
        ram_utf8_repair(bytes, size, &encoder->repaired);
        if (encoder->repaired.failed)
            return ram_fail(err, RAM_ENOMEM, "no memory for %zu bytes of text", size);
        bytes = (const uint8_t *)encoder->repaired.data;
        size = encoder->repaired.size;
    }
    if (around)
        status = add_ids(ids, tokenizer->before, tokenizer->n_before, err);
    if (!status)
        status = cut_added(&run, &tokenizer->raw, bytes, size, encode_raw);
    if (!status && around)
        status = add_ids(ids, tokenizer->after, tokenizer->n_after, err);
    if (status)
        ids->n = before;
    return status;
}
