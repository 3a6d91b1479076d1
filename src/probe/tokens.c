/* tokens.c - see tokens.h. */
#include "probe/tokens.h"

#include "base/rng.h"
#include "base/textfile.h"
#include "kern/nn.h"
#include "probe/kept.h"
#include "record/calibration.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOGIT_BYTES_SHARE = 8, MAX_BLOCK = 256, ROUNDS = 4, SEED = 42, ROUND_NAME = 48 };

struct ram_synthetic ram_probe_tokens(const struct ram_probe_opts *opts, bool sparse)
{
    return (struct ram_synthetic){
        .n = opts->sequences ? opts->sequences
             : sparse        ? 8
                             : 4,
        .length = opts->length ? opts->length
                  : sparse     ? 256
                               : 128,
        .rounds = opts->rounds ? opts->rounds : ROUNDS,
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

/* Tokens that mark an end or a filling say nothing as a start. */
static void draw_uniform(const struct ram_model *model, const struct ram_synthetic *what,
                         uint32_t *tokens)
{
    const struct ram_rng rng = ram_rng_for(what->seed, "tokens");
    uint64_t index = 0;

    for (size_t i = 0; i < what->n * what->length; i++)
        do
            tokens[i] = (uint32_t)(ram_rng_uniform(rng, index++) * (double)model->hp.vocab);
        while (ram_config_is_marker(model->ckpt->config, tokens[i]) && model->hp.vocab > 64);
}

struct resample {
    const struct ram_synthetic *what;
    struct ram_rng rng;
    size_t vocab, first; /* row of logits[0] among all rows */
    float *logits;
    uint32_t *next; /* [n, length] */
};

/* Row i predicts the token after it; the last of a sequence predicts nothing. */
static int resample_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct resample *r = ctx;
    const size_t row = r->first + i;
    float *logits = r->logits + i * r->vocab;

    (void)worker;
    (void)err;
    if ((row + 1) % r->what->length == 0)
        return RAM_OK;
    ram_nn()->softmax(logits, r->vocab, 1);
    r->next[row + 1] = (uint32_t)ram_rng_draw(logits, r->vocab, ram_rng_uniform(r->rng, row + 1));
    return RAM_OK;
}

/* What a round depends on; its tokens are a record of this name. */
static struct ram_kept kept_rounds(const struct ram_exec *exec, const struct ram_synthetic *what)
{
    struct ram_buf settings = {0};

    ram_buf_printf(&settings, "%zu x %zu seed %llu", what->n, what->length,
                   (unsigned long long)what->seed);
    const struct ram_kept kept = ram_kept_for(exec, "tokens", settings.data);
    ram_buf_release(&settings);
    return kept;
}

static void name_round(char name[ROUND_NAME], unsigned round)
{
    snprintf(name, ROUND_NAME, "tokens of round %u", round + 1);
}

/* All layers, from where an earlier run was in the same round. */
static int run_layers(const struct ram_model *model, const struct ram_synthetic *what,
                      const struct ram_exec *exec, unsigned round, struct ram_forward *forward,
                      struct ram_err *err)
{
    const size_t n_layers = model->hp.n_layers, n_rows = what->n * what->length;
    struct ram_kept kept = kept_rounds(exec, what);
    double in_round = round; /* a state of another round is not ours */
    struct ram_kept_pass pass = {.forward = forward,
                                 .hidden = model->hp.hidden,
                                 .n_rows = n_rows,
                                 .figures = &in_round,
                                 .n_figures = 1};
    char name[ROUND_NAME];
    int status = RAM_OK;

    snprintf(name, sizeof name, "round %u of %u", round + 1, what->rounds);
    if (ram_kept_find(&kept, &pass) && in_round == round && pass.n_rows == n_rows &&
        pass.layer <= n_layers)
        status = ram_kept_load(&kept, &pass, err);
    else
        pass.layer = 0;
    in_round = round;
    pass.n_rows = n_rows;
    for (; !status && pass.layer < n_layers; pass.layer++) {
        if (pass.layer)
            status = ram_kept_save(&kept, &pass, err);
        if (!status)
            status =
                ram_exec_report(exec,
                                &(struct ram_progress){.stage = "synthesize",
                                                       .item = name,
                                                       .done = n_rows * round +
                                                               n_rows * pass.layer / (n_layers + 1),
                                                       .total = n_rows * what->rounds,
                                                       .unit = RAM_IN_TOKENS},
                                err);
        if (!status)
            status = ram_forward_layer(forward, pass.layer, err);
    }
    return status;
}

static int run_round(const struct ram_model *model, const struct ram_synthetic *what,
                     const struct ram_exec *exec, unsigned round, const uint32_t *tokens,
                     uint32_t *next, struct ram_err *err)
{
    const uint64_t memory = exec->max_memory;
    const struct ram_exec share = ram_exec_share(exec, memory - memory / LOGIT_BYTES_SHARE);
    const size_t n_rows = what->n * what->length, vocab = model->hp.vocab;
    const size_t fits = (size_t)(memory / LOGIT_BYTES_SHARE / (vocab * sizeof(float)));
    const size_t block = fits > MAX_BLOCK ? MAX_BLOCK : fits ? fits : 1;
    const struct ram_sequences on = {tokens, what->n, what->length};
    struct ram_forward *forward = NULL;
    size_t rows[MAX_BLOCK];
    struct resample r = {.what = what, .vocab = vocab, .next = next};

    r.rng = ram_rng_for(what->seed + round + 1, "resample");
    r.logits = ram_calloc(block * vocab, sizeof *r.logits, err);
    int status = r.logits ? ram_probe_forward(&forward, model, on, 1, &share, err) : RAM_ENOMEM;
    if (!status)
        status = run_layers(model, what, exec, round, forward, err);
    for (; !status && r.first < n_rows; r.first += block) {
        const size_t n = n_rows - r.first < block ? n_rows - r.first : block;
        for (size_t i = 0; i < n; i++)
            rows[i] = r.first + i;
        status = ram_forward_logits(forward, rows, n, NULL, r.logits, err);
        if (!status)
            status = ram_pool_for(exec->pool, n, resample_row, &r, err);
    }
    ram_forward_free(forward);
    free(r.logits);
    return status;
}

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
    const struct ram_kept kept = kept_rounds(exec, what);
    uint32_t *next = ram_calloc(n, sizeof *next, err);
    int status = next ? RAM_OK : RAM_ENOMEM;
    char name[ROUND_NAME];
    unsigned round = what->rounds;

    /* The last round that an earlier run finished. */
    for (; round; round--) {
        name_round(name, round - 1);
        if (ram_kept_get(&kept, name, tokens, n * sizeof *tokens))
            break;
    }
    if (!status && round == 0)
        draw_uniform(model, what, tokens);
    for (; !status && round < what->rounds; round++) {
        for (size_t i = 0; i < n; i++)
            next[i] = tokens[i]; /* first tokens stay */
        status = run_round(model, what, exec, round, tokens, next, err);
        for (size_t i = 0; !status && i < n; i++)
            tokens[i] = next[i];
        name_round(name, round);
        if (!status)
            ram_kept_put(&kept, name, tokens, n * sizeof *tokens);
    }
    free(next);
    return status;
}
