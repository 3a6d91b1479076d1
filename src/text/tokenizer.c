/* tokenizer.c - the tokenizer as an object, and decoding. */
#include "text/tokenizer_parts.h"
#include "text/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

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
    const struct ram_added **raw = ram_calloc(n, sizeof(const struct ram_added *), err);
    const struct ram_added **normal = ram_calloc(n, sizeof(const struct ram_added *), err);
    size_t n_raw = 0, n_normal = 0;
    int status = raw && normal ? RAM_OK : RAM_ENOMEM;

    tokenizer->n_ids = tokenizer->model.vocab.n_ids;
    for (size_t i = 0; i < n; i++)
        if (tokenizer->n_ids <= tokenizer->added[i].id)
            tokenizer->n_ids = (size_t)tokenizer->added[i].id + 1;
    if (!status) {
        tokenizer->by_id = ram_calloc(tokenizer->n_ids, sizeof(const struct ram_added *), err);
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

size_t ram_tokenizer_n_rows(const struct ram_tokenizer *tokenizer)
{
    return tokenizer->n_rows;
}

int ram_tokenizer_check_ids(const struct ram_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                            size_t n_rows, const char *whose, const char *where,
                            struct ram_err *err)
{
    struct ram_buf text = {0};
    size_t i = 0;

    while (i < n && ids[i] < n_rows)
        i++;
    if (i == n)
        return RAM_OK;
    ram_tokenizer_decode(tokenizer, &ids[i], 1, RAM_DECODE_ALL, &text);
    const int status = ram_fail(
        err, RAM_ERANGE,
        "%s%sthe token \"%.80s\" has the id %u, but the embedding of %s has %zu rows (ids 0 "
        "to %zu); either the tokenizer belongs to another model, or this token was added "
        "without a row for it",
        where ? where : "", where ? ": " : "", text.data ? text.data : "", (unsigned)ids[i], whose,
        n_rows, n_rows - 1);
    ram_buf_release(&text);
    return status;
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
