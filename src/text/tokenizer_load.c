/*
 * tokenizer_load.c - tokenizer.json, as Hugging Face `tokenizers` writes it: the model and the
 * added tokens. tokenizer_steps.c reads the rest.
 *
 * What would change ids and is not understood is refused by name; what would not (decoder,
 * truncation, padding, trim_offsets) is not looked at.
 */
#include "text/tokenizer_load.h"

#include <stdlib.h>
#include <string.h>

int ram_load_refuse(const struct ram_load *load, const char *field, const char *found)
{
    return ram_fail(load->err, RAM_EUNSUPPORTED,
                    "%s: %s is \"%.80s\"%s%s; only byte-level BPE tokenizers are supported",
                    load->where, field, found, load->kind ? ": this is " : "",
                    load->kind ? load->kind : "");
}

/* What people call a tokenizer that is no byte-level BPE; NULL: it may be one. */
static const char *kind_of(const json_t *root)
{
    static const char *const kinds[][2] = {
        {"Unigram", "a Unigram tokenizer (SentencePiece, as in T5 and XLM-R)"},
        {"WordPiece", "a WordPiece tokenizer (as in BERT)"},
        {"WordLevel", "a WordLevel tokenizer (a list of words)"}};
    const json_t *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));

    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(type, kinds[i][0]))
            return kinds[i][1];
    return json_is_true(json_object_get(model, "byte_fallback"))
               ? "a SentencePiece BPE (byte_fallback, as in Llama 2, Mistral 7B and Gemma)"
               : NULL;
}

static int read_flag(const json_t *obj, const char *key, bool otherwise, bool *out,
                     const char *where, struct ram_err *err)
{
    const json_t *value = json_object_get(obj, key);

    if (value && !json_is_null(value) && !json_is_boolean(value))
        return ram_fail(err, RAM_EFORMAT, "%s: \"%s\" is neither true nor false", where, key);
    *out = json_is_boolean(value) ? json_is_true(value) : otherwise;
    return RAM_OK;
}

int ram_load_flag(const struct ram_load *load, const json_t *obj, const char *key, bool otherwise,
                  bool *out)
{
    return read_flag(obj, key, otherwise, out, load->where, load->err);
}

const json_t *ram_load_member(const json_t *obj, const char *key)
{
    const json_t *value = json_object_get(obj, key);
    return json_is_null(value) ? NULL : value;
}

static int load_merge(const struct ram_load *load, const json_t *item, uint32_t rank)
{
    struct ram_bpe_model *model = &load->tokenizer->model;
    struct ram_spelling pair[2];

    if (json_is_string(item)) { /* "a b" */
        const char *text = json_string_value(item), *space = strchr(text, ' ');
        if (!space || strchr(space + 1, ' '))
            return ram_fail(load->err, RAM_EFORMAT, "%s: merge %u is not two tokens", load->where,
                            (unsigned)rank);
        pair[0] = (struct ram_spelling){text, (size_t)(space - text)};
        pair[1] = (struct ram_spelling){space + 1, strlen(space + 1)};
    } else { /* ["a", "b"] */
        const json_t *a = json_array_get(item, 0), *b = json_array_get(item, 1);
        if (json_array_size(item) != 2 || !json_is_string(a) || !json_is_string(b))
            return ram_fail(load->err, RAM_EFORMAT, "%s: merge %u is not two tokens", load->where,
                            (unsigned)rank);
        pair[0] = (struct ram_spelling){json_string_value(a), json_string_length(a)};
        pair[1] = (struct ram_spelling){json_string_value(b), json_string_length(b)};
    }
    return ram_merges_add(&model->merges, &model->vocab, rank, pair, load->where, load->err);
}

/* Options that change what merging does. */
static int load_model_options(const struct ram_load *load, const json_t *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    struct ram_bpe_model *bpe = &load->tokenizer->model;
    const json_t *unk = ram_load_member(model, "unk_token"),
                 *vocab = json_object_get(model, "vocab");

    int status = ram_load_flag(load, model, "ignore_merges", false, &bpe->ignore_merges);
    if (!status)
        status = ram_load_flag(load, model, "fuse_unk", false, &bpe->fuse_unk);
    if (status)
        return status;
    if (json_number_value(json_object_get(model, "dropout")) != 0)
        return ram_load_refuse(load, "model.dropout", "above 0");
    for (size_t i = 0; i < sizeof affixes / sizeof *affixes; i++) {
        const char *affix = json_string_value(json_object_get(model, affixes[i]));
        if (affix && *affix)
            return ram_load_refuse(load, affixes[i], affix);
    }
    if (unk && !json_is_string(unk))
        return ram_fail(load->err, RAM_EFORMAT, "%s: model.unk_token is not a string", load->where);
    /* A name that is not in the vocabulary only matters for bytes that are not in it either. */
    const json_t *id = unk ? json_object_get(vocab, json_string_value(unk)) : NULL;
    bpe->unk = id ? (uint32_t)json_integer_value(id) : RAM_TOK_NO_ID;
    for (size_t b = 0; unk && !id && b < 256; b++)
        if (bpe->vocab.byte_ids[b] == RAM_TOK_NO_ID)
            return ram_fail(load->err, RAM_EFORMAT,
                            "%s: neither model.unk_token \"%.80s\" nor byte %zu is in the "
                            "vocabulary",
                            load->where, json_string_value(unk), b);
    return RAM_OK;
}

static int load_model(const struct ram_load *load, const json_t *root)
{
    struct ram_bpe_model *bpe = &load->tokenizer->model;
    const json_t *type;
    json_t *model = NULL, *vocab = NULL, *merges = NULL;

    int status = ram_json_get_object(root, "model", &model, load->where, load->err);
    if (status)
        return status;
    type = ram_load_member(model, "type"); /* older files leave it out */
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return ram_load_refuse(load, "model.type",
                               json_is_string(type) ? json_string_value(type) : "?");
    status = ram_json_get_object(model, "vocab", &vocab, load->where, load->err);
    if (!status)
        status = ram_json_get_array(model, "merges", &merges, load->where, load->err);
    if (!status)
        status = ram_vocab_init(&bpe->vocab, vocab, load->where, load->err);
    if (!status)
        status = load_model_options(load, model);
    if (!status)
        status = ram_merges_init(&bpe->merges, json_array_size(merges), load->err);
    for (size_t i = 0; !status && i < json_array_size(merges); i++)
        status = load_merge(load, json_array_get(merges, i), (uint32_t)i);
    return status;
}

int ram_added_read(struct ram_added *token, const json_t *item, const char *where,
                   struct ram_err *err)
{
    int status = ram_json_get_string(item, "content", &token->content, where, err);

    token->id = RAM_TOK_NO_ID;
    if (!status)
        status = read_flag(item, "single_word", false, &token->single_word, where, err);
    if (!status)
        status = read_flag(item, "lstrip", false, &token->lstrip, where, err);
    if (!status)
        status = read_flag(item, "rstrip", false, &token->rstrip, where, err);
    if (!status)
        status = read_flag(item, "special", false, &token->special, where, err);
    if (!status)
        status = read_flag(item, "normalized", !token->special, &token->normalized, where, err);
    return status;
}

/* The id that Hugging Face gives, whatever the file says: the vocabulary's, or the next after
 * the vocabulary and the tokens added so far. */
static uint32_t next_id(const struct ram_tokenizer *tokenizer, const char *content,
                        const json_t *vocab)
{
    const json_t *listed = json_object_get(vocab, content);
    const size_t n = json_object_size(vocab);

    if (listed)
        return (uint32_t)json_integer_value(listed);
    return tokenizer->next_added > n ? tokenizer->next_added : (uint32_t)n;
}

int ram_tokenizer_add(struct ram_tokenizer *tokenizer, const struct ram_added *token,
                      const json_t *vocab, json_t *known, const char *where, struct ram_err *err)
{
    struct ram_added added = *token;
    const json_t *place = json_object_get(known, token->content);

    added.size = strlen(token->content);
    if (!added.size)
        return RAM_OK;
    if (added.size > RAM_TOK_MAX_ADDED_SIZE)
        return ram_fail(err, RAM_ERANGE,
                        "%s: the added token \"%.80s...\" has %zu bytes, at most %d are allowed",
                        where, token->content, added.size, RAM_TOK_MAX_ADDED_SIZE);
    if (place) { /* named twice: the later flags count */
        struct ram_added *earlier = &tokenizer->added[json_integer_value(place)];
        added.content = added.text = earlier->content;
        added.id = earlier->id;
        *earlier = added;
        return RAM_OK;
    }
    if (tokenizer->n_added == RAM_TOK_MAX_ADDED)
        return ram_fail(err, RAM_ERANGE, "%s: more than %d added tokens", where, RAM_TOK_MAX_ADDED);
    if (added.id == RAM_TOK_NO_ID)
        added.id = next_id(tokenizer, token->content, vocab);
    if (added.id >= RAM_TOK_MAX_IDS)
        return ram_fail(err, RAM_ERANGE,
                        "%s: the added token \"%.80s\" has id %u, at most %d is allowed", where,
                        token->content, (unsigned)added.id, RAM_TOK_MAX_IDS - 1);
    added.content = added.text = ram_arena_strdup(&tokenizer->arena, token->content, err);
    if (!added.content ||
        ram_grow(&tokenizer->added, sizeof added, tokenizer->n_added, &tokenizer->added_cap, err))
        return RAM_ENOMEM;
    if (json_object_set_new(known, token->content, json_integer((json_int_t)tokenizer->n_added)))
        return ram_fail(err, RAM_ENOMEM, "%s: no memory", where);
    tokenizer->added[tokenizer->n_added++] = added;
    if (tokenizer->next_added <= added.id)
        tokenizer->next_added = added.id + 1;
    return RAM_OK;
}

static int load_added(const struct ram_load *load, const json_t *root)
{
    const json_t *list = ram_load_member(root, "added_tokens");
    const json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    int status = RAM_OK;

    if (list && !json_is_array(list))
        return ram_fail(load->err, RAM_EFORMAT, "%s: \"added_tokens\" is not an array",
                        load->where);
    json_t *known = json_object();
    if (!known)
        return ram_fail(load->err, RAM_ENOMEM, "%s: no memory", load->where);
    for (size_t i = 0; !status && i < json_array_size(list); i++) {
        struct ram_added token = {0};
        status = ram_added_read(&token, json_array_get(list, i), load->where, load->err);
        if (!status)
            status =
                ram_tokenizer_add(load->tokenizer, &token, vocab, known, load->where, load->err);
    }
    json_decref(known);
    return status;
}

static int load_all(const struct ram_load *load, const json_t *root)
{
    const json_t *pre_tokenizer = ram_load_member(root, "pre_tokenizer");
    const char *type = json_string_value(json_object_get(json_object_get(root, "model"), "type"));
    bool bytes = false;

    if (!json_is_object(root))
        return ram_fail(load->err, RAM_EFORMAT, "%s: not an object", load->where);
    if (load->kind && type && strcmp(type, "BPE") != 0)
        return ram_load_refuse(load, "model.type", type);
    if (load->kind)
        return ram_load_refuse(load, "model.byte_fallback", "true");
    int status = ram_load_normalizer(load, ram_load_member(root, "normalizer"));
    if (!status && pre_tokenizer)
        status = ram_load_pre_tokenizer(load, pre_tokenizer, &bytes);
    if (!status && !bytes)
        status =
            ram_load_refuse(load, "pre_tokenizer", pre_tokenizer ? "without ByteLevel" : "null");
    if (!status)
        status = load_model(load, root);
    if (!status)
        status = load_added(load, root);
    if (!status)
        status = ram_load_post_processor(load, ram_load_member(root, "post_processor"));
    if (!status)
        status = ram_tokenizer_finish(load->tokenizer, load->err);
    return status;
}

int ram_tokenizer_parse(struct ram_tokenizer **out, const char *text, size_t size,
                        const char *where, struct ram_err *err)
{
    struct ram_tokenizer *tokenizer = NULL;
    json_t *root = NULL;

    int status = ram_json_parse(&root, text, size, where, err);
    if (!status)
        status = ram_tokenizer_new(&tokenizer, err);
    if (!status)
        status = load_all(&(struct ram_load){tokenizer, where, kind_of(root), err}, root);
    json_decref(root);
    if (status)
        ram_tokenizer_free(tokenizer);
    else
        *out = tokenizer;
    return status;
}
