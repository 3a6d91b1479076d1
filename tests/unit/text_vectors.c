/*
 * A tokenizer of Qwen2's kind on texts in many scripts, with the tokens that transformers makes of
 * them: tests/data/tokenizer, which tests/data/tokenizer.py made; and, where the shared data is
 * there, Qwen2.5's own vocabulary with the vectors that llama.cpp publishes, and WikiText-2.
 */
#include "text/tokenizer.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *const files[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};

/* Paths are below `root`; the files of a tokenizer are "<tokenizer><name of files>". */
struct source {
    char root[512];
    const char *tokenizer, *texts, *separator, *ids, *long_text;
    size_t n_texts, n_changed; /* changed: by NFC, so that they do not come back */
    size_t n_tokens;           /* of long_text */
    size_t spaces;             /* that make one token; 8 times "a" do, too */
};

static struct source own = {.tokenizer = "",
                            .texts = "texts.txt",
                            .separator = "\n__next__\n",
                            .ids = "ids.txt",
                            .long_text = "texts.txt",
                            .n_texts = 49,
                            .n_changed = 2,
                            .n_tokens = 824,
                            .spaces = 16};
static struct source qwen = {.tokenizer = "tokenizers/qwen2.5_",
                             .texts = "tokenizers/ggml-vocab-qwen2.gguf.inp",
                             .separator = "\n__ggml_vocab_test__\n",
                             .ids = "tokenizers/ggml-vocab-qwen2.gguf.out",
                             .long_text = "wikitext2/wiki.test.raw",
                             .n_texts = 47,
                             .n_tokens = 299078,
                             .spaces = 128};

static char dir[] = "/tmp/ram-tokenizer-XXXXXX";

static int find_data(void **state)
{
    const char *shared = getenv("RAM_SHARED"), *source = getenv("RAM_SOURCE");
    (void)state;

    snprintf(own.root, sizeof own.root, "%s/tests/data/tokenizer", source ? source : ".");
    if (shared)
        snprintf(qwen.root, sizeof qwen.root, "%s/data", shared);
    else
        snprintf(qwen.root, sizeof qwen.root, "%s/../shared/data", source ? source : ".");
    return mkdtemp(dir) ? 0 : -1;
}

static int clear_data(void **state)
{
    (void)state;
    return rmdir(dir);
}

static bool is_there(const struct source *s)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%svocab.json", s->root, s->tokenizer);
    return access(path, R_OK) == 0;
}

static struct ram_tokenizer *open_tokenizer(const struct source *s)
{
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_err err = {0};
    char path[1024], link[256];

    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s%s", s->root, s->tokenizer, files[i]);
        char *absolute = realpath(path, NULL);
        assert_non_null(absolute);
        snprintf(link, sizeof link, "%s/%s", dir, files[i]);
        assert_int_equal(symlink(absolute, link), 0);
        free(absolute);
    }
    const int status = ram_tokenizer_read(&tokenizer, dir, &err);
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(link, sizeof link, "%s/%s", dir, files[i]);
        unlink(link);
    }
    if (status)
        fail_msg("%s", err.message);
    return tokenizer;
}

static char *read_file(const struct source *s, const char *name, size_t *size)
{
    struct ram_err err = {0};
    char path[1024], *text = NULL;

    snprintf(path, sizeof path, "%s/%s", s->root, name);
    if (ram_file_read(path, 1 << 28, &text, size, &err))
        fail_msg("%s", err.message);
    return text;
}

/* Are ids the numbers at the start of *line, to its end? Moves to the next line. */
static bool same_ids(const struct ram_ids *ids, char **line)
{
    char *p = *line;
    size_t n = 0;
    bool same = true;

    while (*p && *p != '\n') {
        char *end;
        const unsigned long id = strtoul(p, &end, 10);
        if (end == p) { /* blanks before the line's end */
            p++;
            continue;
        }
        same &= n < ids->n && ids->items[n] == id;
        n++;
        p = end;
    }
    *line = *p ? p + 1 : p;
    return same && n == ids->n;
}

/* Do the tokens decode to the text? */
static bool comes_back(const struct ram_tokenizer *tokenizer, const struct ram_ids *ids,
                       const char *text, size_t size)
{
    struct ram_buf back = {0};

    ram_buf_puts(&back, "");
    ram_tokenizer_decode(tokenizer, ids->items, ids->n, RAM_DECODE_ALL, &back);
    const bool same = back.size == size && !memcmp(back.data, text, size);
    ram_buf_release(&back);
    return same;
}

static void check_vectors(const struct source *s)
{
    struct ram_tokenizer *tokenizer = open_tokenizer(s);
    struct ram_encoder *encoder = NULL;
    struct ram_err err = {0};
    size_t size, n = 0, n_good = 0, n_changed = 0;

    char *texts = read_file(s, s->texts, &size), *expected = read_file(s, s->ids, &size);
    char *line = expected;
    assert_int_equal(ram_encoder_new(&encoder, tokenizer, &err), RAM_OK);
    for (char *text = texts; text; n++) {
        struct ram_ids ids = {0};
        char *end = strstr(text, s->separator);
        const size_t length = end ? (size_t)(end - text) : strlen(text);
        assert_int_equal(ram_encoder_run(encoder, text, length, RAM_ENCODE_PLAIN, &ids, &err),
                         RAM_OK);
        if (same_ids(&ids, &line))
            n_good++;
        else
            print_message("differs: \"%.*s\"\n", (int)length, text);
        n_changed += !comes_back(tokenizer, &ids, text, length);
        ram_ids_release(&ids);
        text = end ? end + strlen(s->separator) : NULL;
    }
    assert_int_equal(n, s->n_texts);
    assert_int_equal(n_good, s->n_texts);
    assert_int_equal(n_changed, s->n_changed);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
    free(texts);
    free(expected);
}

static void vectors(void **state)
{
    (void)state;
    check_vectors(&own);
    if (is_there(&qwen))
        check_vectors(&qwen);
}

static void check_count(const struct source *s)
{
    struct ram_tokenizer *tokenizer = open_tokenizer(s);
    struct ram_encoder *encoder = NULL;
    struct ram_ids ids = {0};
    struct ram_err err = {0};
    size_t size;

    char *text = read_file(s, s->long_text, &size);
    assert_int_equal(ram_encoder_new(&encoder, tokenizer, &err), RAM_OK);
    for (size_t round = 1; round <= 2; round++) { /* the second time from a full cache */
        assert_int_equal(ram_encoder_run(encoder, text, size, RAM_ENCODE_PLAIN, &ids, &err),
                         RAM_OK);
        assert_int_equal(ids.n, s->n_tokens * round);
    }
    assert_memory_equal(ids.items, ids.items + s->n_tokens, s->n_tokens * sizeof *ids.items);
    ids.n = s->n_tokens;
    assert_int_equal(comes_back(tokenizer, &ids, text, size), s->n_changed == 0);
    ram_ids_release(&ids);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
    free(text);
}

static void long_texts(void **state)
{
    (void)state;
    check_count(&own);
    if (is_there(&qwen))
        check_count(&qwen);
}

/* There is a token for a run of spaces and for 8 a's, and merges lead to both. */
static void check_long_words(const struct source *s)
{
    enum { SIZE = 10 << 20 };
    struct ram_tokenizer *tokenizer = open_tokenizer(s);
    struct ram_encoder *encoder = NULL;
    struct ram_err err = {0};
    char *text = malloc(SIZE);

    assert_non_null(text);
    assert_int_equal(ram_encoder_new(&encoder, tokenizer, &err), RAM_OK);
    for (int round = 0; round < 2; round++) {
        struct ram_ids ids = {0};
        memset(text, round ? 'a' : ' ', SIZE);
        assert_int_equal(ram_encoder_run(encoder, text, SIZE, RAM_ENCODE_PLAIN, &ids, &err),
                         RAM_OK);
        assert_int_equal(ids.n, SIZE / (round ? 8 : s->spaces));
        ram_ids_release(&ids);
    }
    free(text);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
}

static void long_words(void **state)
{
    (void)state;
    check_long_words(&own);
    if (is_there(&qwen))
        check_long_words(&qwen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests_name("text/vectors", tests, find_data, clear_data);
}
