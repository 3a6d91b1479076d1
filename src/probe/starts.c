/* starts.c - see starts.h. */
#include "probe/starts.h"

#include "arch/config_read.h"
#include "base/file.h"
#include "base/rng.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TURN = 16, MAX_TEMPLATE = 1 << 20, MAX_TRIES = 64 };

/* Tokens that stand before a document, by the names that families give them; the first that the
 * tokenizer has. In a chat model bos_token may be what begins a turn. */
static const char *const documents[] = {
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<\357\275\234begin\342\226\201of\342\226\201sentence\357\275\234>",
    "<bos>",
    "<s>",
    "<|startoftext|>",
};

/* A user's turn as chat templates open it. The token that opens it must be in the tokenizer and in
 * the template. */
static const struct turn {
    const char *opens, *text;
} turns[] = {
    {"<|im_start|>", "<|im_start|>user\n"},
    {"<|start_header_id|>", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"},
    {"<|user|>", "[gMASK]<sop><|user|>\n"},
    {"<start_of_turn>", "<bos><start_of_turn>user\n"},
    {"<|turn>", "<bos><|turn>user\n"},
    {"<|start|>", "<|start|>user<|message|>"},
    {"[INST]", "<s>[INST] "},
};

/* What is known of a model's starts. */
struct kinds {
    bool has_document, has_turn;
    uint32_t document;
    struct ram_ids turn;
};

static bool is_special(const struct ram_tokenizer *tokenizer, const char *text, uint32_t *id)
{
    return ram_tokenizer_find(tokenizer, text, strlen(text), id);
}

/* The first of an integer or of a list of them. */
static bool first_id(const json_t *value, uint32_t *id)
{
    const json_t *item = json_is_array(value) ? json_array_get(value, 0) : value;

    if (!json_is_integer(item) || json_integer_value(item) < 0)
        return false;
    *id = (uint32_t)json_integer_value(item);
    return true;
}

/* Does a file of the model's directory have this text in it? */
static bool mentions(const char *dir, const char *name, const char *text)
{
    struct ram_err ignored = {0};
    char path[4096], *content = NULL;
    size_t size;

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path ||
        ram_file_read(path, MAX_TEMPLATE, &content, &size, &ignored))
        return false;
    const bool found = strstr(content, text) != NULL;
    free(content);
    return found;
}

static int find_turn(struct kinds *kinds, const struct ram_tokenizer *tokenizer, const char *dir,
                     struct ram_err *err)
{
    struct ram_encoder *encoder = NULL;
    uint32_t id;
    size_t i = 0;

    for (; i < sizeof turns / sizeof *turns; i++)
        if (is_special(tokenizer, turns[i].opens, &id) &&
            (mentions(dir, "chat_template.jinja", turns[i].opens) ||
             mentions(dir, "tokenizer_config.json", turns[i].opens)))
            break;
    if (i == sizeof turns / sizeof *turns)
        return RAM_OK;
    int status = ram_encoder_new(&encoder, tokenizer, err);
    if (!status)
        status = ram_encoder_run(encoder, turns[i].text, strlen(turns[i].text), RAM_ENCODE_PLAIN,
                                 &kinds->turn, err);
    kinds->has_turn = !status && kinds->turn.n > 0 && kinds->turn.n <= MAX_TURN;
    ram_encoder_free(encoder);
    return status;
}

static int find_kinds(struct kinds *kinds, const struct ram_model *model, struct ram_err *err)
{
    const json_t *config = model->ckpt->config;
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_err unread = {0};
    int status = RAM_OK;

    *kinds = (struct kinds){0};
    if (!ram_tokenizer_read(&tokenizer, model->ckpt->dir, &unread)) {
        for (size_t i = 0; !kinds->has_document && i < sizeof documents / sizeof *documents; i++)
            kinds->has_document = is_special(tokenizer, documents[i], &kinds->document);
        status = find_turn(kinds, tokenizer, model->ckpt->dir, err);
    }
    ram_tokenizer_free(tokenizer);
    if (!kinds->has_document)
        kinds->has_document = first_id(json_object_get(config, "bos_token_id"), &kinds->document) ||
                              first_id(json_object_get(config, "eos_token_id"), &kinds->document);
    kinds->has_document = kinds->has_document && kinds->document < model->hp.vocab;
    for (size_t i = 0; i < kinds->turn.n; i++)
        kinds->has_turn = kinds->has_turn && kinds->turn.items[i] < model->hp.vocab;
    return status;
}

/* A token that marks an end or a filling says nothing as a random start. A config.json may name
 * almost every token as one, so that this does not look for another forever. */
static uint32_t random_token(const struct ram_model *model, struct ram_rng rng, uint64_t *index)
{
    uint32_t token = 0;

    for (int i = 0; i < MAX_TRIES; i++) {
        token = (uint32_t)(ram_rng_uniform(rng, (*index)++) * (double)model->hp.vocab);
        if (!ram_config_is_marker(model->ckpt->config, token))
            break;
    }
    return token;
}

int ram_starts_make(struct ram_starts *out, const struct ram_model *model, size_t n, size_t longest,
                    uint64_t seed, struct ram_err *err)
{
    const struct ram_rng rng = ram_rng_for(seed, "starts");
    struct kinds kinds = {0};
    uint64_t index = 0;

    *out = (struct ram_starts){ram_calloc(n, sizeof *out->spans, err),
                               ram_calloc(n, sizeof *out->kinds, err),
                               ram_calloc(n, MAX_TURN * sizeof *out->tokens, err)};
    int status =
        out->spans && out->kinds && out->tokens ? find_kinds(&kinds, model, err) : RAM_ENOMEM;
    for (size_t i = 0; !status && i < n; i++) {
        uint32_t *to = out->tokens + i * MAX_TURN;
        const bool turn = i % 4 == 1 && kinds.has_turn && kinds.turn.n < longest;
        const bool document = i % 2 == 0 && kinds.has_document;
        out->kinds[i] = turn ? RAM_START_TURN : document ? RAM_START_DOCUMENT : RAM_START_RANDOM;
        out->spans[i] = (struct ram_span){to, turn ? kinds.turn.n : 1, RAM_NO_PARENT};
        if (turn)
            memcpy(to, kinds.turn.items, kinds.turn.n * sizeof *to);
        else
            *to = document ? kinds.document : random_token(model, rng, &index);
    }
    ram_ids_release(&kinds.turn);
    if (status)
        ram_starts_release(out);
    return status;
}

void ram_starts_release(struct ram_starts *starts)
{
    free(starts->spans);
    free(starts->kinds);
    free(starts->tokens);
    *starts = (struct ram_starts){0};
}
