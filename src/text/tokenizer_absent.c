/*
 * tokenizer_absent.c - what to say of a directory without a tokenizer that can be read: the files
 * of other kinds of tokenizer that lie there, by the names under which models are published.
 */
#include "text/tokenizer_parts.h"

#include "base/buf.h"
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAMES = 16 };

static const struct kind {
    const char *name; /* a name that begins with '*' is an ending */
    const char *what; /* NULL: a part of a tokenizer, which is nothing alone */
} kinds[] = {
    {"tekken.json", "Mistral's tekken"},
    {"*.tiktoken", "tiktoken"},
    {"tiktoken.model", "tiktoken"},
    {"tokenizer.model", "SentencePiece"}, /* or tiktoken: its first bytes tell */
    {"tokenizer.model.v3", "SentencePiece"},
    {"spiece.model", "SentencePiece"},
    {"sentencepiece.bpe.model", "SentencePiece"},
    {"spm.model", "SentencePiece"},
    {"vocab.txt", "WordPiece (BERT)"},
    {"vocab.json", NULL},
    {"merges.txt", NULL},
    {"tokenizer_config.json", NULL},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *kind_of(const char *file)
{
    const size_t n = strlen(file);

    for (size_t i = 0; i < N_KINDS; i++) {
        const char *name = kinds[i].name;
        const size_t ending = strlen(name) - 1;
        if (!strcmp(name, file) ||
            (*name == '*' && n > ending && !strcmp(file + n - ending, name + 1)))
            return &kinds[i];
    }
    return NULL;
}

/* A line of base64 and a number is tiktoken's; SentencePiece is binary. */
static bool looks_like_tiktoken(const char *dir, const char *file)
{
    struct ram_err ignored = {0};
    char *path = ram_path_join(dir, file, &ignored), start[64] = "";
    FILE *in = path ? fopen(path, "rb") : NULL;
    const size_t n = in ? fread(start, 1, sizeof start - 1, in) : 0;

    if (in)
        fclose(in);
    free(path);
    start[n] = '\0';
    const size_t word = strspn(start, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789+/=");
    return word > 0 && start[word] == ' ' && start[word + 1] >= '0' && start[word + 1] <= '9';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of files that belong to tokenizers, sorted; *n of them. */
static int list_files(const char *dir, char *names[MAX_NAMES], size_t *n, struct ram_err *err)
{
    DIR *entries = opendir(dir);
    struct dirent *entry;
    int status = RAM_OK;

    *n = 0;
    if (!entries)
        return ram_fail_errno(err, "%s", dir);
    while (!status && *n < MAX_NAMES && (entry = readdir(entries)))
        if (kind_of(entry->d_name)) {
            names[*n] = ram_strdup(entry->d_name, err);
            status = names[*n] ? RAM_OK : RAM_ENOMEM;
            *n += !status;
        }
    closedir(entries);
    qsort(names, *n, sizeof *names, by_name);
    return status;
}

int ram_tokenizer_absent(const char *dir, struct ram_err *err)
{
    char *names[MAX_NAMES];
    struct ram_buf found = {0};
    const char *what = NULL;
    size_t n;

    int status = list_files(dir, names, &n, err);
    for (size_t i = 0; !status && i < n; i++) {
        const struct kind *kind = kind_of(names[i]);
        ram_buf_printf(&found, "%s%s", i ? ", " : "", names[i]);
        if (kind->what && !what)
            what = !strcmp(kind->what, "SentencePiece") && looks_like_tiktoken(dir, names[i])
                       ? "tiktoken"
                       : kind->what;
    }
    if (!status && what)
        status = ram_fail(err, RAM_EUNSUPPORTED,
                          "%s: no tokenizer.json; the directory has %s, and %s tokenizers are not "
                          "supported: add the tokenizer.json of the same model, if it is a "
                          "byte-level BPE",
                          dir, found.data, what);
    else if (!status && n)
        status = ram_fail(err, RAM_EFORMAT,
                          "%s: no tokenizer.json, nor vocab.json with merges.txt; the directory "
                          "has only %s: copy the missing files from the original model",
                          dir, found.data);
    else if (!status)
        status = ram_fail(err, RAM_EFORMAT,
                          "%s: no tokenizer.json, nor vocab.json with merges.txt, nor any other "
                          "file of a tokenizer: copy them from the original model",
                          dir);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    ram_buf_release(&found);
    return status;
}
