/* tokenizer_encode.c - from text to ids, in the order that tokenizer.h states. */
#include "text/tokenizer_parts.h"
#include "text/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

/* ---- words, and the cache of them ---------------------------------------------------------- */

/*
 * Text repeats itself: nearly every word has been merged before. A slot, one cache line, holds a
 * short word and its ids. Words whose hash falls on the same pair of slots push one another out,
 * the older first.
 */
enum { CACHE_PAIRS = 1 << 13, CACHED_BYTES = 30, CACHED_IDS = 8 };

struct cached_word {
    uint32_t ids[CACHED_IDS];
    uint8_t size, n_ids; /* size 0: free */
    uint8_t bytes[CACHED_BYTES];
};
_Static_assert(sizeof(struct cached_word) == 64, "a cached word fills a cache line");

struct ram_encoder {
    const struct ram_tokenizer *tokenizer;
    struct ram_split_scratch *scratch; /* NULL if no step needs it */
    struct cached_word (*cache)[2];    /* [CACHE_PAIRS] */
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

static bool is_cached(const struct cached_word *slot, const uint8_t *word, size_t size)
{
    return slot->size == size && !memcmp(slot->bytes, word, size);
}

static int merge_word(const struct encode *run, const uint8_t *word, size_t size)
{
    return ram_bpe_word(&run->encoder->bpe, &run->tokenizer->model, word, size, run->ids, run->err);
}

static int encode_word(const struct encode *run, const uint8_t *word, size_t size)
{
    struct ram_ids *ids = run->ids;
    const size_t before = ids->n;

    if (size > CACHED_BYTES)
        return merge_word(run, word, size);
    struct cached_word *pair = run->encoder->cache[ram_tok_hash(word, size) % CACHE_PAIRS];
    const size_t way = is_cached(&pair[0], word, size)   ? 0
                       : is_cached(&pair[1], word, size) ? 1
                                                         : 2;
    if (way < 2) {
        if (ids->cap - ids->n < CACHED_IDS && ram_ids_reserve(ids, CACHED_IDS, run->err))
            return RAM_ENOMEM;
        memcpy(ids->items + ids->n, pair[way].ids, sizeof pair->ids); /* n_ids of them count */
        ids->n += pair[way].n_ids;
        return RAM_OK;
    }
    const int status = merge_word(run, word, size);
    const size_t n = ids->n - before;
    if (!status && n <= CACHED_IDS) {
        pair[1] = pair[0];
        pair[0].size = (uint8_t)size;
        pair[0].n_ids = (uint8_t)n;
        memcpy(pair[0].bytes, word, size);
        memcpy(pair[0].ids, ids->items + before, n * sizeof *pair[0].ids);
    }
    return status;
}

/* ---- pre-tokenizers ------------------------------------------------------------------------ */

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
    struct ram_text_range held; /* may still grow; empty: nothing is held */
    bool was_match;             /* the piece before */
};

static int flush(struct joiner *joiner)
{
    const struct ram_text_range span = joiner->held;

    joiner->held = (struct ram_text_range){0, 0};
    return span.start == span.end ? RAM_OK
                                  : encode_piece(joiner->run, joiner->i_step + 1,
                                                 joiner->text + span.start, span.end - span.start);
}

static int join(struct joiner *joiner, struct ram_text_range span, bool is_match)
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
        struct ram_text_range match = {from, from};
        const int found =
            ram_split_rx_find(rx, run->encoder->scratch, text, size, &match, run->err);
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
            status = join(&joiner, (struct ram_text_range){done, match.start}, false);
        if (!status)
            status = join(&joiner, match, true);
        if (status)
            return status;
        from = done = match.end;
        any = true;
    }
    if (done < size)
        status = join(&joiner, (struct ram_text_range){done, size}, false);
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

/* ---- added tokens and normalisation -------------------------------------------------------- */

static int add_ids(struct ram_ids *ids, const uint32_t *more, size_t n, struct ram_err *err)
{
    const int status = ram_ids_reserve(ids, n, err);

    if (!status && n) {
        memcpy(ids->items + ids->n, more, n * sizeof *more);
        ids->n += n;
    }
    return status;
}

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
        if (!status && match.start < match.end)
            status = add_ids(run->ids, &match.token->id, 1, run->err);
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

/* ---- a whole text -------------------------------------------------------------------------- */

int ram_encoder_new(struct ram_encoder **out, const struct ram_tokenizer *tokenizer,
                    struct ram_err *err)
{
    struct ram_encoder *encoder = ram_calloc(1, sizeof *encoder, err);
    int status = encoder ? RAM_OK : RAM_ENOMEM;

    if (!status) {
        encoder->tokenizer = tokenizer;
        encoder->cache = ram_calloc(CACHE_PAIRS, sizeof *encoder->cache, err);
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
