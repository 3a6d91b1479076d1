/* tokenizer_vocab.c - see tokenizer_vocab.h. */
#include "text/tokenizer_vocab.h"

#include "base/mem.h"
#include "text/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

enum { N_CONTROLS = 0x21, N_LATIN_CONTROLS = 0xA1 - 0x7F, N_REMAPPED = 68, SOFT_HYPHEN = 0xAD };
enum { N_NEAR_PAIRS = RAM_TOK_NEAR_IDS * RAM_TOK_NEAR_IDS };

/* The byte that a character of the alphabet stands for, or -1. */
static int alphabet_byte(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xFF && c != SOFT_HYPHEN))
        return (int)c;
    if (c < 0x100 || c >= 0x100 + N_REMAPPED)
        return -1;
    const int i = (int)c - 0x100; /* 0x00-0x20, 0x7F-0xA0, 0xAD */
    if (i < N_CONTROLS)
        return i;
    return i < N_CONTROLS + N_LATIN_CONTROLS ? 0x7F + i - N_CONTROLS : SOFT_HYPHEN;
}

/* Writes the bytes that a spelling stands for (never more than it has); false if a character is
 * not of the alphabet. */
static bool spelling_bytes(struct ram_spelling s, uint8_t *out, size_t *size)
{
    const uint8_t *p = (const uint8_t *)s.text, *const end = p + s.size;
    size_t n = 0, step;

    for (; p < end; p += step) {
        const int byte = alphabet_byte(ram_utf8_get(p, &step));
        if (byte < 0)
            return false;
        out[n++] = (uint8_t)byte;
    }
    *size = n;
    return true;
}

/* The finaliser of SplitMix64. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t ram_tok_hash(const uint8_t *bytes, size_t size)
{
    uint64_t h = size, part = 0;

    for (; size >= 8; bytes += 8, size -= 8) {
        memcpy(&part, bytes, 8);
        h = mix(h ^ part) + 0x9e3779b97f4a7c15u;
    }
    if (size >= 4) { /* two loads that overlap cover 4 to 7 bytes */
        uint32_t head, tail;
        memcpy(&head, bytes, 4);
        memcpy(&tail, bytes + size - 4, 4);
        part = (uint64_t)head << 32 | tail;
    } else {
        part =
            size ? (uint64_t)bytes[0] << 16 | (uint64_t)bytes[size / 2] << 8 | bytes[size - 1] : 0;
    }
    return mix(h ^ part);
}

/* Slots for n items, at most three in five taken. */
static size_t table_size(size_t n)
{
    size_t slots = 16;
    while (slots / 5 * 3 < n)
        slots *= 2;
    return slots;
}

/* The slot that holds the bytes, or the free one where they belong. */
static size_t vocab_slot(const struct ram_vocab *vocab, const uint8_t *bytes, size_t size)
{
    const size_t mask = vocab->n_slots - 1;
    size_t i = (size_t)ram_tok_hash(bytes, size) & mask;

    for (; vocab->slots[i] != RAM_TOK_NO_ID; i = (i + 1) & mask) {
        const struct ram_vocab_token *token = &vocab->tokens[vocab->slots[i]];
        if (token->size == size && !memcmp(vocab->bytes + token->at, bytes, size))
            break;
    }
    return i;
}

uint32_t ram_vocab_find(const struct ram_vocab *vocab, const uint8_t *bytes, size_t size)
{
    return vocab->slots[vocab_slot(vocab, bytes, size)];
}

/* Checks every id and size, and allocates for them. */
static int measure(struct ram_vocab *vocab, json_t *ids, const char *where, struct ram_err *err)
{
    const char *key;
    json_t *value;
    size_t total = 0;

    json_object_foreach(ids, key, value)
    {
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        const size_t size = strlen(key);
        if (id < 0 || id >= RAM_TOK_MAX_IDS)
            return ram_fail(err, json_is_integer(value) && id > 0 ? RAM_ERANGE : RAM_EFORMAT,
                            "%s: the id of token \"%.80s\" is not an integer from 0 to %d", where,
                            key, RAM_TOK_MAX_IDS - 1);
        if (size > RAM_TOK_MAX_TOKEN)
            return ram_fail(err, RAM_ERANGE, "%s: token %lld has %zu bytes, at most %d are allowed",
                            where, (long long)id, size, RAM_TOK_MAX_TOKEN);
        if (vocab->n_ids <= (size_t)id)
            vocab->n_ids = (size_t)id + 1;
        total += size; /* no more than the file has */
    }
    if (total > UINT32_MAX)
        return ram_fail(err, RAM_ERANGE, "%s: the tokens have %zu bytes, at most %u are allowed",
                        where, total, UINT32_MAX);
    vocab->n_slots = table_size(json_object_size(ids));
    vocab->bytes = ram_calloc(total, 1, err);
    vocab->tokens = ram_calloc(vocab->n_ids, sizeof *vocab->tokens, err);
    vocab->slots = ram_calloc(vocab->n_slots, sizeof *vocab->slots, err);
    return vocab->bytes && vocab->tokens && vocab->slots ? RAM_OK : RAM_ENOMEM;
}

int ram_vocab_init(struct ram_vocab *vocab, const json_t *ids, const char *where,
                   struct ram_err *err)
{
    json_t *const object = (json_t *)(uintptr_t)ids; /* jansson iterates without const */
    const char *key;
    json_t *value;

    const int status = measure(vocab, object, where, err);
    if (status)
        return status;
    memset(vocab->slots, 0xff, vocab->n_slots * sizeof *vocab->slots);
    memset(vocab->byte_ids, 0xff, sizeof vocab->byte_ids);
    json_object_foreach(object, key, value)
    {
        const uint32_t id = (uint32_t)json_integer_value(value);
        struct ram_vocab_token *token = &vocab->tokens[id];
        uint8_t *bytes = vocab->bytes + vocab->bytes_size;
        size_t size;
        if (token->used)
            return ram_fail(err, RAM_EFORMAT, "%s: two tokens have the id %u, one is \"%.80s\"",
                            where, (unsigned)id, key);
        const bool reachable =
            spelling_bytes((struct ram_spelling){key, strlen(key)}, bytes, &size);
        if (!reachable) {
            size = strlen(key);
            memcpy(bytes, key, size);
        }
        *token = (struct ram_vocab_token){(uint32_t)vocab->bytes_size, (uint32_t)size, true};
        vocab->bytes_size += size;
        if (reachable && size)
            vocab->slots[vocab_slot(vocab, bytes, size)] = id;
        if (reachable && size == 1)
            vocab->byte_ids[*bytes] = id;
    }
    return RAM_OK;
}

void ram_vocab_release(struct ram_vocab *vocab)
{
    free(vocab->bytes);
    free(vocab->tokens);
    free(vocab->slots);
    *vocab = (struct ram_vocab){0};
}

int ram_merges_init(struct ram_merges *merges, size_t n, struct ram_err *err)
{
    merges->n_slots = table_size(n);
    merges->slots = ram_calloc(merges->n_slots, sizeof *merges->slots, err);
    merges->tags = ram_calloc(merges->n_slots, sizeof *merges->tags, err);
    merges->near = ram_calloc(N_NEAR_PAIRS, sizeof *merges->near, err);
    if (!merges->slots || !merges->tags || !merges->near)
        return RAM_ENOMEM;
    memset(merges->near, 0xff, N_NEAR_PAIRS * sizeof *merges->near);
    return RAM_OK;
}

void ram_merges_release(struct ram_merges *merges)
{
    free(merges->slots);
    free(merges->tags);
    free(merges->near);
    *merges = (struct ram_merges){0};
}

/* The slot of a pair, or the free one where it belongs; *tag is what marks it as taken. Most
 * pairs do not merge, and their tags, small enough to stay in the cache, say so. */
static size_t merge_slot(const struct ram_merges *merges, uint32_t left, uint32_t right,
                         uint16_t *tag)
{
    const uint64_t hash = mix((uint64_t)left << 32 | right);
    const size_t mask = merges->n_slots - 1;
    size_t i = (size_t)hash & mask;

    *tag = (uint16_t)(hash >> 48 | 1);
    while (merges->tags[i] && (merges->tags[i] != *tag || merges->slots[i].left != left ||
                               merges->slots[i].right != right))
        i = (i + 1) & mask;
    return i;
}

/* The place of a pair in the table of near ids, or NULL. */
static struct ram_pair *near_pair(const struct ram_merges *merges, uint32_t left, uint32_t right)
{
    return (left | right) < RAM_TOK_NEAR_IDS ? &merges->near[left * RAM_TOK_NEAR_IDS + right]
                                             : NULL;
}

struct ram_pair ram_merges_find(const struct ram_merges *merges, uint32_t left, uint32_t right)
{
    const struct ram_pair *near = near_pair(merges, left, right);
    uint16_t tag;

    if (near)
        return *near;
    const size_t slot = merge_slot(merges, left, right, &tag);
    return merges->tags[slot] ? merges->slots[slot].pair
                              : (struct ram_pair){RAM_TOK_NO_RANK, RAM_TOK_NO_ID};
}

int ram_merges_add(struct ram_merges *merges, const struct ram_vocab *vocab, uint32_t rank,
                   const struct ram_spelling pair[2], const char *where, struct ram_err *err)
{
    uint8_t bytes[RAM_TOK_MAX_TOKEN];
    uint32_t ids[3];
    uint16_t tag;
    size_t size[2] = {0};

    if (pair[0].size > RAM_TOK_MAX_TOKEN || pair[1].size > RAM_TOK_MAX_TOKEN - pair[0].size)
        return ram_fail(err, RAM_ERANGE, "%s: merge %u has %zu bytes, at most %d are allowed",
                        where, (unsigned)rank, pair[0].size + pair[1].size, RAM_TOK_MAX_TOKEN);
    if (!spelling_bytes(pair[0], bytes, &size[0]) ||
        !spelling_bytes(pair[1], bytes + size[0], &size[1]))
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s: merge %u (\"%.*s\" \"%.*s\") is not in the byte alphabet; only "
                        "byte-level BPE is supported",
                        where, (unsigned)rank, (int)(pair[0].size % 80), pair[0].text,
                        (int)(pair[1].size % 80), pair[1].text);
    ids[0] = ram_vocab_find(vocab, bytes, size[0]);
    ids[1] = ram_vocab_find(vocab, bytes + size[0], size[1]);
    ids[2] = ram_vocab_find(vocab, bytes, size[0] + size[1]);
    for (int i = 0; i < 3; i++)
        if (ids[i] == RAM_TOK_NO_ID)
            return ram_fail(err, RAM_EFORMAT,
                            "%s: the %s of merge %u (\"%.*s\" \"%.*s\") is not in the vocabulary",
                            where, (const char *[]){"left part", "right part", "result"}[i],
                            (unsigned)rank, (int)(pair[0].size % 80), pair[0].text,
                            (int)(pair[1].size % 80), pair[1].text);
    const struct ram_pair becomes = {rank, ids[2]};
    struct ram_pair *near = near_pair(merges, ids[0], ids[1]);
    if (near) {
        *near = becomes;
        return RAM_OK;
    }
    const size_t slot = merge_slot(merges, ids[0], ids[1], &tag);
    merges->tags[slot] = tag;
    merges->slots[slot] = (struct ram_merge){ids[0], ids[1], becomes};
    return RAM_OK;
}
