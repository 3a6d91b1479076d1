/*
 * tokenizer_bpe.c - see tokenizer_bpe.h.
 *
 * Words are short: their pairs live in an array that is searched from end to end. A word of more
 * than MAX_SHORT symbols (white space, a line of Chinese, a hostile megabyte) has its symbols in
 * a list and its pairs in a binary heap, ordered by rank and place; an entry whose pair has
 * changed since it was made is recognised by its rank and dropped.
 */
#include "infer/tokenizer_bpe.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SHORT = 48 };
#define NO_RANK UINT32_MAX
#define END     UINT32_MAX /* no neighbour */

/* What a symbol and the one after it become. */
struct pair {
    uint32_t rank, into;
};

struct ram_bpe_symbol {
    uint32_t id, prev, next;
    struct pair pair; /* with next; NO_RANK: does not merge, or the symbol was swallowed */
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

static struct pair pair_of(const struct ram_bpe_model *model, uint32_t left, uint32_t right)
{
    const struct ram_merge *merge = ram_merges_find(&model->merges, left, right);
    return merge ? (struct pair){merge->rank, merge->id} : (struct pair){NO_RANK, 0};
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
    struct pair pairs[MAX_SHORT];

    for (size_t i = 0; i + 1 < n; i++)
        pairs[i] = pair_of(model, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pairs[i].rank < pairs[best].rank)
                best = i;
        if (pairs[best].rank == NO_RANK)
            break;
        ids[best] = pairs[best].into;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(pairs + best, pairs + best + 1, (n - best - 1) * sizeof *pairs);
        if (best + 1 < n)
            pairs[best] = pair_of(model, ids[best], ids[best + 1]);
        if (best)
            pairs[best - 1] = pair_of(model, ids[best - 1], ids[best]);
    }
    return n;
}

/* ---- long words --------------------------------------------------------------------------------
 */

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    const uint64_t key = heap[i];

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= key)
            break;
        heap[i] = heap[child];
    }
    heap[i] = key;
}

static uint64_t pop(uint64_t *heap, size_t *n)
{
    const uint64_t top = heap[0];
    heap[0] = heap[--*n];
    sift_down(heap, *n, 0);
    return top;
}

/* There is room: a merge pops one entry and pushes at most two, and no more than the word's
 * number of symbols ever merge. */
static void push(uint64_t *heap, size_t *n, uint64_t key)
{
    size_t i = (*n)++;

    for (; i && heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = key;
}

static uint64_t key_of(const struct ram_bpe_symbol *symbols, uint32_t at)
{
    return (uint64_t)symbols[at].pair.rank << 32 | at;
}

/* Gives symbol `at` its pair with the next one, and the heap an entry for it. */
static void renew_pair(struct ram_bpe *bpe, size_t *n_heap, const struct ram_bpe_model *model,
                       uint32_t at)
{
    struct ram_bpe_symbol *symbol = &bpe->symbols[at];

    symbol->pair = (struct pair){NO_RANK, 0};
    if (symbol->next != END)
        symbol->pair = pair_of(model, symbol->id, bpe->symbols[symbol->next].id);
    if (symbol->pair.rank != NO_RANK)
        push(bpe->heap, n_heap, key_of(bpe->symbols, at));
}

static int reserve(struct ram_bpe *bpe, size_t n, struct ram_err *err)
{
    if (bpe->symbols_cap >= n)
        return RAM_OK;
    ram_bpe_release(bpe);
    bpe->symbols = ram_calloc(n, sizeof *bpe->symbols, err);
    bpe->heap = ram_calloc(n, 2 * sizeof *bpe->heap, err);
    if (!bpe->symbols || !bpe->heap)
        return RAM_ENOMEM;
    bpe->symbols_cap = n;
    return RAM_OK;
}

static int merge_long(struct ram_bpe *bpe, const struct ram_bpe_model *model, uint32_t *ids,
                      size_t *n_ids, struct ram_err *err)
{
    const size_t n = *n_ids;
    size_t n_heap = 0, n_out = 0;

    const int status = reserve(bpe, n, err);
    if (status)
        return status;
    struct ram_bpe_symbol *symbols = bpe->symbols;
    for (size_t i = 0; i < n; i++) {
        symbols[i] = (struct ram_bpe_symbol){
            ids[i], i ? (uint32_t)i - 1 : END, i + 1 < n ? (uint32_t)i + 1 : END, {NO_RANK, 0}};
        if (i + 1 < n)
            symbols[i].pair = pair_of(model, ids[i], ids[i + 1]);
        if (symbols[i].pair.rank != NO_RANK)
            bpe->heap[n_heap++] = key_of(symbols, (uint32_t)i);
    }
    for (size_t i = n_heap / 2; i--;)
        sift_down(bpe->heap, n_heap, i);
    while (n_heap) {
        const uint64_t key = pop(bpe->heap, &n_heap);
        const uint32_t at = (uint32_t)key;
        struct ram_bpe_symbol *symbol = &symbols[at];
        if (symbol->pair.rank != key >> 32)
            continue; /* it has merged with another since */
        struct ram_bpe_symbol *gone = &symbols[symbol->next];
        symbol->id = symbol->pair.into;
        symbol->next = gone->next;
        gone->pair.rank = NO_RANK;
        if (symbol->next != END)
            symbols[symbol->next].prev = at;
        renew_pair(bpe, &n_heap, model, at);
        if (symbol->prev != END)
            renew_pair(bpe, &n_heap, model, symbol->prev);
    }
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
    free(bpe->heap);
    *bpe = (struct ram_bpe){0};
}
