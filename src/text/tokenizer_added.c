/*
 * tokenizer_added.c - see tokenizer_added.h.
 *
 * The tokens are few and short and hardly ever begin where one looks, so a sorted array that is
 * narrowed byte by byte does what an automaton would: the cost is one table look-up for a byte
 * that begins no token.
 */
#include "text/tokenizer_added.h"

#include "text/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    const struct ram_added *x = *(const struct ram_added *const *)a;
    const struct ram_added *y = *(const struct ram_added *const *)b;
    const int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);

    if (order)
        return order;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

void ram_added_set_init(struct ram_added_set *set, const struct ram_added **items, size_t n)
{
    size_t i = 0;

    if (n)
        qsort(items, n, sizeof(const struct ram_added *), by_text);
    set->items = items;
    set->n = n;
    for (size_t b = 0; b < 256; b++) {
        set->first[b] = i;
        while (i < n && (uint8_t)items[i]->text[0] == b)
            i++;
    }
    set->first[256] = n;
}

void ram_added_set_release(struct ram_added_set *set)
{
    free(set->items);
    *set = (struct ram_added_set){0};
}

/* The first of items [low, high) whose byte at `depth` is at least b; all are longer than depth
 * and agree before it. */
static size_t lower_bound(const struct ram_added_set *set, size_t low, size_t high, size_t depth,
                          unsigned b)
{
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if ((uint8_t)set->items[mid]->text[depth] < b)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The longest token that text begins with, or NULL. */
static const struct ram_added *longest(const struct ram_added_set *set, const uint8_t *text,
                                       size_t size)
{
    size_t low = set->first[text[0]], high = set->first[text[0] + 1];
    const struct ram_added *best = NULL;

    for (size_t depth = 1; low < high; depth++) {
        if (set->items[low]->size == depth) {
            best = set->items[low];
            while (low < high && set->items[low]->size == depth)
                low++;
        }
        if (depth == size)
            break;
        low = lower_bound(set, low, high, depth, text[depth]);
        high = lower_bound(set, low, high, depth, text[depth] + 1u);
    }
    return best;
}

static bool stands_alone(const uint8_t *text, size_t size, size_t start, size_t end)
{
    size_t step;

    if (start && ram_char_is_word(ram_utf8_get(ram_utf8_back(text + start), &step)))
        return false;
    return end == size || !ram_char_is_word(ram_utf8_get(text + end, &step));
}

static size_t space_before(const uint8_t *text, size_t start, size_t floor)
{
    size_t step;

    while (start > floor) {
        const uint8_t *p = ram_utf8_back(text + start);
        if (!ram_char_is_space(ram_utf8_get(p, &step)))
            break;
        start = (size_t)(p - text);
    }
    return start;
}

static size_t space_after(const uint8_t *text, size_t end, size_t size)
{
    size_t step;

    while (end < size && ram_char_is_space(ram_utf8_get(text + end, &step)))
        end += step;
    return end;
}

bool ram_added_set_next(const struct ram_added_set *set, const uint8_t *text, size_t size,
                        size_t done, size_t *at, struct ram_added_match *match)
{
    size_t i = *at;

    if (!set->n)
        return false;
    while (i < size) {
        const struct ram_added *token =
            set->first[text[i]] < set->first[text[i] + 1] ? longest(set, text + i, size - i) : NULL;
        if (!token) {
            i++;
            continue;
        }
        const size_t start = i, end = i + token->size;
        i = end;
        if (token->single_word && !stands_alone(text, size, start, end))
            continue;
        *match = (struct ram_added_match){token, start, end};
        if (token->lstrip) /* never into what the match before has taken, if it took this too */
            match->start = start > done ? space_before(text, start, done) : done;
        if (token->rstrip)
            match->end = space_after(text, end, size);
        *at = i;
        return true;
    }
    return false;
}
