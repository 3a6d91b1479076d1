/* prompt.c - see prompt.h. */
#include "evaluate/prompt.h"

#include "evaluate/prompt_text.h"

#include <stdlib.h>
#include <string.h>

/* ---- examples --------------------------------------------------------------------------- */

int ram_fewshot_init(struct ram_fewshot *fewshot, const struct ram_documents *pool, size_t n,
                     bool without_itself, struct ram_err *err)
{
    const size_t n_drawn = n + (n && without_itself);

    *fewshot = (struct ram_fewshot){.pool = pool, .n = n, .without_itself = without_itself};
    if (n == 0)
        return RAM_OK;
    if (pool->n < n_drawn)
        return ram_fail(
            err, RAM_ERANGE,
            "there are only %zu documents to draw examples from, but %zu are drawn for each "
            "question",
            pool->n, n_drawn);
    ram_mt_seed(&fewshot->mt, RAM_FEWSHOT_SEED);
    fewshot->drawn = ram_calloc(n_drawn, sizeof *fewshot->drawn, err);
    fewshot->work = ram_calloc(pool->n, sizeof *fewshot->work, err);
    if (fewshot->drawn && fewshot->work)
        return RAM_OK;
    ram_fewshot_release(fewshot);
    return RAM_ENOMEM;
}

void ram_fewshot_release(struct ram_fewshot *fewshot)
{
    free(fewshot->drawn);
    free(fewshot->work);
    *fewshot = (struct ram_fewshot){0};
}

int ram_fewshot_draw(struct ram_fewshot *fewshot, const struct ram_document *document,
                     struct ram_err *err)
{
    const size_t n_drawn = fewshot->n + fewshot->without_itself;
    size_t n = 0;

    if (fewshot->n == 0)
        return RAM_OK;
    ram_mt_sample(&fewshot->mt, fewshot->pool->n, n_drawn, fewshot->drawn, fewshot->work);
    if (!fewshot->without_itself)
        return RAM_OK;
    for (size_t i = 0; i < n_drawn && n < fewshot->n; i++) {
        const struct ram_document *example = &fewshot->pool->items[fewshot->drawn[i]];
        if (strcmp(example->sha256, document->sha256) != 0)
            fewshot->drawn[n++] = fewshot->drawn[i];
    }
    return n == fewshot->n
               ? RAM_OK
               : ram_fail(
                     err, RAM_EFORMAT,
                     "only %zu of the %zu examples drawn differ from the question itself, because "
                     "the file of examples contains it more than once",
                     n, n_drawn);
}

void ram_prompt_write(const struct ram_fewshot *fewshot, const struct ram_document *document,
                      struct ram_buf *out)
{
    for (size_t i = 0; i < fewshot->n; i++) {
        const struct ram_document *example = &fewshot->pool->items[fewshot->drawn[i]];
        ram_buf_puts(out, example->query);
        ram_buf_puts(out, " ");
        ram_buf_puts(out, example->choices[example->gold]);
        ram_buf_puts(out, "\n\n");
    }
    ram_buf_puts(out, document->query);
}

/* ---- tokens ----------------------------------------------------------------------------- */

void ram_prompt_ids_release(struct ram_prompt_ids *ids)
{
    ram_ids_release(&ids->context);
    ram_ids_release(&ids->choices);
    *ids = (struct ram_prompt_ids){0};
}

static int append_ids(struct ram_ids *ids, const uint32_t *items, size_t n, struct ram_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ram_grow(&ids->items, sizeof *ids->items, ids->n, &ids->cap, err))
            return RAM_ENOMEM;
        ids->items[ids->n++] = items[i];
    }
    return RAM_OK;
}

/* The model's BOS, or else its EOS: what stands before an empty prompt. */
static bool find_prefix(const struct ram_tokenizer *tokenizer, uint32_t *prefix)
{
    return ram_tokenizer_bos(tokenizer, prefix) || ram_tokenizer_eos(tokenizer, prefix);
}

/* A text that has the prefix already does not get what the post-processor puts there. */
static enum ram_encode mode_of(const struct ram_tokenizer *tokenizer, const struct ram_buf *text)
{
    struct ram_buf shown = {0};
    bool has = false;
    uint32_t prefix;

    if (find_prefix(tokenizer, &prefix)) {
        ram_tokenizer_decode(tokenizer, &prefix, 1, RAM_DECODE_ALL, &shown);
        has = shown.size > 0 && text->size >= shown.size &&
              !memcmp(text->data, shown.data, shown.size);
    }
    ram_buf_release(&shown);
    return has ? RAM_ENCODE_PLAIN : RAM_ENCODE_SPECIAL;
}

/* One choice behind an empty prompt: behind the prefix token, which it may begin with itself. */
static int encode_alone(struct ram_encoder *encoder, const struct ram_tokenizer *tokenizer,
                        const struct ram_buf *text, struct ram_prompt_ids *ids, struct ram_ids *all,
                        struct ram_err *err)
{
    uint32_t prefix;

    if (!find_prefix(tokenizer, &prefix))
        return ram_fail(err, RAM_EFORMAT,
                        "the prompt is empty, and the tokenizer names no BOS and no EOS");
    int status = ram_encoder_run(encoder, text->data, text->size, RAM_ENCODE_PLAIN, all, err);
    const size_t skip = !status && all->n > 0 && all->items[0] == prefix;
    if (!status && ids->context.n == 0)
        status = append_ids(&ids->context, &prefix, 1, err);
    return status ? status : append_ids(&ids->choices, all->items + skip, all->n - skip, err);
}

static int encode_behind(struct ram_encoder *encoder, const struct ram_tokenizer *tokenizer,
                         const struct ram_buf *text, struct ram_prompt_ids *ids,
                         struct ram_ids *all, struct ram_err *err)
{
    const int status =
        ram_encoder_run(encoder, text->data, text->size, mode_of(tokenizer, text), all, err);
    const size_t n = ids->context.n; /* cut by length alone, as the harness does */

    return status || all->n <= n ? status
                                 : append_ids(&ids->choices, all->items + n, all->n - n, err);
}

int ram_prompt_encode(struct ram_encoder *encoder, const struct ram_tokenizer *tokenizer,
                      const struct ram_buf *prompt, const struct ram_document *document,
                      struct ram_prompt_ids *ids, struct ram_err *err)
{
    /* White space at the end of the prompt goes to the choices. */
    const size_t space = ram_text_space_at_end(prompt->data, prompt->size);
    struct ram_buf context = {0}, text = {0};
    struct ram_ids all = {0};
    int status = RAM_OK;

    ids->context.n = ids->choices.n = 0;
    ram_buf_add(&context, prompt->data, prompt->size - space);
    if (context.failed)
        status = ram_fail(err, RAM_ENOMEM, "no memory for a prompt");
    else if (prompt->size)
        status = ram_encoder_run(encoder, context.data, context.size, mode_of(tokenizer, &context),
                                 &ids->context, err);
    if (!status && prompt->size && ids->context.n == 0)
        status = ram_fail(err, RAM_EFORMAT, "the prompt consists of white space alone");
    for (size_t i = 0; !status && i < document->n_choices; i++) {
        const size_t before = ids->choices.n;
        all.n = text.size = 0;
        ram_buf_add(&text, prompt->data, prompt->size);
        ram_buf_puts(&text, " ");
        ram_buf_puts(&text, document->choices[i]);
        if (text.failed)
            status = ram_fail(err, RAM_ENOMEM, "no memory for a prompt");
        else if (prompt->size)
            status = encode_behind(encoder, tokenizer, &text, ids, &all, err);
        else
            status = encode_alone(encoder, tokenizer, &text, ids, &all, err);
        if (!status && ids->choices.n == before)
            status = ram_fail(err, RAM_EFORMAT, "choice %zu adds no token to its prompt", i);
        ids->ends[i] = ids->choices.n;
    }
    ram_ids_release(&all);
    ram_buf_release(&context);
    ram_buf_release(&text);
    return status;
}
