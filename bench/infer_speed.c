/*
 * infer_speed.c - what scoring windows of 2,048 tokens costs, on a random checkpoint of
 * Qwen3-0.6B's true shapes (28 layers, vocabulary of 151,936), beside other programs.
 *
 *     bench_infer_speed [windows [threads]]
 *     RAM_RIVAL_PYTHON=python3 RAM_RIVAL_LLAMA=llama-perplexity bench_infer_speed
 *
 * The checkpoint takes 1.2 GB in TMPDIR while this runs; RAM_BENCH_MODEL names one to use instead.
 * python3 needs torch and transformers, and gguf and numpy to write the file that llama.cpp reads;
 * without the variables these lines are left out. CPU is user and system time of all threads,
 * which other processes change less than the time on the wall. Of llama-perplexity what a further
 * window takes is counted, and it computes the logits of half of a window's positions only.
 */
#include "base/rng.h"
#include "infer/likelihood.h"
#include "peak.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LENGTH = 2048 };

static const char config[] =
    "{\"model_type\": \"qwen3\", \"architectures\": [\"Qwen3ForCausalLM\"], \"hidden_size\": 1024, "
    "\"intermediate_size\": 3072, \"num_hidden_layers\": 28, \"num_attention_heads\": 16, "
    "\"num_key_value_heads\": 8, \"head_dim\": 128, \"vocab_size\": 151936, "
    "\"max_position_embeddings\": 40960, \"rms_norm_eps\": 1e-6, \"rope_theta\": 1000000, "
    "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"torch_dtype\": \"bfloat16\"}";

struct cost {
    double cpu, wall; /* seconds */
};

static struct cost now(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (struct cost){.cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                                1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec),
                         .wall = ram_seconds()};
}

static struct cost since(struct cost start, int who)
{
    const struct cost end = now(who);
    return (struct cost){end.cpu - start.cpu, end.wall - start.wall};
}

static void check(int status, const struct ram_err *err)
{
    if (status) {
        fprintf(stderr, "%s\n", err->message);
        exit(1);
    }
}

/* ---- this project -------------------------------------------------------------------------- */

static struct cost run(const struct ram_model *model, const struct ram_model *reference,
                       size_t windows, const struct ram_likelihood_opts *opts)
{
    const struct ram_rng rng = ram_rng_for(1, "bench");
    const size_t n = windows * (LENGTH - 1);
    struct ram_err err = {0};
    uint32_t *tokens = ram_calloc(windows * LENGTH, sizeof *tokens, &err);
    struct ram_span *spans = ram_calloc(windows, sizeof *spans, &err);
    struct ram_query *queries = ram_calloc(n, sizeof *queries, &err);
    struct ram_answer *answers = ram_calloc(n, sizeof *answers, &err);

    check(err.status, &err);
    for (size_t i = 0; i < windows * LENGTH; i++)
        tokens[i] = (uint32_t)(ram_rng_u64(rng, i) % model->hp.vocab);
    for (size_t w = 0; w < windows; w++)
        spans[w] = (struct ram_span){tokens + w * LENGTH, LENGTH, RAM_NO_PARENT};
    for (size_t i = 0; i < n; i++) {
        const size_t w = i / (LENGTH - 1), t = i % (LENGTH - 1);
        queries[i] = (struct ram_query){w, t, tokens[w * LENGTH + t + 1]};
    }
    const struct cost start = now(RUSAGE_SELF);
    check(ram_likelihood(model, reference, spans, windows, queries, n, opts, answers, &err), &err);
    const struct cost all = since(start, RUSAGE_SELF);
    free(tokens);
    free(spans);
    free(queries);
    free(answers);
    return (struct cost){all.cpu / (double)windows, all.wall / (double)windows};
}

/* Products of a window: every weight of a linear layer with every token, and of the scores and
 * values of attention the half below the diagonal. */
static double window_flops(const struct ram_hparams *hp)
{
    const double hidden = (double)hp->hidden, heads = (double)(hp->n_heads * hp->qk_dim);
    const double keys = (double)(hp->n_kv_heads * hp->qk_dim), n = LENGTH;
    const double layer = hidden * (2 * heads + 2 * keys + 3 * (double)hp->mlp_hidden);
    const double attention = 2 * heads * n / 2;

    return 2 * n * ((double)hp->n_layers * (layer + attention) + hidden * (double)hp->vocab);
}

/* Runs a command of the shell; 0 if it succeeded. */
__attribute__((format(printf, 1, 2))) static int shell(const char *format, ...)
{
    char *command = NULL;
    va_list args;

    va_start(args, format);
    const int n = vasprintf(&command, format, args);
    va_end(args);
    const int code = n < 0 ? -1 : system(command);
    if (n >= 0)
        free(command);
    return code;
}

/* ---- the others ---------------------------------------------------------------------------- */

static const char *source_root(void)
{
    const char *root = getenv("RAM_SOURCE");
    return root ? root : ".";
}

static bool torch(const char *model, const char *dir, size_t windows, unsigned threads,
                  struct cost *out)
{
    const char *python = getenv("RAM_RIVAL_PYTHON");

    if (!python || shell("'%s' '%s/bench/infer_rival.py' torch '%s' %zu %d %u >'%s/torch'", python,
                         source_root(), model, windows, LENGTH, threads, dir))
        return false;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/torch", dir);
    FILE *file = fopen(path, "r");
    const bool good = file && fscanf(file, "%lf %lf", &out->cpu, &out->wall) == 2;
    if (file)
        fclose(file);
    return good;
}

static bool llama_run(const char *dir, size_t windows, unsigned threads, struct cost *out)
{
    const struct cost start = now(RUSAGE_CHILDREN);
    const int code = shell("'%s' -m '%s/model.gguf' -f '%s/text' -c %d -b %d --chunks %zu -t %u "
                           ">/dev/null 2>&1",
                           getenv("RAM_RIVAL_LLAMA"), dir, dir, LENGTH, LENGTH, windows, threads);
    *out = since(start, RUSAGE_CHILDREN);
    return code == 0;
}

/* The text is this project's own documentation: tokenizing it is no matter. */
static bool llama(const char *model, const char *dir, size_t windows, unsigned threads,
                  struct cost *out)
{
    const char *python = getenv("RAM_RIVAL_PYTHON"), *root = source_root();
    struct cost one;

    if (!python || !getenv("RAM_RIVAL_LLAMA") ||
        shell("cat '%s'/*.md '%s'/docs/*.md >'%s/text'", root, root, dir) ||
        shell("'%s' '%s/bench/infer_rival.py' gguf '%s' '%s/examples/tiny-qwen3' '%s/model.gguf' "
              ">/dev/null",
              python, root, model, root, dir) ||
        !llama_run(dir, 1, threads, &one) || !llama_run(dir, 1 + windows, threads, out))
        return false;
    out->cpu = (out->cpu - one.cpu) / (double)windows;
    out->wall = (out->wall - one.wall) / (double)windows;
    return true;
}

/* ---- the table ----------------------------------------------------------------------------- */

/* bench_make_checkpoint lies beside this program. */
static void make_model(const char *self, const char *dir, const char *model)
{
    const char *slash = strrchr(self, '/');
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/qwen3-0.6b.json", dir);
    FILE *file = fopen(path, "w");
    if (!file || fputs(config, file) < 0 || fclose(file)) {
        perror(path);
        exit(1);
    }
    if (shell("'%.*s/bench_make_checkpoint' '%s' '%s' >&2", slash ? (int)(slash - self) : 1,
              slash ? self : ".", path, model)) {
        fprintf(stderr, "bench_make_checkpoint failed\n");
        exit(1);
    }
}

static void print(const char *what, struct cost c, struct cost ours)
{
    printf("%-34s %8.2f %8.2f %8.2f\n", what, c.cpu, c.wall, c.cpu / ours.cpu);
    fflush(stdout);
}

static void measure(const char *path, const char *dir, size_t windows, unsigned threads)
{
    struct ram_exec exec;
    struct ram_likelihood_opts opts = {.exec = &exec};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    struct cost c;

    check(ram_ckpt_open(&ckpt, path, &err), &err);
    check(ram_model_open(&model, ckpt, &err), &err);
    check(ram_exec_begin(&exec, &(struct ram_run){.threads = threads}, &err), &err);
    threads = ram_pool_threads(exec.pool);
    const double bf16 = ram_peak_bf16(), work = window_flops(&model->hp) / 1e9;
    printf(
        "%s; %zu windows of %d tokens, %u threads; peak of a core: bf16 %.0f, f32 %.0f GFLOP/s\n",
        ram_cpu()->name, windows, LENGTH, threads, bf16, ram_peak_f32());
    printf("%-34s %8s %8s %8s\n", "seconds a window", "CPU", "wall", "CPU / ram");
    const struct cost ours = run(model, NULL, windows, &opts);
    print("ram, bf16 products", ours, ours);
    printf("    %.0f GFLOP/s a core, %.0f %% of the peak with everything that is no product\n",
           work / ours.cpu, 100 * work / ours.cpu / bf16);
    print("ram --reference (the same model)", run(model, model, windows, &opts), ours);
    opts.f32 = true;
    print("ram --precision f32", run(model, NULL, windows, &opts), ours);
    if (torch(path, dir, windows, threads, &c))
        print("transformers, torch in bf16", c, ours);
    if (llama(path, dir, windows, threads, &c))
        print("llama-perplexity, bf16", c, ours);
    ram_exec_end(&exec);
    ram_model_close(model);
    ram_ckpt_close(ckpt);
}

int main(int argc, char **argv)
{
    const char *given = getenv("RAM_BENCH_MODEL"), *tmp = getenv("TMPDIR");
    const unsigned long windows = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    const unsigned threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    char dir[1024], made[1100];

    if (argc > 3 || windows < 1 || windows > 1000 || threads > 1024) {
        fprintf(stderr, "usage: %s [windows [threads]]\n", argv[0]);
        return 2;
    }
    snprintf(dir, sizeof dir, "%s/ram-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    snprintf(made, sizeof made, "%s/model", dir);
    if (!given)
        make_model(argv[0], dir, made);
    measure(given ? given : made, dir, windows, threads);
    return shell("rm -rf '%s'", dir) != 0;
}
