/* evaluate.c - model + task -> score; see task.h. */
#include "base/cpu.h"
#include "base/hash.h"
#include "evaluate/task.h"
#include "record/score.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name, *what;
    ram_task_fn *run;
} tasks[] = {
    {"wikitext", "perplexity of the test split of WikiText-2", ram_task_windows},
    {"text", "perplexity of a text", ram_task_windows},
    {"arc_challenge", "accuracy on the questions of ARC-Challenge", ram_task_choice},
    {"hellaswag", "accuracy on the questions of HellaSwag", ram_task_choice},
};
enum { N_TASKS = sizeof tasks / sizeof *tasks };

const char *ram_task_at(size_t i, const char **what)
{
    if (i >= N_TASKS)
        return NULL;
    *what = tasks[i].what;
    return tasks[i].name;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t peak_memory(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage))
        return 0;
#if defined(__APPLE__)
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

static int describe_model(struct ram_score *score, const struct ram_model *model,
                          struct ram_score_model *out, struct ram_err *err)
{
    const struct ram_ckpt *ckpt = model->ckpt;
    struct ram_buf digests = {0};
    char digest[RAM_SHA256_HEX];

    for (size_t i = 0; i < ckpt->n_files; i++)
        ram_buf_puts(&digests, ckpt->files[i].header_sha256);
    ram_sha256(digests.data, digests.size, digest);
    ram_buf_release(&digests);
    out->bytes = ram_model_bytes(model);
    out->effective_bits = (double)out->bytes * 8 / (double)ram_model_parameters(model);
    out->path = ram_arena_strdup(&score->arena, ckpt->dir, err);
    out->header_sha256 = ram_arena_strdup(&score->arena, digest, err);
    return err->status;
}

static int describe_run(struct ram_score *score, const struct ram_task *task, struct ram_err *err)
{
    const struct ram_cpu *cpu = ram_cpu();
    const struct ram_evaluate_opts *opts = task->opts;
    struct ram_made settings = ram_made_into(score->settings);
    struct ram_made machine = ram_made_into(score->machine);

    ram_made_put(&settings, "precision", json_string(opts->f32 ? "f32" : "bf16"));
    if (opts->limit)
        ram_made_put(&settings, "limit", json_integer((json_int_t)opts->limit));
    ram_made_put(&machine, "cpu", ram_json_string(cpu->name));
    ram_made_put(&machine, "kernel", json_string(cpu->level));
    ram_made_put(&machine, "threads", json_integer(ram_pool_threads(task->likelihood.exec->pool)));
    score->version = RAM_VERSION;
    score->task = ram_arena_strdup(&score->arena, opts->task, err);
    int status = ram_made_end(&settings, err) | ram_made_end(&machine, err);
    if (status || !score->task)
        return RAM_ENOMEM;
    status = describe_model(score, task->model, &score->model, err);
    if (!status && task->reference)
        status = describe_model(score, task->reference, &score->reference, err);
    return status;
}

static int find_task(const char *name, ram_task_fn **out, struct ram_err *err)
{
    struct ram_buf known = {0};

    for (size_t i = 0; i < N_TASKS; i++) {
        if (name && !strcmp(name, tasks[i].name)) {
            *out = tasks[i].run;
            ram_buf_release(&known);
            return RAM_OK;
        }
        ram_buf_printf(&known, "%s%s", i ? ", " : "", tasks[i].name);
    }
    const int status = ram_fail(err, RAM_EUSAGE, "no task \"%s\"; there are: %s", name ? name : "",
                                known.data ? known.data : "");
    ram_buf_release(&known);
    return status;
}

int ram_evaluate_models(const struct ram_model *model, const struct ram_model *reference,
                        const struct ram_evaluate_opts *opts, const struct ram_exec *exec,
                        struct ram_score **out, struct ram_err *err)
{
    const double start = now();
    struct ram_task task = {.model = model, .reference = reference, .opts = opts};
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_score *score = NULL;
    ram_task_fn *answer = NULL;

    int status = find_task(opts->task, &answer, err);
    if (!status && opts->log_samples && access(opts->log_samples, F_OK) == 0)
        status = ram_fail(err, RAM_EEXIST, "%s: exists; samples are not written over it",
                          opts->log_samples);
    if (!status)
        status = ram_tokenizer_read(&tokenizer, model->ckpt->dir, err);
    if (!status)
        status = ram_score_new(&score, err);
    if (!status) {
        task.tokenizer = tokenizer;
        task.settings = score->settings;
        task.results = score->results;
        task.likelihood = (struct ram_likelihood_opts){.f32 = opts->f32, .exec = exec};
        status = answer(&task, err);
    }
    if (!status)
        status = describe_run(score, &task, err);
    if (!status) {
        score->seconds = now() - start;
        score->tokens_per_second = (double)task.n_tokens / score->seconds;
        score->peak_memory_bytes = peak_memory();
        *out = score;
        score = NULL;
    }
    ram_score_free(score);
    ram_tokenizer_free(tokenizer);
    return status;
}
