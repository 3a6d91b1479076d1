/*
 * task_choice.c - `arc_challenge` and `hellaswag`: which continuation the model considers the most
 * likely, asked and counted as in lm-evaluation-harness 0.4.11 (docs/evaluation.md).
 *
 * The choices of a question share their prompt: it is one sequence, and each choice is another
 * that continues it. Where a prompt is too long for the model, it is cut from the left by what
 * each choice needs, so choices of different lengths may see different prompts; those that see the
 * same share it.
 */
#include "evaluate/task.h"

#include "base/file.h"
#include "evaluate/prompt.h"
#include "evaluate/prompt_text.h"
#include "evaluate/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Documents pass through the model in batches of at most BATCH_TOKENS tokens. Each batch reads all
 * weights once, so that batches should be large; but the activations of a batch must fit into
 * memory or on the disk (in f32, with a hidden size of 4,096: 4 GiB). */
enum { BATCH_TOKENS = 1 << 18, MAX_SHOTS = 1000 };

static const struct kind {
    const char *name;
    enum ram_choice_task task;
    size_t shots;
    bool without_itself; /* examples come from what the harness takes for the same split */
} kinds[] = {
    {"arc_challenge", RAM_ARC_CHALLENGE, 25, false},
    {"hellaswag", RAM_HELLASWAG, 10, true},
};

/* Where the answers about one choice are: one at its prompt's last token, the rest in a row. */
struct asked {
    size_t first, rest, n_rest;
};

/* A span whose tokens are still growing. */
struct piece {
    size_t begin, n, parent;
};

struct batch {
    struct ram_ids tokens;
    struct piece *pieces;
    struct ram_query *queries;
    struct asked *asked;            /* of all choices, document after document */
    char (*hashes)[RAM_SHA256_HEX]; /* of the prompts */
    size_t n_pieces, n_queries, n_asked, n_hashes;
    size_t piece_cap, query_cap, asked_cap, hash_cap;
};

struct choice_run {
    struct ram_task *task;
    const struct kind *kind;
    struct ram_documents documents, pool;
    struct ram_fewshot fewshot;
    struct ram_encoder *encoder;
    struct ram_prompt_ids ids; /* of the document at hand */
    struct batch batch;
    size_t first, n; /* documents of the batch */
    size_t n_computed, n_asked;
    double *acc, *acc_norm; /* [documents.n] */
    struct ram_buf log;
};

/* ---- a document's questions ------------------------------------------------------------- */

static int add_piece(struct batch *batch, const uint32_t *tokens, size_t n, size_t parent,
                     struct ram_err *err)
{
    struct ram_ids *ids = &batch->tokens;

    if (ram_grow(&batch->pieces, sizeof *batch->pieces, batch->n_pieces, &batch->piece_cap, err))
        return RAM_ENOMEM;
    batch->pieces[batch->n_pieces++] = (struct piece){ids->n, n, parent};
    for (size_t i = 0; i < n; i++) {
        if (ram_grow(&ids->items, sizeof *ids->items, ids->n, &ids->cap, err))
            return RAM_ENOMEM;
        ids->items[ids->n++] = tokens[i];
    }
    return RAM_OK;
}

/* About the newest span. */
static int add_query(struct batch *batch, size_t at, uint32_t token, struct ram_err *err)
{
    if (ram_grow(&batch->queries, sizeof *batch->queries, batch->n_queries, &batch->query_cap, err))
        return RAM_ENOMEM;
    batch->queries[batch->n_queries++] = (struct ram_query){batch->n_pieces - 1, at, token};
    return RAM_OK;
}

/* Tokens of choice i; *n of them. */
static const uint32_t *choice_ids(const struct ram_prompt_ids *ids, size_t i, size_t *n)
{
    const size_t begin = i ? ids->ends[i - 1] : 0;

    *n = ids->ends[i] - begin;
    return ids->choices.items + begin;
}

/* Tokens that the prompt loses before choice i: the model sees at most max_positions of both, the
 * last one excepted, which is only asked for. */
static size_t cut_for(const struct choice_run *run, size_t i)
{
    const size_t most = run->task->model->hp.max_positions + 1;
    size_t n;

    choice_ids(&run->ids, i, &n);
    n += run->ids.context.n;
    return n > most ? n - most : 0;
}

/* The choices of a document, from `choice` on, that see the prompt without its first `cut`. */
static int ask_group(struct choice_run *run, size_t choice, size_t n_choices, size_t cut,
                     struct asked *asked, struct ram_err *err)
{
    struct batch *batch = &run->batch;
    const size_t n_context = run->ids.context.n - cut, parent = batch->n_pieces;
    size_t n;

    int status = add_piece(batch, run->ids.context.items + cut, n_context, RAM_NO_PARENT, err);
    run->n_computed += n_context;
    for (size_t i = choice; !status && i < n_choices; i++) {
        if (cut_for(run, i) != cut)
            continue;
        asked[i].first = batch->n_queries;
        status = add_query(batch, n_context - 1, choice_ids(&run->ids, i, &n)[0], err);
    }
    for (size_t i = choice; !status && i < n_choices; i++) {
        const uint32_t *tokens = choice_ids(&run->ids, i, &n);
        if (cut_for(run, i) != cut)
            continue;
        asked[i].rest = batch->n_queries;
        asked[i].n_rest = n - 1;
        if (n > 1)
            status = add_piece(batch, tokens, n - 1, parent, err);
        for (size_t t = 1; !status && t < n; t++)
            status = add_query(batch, t - 1, tokens[t], err);
        run->n_computed += n - 1;
        run->n_asked += n_context + n - 1;
    }
    return status;
}

static int ask(struct choice_run *run, const struct ram_document *document, struct ram_err *err)
{
    const size_t most = run->task->model->hp.max_positions;
    struct batch *batch = &run->batch;
    struct asked asked[RAM_MAX_CHOICES] = {{0}};
    int status = RAM_OK;
    size_t n;

    for (size_t i = 0; i < document->n_choices; i++) {
        choice_ids(&run->ids, i, &n);
        if (n > most)
            return ram_fail(err, RAM_ERANGE,
                            "choice %zu has %zu tokens, but the model can hold only %zu", i, n,
                            most);
    }
    for (size_t i = 0; !status && i < document->n_choices; i++) {
        const size_t cut = cut_for(run, i);
        bool done = false;
        for (size_t k = 0; k < i; k++)
            done = done || cut_for(run, k) == cut;
        if (!done)
            status = ask_group(run, i, document->n_choices, cut, asked, err);
    }
    for (size_t i = 0; !status && i < document->n_choices; i++) {
        status =
            ram_grow(&batch->asked, sizeof *batch->asked, batch->n_asked, &batch->asked_cap, err);
        if (!status)
            batch->asked[batch->n_asked++] = asked[i];
    }
    return status;
}

static int check_ids(const struct choice_run *run, const struct ram_ids *ids, struct ram_err *err)
{
    const struct ram_model *model = run->task->model;

    return ram_tokenizer_check_ids(run->task->tokenizer, ids->items, ids->n, model->hp.vocab,
                                   model->ckpt->name, NULL, err);
}

static int add_document(struct choice_run *run, const struct ram_document *document,
                        struct ram_err *err)
{
    struct batch *batch = &run->batch;
    struct ram_buf prompt = {0};

    int status = ram_fewshot_draw(&run->fewshot, document, err);
    if (!status) {
        ram_prompt_write(&run->fewshot, document, &prompt);
        status = prompt.failed ? ram_fail(err, RAM_ENOMEM, "no memory for a prompt")
                               : ram_prompt_encode(run->encoder, run->task->tokenizer, &prompt,
                                                   document, &run->ids, err);
    }
    if (!status)
        status = check_ids(run, &run->ids.context, err);
    if (!status)
        status = check_ids(run, &run->ids.choices, err);
    if (!status)
        status = ask(run, document, err);
    if (!status)
        status =
            ram_grow(&batch->hashes, sizeof *batch->hashes, batch->n_hashes, &batch->hash_cap, err);
    if (!status)
        ram_sha256(prompt.data, prompt.size, batch->hashes[batch->n_hashes++]);
    ram_buf_release(&prompt);
    return status;
}

/* ---- answers ---------------------------------------------------------------------------- */

struct verdict {
    double likelihood[RAM_MAX_CHOICES];
    bool greedy[RAM_MAX_CHOICES];
    size_t best, best_norm;
};

/* The first of the highest wins, as numpy.argmax. A choice without characters cannot win. */
static void judge(const struct ram_document *document, const struct asked *asked,
                  const struct ram_answer *answers, struct verdict *out)
{
    double top = -INFINITY, top_norm = -INFINITY;

    *out = (struct verdict){.best = 0};
    for (size_t i = 0; i < document->n_choices; i++) {
        const struct ram_answer *rest = answers + asked[i].rest;
        const char *choice = document->choices[i];
        double sum = -answers[asked[i].first].nll;
        bool greedy = answers[asked[i].first].greedy;
        for (size_t t = 0; t < asked[i].n_rest; t++) {
            sum -= rest[t].nll;
            greedy = greedy && rest[t].greedy;
        }
        const size_t length = ram_text_length(choice, strlen(choice));
        const double norm = length ? sum / (double)length : -INFINITY;
        out->likelihood[i] = sum;
        out->greedy[i] = greedy;
        out->best = sum > top ? i : out->best;
        out->best_norm = norm > top_norm ? i : out->best_norm;
        top = fmax(top, sum);
        top_norm = fmax(top_norm, norm);
    }
}

static int log_sample(struct choice_run *run, size_t index, const struct verdict *verdict,
                      struct ram_err *err)
{
    const struct ram_document *document = &run->documents.items[index];
    struct ram_made responses = ram_made_array();
    char *text = NULL;

    for (size_t i = 0; i < document->n_choices; i++)
        ram_made_add(&responses, json_pack("[o, b]", ram_json_real(verdict->likelihood[i]),
                                           verdict->greedy[i]));
    json_t *sample =
        json_pack("{s:I, s:I, s:o, s:f, s:f, s:s}", "doc_id", (json_int_t)index, "target",
                  (json_int_t)document->gold, "filtered_resps", ram_made_take(&responses), "acc",
                  run->acc[index], "acc_norm", run->acc_norm[index], "prompt_hash",
                  run->batch.hashes[index - run->first]);
    const int status = ram_json_text(sample, 0, false, &text, err);
    json_decref(sample);
    if (status)
        return status;
    ram_buf_printf(&run->log, "%s\n", text);
    free(text);
    return RAM_OK;
}

static int count(struct choice_run *run, const struct ram_answer *answers, struct ram_err *err)
{
    const struct asked *asked = run->batch.asked;
    struct verdict verdict;
    int status = RAM_OK;

    for (size_t i = run->first; !status && i < run->first + run->n; i++) {
        const struct ram_document *document = &run->documents.items[i];
        judge(document, asked, answers, &verdict);
        asked += document->n_choices;
        run->acc[i] = verdict.best == document->gold;
        run->acc_norm[i] = verdict.best_norm == document->gold;
        if (run->task->opts->log_samples)
            status = log_sample(run, i, &verdict, err);
    }
    return status;
}

/* ---- batches ---------------------------------------------------------------------------- */

static int run_batch(struct choice_run *run, struct ram_err *err)
{
    const struct ram_task *task = run->task;
    const struct batch *batch = &run->batch;
    const struct ram_exec part =
        ram_exec_part(task->likelihood.exec, run->first, run->n, run->documents.n);
    const struct ram_likelihood_opts opts = {.f32 = task->likelihood.f32, .exec = &part};
    struct ram_span *spans = ram_calloc(batch->n_pieces, sizeof *spans, err);
    struct ram_answer *answers = ram_calloc(batch->n_queries, sizeof *answers, err);
    int status = spans && answers ? RAM_OK : RAM_ENOMEM;

    for (size_t i = 0; !status && i < batch->n_pieces; i++) {
        const struct piece *piece = &batch->pieces[i];
        spans[i] = (struct ram_span){batch->tokens.items + piece->begin, piece->n, piece->parent};
    }
    if (!status)
        status = ram_likelihood(task->model, NULL, spans, batch->n_pieces, batch->queries,
                                batch->n_queries, &opts, answers, err);
    if (!status)
        status = count(run, answers, err);
    free(spans);
    free(answers);
    return status;
}

static int run_all(struct choice_run *run, struct ram_err *err)
{
    struct batch *batch = &run->batch;
    int status = RAM_OK;

    for (size_t next = 0; !status && next < run->documents.n; run->first = next) {
        batch->tokens.n = batch->n_pieces = batch->n_queries = 0;
        batch->n_asked = batch->n_hashes = 0;
        run->first = next;
        while (!status && next < run->documents.n && batch->tokens.n < BATCH_TOKENS) {
            struct ram_err cause = {0};
            status = add_document(run, &run->documents.items[next++], &cause);
            if (status)
                ram_fail(err, status, "%s: document %zu: %s", run->task->opts->data, next - 1,
                         cause.message);
        }
        run->n = next - run->first;
        if (!status)
            status = run_batch(run, err);
    }
    return status;
}

/* ---- the task --------------------------------------------------------------------------- */

static int check_opts(const struct ram_task *task, size_t shots, struct ram_err *err)
{
    const struct ram_evaluate_opts *opts = task->opts;

    if (!opts->data)
        return ram_fail(err, RAM_EUSAGE, "this task needs its documents: --data FILE");
    if (task->reference)
        return ram_fail(
            err, RAM_EUSAGE,
            "task %s takes no reference; evaluate both models and compare the scores (ram "
            "compare)",
            opts->task);
    if (opts->shots < -1 || opts->shots > MAX_SHOTS)
        return ram_fail(err, RAM_EUSAGE, "%d examples before each question; expected 0 to %d",
                        opts->shots, MAX_SHOTS);
    if (shots && !opts->fewshot_data)
        return ram_fail(err, RAM_EUSAGE,
                        "%zu examples before each question come from the data set's training "
                        "split: give it with --fewshot-data FILE, or ask for none with --shots 0",
                        shots);
    return RAM_OK;
}

static int prepare(struct choice_run *run, size_t shots, struct ram_err *err)
{
    const struct ram_evaluate_opts *opts = run->task->opts;

    struct ram_documents_opts how = {
        .task = run->kind->task, .limit = opts->limit, .exec = run->task->likelihood.exec};

    int status = ram_documents_read(&run->documents, opts->data, &how, err);
    how.limit = 0;
    if (!status && shots)
        status = ram_documents_read(&run->pool, opts->fewshot_data, &how, err);
    if (!status)
        status = ram_fewshot_init(&run->fewshot, &run->pool, shots, run->kind->without_itself, err);
    if (!status)
        status = ram_encoder_new(&run->encoder, run->task->tokenizer, err);
    if (status)
        return status;
    run->acc = ram_calloc(run->documents.n, sizeof *run->acc, err);
    run->acc_norm = ram_calloc(run->documents.n, sizeof *run->acc_norm, err);
    struct ram_made settings = ram_made_into(run->task->settings);
    ram_made_put(&settings, "data", ram_json_string(opts->data));
    ram_made_put(&settings, "data_sha256", json_string(run->documents.sha256));
    ram_made_put(&settings, "shots", json_integer((json_int_t)shots));
    if (shots) {
        ram_made_put(&settings, "fewshot_data", ram_json_string(opts->fewshot_data));
        ram_made_put(&settings, "fewshot_data_sha256", json_string(run->pool.sha256));
        ram_made_put(&settings, "fewshot_seed", json_integer(RAM_FEWSHOT_SEED));
    }
    ram_made_put(&settings, "max_length",
                 json_integer((json_int_t)run->task->model->hp.max_positions));
    status = ram_made_end(&settings, err);
    return run->acc && run->acc_norm ? status : RAM_ENOMEM;
}

static void put_accuracy(const struct choice_run *run, const double *right, const char *name,
                         struct ram_made *results)
{
    const struct ram_mean mean = ram_mean_of(right, run->documents.n);
    struct ram_made each = ram_made_array();
    char key[32];

    for (size_t i = 0; i < run->documents.n; i++)
        ram_made_add(&each, json_integer((json_int_t)right[i]));
    ram_made_put(results, name, ram_json_real(mean.mean));
    snprintf(key, sizeof key, "%s_stderr", name);
    ram_made_put(results, key, ram_json_real(mean.stderr_mean));
    snprintf(key, sizeof key, "document_%s", name);
    ram_made_put(results, key, ram_made_take(&each));
}

static int report(struct choice_run *run, struct ram_err *err)
{
    struct ram_made results = ram_made_into(run->task->results);

    ram_made_put(&results, "documents", json_integer((json_int_t)run->documents.n));
    put_accuracy(run, run->acc, "acc", &results);
    put_accuracy(run, run->acc_norm, "acc_norm", &results);
    ram_made_put(&results, "tokens_computed", json_integer((json_int_t)run->n_computed));
    ram_made_put(&results, "tokens_asked", json_integer((json_int_t)run->n_asked));
    const int status = ram_made_end(&results, err);
    run->task->n_tokens = run->n_computed;
    if (status || !run->task->opts->log_samples)
        return status;
    if (run->log.failed)
        return ram_fail(err, RAM_ENOMEM, "no memory for the samples");
    return ram_file_write(run->task->opts->log_samples, run->log.data, run->log.size, false, err);
}

static void release(struct choice_run *run)
{
    ram_documents_release(&run->documents);
    ram_documents_release(&run->pool);
    ram_fewshot_release(&run->fewshot);
    ram_encoder_free(run->encoder);
    ram_prompt_ids_release(&run->ids);
    ram_ids_release(&run->batch.tokens);
    free(run->batch.pieces);
    free(run->batch.queries);
    free(run->batch.asked);
    free(run->batch.hashes);
    free(run->acc);
    free(run->acc_norm);
    ram_buf_release(&run->log);
    free(run);
}

int ram_task_choice(struct ram_task *task, struct ram_err *err)
{
    const struct ram_evaluate_opts *opts = task->opts;
    const struct kind *kind = &kinds[strcmp(opts->task, kinds[0].name) ? 1 : 0];
    const size_t shots = opts->shots > 0 ? (size_t)opts->shots : opts->shots ? 0 : kind->shots;

    int status = check_opts(task, shots, err);
    if (status)
        return status;
    struct choice_run *run = ram_calloc(1, sizeof *run, err);
    if (!run)
        return RAM_ENOMEM;
    run->task = task;
    run->kind = kind;
    status = prepare(run, shots, err);
    if (!status)
        status = run_all(run, err);
    if (!status)
        status = report(run, err);
    release(run);
    return status;
}
