/*
 * tokenizer_bpe.c - see tokenizer_bpe.h.
 *
 * Words are short: their pairs live in an array that is searched from end to end. A word of more
 * than MAX_SHORT symbols (white space, a line of Chinese, a hostile megabyte) has its symbols in
 * a list and its pairs in a queue; an entry whose pair has changed since it was made is recognised
 * by its rank and dropped.
 */
#include "text/tokenizer_bpe.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SHORT = 48 };
#define END UINT32_MAX /* no neighbour */

struct ram_bpe_symbol {
    uint32_t id, prev, next;
    struct ram_pair
        pair; /* with next; RAM_TOK_NO_RANK: does not merge, or the symbol was swallowed */
};

void ram_ids_release(struct ram_ids *ids)
{
    free(ids->items);
    *ids = (struct ram_ids){0};
}

int ram_ids_reserve(struct ram_ids *ids, size_t n, struct ram_err *err)
{
    size_t room, bytes;

    if (ids->cap - ids->n >= n)
        return RAM_OK;
    if (!ram_add_size(ids->n, n, &room) || !ram_mul_size(room, 2 * sizeof *ids->items, &bytes))
        return ram_fail(err, RAM_ENOMEM, "no memory for %zu token ids", n);
    uint32_t *items = realloc(ids->items, bytes);
    if (!items)
        return ram_fail(err, RAM_ENOMEM, "no memory for %zu token ids", room);
    ids->items = items;
    ids->cap = 2 * room;
    return RAM_OK;
}

/* One symbol for each byte; returns their number. */
static size_t seed(const struct ram_bpe_model *model, const uint8_t *word, size_t size,
                   uint32_t *ids)
{
    bool after_unk = false;
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        const uint32_t id = model->vocab.byte_ids[word[i]];
        const bool unk = id == RAM_TOK_NO_ID;
        if (!unk)
            ids[n++] = id;
        else if (model->unk != RAM_TOK_NO_ID && !(after_unk && model->fuse_unk))
            ids[n++] = model->unk;
        after_unk = unk;
    }
    return n;
}

static size_t merge_short(const struct ram_bpe_model *model, uint32_t *ids, size_t n)
{
    struct ram_pair pairs[MAX_SHORT];

    for (size_t i = 0; i + 1 < n; i++)
        pairs[i] = ram_merges_find(&model->merges, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pairs[i].rank < pairs[best].rank)
                best = i;
        if (pairs[best].rank == RAM_TOK_NO_RANK)
            break;
        ids[best] = pairs[best].id;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(pairs + best, pairs + best + 1, (n - best - 1) * sizeof *pairs);
        if (best + 1 < n)
            pairs[best] = ram_merges_find(&model->merges, ids[best], ids[best + 1]);
        if (best)
            pairs[best - 1] = ram_merges_find(&model->merges, ids[best - 1], ids[best]);
    }
    return n;
}

/* ---- long words ---------------------------------------------------------------------------- */

/* Gives symbol `at` its pair with the next one, and the queue an entry for it. */
static int renew_pair(struct ram_bpe *bpe, const struct ram_bpe_model *model, uint32_t at,
                      struct ram_err *err)
{
    struct ram_bpe_symbol *symbol = &bpe->symbols[at];

    symbol->pair.rank = RAM_TOK_NO_RANK;
    if (symbol->next != END)
        symbol->pair = ram_merges_find(&model->merges, symbol->id, bpe->symbols[symbol->next].id);
    return symbol->pair.rank == RAM_TOK_NO_RANK
               ? RAM_OK
               : ram_queue_push(&bpe->queue, ram_queue_key(symbol->pair.rank, at), err);
}

/* The symbols of a word, linked, and their pairs in the queue. */
static int fill(struct ram_bpe *bpe, const struct ram_bpe_model *model, const uint32_t *ids,
                size_t n, struct ram_err *err)
{
    int status = RAM_OK;

    if (bpe->symbols_cap < n) {
        free(bpe->symbols);
        bpe->symbols_cap = 0;
        bpe->symbols = ram_calloc(n, sizeof *bpe->symbols, err);
        if (!bpe->symbols)
            return RAM_ENOMEM;
        bpe->symbols_cap = n;
    }
    ram_queue_clear(&bpe->queue);
    for (size_t i = 0; i < n; i++)
        bpe->symbols[i] = (struct ram_bpe_symbol){.id = ids[i],
                                                  .prev = i ? (uint32_t)i - 1 : END,
                                                  .next = i + 1 < n ? (uint32_t)i + 1 : END};
    for (size_t i = 0; i < n && !status; i++)
        status = renew_pair(bpe, model, (uint32_t)i, err);
    return status;
}

static int merge_long(struct ram_bpe *bpe, const struct ram_bpe_model *model, uint32_t *ids,
                      size_t *n_ids, struct ram_err *err)
{
    size_t n_out = 0;
    uint64_t key;

    int status = fill(bpe, model, ids, *n_ids, err);
    struct ram_bpe_symbol *symbols = bpe->symbols;
    while (!status && ram_queue_pop(&bpe->queue, &key)) {
        const uint32_t at = (uint32_t)key;
        __builtin_prefetch(&symbols[ram_queue_peek(&bpe->queue)]); /* most likely the next */
        struct ram_bpe_symbol *symbol = &symbols[at];
        if (symbol->pair.rank != key >> 32)
            continue; /* it has merged with another since */
        struct ram_bpe_symbol *gone = &symbols[symbol->next];
        symbol->id = symbol->pair.id;
        symbol->next = gone->next;
        gone->pair.rank = RAM_TOK_NO_RANK;
        if (symbol->next != END)
            symbols[symbol->next].prev = at;
        status = renew_pair(bpe, model, at, err);
        if (!status && symbol->prev != END)
            status = renew_pair(bpe, model, symbol->prev, err);
    }
    if (status)
        return status;
    for (uint32_t at = 0; at != END; at = symbols[at].next)
        ids[n_out++] = symbols[at].id;
    *n_ids = n_out;
    return RAM_OK;
}

int ram_bpe_word(struct ram_bpe *bpe, const struct ram_bpe_model *model, const uint8_t *word,
                 size_t size, struct ram_ids *ids, struct ram_err *err)
{
    int status = ram_ids_reserve(ids, size, err);

    if (status)
        return status;
    uint32_t *out = ids->items + ids->n;
    if (model->ignore_merges) {
        *out = ram_vocab_find(&model->vocab, word, size);
        if (*out != RAM_TOK_NO_ID) {
            ids->n++;
            return RAM_OK;
        }
    }
    size_t n = seed(model, word, size, out);
    if (n <= MAX_SHORT)
        n = merge_short(model, out, n);
    else if (n >= END)
        status =
            ram_fail(err, RAM_ERANGE, "a word of %zu bytes, at most %u are allowed", n, END - 1);
    else
        status = merge_long(bpe, model, out, &n, err);
    if (!status)
        ids->n += n;
    return status;
}

void ram_bpe_release(struct ram_bpe *bpe)
{
    free(bpe->symbols);
    ram_queue_release(&bpe->queue);
    *bpe = (struct ram_bpe){0};
}
