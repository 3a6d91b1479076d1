/*
 * tokenizer_files.c - the tokenizer of a model directory: tokenizer.json, or the older pair of
 * vocab.json and merges.txt, which leaves the rest to the class that tokenizer_config.json names.
 */
#include "arch/config_read.h"
#include "text/tokenizer_parts.h"

#include "base/file.h"
#include "text/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the classes of the transformers library do that no file of theirs says. */
struct class_rule {
    const char *name;
    enum ram_split_style style;
    bool nfc;
};
static const struct class_rule classes[] = {{"Qwen2Tokenizer", RAM_SPLIT_QWEN2, true},
                                            {"Qwen2TokenizerFast", RAM_SPLIT_QWEN2, true},
                                            {"GPT2Tokenizer", RAM_SPLIT_GPT2, false},
                                            {"GPT2TokenizerFast", RAM_SPLIT_GPT2, false}};

static bool exists(const char *dir, const char *name, struct ram_err *err)
{
    char *path = ram_path_join(dir, name, err);
    const bool found = path && access(path, F_OK) == 0;
    free(path);
    return found;
}

typedef int read_fn(json_t **out, const char *path, size_t max, struct ram_err *err);

static int read_json(json_t **out, const char *dir, const char *name, read_fn *read,
                     struct ram_err *err)
{
    char *path = ram_path_join(dir, name, err);
    const int status = path ? read(out, path, RAM_TOK_MAX_FILE, err) : RAM_ENOMEM;
    free(path);
    return status;
}

static int from_tokenizer_json(struct ram_tokenizer **out, const char *dir, struct ram_err *err)
{
    char *path = ram_path_join(dir, "tokenizer.json", err), *text = NULL;
    size_t size = 0;

    int status = path ? ram_file_read(path, RAM_TOK_MAX_FILE, &text, &size, err) : RAM_ENOMEM;
    if (!status)
        status = ram_tokenizer_parse(out, text, size, path, err);
    free(text);
    free(path);
    return status;
}

/* ---- vocab.json and merges.txt ------------------------------------------------------------- */

/* One line, without its end; empty ones and the version are passed over. */
static int read_merge_line(struct ram_bpe_model *model, const char *line, size_t size,
                           uint32_t *rank, const char *path, struct ram_err *err)
{
    const char *space = memchr(line, ' ', size);

    if (!size || (size >= 8 && !memcmp(line, "#version", 8)))
        return RAM_OK;
    const size_t left = space ? (size_t)(space - line) : size;
    if (!space || memchr(space + 1, ' ', size - left - 1))
        return ram_fail(err, RAM_EFORMAT, "%s: merge %u is not two tokens", path, (unsigned)*rank);
    const struct ram_spelling pair[2] = {{line, left}, {space + 1, size - left - 1}};
    return ram_merges_add(&model->merges, &model->vocab, (*rank)++, pair, path, err);
}

static int read_merges(struct ram_bpe_model *model, const char *path, struct ram_err *err)
{
    uint32_t rank = 0;
    size_t size = 0, n_lines = 1;
    char *text = NULL;

    int status = ram_file_read(path, RAM_TOK_MAX_FILE, &text, &size, err);
    if (status)
        return status;
    for (size_t i = 0; i < size; i++)
        n_lines += text[i] == '\n';
    if (ram_utf8_valid((const uint8_t *)text, size) < size)
        status = ram_fail(err, RAM_EFORMAT, "%s: not valid UTF-8", path);
    else
        status = ram_merges_init(&model->merges, n_lines, err);
    for (size_t at = 0; at < size && !status;) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t line = end ? (size_t)(end - text) - at : size - at;
        const size_t trimmed = line && text[at + line - 1] == '\r' ? line - 1 : line;
        status = read_merge_line(model, text + at, trimmed, &rank, path, err);
        at += line + 1;
    }
    free(text);
    return status;
}

/* {"151643": {"content": ..., flags}, ...}: the ids are those of the keys. */
static int add_decoder(struct ram_tokenizer *tokenizer, json_t *decoder, json_t *known,
                       const char *where, struct ram_err *err)
{
    const char *key;
    json_t *item;
    int status = RAM_OK;

    json_object_foreach(decoder, key, item)
    {
        struct ram_added token = {0};
        char *end;
        const unsigned long id = strtoul(key, &end, 10);
        if (*end || end == key || id >= RAM_TOK_MAX_IDS)
            return ram_fail(err, RAM_EFORMAT,
                            "%s: added_tokens_decoder: \"%.80s\" is not an id below %d", where, key,
                            RAM_TOK_MAX_IDS);
        status = ram_added_read(&token, item, where, err);
        token.id = (uint32_t)id;
        if (!status)
            status = ram_tokenizer_add(tokenizer, &token, NULL, known, where, err);
        if (status)
            break;
    }
    return status;
}

/* {"<|endoftext|>": 151643, ...} */
static int add_listed(struct ram_tokenizer *tokenizer, json_t *list, json_t *known,
                      const char *where, struct ram_err *err)
{
    const char *key;
    json_t *id;
    int status = RAM_OK;

    if (!json_is_object(list))
        return ram_fail(err, RAM_EFORMAT, "%s: not an object", where);
    json_object_foreach(list, key, id)
    {
        if (json_object_get(known, key)) /* tokenizer_config.json says more of it */
            continue;
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= RAM_TOK_MAX_IDS)
            return ram_fail(err, RAM_EFORMAT, "%s: the id of \"%.80s\" is not an integer below %d",
                            where, key, RAM_TOK_MAX_IDS);
        const struct ram_added token = {.content = key, .id = (uint32_t)json_integer_value(id)};
        status = ram_tokenizer_add(tokenizer, &token, NULL, known, where, err);
        if (status)
            break;
    }
    return status;
}

static int read_added(struct ram_tokenizer *tokenizer, const char *dir, const json_t *config,
                      struct ram_err *err)
{
    json_t *decoder = json_object_get(config, "added_tokens_decoder"), *list = NULL;
    json_t *known = json_object();

    int status = known ? RAM_OK : ram_fail(err, RAM_ENOMEM, "%s: no memory", dir);
    if (!status && json_is_object(decoder))
        status = add_decoder(tokenizer, decoder, known, "tokenizer_config.json", err);
    if (!status && exists(dir, "added_tokens.json", err)) {
        status = read_json(&list, dir, "added_tokens.json", ram_json_read_python, err);
        if (!status)
            status = add_listed(tokenizer, list, known, "added_tokens.json", err);
    }
    json_decref(list);
    json_decref(known);
    return status;
}

static const struct class_rule *find_class(const json_t *config)
{
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));

    for (size_t i = 0; name && i < sizeof classes / sizeof *classes; i++)
        if (!strcmp(name, classes[i].name))
            return &classes[i];
    return NULL;
}

static int read_vocabulary(struct ram_bpe_model *model, const char *dir, struct ram_err *err)
{
    char *vocab_path = ram_path_join(dir, "vocab.json", err);
    char *merges_path = ram_path_join(dir, "merges.txt", err);
    json_t *ids = NULL;

    int status = vocab_path && merges_path ? RAM_OK : RAM_ENOMEM;
    if (!status)
        status = ram_json_read_python(&ids, vocab_path, RAM_TOK_MAX_FILE, err);
    if (!status && !json_is_object(ids))
        status = ram_fail(err, RAM_EFORMAT, "%s: not an object", vocab_path);
    if (!status)
        status = ram_vocab_init(&model->vocab, ids, vocab_path, err);
    if (!status)
        status = read_merges(model, merges_path, err);
    json_decref(ids);
    free(vocab_path);
    free(merges_path);
    return status;
}

static int from_vocab_and_merges(struct ram_tokenizer **out, const char *dir, const json_t *config,
                                 struct ram_err *err)
{
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
    const struct class_rule *rule = find_class(config);
    struct ram_tokenizer *tokenizer = NULL;

    if (!rule && !name)
        return ram_fail(
            err, RAM_EFORMAT,
            "%s: vocab.json and merges.txt leave open how a text is split, which "
            "\"tokenizer_class\" of tokenizer_config.json tells, and there is none: add "
            "it, or a tokenizer.json",
            dir);
    if (!rule)
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s/tokenizer_config.json: tokenizer_class is \"%.80s\"; without a "
                        "tokenizer.json only Qwen2Tokenizer and GPT2Tokenizer are supported",
                        dir, name);
    int status = ram_tokenizer_new(&tokenizer, err);
    if (status)
        return status;
    tokenizer->nfc = rule->nfc;
    status = ram_tokenizer_add_split(tokenizer, ram_split_patterns[rule->style], RAM_SPLIT_ISOLATED,
                                     false, dir, err);
    if (!status)
        status = read_vocabulary(&tokenizer->model, dir, err);
    if (!status)
        status = read_added(tokenizer, dir, config, err);
    if (!status)
        status = ram_tokenizer_finish(tokenizer, err);
    if (status)
        ram_tokenizer_free(tokenizer);
    else
        *out = tokenizer;
    return status;
}

/* ---- the directory ------------------------------------------------------------------------- */

/* A name in tokenizer_config.json is a string, or an object with its content. */
static uint32_t named_token(const struct ram_tokenizer *tokenizer, const json_t *config,
                            const char *key)
{
    const json_t *value = json_object_get(config, key);
    const char *text =
        json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    uint32_t id = RAM_TOK_NO_ID;

    if (text)
        ram_tokenizer_find(tokenizer, text, strlen(text), &id);
    return id;
}

/* The vocabulary of the model beside it. A tokenizer is not refused because that file is empty or
 * cannot be read. */
static size_t stated_rows(const char *dir)
{
    struct ram_err ignored = {0};
    struct ram_arena arena = {0};
    struct ram_config config;
    json_t *json = NULL;
    size_t rows = 0;

    if (exists(dir, "config.json", &ignored) &&
        !read_json(&json, dir, "config.json", ram_json_read_python, &ignored)) {
        ram_config_read(&config, json, dir, &arena, &ignored);
        rows = config.vocab <= RAM_TOK_MAX_IDS ? (size_t)config.vocab : 0;
    }
    ram_arena_release(&arena);
    json_decref(json);
    return rows;
}

int ram_tokenizer_read(struct ram_tokenizer **out, const char *dir, struct ram_err *err)
{
    struct ram_tokenizer *tokenizer = NULL;
    json_t *config = NULL;
    int status = RAM_OK;

    /* "model_max_length" is 10^30 where transformers knows none. */
    if (exists(dir, "tokenizer_config.json", err))
        status = read_json(&config, dir, "tokenizer_config.json", ram_json_read_python, err);
    if (status)
        return status;
    if (exists(dir, "tokenizer.json", err))
        status = from_tokenizer_json(&tokenizer, dir, err);
    else if (exists(dir, "vocab.json", err) && exists(dir, "merges.txt", err))
        status = from_vocab_and_merges(&tokenizer, dir, config, err);
    else
        status = ram_tokenizer_absent(dir, err);
    if (tokenizer) {
        tokenizer->n_rows = stated_rows(dir);
        tokenizer->bos = named_token(tokenizer, config, "bos_token");
        tokenizer->eos = named_token(tokenizer, config, "eos_token");
        *out = tokenizer;
    }
    json_decref(config);
    return status;
}
