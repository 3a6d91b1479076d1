/* tokenizer_steps.c - tokenizer.json's normalizer, pre_tokenizer and post_processor. */
#include "text/tokenizer_load.h"

#include <stdlib.h>
#include <string.h>

static int type_of(const struct ram_load *load, const json_t *obj, const char *field,
                   const char **type)
{
    if (!json_is_object(obj))
        return ram_fail(load->err, RAM_EFORMAT, "%s: %s is not an object", load->where, field);
    return ram_json_get_string(obj, "type", type, load->where, load->err);
}

/* NFC, or a Sequence of it; nesting is bounded by the JSON reader's. */
int ram_load_normalizer(const struct ram_load *load, const json_t *item)
{
    const char *type = "";
    json_t *list = NULL;

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
        return ram_load_refuse(load, "normalizer.type", type);
    status = ram_json_get_array(item, "normalizers", &list, load->where, load->err);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = ram_load_normalizer(load, json_array_get(list, i));
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
static int load_behavior(const struct ram_load *load, const json_t *item,
                         enum ram_split_behavior *behavior)
{
    static const char *const names[RAM_SPLIT_N_BEHAVIORS] = {
        "Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *name = NULL;

    const int status = ram_json_get_string(item, "behavior", &name, load->where, load->err);
    if (status)
        return status;
    for (int i = 0; i < RAM_SPLIT_N_BEHAVIORS; i++)
        if (!strcmp(name, names[i])) {
            *behavior = (enum ram_split_behavior)i;
            return RAM_OK;
        }
    return ram_load_refuse(load, "pre_tokenizer behavior", name);
}

/* A literal text as a pattern. */
static int add_literal(const struct ram_load *load, const char *text,
                       enum ram_split_behavior behavior, bool invert)
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

static int load_split(const struct ram_load *load, const json_t *item)
{
    const json_t *pattern = json_object_get(item, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    enum ram_split_behavior behavior = RAM_SPLIT_ISOLATED;
    bool invert = false;

    int status = load_behavior(load, item, &behavior);
    if (!status)
        status = ram_load_flag(load, item, "invert", false, &invert);
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

static int load_byte_level(const struct ram_load *load, const json_t *item)
{
    struct ram_tokenizer *tokenizer = load->tokenizer;
    bool prefix = false, regex = false;

    int status = ram_load_flag(load, item, "add_prefix_space", true, &prefix);
    if (!status)
        status = ram_load_flag(load, item, "use_regex", true, &regex);
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
int ram_load_pre_tokenizer(const struct ram_load *load, const json_t *item, bool *bytes)
{
    static const char punctuation[] = "[!-/:-@\\[-`{-~]|\\p{P}";
    enum ram_split_behavior behavior = RAM_SPLIT_ISOLATED;
    struct ram_tokenizer *tokenizer = load->tokenizer;
    const char *type = "";
    json_t *list = NULL;
    bool alone = false;

    int status = type_of(load, item, "pre_tokenizer", &type);
    if (status)
        return status;
    if (*bytes)
        return ram_load_refuse(load, "pre_tokenizer after ByteLevel", type);
    if (!strcmp(type, "ByteLevel")) {
        *bytes = true;
        return load_byte_level(load, item);
    }
    if (!strcmp(type, "Split"))
        return load_split(load, item);
    if (!strcmp(type, "Digits")) {
        status = ram_load_flag(load, item, "individual_digits", false, &alone);
        return status ? status
                      : ram_tokenizer_add_split(tokenizer, "\\p{N}",
                                                alone ? RAM_SPLIT_ISOLATED : RAM_SPLIT_CONTIGUOUS,
                                                false, load->where, load->err);
    }
    if (!strcmp(type, "Punctuation")) {
        if (ram_load_member(item, "behavior"))
            status = load_behavior(load, item, &behavior);
        return status ? status
                      : ram_tokenizer_add_split(tokenizer, punctuation, behavior, false,
                                                load->where, load->err);
    }
    if (strcmp(type, "Sequence") != 0)
        return ram_load_refuse(load, "pre_tokenizer.type", type);
    status = ram_json_get_array(item, "pretokenizers", &list, load->where, load->err);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = ram_load_pre_tokenizer(load, json_array_get(list, i), bytes);
    return status;
}

/* The ids of {"SpecialToken": {"id": name}}, from the template's own table. */
static int load_around(const struct ram_load *load, const json_t *table, const char *name,
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

static int load_template(const struct ram_load *load, const json_t *item)
{
    struct ram_tokenizer *tokenizer = load->tokenizer;
    const json_t *table = json_object_get(item, "special_tokens");
    unsigned n_texts = 0;
    json_t *single = NULL;

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

int ram_load_post_processor(const struct ram_load *load, const json_t *item)
{
    struct ram_tokenizer *tokenizer = load->tokenizer;
    const char *type = "";
    json_t *list = NULL;

    if (!item)
        return RAM_OK;
    int status = type_of(load, item, "post_processor", &type);
    if (status || !strcmp(type, "ByteLevel"))
        return status;
    if (!strcmp(type, "TemplateProcessing")) {
        if (tokenizer->n_before || tokenizer->n_after) /* two templates in a Sequence */
            return ram_load_refuse(load, "post_processor.type", "Sequence of TemplateProcessing");
        return load_template(load, item);
    }
    if (!strcmp(type, "Sequence")) {
        status = ram_json_get_array(item, "processors", &list, load->where, load->err);
        for (size_t i = 0; !status && i < json_array_size(list); i++)
            status = ram_load_post_processor(load, json_array_get(list, i));
        return status;
    }
    /* Only matters to those who ask for the special tokens. */
    tokenizer->post_refused = ram_arena_strdup(&tokenizer->arena, type, load->err);
    return tokenizer->post_refused ? RAM_OK : RAM_ENOMEM;
}
