/* continue.c - see continue.h. */
#include "drive/continue.h"

#include "arch/config_read.h"
#include "base/file.h"
#include "infer/generate.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TOKENS = 100, DEFAULT_SEED = 42, MAX_ENDS = 16 };

struct ends {
    uint32_t ids[MAX_ENDS];
    size_t n;
};

static void add_end(struct ends *ends, uint64_t id)
{
    if (ends->n < MAX_ENDS && id <= UINT32_MAX)
        ends->ids[ends->n++] = (uint32_t)id;
}

static void add_stated(struct ends *ends, const json_t *json)
{
    uint64_t token;

    for (size_t i = 0; ram_config_end_token(json, i, &token); i++)
        add_end(ends, token);
}

/* A generation_config.json that cannot be read does not count, as for mlx_lm. */
static void add_generation(struct ends *ends, const char *dir)
{
    struct ram_err ignored = {0};
    json_t *json = NULL;

    char *path = ram_path_join(dir, "generation_config.json", &ignored);
    if (path && !ram_json_read_python(&json, path, RAM_CKPT_MAX_CONFIG, &ignored))
        add_stated(ends, json);
    json_decref(json);
    free(path);
}

/* A text ends at eos_token_id (a number or a list) of config.json and of generation_config.json,
 * which transformers and mlx_lm prefer, and at the tokenizer's eos_token. */
static struct ends find_ends(const struct ram_ckpt *ckpt, const struct ram_tokenizer *tokenizer)
{
    struct ends ends = {.n = 0};
    uint32_t id;

    add_stated(&ends, ckpt->config);
    add_generation(&ends, ckpt->dir);
    if (ram_tokenizer_eos(tokenizer, &id))
        add_end(&ends, id);
    return ends;
}

static bool is_end(const struct ends *ends, uint32_t id)
{
    for (size_t i = 0; i < ends->n; i++)
        if (ends->ids[i] == id)
            return true;
    return false;
}

struct speaker {
    struct ram_generator *generator;
    const struct ram_tokenizer *tokenizer;
    struct ends ends;
    void (*text)(void *user, const char *bytes, size_t n);
    void *user;
};

static int speak(struct speaker *s, const struct ram_ids *prompt, size_t most,
                 const struct ram_exec *exec, struct ram_err *err)
{
    const uint32_t *tokens = prompt->items;
    size_t n = prompt->n;
    uint32_t next = 0, said;
    struct ram_buf bytes = {0};
    int status = RAM_OK;

    for (size_t i = 0; !status && i < most; i++) {
        if (ram_exec_cancelled(exec))
            status = ram_fail(err, RAM_EINTERRUPT, "interrupted");
        else
            status = ram_generator_next(s->generator, tokens, n, &next, err);
        if (status || is_end(&s->ends, next))
            break;
        bytes.size = 0;
        ram_tokenizer_decode(s->tokenizer, &next, 1, RAM_DECODE_ALL, &bytes);
        if (s->text)
            s->text(s->user, bytes.data ? bytes.data : "", bytes.size);
        said = next;
        tokens = &said;
        n = 1;
    }
    ram_buf_release(&bytes);
    return status;
}

static int encode(const struct ram_tokenizer *tokenizer, const char *prompt, struct ram_ids *ids,
                  struct ram_err *err)
{
    struct ram_encoder *encoder = NULL;

    int status = ram_encoder_new(&encoder, tokenizer, err);
    if (!status)
        status = ram_encoder_run(encoder, prompt, strlen(prompt), RAM_ENCODE_SPECIAL, ids, err);
    if (!status && ids->n == 0)
        status = ram_fail(err, RAM_EUSAGE, "the prompt is empty");
    ram_encoder_free(encoder);
    return status;
}

int ram_continue(const struct ram_ckpt *ckpt, const struct ram_generate_opts *opts,
                 const struct ram_exec *exec, void (*text)(void *user, const char *bytes, size_t n),
                 void *user, struct ram_err *err)
{
    struct speaker s = {.text = text, .user = user};
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_model *model = NULL;
    struct ram_ids ids = {0};

    int status = ram_model_open(&model, ckpt, err);
    if (!status)
        status = ram_tokenizer_read(&tokenizer, ckpt->dir, err);
    if (!status)
        status = encode(tokenizer, opts->prompt ? opts->prompt : "", &ids, err);
    if (!status)
        status = ram_tokenizer_check_ids(tokenizer, ids.items, ids.n, model->hp.vocab, ckpt->name,
                                         "the prompt", err);
    if (!status) {
        const struct ram_generator_opts g = {.temperature = opts->temperature,
                                             .seed = opts->seed ? opts->seed : DEFAULT_SEED,
                                             .f32 = opts->f32,
                                             .exec = exec};
        s.tokenizer = tokenizer;
        s.ends = find_ends(ckpt, tokenizer);
        status = ram_generator_new(&s.generator, model, &g, err);
    }
    if (!status)
        status = speak(&s, &ids, opts->max_tokens ? opts->max_tokens : DEFAULT_TOKENS, exec, err);
    ram_generator_free(s.generator);
    ram_ids_release(&ids);
    ram_tokenizer_free(tokenizer);
    ram_model_close(model);
    return status;
}
