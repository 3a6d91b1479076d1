/*
 * tokenizer_load.c - tokenizer.json, as Hugging Face `tokenizers` writes it.
 *
 * What would change ids and is not understood is refused by name; what would not (decoder,
 * truncation, padding, trim_offsets) is not looked at.
 */
#include "infer/tokenizer_parts.h"

#include "infer/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

struct load {
    struct ram_tokenizer *tokenizer;
    const char *where;
    struct ram_err *err;
};

/* ---- values ------------------------------------------------------------------------------------
 */

static int refuse(const struct load *load, const char *field, const char *found)
{
    return ram_fail(load->err, RAM_EUNSUPPORTED,
                    "%s: %s is \"%.80s\"; only byte-level BPE tokenizers are supported",
                    load->where, field, found);
}

/* An absent flag is `otherwise`, as is null. */
static int read_flag(const json_t *obj, const char *key, bool otherwise, bool *out,
                     const char *where, struct ram_err *err)
{
    const json_t *value = json_object_get(obj, key);

    if (value && !json_is_null(value) && !json_is_boolean(value))
        return ram_fail(err, RAM_EFORMAT, "%s: \"%s\" is neither true nor false", where, key);
    *out = json_is_boolean(value) ? json_is_true(value) : otherwise;
    return RAM_OK;
}

static int flag(const struct load *load, const json_t *obj, const char *key, bool otherwise,
                bool *out)
{
    return read_flag(obj, key, otherwise, out, load->where, load->err);
}

/* NULL for what is absent or null. */
static const json_t *member(const json_t *obj, const char *key)
{
    const json_t *value = json_object_get(obj, key);
    return json_is_null(value) ? NULL : value;
}

static int type_of(const struct load *load, const json_t *obj, const char *field, const char **type)
{
    if (!json_is_object(obj))
        return ram_fail(load->err, RAM_EFORMAT, "%s: %s is not an object", load->where, field);
    return ram_json_get_string(obj, "type", type, load->where, load->err);
}

/* ---- model -------------------------------------------------------------------------------------
 */

static int load_merge(const struct load *load, const json_t *item, uint32_t rank)
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
static int load_model_options(const struct load *load, const json_t *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    struct ram_bpe_model *bpe = &load->tokenizer->model;
    const json_t *unk = member(model, "unk_token"), *vocab = json_object_get(model, "vocab");
    bool byte_fallback;

    int status = flag(load, model, "ignore_merges", false, &bpe->ignore_merges);
    if (!status)
        status = flag(load, model, "fuse_unk", false, &bpe->fuse_unk);
    if (!status)
        status = flag(load, model, "byte_fallback", false, &byte_fallback);
    if (status)
        return status;
    if (byte_fallback)
        return refuse(load, "model.byte_fallback", "true");
    if (json_number_value(json_object_get(model, "dropout")) != 0)
        return refuse(load, "model.dropout", "above 0");
    for (size_t i = 0; i < sizeof affixes / sizeof *affixes; i++) {
        const char *affix = json_string_value(json_object_get(model, affixes[i]));
        if (affix && *affix)
            return refuse(load, affixes[i], affix);
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

static int load_model(const struct load *load, const json_t *root)
{
    struct ram_bpe_model *bpe = &load->tokenizer->model;
    const json_t *type;
    json_t *model, *vocab, *merges;

    int status = ram_json_get_object(root, "model", &model, load->where, load->err);
    if (status)
        return status;
    type = member(model, "type"); /* older files leave it out */
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return refuse(load, "model.type", json_is_string(type) ? json_string_value(type) : "?");
    status = ram_json_get_object(model, "vocab", &vocab, load->where, load->err);
    if (!status)
        status = ram_json_get_array(model, "merges", &merges, load->where, load->err);
    if (!status)
        status = ram_vocab_init(&bpe->vocab, vocab, load->where, load->err);
    if (!status)
        status = load_model_options(load, model);
    if (!status)
        status = ram_merges_init(&bpe->merges, json_array_size(merges), load->err);
    for (size_t i = 0; i < json_array_size(merges) && !status; i++)
        status = load_merge(load, json_array_get(merges, i), (uint32_t)i);
    return status;
}

/* ---- normalizer and pre-tokenizers
 * --------------------------------------------------------------- */

/* NFC, or a Sequence of it; nesting is bounded by the JSON reader's. */
static int load_normalizer(const struct load *load, const json_t *item)
{
    const char *type;
    json_t *list;

    if (!item)
        return RAM_OK;
    int status = type_of(load, item, "normalizer", &type);
    if (status)
        return status;
    if (!strcmp(type, "NFC")) {
        load->tokenizer->nfc = true;
        return RAM_OK;
    }
    if (strcmp(type, "Sequence") != 0)
        return refuse(load, "normalizer.type", type);
    status = ram_json_get_array(item, "normalizers", &list, load->where, load->err);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = load_normalizer(load, json_array_get(list, i));
    return status;
}

int ram_tokenizer_add_split(struct ram_tokenizer *tokenizer, const char *pattern,
                            enum ram_split_behavior behavior, bool invert, const char *where,
                            struct ram_err *err)
{
    if (tokenizer->n_steps == RAM_TOK_MAX_STEPS)
        return ram_fail(err, RAM_ERANGE, "%s: more than %d pre-tokenizers", where,
                        RAM_TOK_MAX_STEPS);
    struct ram_split_step *step = &tokenizer->steps[tokenizer->n_steps++];
    *step = (struct ram_split_step){.kind = RAM_STEP_REGEX, .behavior = behavior, .invert = invert};
    for (int style = 0; style < RAM_SPLIT_N_STYLES && behavior == RAM_SPLIT_ISOLATED; style++)
        if (!strcmp(pattern, ram_split_patterns[style])) {
            step->kind = RAM_STEP_STYLE;
            step->style = (enum ram_split_style)style;
            return RAM_OK;
        }
    return ram_split_rx_new(&step->rx, pattern, where, err);
}

/* A behavior's name; Split writes "MergedWithNext", Punctuation too. */
static int load_behavior(const struct load *load, const json_t *item,
                         enum ram_split_behavior *behavior)
{
    static const char *const names[RAM_SPLIT_N_BEHAVIORS] = {
        "Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *name;

    const int status = ram_json_get_string(item, "behavior", &name, load->where, load->err);
    if (status)
        return status;
    for (int i = 0; i < RAM_SPLIT_N_BEHAVIORS; i++)
        if (!strcmp(name, names[i])) {
            *behavior = (enum ram_split_behavior)i;
            return RAM_OK;
        }
    return refuse(load, "pre_tokenizer behavior", name);
}

/* A literal text as a pattern. */
static int add_literal(const struct load *load, const char *text, enum ram_split_behavior behavior,
                       bool invert)
{
    struct ram_buf pattern = {0};
    char *s = NULL;

    for (; *text; text++) {
        if ((unsigned char)*text < 0x80 && strchr("\\.+*?()|[]{}^$#&-~/ \t\n\r", *text))
            ram_buf_printf(&pattern, "\\x{%x}", (unsigned)*text);
        else
            ram_buf_add(&pattern, text, 1);
    }
    int status = ram_buf_take(&pattern, &s, load->err);
    if (!status)
        status = ram_tokenizer_add_split(load->tokenizer, s ? s : "", behavior, invert, load->where,
                                         load->err);
    free(s);
    return status;
}

static int load_split(const struct load *load, const json_t *item)
{
    const json_t *pattern = json_object_get(item, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    enum ram_split_behavior behavior;
    bool invert;

    int status = load_behavior(load, item, &behavior);
    if (!status)
        status = flag(load, item, "invert", false, &invert);
    if (status)
        return status;
    if (literal)
        return add_literal(load, literal, behavior, invert);
    if (!regex)
        return ram_fail(load->err, RAM_EFORMAT,
                        "%s: a Split whose \"pattern\" is neither a Regex nor a String",
                        load->where);
    return ram_tokenizer_add_split(load->tokenizer, regex, behavior, invert, load->where,
                                   load->err);
}

static int load_byte_level(const struct load *load, const json_t *item)
{
    struct ram_tokenizer *tokenizer = load->tokenizer;
    bool prefix, regex;

    int status = flag(load, item, "add_prefix_space", true, &prefix);
    if (!status)
        status = flag(load, item, "use_regex", true, &regex);
    if (status)
        return status;
    if (prefix) {
        if (tokenizer->n_steps == RAM_TOK_MAX_STEPS)
            return ram_fail(load->err, RAM_ERANGE, "%s: more than %d pre-tokenizers", load->where,
                            RAM_TOK_MAX_STEPS);
        tokenizer->steps[tokenizer->n_steps++] = (struct ram_split_step){.kind = RAM_STEP_SPACE};
    }
    return regex ? ram_tokenizer_add_split(tokenizer, ram_split_patterns[RAM_SPLIT_GPT2],
                                           RAM_SPLIT_ISOLATED, false, load->where, load->err)
                 : RAM_OK;
}

/* *bytes: a ByteLevel was seen; nothing may follow it, since it changes the alphabet. */
static int load_pre_tokenizer(const struct load *load, const json_t *item, bool *bytes)
{
    static const char punctuation[] = "[!-/:-@\\[-`{-~]|\\p{P}";
    enum ram_split_behavior behavior = RAM_SPLIT_ISOLATED;
    struct ram_tokenizer *tokenizer = load->tokenizer;
    const char *type;
    json_t *list;
    bool alone;

    int status = type_of(load, item, "pre_tokenizer", &type);
    if (status)
        return status;
    if (*bytes)
        return refuse(load, "pre_tokenizer after ByteLevel", type);
    if (!strcmp(type, "ByteLevel")) {
        *bytes = true;
        return load_byte_level(load, item);
    }
    if (!strcmp(type, "Split"))
        return load_split(load, item);
    if (!strcmp(type, "Digits")) {
        status = flag(load, item, "individual_digits", false, &alone);
        return status ? status
                      : ram_tokenizer_add_split(tokenizer, "\\p{N}",
                                                alone ? RAM_SPLIT_ISOLATED : RAM_SPLIT_CONTIGUOUS,
                                                false, load->where, load->err);
    }
    if (!strcmp(type, "Punctuation")) {
        if (member(item, "behavior"))
            status = load_behavior(load, item, &behavior);
        return status ? status
                      : ram_tokenizer_add_split(tokenizer, punctuation, behavior, false,
                                                load->where, load->err);
    }
    if (strcmp(type, "Sequence") != 0)
        return refuse(load, "pre_tokenizer.type", type);
    status = ram_json_get_array(item, "pretokenizers", &list, load->where, load->err);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = load_pre_tokenizer(load, json_array_get(list, i), bytes);
    return status;
}

/* ---- post-processor
 * -------------------------------------------------------------------------------- */

/* The ids of {"SpecialToken": {"id": name}}, from the template's own table. */
static int load_around(const struct load *load, const json_t *table, const char *name,
                       uint32_t *ids, size_t *n)
{
    const json_t *list = json_object_get(json_object_get(table, name), "ids");

    if (!json_is_array(list))
        return ram_fail(load->err, RAM_EFORMAT,
                        "%s: post_processor.special_tokens has no ids for \"%.80s\"", load->where,
                        name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (*n == RAM_TOK_MAX_AROUND)
            return ram_fail(load->err, RAM_ERANGE, "%s: post_processor adds more than %d tokens",
                            load->where, RAM_TOK_MAX_AROUND);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= RAM_TOK_MAX_IDS)
            return ram_fail(load->err, RAM_EFORMAT,
                            "%s: post_processor.special_tokens: \"%.80s\" has a bad id",
                            load->where, name);
        ids[(*n)++] = (uint32_t)json_integer_value(id);
    }
    return RAM_OK;
}

static int load_template(const struct load *load, const json_t *item)
{
    struct ram_tokenizer *tokenizer = load->tokenizer;
    const json_t *table = json_object_get(item, "special_tokens");
    unsigned n_texts = 0;
    json_t *single;

    int status = ram_json_get_array(item, "single", &single, load->where, load->err);
    for (size_t i = 0; !status && i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        const json_t *special = json_object_get(part, "SpecialToken");
        const char *name = json_string_value(json_object_get(special, "id"));
        if (json_object_get(part, "Sequence"))
            n_texts++;
        else if (!name)
            status = ram_fail(load->err, RAM_EFORMAT,
                              "%s: post_processor.single[%zu] is neither a Sequence nor a "
                              "SpecialToken",
                              load->where, i);
        else if (n_texts)
            status = load_around(load, table, name, tokenizer->after, &tokenizer->n_after);
        else
            status = load_around(load, table, name, tokenizer->before, &tokenizer->n_before);
    }
    if (!status && n_texts != 1)
        status = ram_fail(load->err, RAM_EFORMAT,
                          "%s: post_processor.single holds the text %u times, expected once",
                          load->where, n_texts);
    return status;
}

static int load_post_processor(const struct load *load, const json_t *item)
{
    struct ram_tokenizer *tokenizer = load->tokenizer;
    const char *type;
    json_t *list;

    if (!item)
        return RAM_OK;
    int status = type_of(load, item, "post_processor", &type);
    if (status || !strcmp(type, "ByteLevel"))
        return status;
    if (!strcmp(type, "TemplateProcessing")) {
        if (tokenizer->n_before || tokenizer->n_after) /* two templates in a Sequence */
            return refuse(load, "post_processor.type", "Sequence of TemplateProcessing");
        return load_template(load, item);
    }
    if (!strcmp(type, "Sequence")) {
        status = ram_json_get_array(item, "processors", &list, load->where, load->err);
        for (size_t i = 0; !status && i < json_array_size(list); i++)
            status = load_post_processor(load, json_array_get(list, i));
        return status;
    }
    /* Only matters to those who ask for the special tokens. */
    tokenizer->post_refused = ram_arena_strdup(&tokenizer->arena, type, load->err);
    return tokenizer->post_refused ? RAM_OK : RAM_ENOMEM;
}

/* ---- added tokens
 * ------------------------------------------------------------------------------------ */

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

static int load_added(const struct load *load, const json_t *root)
{
    const json_t *list = member(root, "added_tokens");
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

/* ---- the whole
 * --------------------------------------------------------------------------------------- */

static int load_all(const struct load *load, const json_t *root)
{
    const json_t *pre_tokenizer = member(root, "pre_tokenizer");
    bool bytes = false;

    if (!json_is_object(root))
        return ram_fail(load->err, RAM_EFORMAT, "%s: not an object", load->where);
    int status = load_normalizer(load, member(root, "normalizer"));
    if (!status && pre_tokenizer)
        status = load_pre_tokenizer(load, pre_tokenizer, &bytes);
    if (!status && !bytes)
        status = refuse(load, "pre_tokenizer", pre_tokenizer ? "without ByteLevel" : "null");
    if (!status)
        status = load_model(load, root);
    if (!status)
        status = load_added(load, root);
    if (!status)
        status = load_post_processor(load, member(root, "post_processor"));
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
        status = load_all(&(struct load){tokenizer, where, err}, root);
    json_decref(root);
    if (status)
        ram_tokenizer_free(tokenizer);
    else
        *out = tokenizer;
    return status;
}
