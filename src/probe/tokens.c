/* tokens.c - see tokens.h. */
#include "probe/tokens.h"

#include "base/textfile.h"
#include "infer/sample.h"
#include "probe/kept.h"
#include "probe/starts.h"
#include "record/calibration.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 42 };

struct ram_synthetic ram_probe_tokens(const struct ram_probe_opts *opts, bool sparse)
{
    return (struct ram_synthetic){
        .n = opts->sequences ? opts->sequences
             : sparse        ? 8
                             : 4,
        .length = opts->length ? opts->length
                  : sparse     ? 256
                               : 128,
        .seed = opts->seed ? opts->seed : SEED,
        .text = opts->text,
    };
}

int ram_probe_forward(struct ram_forward **out, const struct ram_model *model,
                      struct ram_sequences on, size_t copies, const struct ram_exec *exec,
                      struct ram_err *err)
{
    const struct ram_forward_opts opts = {.f32 = true, .exec = exec};
    const size_t length = on.length, n = copies * on.n;
    struct ram_span *spans = ram_calloc(n, sizeof *spans, err);

    for (size_t i = 0; spans && i < n; i++)
        spans[i] = (struct ram_span){on.tokens + i % on.n * length, length, RAM_NO_PARENT};
    const int status = spans ? ram_forward_new(out, model, spans, n, &opts, err) : RAM_ENOMEM;
    free(spans);
    return status;
}

/* ---- the model's own ---------------------------------------------------------------------- */

/* In the place of a token that is not sampled yet. No vocabulary has so many. */
static const uint32_t not_yet = UINT32_MAX;

/* What the tokens depend on. They are a record, as far as they are known. */
static struct ram_kept kept_tokens(const struct ram_exec *exec, const struct ram_synthetic *what)
{
    struct ram_buf settings = {0};

    ram_buf_printf(&settings, "%zu x %zu seed %llu", what->n, what->length,
                   (unsigned long long)what->seed);
    const struct ram_kept kept = ram_kept_for(exec, "tokens", settings.data);
    ram_buf_release(&settings);
    return kept;
}

struct sampling {
    const struct ram_exec *exec;
    size_t n, size; /* tokens, and their bytes */
    struct ram_kept kept;
    char name[48]; /* of the record */
    uint32_t *tokens;
    uint32_t *before; /* [n] what an earlier run has kept, or not_yet */
};

static int after_step(void *ctx, size_t done, struct ram_err *err)
{
    const struct sampling *s = ctx;

    if (ram_store_due(s->kept.store))
        ram_kept_put(&s->kept, s->name, s->tokens, s->size);
    return ram_exec_report(s->exec,
                           &(struct ram_progress){.stage = "synthesize",
                                                  .item = "text of the model's own",
                                                  .done = done,
                                                  .total = s->n,
                                                  .unit = RAM_IN_TOKENS},
                           err);
}

/* A sequence that an earlier run has begun starts with everything that is known of it. */
static void start_from_kept(const struct sampling *s, const struct ram_synthetic *what,
                            struct ram_span *starts)
{
    for (size_t i = 0; i < what->n; i++) {
        const uint32_t *known = s->before + i * what->length;
        size_t n = 0;
        while (n < what->length && known[n] != not_yet)
            n++;
        if (n > starts[i].n)
            starts[i] = (struct ram_span){known, n, RAM_NO_PARENT};
    }
}

static int sample(const struct sampling *s, const struct ram_model *model,
                  const struct ram_synthetic *what, struct ram_err *err)
{
    struct ram_starts starts = {0};

    memset(s->tokens, 0xff, s->size);
    memset(s->before, 0xff, s->size);
    ram_kept_get(&s->kept, s->name, s->before, s->size);
    int status = ram_starts_make(&starts, model, what->n, what->length, what->seed, err);
    if (!status) {
        struct sampling own = *s;
        const struct ram_sample_opts opts = {.n = what->n,
                                             .length = what->length,
                                             .starts = starts.spans,
                                             .seed = what->seed,
                                             .exec = s->exec,
                                             .step = after_step,
                                             .ctx = &own};
        start_from_kept(s, what, starts.spans);
        status = ram_sample(model, &opts, s->tokens, err);
    }
    if (!status)
        ram_kept_put(&s->kept, s->name, s->tokens, s->size);
    ram_starts_release(&starts);
    return status;
}

static int tokens_of_its_own(const struct ram_model *model, const struct ram_synthetic *what,
                             const struct ram_exec *exec, uint32_t *tokens, struct ram_err *err)
{
    const size_t n = what->n * what->length;
    struct sampling s = {.exec = exec,
                         .n = n,
                         .size = n * sizeof *tokens,
                         .kept = kept_tokens(exec, what),
                         .tokens = tokens,
                         .before = ram_calloc(n, sizeof *tokens, err)};

    snprintf(s.name, sizeof s.name, "%zu x %zu tokens", what->n, what->length);
    const int status = s.before ? sample(&s, model, what, err) : RAM_ENOMEM;

    free(s.before);
    return status;
}

/* ---- of a text ---------------------------------------------------------------------------- */

static int cut_windows(const struct ram_synthetic *what, const struct ram_ids *ids,
                       uint32_t *tokens, struct ram_err *err)
{
    const size_t available = ids->n / what->length;

    if (available < what->n)
        return ram_fail(err, RAM_EUSAGE,
                        "%s: the text has only %zu tokens; %zu are needed (%zu sequences of %zu)",
                        what->text, ids->n, what->n * what->length, what->n, what->length);
    for (size_t i = 0; i < what->n; i++)
        memcpy(tokens + i * what->length, ids->items + available * i / what->n * what->length,
               what->length * sizeof *tokens);
    return RAM_OK;
}

static int tokens_of_text(const struct ram_model *model, const struct ram_synthetic *what,
                          const struct ram_exec *exec, uint32_t *tokens, struct ram_err *err)
{
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_encoder *encoder = NULL;
    struct ram_ids ids = {0};
    struct ram_textfile file = {0};

    int status =
        ram_textfile_read(&file, what->text, RAM_MAX_CALIBRATION, RAM_TEXTFILE_PLAIN, exec, err);
    if (!status)
        status = ram_tokenizer_read(&tokenizer, model->ckpt->dir, err);
    if (!status)
        status = ram_encoder_new(&encoder, tokenizer, err);
    if (!status)
        status = ram_encoder_run(encoder, file.text, file.size, RAM_ENCODE_PLAIN, &ids, err);
    if (!status)
        status = cut_windows(what, &ids, tokens, err);
    if (!status)
        status = ram_tokenizer_check_ids(tokenizer, tokens, what->n * what->length, model->hp.vocab,
                                         model->ckpt->name, what->text, err);
    ram_ids_release(&ids);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
    ram_textfile_release(&file);
    return status;
}

int ram_synthetic_tokens(const struct ram_model *model, const struct ram_synthetic *what,
                         const struct ram_exec *exec, uint32_t *tokens, struct ram_err *err)
{
    const size_t n = what->n * what->length;

    if (what->text)
        return tokens_of_text(model, what, exec, tokens, err);
    if (what->made && what->n_made >= what->n) {
        memcpy(tokens, what->made, n * sizeof *tokens);
        return RAM_OK;
    }
    return tokens_of_its_own(model, what, exec, tokens, err);
}
