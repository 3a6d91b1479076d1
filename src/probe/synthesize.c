/* synthesize.c - see synthesize.h. */
#include "probe/synthesize.h"

#include "probe/hessian.h"
#include "probe/starts.h"
#include "record/emit.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdlib.h>

struct work {
    const struct ram_model *model;
    struct ram_tokenizer *tokenizer; /* NULL: ids only */
    struct ram_synthetic what;
    struct ram_starts starts;
    uint32_t *tokens; /* [what.n, what.length] */
};

static const struct {
    const char *key, *words;
} starts[] = {
    [RAM_START_DOCUMENT] = {"document", "the start of a document"},
    [RAM_START_TURN] = {"turn", "a user's turn"},
    [RAM_START_RANDOM] = {"random", "a random token"},
};

/* ---- what is sampled ------------------------------------------------------------------------ */

static int choose(struct work *w, const struct ram_synthesize_opts *opts, struct ram_err *err)
{
    size_t size;

    w->what = ram_hessian_tokens(ram_model_bytes(w->model), NULL);
    if (opts->sequences)
        w->what.n = opts->sequences;
    if (opts->length)
        w->what.length = opts->length;
    if (opts->seed)
        w->what.seed = opts->seed;
    return ram_mul_size(w->what.n, w->what.length, &size)
               ? RAM_OK
               : ram_fail(err, RAM_EUSAGE, "%zu sequences of %zu tokens are too many", w->what.n,
                          w->what.length);
}

/* Before anything is sampled. */
static int read_tokenizer(struct work *w, struct ram_err *err)
{
    struct ram_err why = {0};

    const int status = ram_tokenizer_read(&w->tokenizer, w->model->ckpt->dir, &why);
    return status ? ram_fail(err, status, "%s; without a tokenizer there are only ids (--ids)",
                             why.message)
                  : RAM_OK;
}

static int sample(struct work *w, const struct ram_exec *exec, struct ram_err *err)
{
    const struct ram_synthetic *what = &w->what;

    w->tokens = ram_calloc(what->n * what->length, sizeof *w->tokens, err);
    int status = w->tokens
                     ? ram_starts_make(&w->starts, w->model, what->n, what->length, what->seed, err)
                     : RAM_ENOMEM;
    return status ? status : ram_synthetic_tokens(w->model, what, exec, w->tokens, err);
}

/* ---- how it is written ---------------------------------------------------------------------- */

static void add_ids(const struct work *w, size_t sequence, const char *between, struct ram_buf *out)
{
    const uint32_t *tokens = w->tokens + sequence * w->what.length;

    for (size_t i = 0; i < w->what.length; i++)
        ram_buf_printf(out, "%s%" PRIu32, i ? between : "", tokens[i]);
}

static void add_text(const struct work *w, size_t sequence, struct ram_buf *out)
{
    ram_tokenizer_decode(w->tokenizer, w->tokens + sequence * w->what.length, w->what.length,
                         RAM_DECODE_ALL, out);
}

static void write_text(const struct work *w, struct ram_buf *out)
{
    for (size_t i = 0; i < w->what.n; i++) {
        if (w->tokenizer) {
            ram_buf_printf(out, "--- sequence %zu of %zu, begins with %s ---\n", i + 1, w->what.n,
                           starts[w->starts.kinds[i]].words);
            add_text(w, i, out);
        } else {
            add_ids(w, i, " ", out);
        }
        ram_buf_puts(out, "\n");
    }
}

static void write_json(const struct work *w, struct ram_buf *out)
{
    struct ram_buf text = {0};

    ram_buf_printf(out,
                   "{\"sequences\": %zu, \"length\": %zu, \"seed\": %" PRIu64 ", \"samples\": [",
                   w->what.n, w->what.length, w->what.seed);
    for (size_t i = 0; i < w->what.n; i++) {
        ram_buf_printf(out, "%s\n  {\"begins\": \"%s\", \"start_tokens\": %zu", i ? "," : "",
                       starts[w->starts.kinds[i]].key, w->starts.spans[i].n);
        if (w->tokenizer) {
            text.size = 0;
            add_text(w, i, &text);
            ram_buf_puts(out, ",\n   \"text\": ");
            ram_emit_bytes(out, text.data ? text.data : "", text.size);
        }
        ram_buf_puts(out, ",\n   \"ids\": [");
        add_ids(w, i, ", ", out);
        ram_buf_puts(out, "]}");
    }
    ram_buf_puts(out, "\n]}\n");
    out->failed |= text.failed;
    ram_buf_release(&text);
}

/* ---- face ----------------------------------------------------------------------------------- */

int ram_synthesize_run(const struct ram_ckpt *ckpt, const struct ram_synthesize_opts *opts,
                       const struct ram_exec *exec, enum ram_markup markup, char **out,
                       size_t *size, struct ram_err *err)
{
    struct ram_model *model = NULL;
    struct ram_buf buf = {0};
    struct work w = {0};

    int status = ram_model_open(&model, ckpt, err);
    w.model = model;
    if (!status)
        status = choose(&w, opts, err);
    if (!status && !opts->ids)
        status = read_tokenizer(&w, err);
    if (!status)
        status = sample(&w, exec, err);
    if (!status) {
        (markup == RAM_JSON ? write_json : write_text)(&w, &buf);
        *size = buf.size;
        status = ram_buf_take(&buf, out, err);
    }
    ram_starts_release(&w.starts);
    free(w.tokens);
    ram_tokenizer_free(w.tokenizer);
    ram_model_close(model);
    return status;
}
