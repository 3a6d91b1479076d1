/* tokens.c - see tokens.h. */
#include "probe/tokens.h"

#include "base/textfile.h"
#include "infer/sample.h"
#include "probe/kept.h"
#include "probe/starts.h"
#include "record/calibration.h"
#include "text/tokenizer.h"

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

/* ---- the model's own ---------------------------------------------------------------------- */

/* In the place of a token that is not sampled yet. No vocabulary has so many. */
static const uint32_t not_yet = UINT32_MAX;

/* The record of all samples of this length and seed: fewer sequences are the first ones of more, so
 * that their number does not matter. */
static struct ram_kept kept_tokens(const struct ram_exec *exec, const struct ram_synthetic *what)
{
    struct ram_buf settings = {0};

    ram_buf_printf(&settings, "length %zu seed %llu", what->length, (unsigned long long)what->seed);
    const struct ram_kept kept = ram_kept_for(exec, "tokens", settings.data);
    ram_buf_release(&settings);
    return kept;
}

static const char record[] = "tokens";

struct sampling {
    const struct ram_model *model;
    const struct ram_synthetic *what;
    const struct ram_exec *exec;
    size_t n, size; /* tokens, and their bytes */
    struct ram_kept kept;
    bool keeps; /* more sequences than these are not replaced by fewer */
    uint32_t *tokens;
    uint32_t *before; /* [n] what is kept already, or not_yet */
};

static void keep(const struct sampling *s)
{
    if (s->keeps)
        ram_kept_put(&s->kept, record, s->tokens, s->size);
}

static int after_step(void *ctx, size_t done, struct ram_err *err)
{
    const struct sampling *s = ctx;

    if (ram_store_due(s->kept.store))
        keep(s);
    return ram_exec_report(s->exec,
                           &(struct ram_progress){.stage = "synthesize",
                                                  .item = "text of the model's own",
                                                  .done = done,
                                                  .total = s->n,
                                                  .unit = RAM_IN_TOKENS},
                           err);
}

/* Tokens of a sequence that are known already. */
static size_t known(const struct sampling *s, size_t sequence)
{
    const uint32_t *tokens = s->before + sequence * s->what->length;
    size_t n = 0;

    while (n < s->what->length && tokens[n] != not_yet)
        n++;
    return n;
}

/* True if there is nothing left to sample. */
static bool find_kept(struct sampling *s)
{
    memset(s->before, 0xff, s->size);
    s->keeps = ram_kept_get_part(&s->kept, record, s->before, s->size) <= s->size;
    for (size_t i = 0; i < s->what->n; i++)
        if (known(s, i) < s->what->length)
            return false;
    return true;
}

static int sample(struct sampling *s, struct ram_err *err)
{
    const struct ram_synthetic *what = s->what;
    struct ram_starts starts = {0};

    memset(s->tokens, 0xff, s->size);
    int status = ram_starts_make(&starts, s->model, what->n, what->length, what->seed, err);
    /* A sequence that was begun before starts with everything that is known of it. */
    for (size_t i = 0; !status && i < what->n; i++)
        if (known(s, i) > starts.spans[i].n)
            starts.spans[i] =
                (struct ram_span){s->before + i * what->length, known(s, i), RAM_NO_PARENT};
    const struct ram_sample_opts opts = {.n = what->n,
                                         .length = what->length,
                                         .starts = starts.spans,
                                         .seed = what->seed,
                                         .exec = s->exec,
                                         .step = after_step,
                                         .ctx = s};
    if (!status)
        status = ram_sample(s->model, &opts, s->tokens, err);
    if (!status)
        keep(s);
    ram_starts_release(&starts);
    return status;
}

static int tokens_of_its_own(const struct ram_model *model, const struct ram_synthetic *what,
                             const struct ram_exec *exec, uint32_t *tokens, struct ram_err *err)
{
    const size_t n = what->n * what->length;
    struct sampling s = {.model = model,
                         .what = what,
                         .exec = exec,
                         .n = n,
                         .size = n * sizeof *tokens,
                         .kept = kept_tokens(exec, what),
                         .tokens = tokens,
                         .before = ram_calloc(n, sizeof *tokens, err)};
    int status = s.before ? RAM_OK : RAM_ENOMEM;

    if (!status && find_kept(&s))
        memcpy(tokens, s.before, s.size);
    else if (!status)
        status = sample(&s, err);
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
    return (what->text ? tokens_of_text : tokens_of_its_own)(model, what, exec, tokens, err);
}
