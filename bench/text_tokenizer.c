/*
 * Processor time to load a tokenizer of 151,643 tokens and to encode text with it: English as it
 * comes, with an empty cache of words first, and single words of ten megabytes.
 *
 *     bench_text_tokenizer                 Qwen2.5 and wiki.test.raw of the shared data
 *     bench_text_tokenizer MODEL FILE...   any model's directory, any texts
 */
#include "base/file.h"
#include "base/rng.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 9, LONG_WORD = 10 << 20, MAX_FILE = 1 << 30 };

/* Processor time in seconds: all of it is computing in one thread. */
static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first time the cache of words is empty. */
static int encode(const struct ram_tokenizer *tokenizer, const char *label, const char *text,
                  size_t size, int repeats, struct ram_err *err)
{
    double warm[REPEATS], first = 0;
    struct ram_encoder *encoder = NULL;
    struct ram_ids ids = {0};

    int status = ram_encoder_new(&encoder, tokenizer, err);
    for (int i = 0; i < repeats && !status; i++) {
        ids.n = 0;
        const double start = now();
        status = ram_encoder_run(encoder, text, size, RAM_ENCODE_PLAIN, &ids, err);
        warm[i] = now() - start;
        if (!i)
            first = warm[0];
    }
    if (!status) {
        qsort(warm, (size_t)repeats, sizeof *warm, by_value);
        const double mb = (double)size / 1e6;
        printf("%-28s %8.2f MB %8zu tokens   first %6.1f MB/s   median %6.1f   best %6.1f\n", label,
               mb, ids.n, mb / first, mb / warm[repeats / 2], mb / warm[0]);
    }
    ram_ids_release(&ids);
    ram_encoder_free(encoder);
    return status;
}

static int encode_file(const struct ram_tokenizer *tokenizer, const char *path, struct ram_err *err)
{
    const char *slash = strrchr(path, '/');
    char *text = NULL;
    size_t size;

    int status = ram_file_read(path, MAX_FILE, &text, &size, err);
    if (!status)
        status = encode(tokenizer, slash ? slash + 1 : path, text, size, REPEATS, err);
    free(text);
    return status;
}

/* One word of random letters, of one letter, of white space. */
static int encode_long_words(const struct ram_tokenizer *tokenizer, struct ram_err *err)
{
    const struct ram_rng rng = ram_rng_for(42, "letters");
    char *text = malloc(LONG_WORD);
    int status = text ? RAM_OK : RAM_ENOMEM;

    for (size_t i = 0; i < LONG_WORD && !status; i++)
        text[i] = (char)('a' + ram_rng_u64(rng, i) % 26);
    if (!status)
        status = encode(tokenizer, "a word of random letters", text, LONG_WORD, 1, err);
    if (!status) {
        memset(text, 'a', LONG_WORD);
        status = encode(tokenizer, "a word of one letter", text, LONG_WORD, 1, err);
    }
    if (!status) {
        memset(text, ' ', LONG_WORD);
        status = encode(tokenizer, "white space", text, LONG_WORD, 1, err);
    }
    free(text);
    return status;
}

/* "a b" of merges.txt as ["a", "b"] */
static void add_merge(struct ram_buf *json, const char *line, size_t size)
{
    ram_buf_puts(json, json->data[json->size - 1] == '[' ? "[\"" : ", [\"");
    for (size_t i = 0; i < size; i++) {
        if (line[i] == ' ')
            ram_buf_puts(json, "\", \"");
        else if (line[i] == '"' || line[i] == '\\')
            ram_buf_printf(json, "\\%c", line[i]);
        else
            ram_buf_add(json, line + i, 1);
    }
    ram_buf_puts(json, "\"]");
}

/* A tokenizer.json of the shared vocabulary, in the newer and longer spelling. */
static int assemble(struct ram_buf *json, const char *shared, struct ram_err *err)
{
    char path[512], *vocab = NULL, *merges = NULL;
    size_t vocab_size = 0, merges_size = 0;

    snprintf(path, sizeof path, "%s/data/tokenizers/qwen2.5_vocab.json", shared);
    int status = ram_file_read(path, MAX_FILE, &vocab, &vocab_size, err);
    snprintf(path, sizeof path, "%s/data/tokenizers/qwen2.5_merges.txt", shared);
    if (!status)
        status = ram_file_read(path, MAX_FILE, &merges, &merges_size, err);
    if (!status) {
        ram_buf_puts(json,
                     "{\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": "
                     "\"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
                     "{\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
                     "\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r"
                     "\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": \"Isolated\"}, {\"type\": "
                     "\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}, "
                     "\"model\": {\"type\": \"BPE\", \"vocab\": ");
        ram_buf_add(json, vocab, vocab_size);
        ram_buf_puts(json, ", \"merges\": [");
        for (const char *line = merges, *end; *line; line = end + (*end == '\n')) {
            end = strchrnul(line, '\n');
            if (end > line && strncmp(line, "#version", 8) != 0)
                add_merge(json, line, (size_t)(end - line));
        }
        ram_buf_puts(json, "]}}");
    }
    free(vocab);
    free(merges);
    return status;
}

static int run_shared(struct ram_err *err)
{
    const char *shared = getenv("RAM_SHARED");
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_buf json = {0};
    char path[512];

    shared = shared ? shared : "../shared";
    if (assemble(&json, shared, err)) {
        printf("SKIP: %s\n", err->message);
        ram_buf_release(&json);
        return RAM_OK;
    }
    const double start = now();
    int status = ram_tokenizer_parse(&tokenizer, json.data, json.size, "bench", err);
    if (!status)
        printf("tokenizer.json of %.1f MB loaded in %.3f s\n", (double)json.size / 1e6,
               now() - start);
    snprintf(path, sizeof path, "%s/data/wikitext2/wiki.test.raw", shared);
    if (!status)
        status = encode_file(tokenizer, path, err);
    if (!status)
        status = encode_long_words(tokenizer, err);
    ram_tokenizer_free(tokenizer);
    ram_buf_release(&json);
    return status;
}

static int run_files(char **args, int n, struct ram_err *err)
{
    struct ram_tokenizer *tokenizer = NULL;

    const double start = now();
    int status = ram_tokenizer_read(&tokenizer, args[0], err);
    if (!status)
        printf("%s loaded in %.3f s\n", args[0], now() - start);
    for (int i = 1; i < n && !status; i++)
        status = encode_file(tokenizer, args[i], err);
    ram_tokenizer_free(tokenizer);
    return status;
}

int main(int argc, char **argv)
{
    struct ram_err err = {0};
    const int status = argc > 1 ? run_files(argv + 1, argc - 1, &err) : run_shared(&err);

    if (status)
        fprintf(stderr, "%s\n", err.message);
    return status ? 1 : 0;
}
