/*
 * carry.c - the files of the source that an output takes over as they are.
 *
 * The names were read off the tokenizers of transformers 5 (vocab_files_names of every model),
 * mistral_common, and published repositories. Weights are never carried, whatever they are called.
 */
#include "convert/conversion.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A tokenizer of 250,000 tokens has 35 MB; nothing else here is nearly as large. */
enum { MAX_SIZE = 512 << 20, MAX_FILES = 1000 };

static const struct pattern {
    const char *name;
    bool tokenizer; /* such a file alone is one, or is part of one that has no other */
} patterns[] = {
    {"tokenizer.json", true},
    {"tokenizer.*.json", false}, /* for older versions of transformers */
    {"tokenizer_config.json", false},
    {"tokenizer_*.json", false},
    {"tekken*.json", true},
    {"*.tiktoken", true},
    {"*.model", true}, /* tokenizer.model, spiece.model, sentencepiece.bpe.model, tiktoken.model */
    {"*.model.v[0-9]*", true}, /* tokenizer.model.v3, .v7m1 of Mistral */
    {"*.spm", true},
    {"vocab.json", true},
    {"vocab*.json", false},
    {"*_vocab.json", false},
    {"vocab.txt", true},
    {"vocab.bpe", false},
    {"encoder.json", true},
    {"merges.txt", false},
    {"bpe.codes", true},
    {"dict.txt", true},
    {"prophetnet.tokenizer", true},
    {"normalizer.json", false},
    {"byte_maps.json", false},
    {"emoji.json", false},
    {"word_shape.json", false},
    {"word_pronunciation.json", false},
    {"special_tokens_map.json", false},
    {"added_tokens.json", false},
    {"chat_template.*", false},
    {"*.jinja", false},
    {"generation_config*.json", false},
    {"preprocessor_config.json", false},
    {"processor_config.json", false},
    {"*_preprocessor_config.json", false},
    {"*_processor_config.json", false},
    {"*.py", false},
};

/* What a licence asks to be passed on; people write these in every case. */
static const char *const notices[] = {"*licen[sc]e*", "copying*",        "notice*",
                                      "use_policy*",  "acceptable_use*", "third_party*",
                                      "third-party*"};

static const char *const weights[] = {"*.safetensors", "*.bin", "*.pt",  "*.pth",
                                      "*.gguf",        "*.h5",  "*.npz", "*.onnx"};

/* Folders of templates: {"default": chat_template.jinja, others by the names of these files}. */
static const char *const template_dirs[] = {"additional_chat_templates", "chat_templates"};

static int by_name(const void *a, const void *b)
{
    const struct ram_carried *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool matches(const char *const *list, size_t n, const char *name, int flags)
{
    for (size_t i = 0; i < n; i++)
        if (!fnmatch(list[i], name, FNM_PERIOD | flags))
            return true;
    return false;
}

/* tokenizer: is set if the file is a tokenizer. */
static bool wanted(const char *name, bool *tokenizer)
{
    bool found = matches(notices, sizeof notices / sizeof *notices, name, FNM_CASEFOLD);

    *tokenizer = false;
    if (matches(weights, sizeof weights / sizeof *weights, name, FNM_CASEFOLD))
        return false;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (!fnmatch(patterns[i].name, name, FNM_PERIOD)) {
            found = true;
            *tokenizer = *tokenizer || patterns[i].tokenizer;
        }
    return found;
}

/* ---- links ------------------------------------------------------------------------------- */

static bool is_below(const char *path, const char *dir)
{
    const size_t n = strlen(dir);
    return !strncmp(path, dir, n) && path[n] == '/';
}

/*
 * Does a file lie outside of the checkpoint, where a link led to it? It is copied, as transformers
 * would read it, but the output is meant to be given to others, so that it is said. Links within
 * the checkpoint are as usual, those into the blobs of a Hugging Face cache (dir is
 * .../models--x/snapshots/commit), and those to a file of the same name, as people make them by
 * hand.
 */
static bool is_outside(const char *path, const char *dir)
{
    char *real = realpath(path, NULL), *root = realpath(dir, NULL);
    const char *slash = strrchr(path, '/');
    bool usual = false;

    if (real && root) {
        const char *base = strrchr(real, '/');
        usual = is_below(real, root) || (slash && base && !strcmp(slash, base));
        char *snapshots = strstr(root, "/snapshots/");
        if (snapshots && !strchr(snapshots + strlen("/snapshots/"), '/')) {
            *snapshots = '\0';
            usual = usual || is_below(real, root);
        }
    }
    free(real);
    free(root);
    return !usual;
}

/* ---- finding ----------------------------------------------------------------------------- */

struct finder {
    struct ram_carried_list *list;
    size_t cap;
    const char *dir;
    struct ram_err *err;
};

/* A name that is not carried although it looks like it should be; why: "NAME is not copied: it
 * is ...". */
static int pass_over(struct finder *f, const char *name, const char *why)
{
    struct ram_buf line = {0};

    if (ram_grow(&f->list->passed_over, sizeof(char *), f->list->n_passed_over,
                 &f->list->passed_over_cap, f->err))
        return f->err->status;
    ram_buf_printf(&line, "%s is not copied: it is %s", name, why);
    char *copy = line.failed ? NULL : ram_strdup(line.data, f->err);
    if (copy)
        f->list->passed_over[f->list->n_passed_over++] = copy;
    else if (line.failed)
        ram_fail(f->err, RAM_ENOMEM, "no memory for a note");
    ram_buf_release(&line);
    return f->err->status;
}

/* Keeps the name that comes first, whatever the order in the folder is. */
static int note_outside(struct finder *f, const char *name)
{
    struct ram_carried_list *list = f->list;

    if (list->n_outside++ && strcmp(name, list->outside) > 0)
        return RAM_OK;
    free(list->outside);
    list->outside = ram_strdup(name, f->err);
    return f->err->status;
}

static bool is_link(const char *path)
{
    struct stat st;
    return !lstat(path, &st) && S_ISLNK(st.st_mode);
}

/* Why what is there under the name cannot be carried, or NULL. Folders and devices that stand there
 * themselves are something else by the same name, and "" is returned for them. */
static const char *find_hindrance(const struct finder *f, const char *path, struct stat *st)
{
    if (stat(path, st))
        return is_link(path) ? "a link that leads nowhere, or to where nothing can be read" : "";
    if (!S_ISREG(st->st_mode))
        return is_link(path) ? "a link to something that is not a file" : "";
    if (st->st_size > MAX_SIZE)
        return "larger than such a file can be";
    return f->list->n == MAX_FILES ? "one of too many such files" : NULL;
}

/* Adds a file if it is one. */
static int add(struct finder *f, const char *name, bool tokenizer)
{
    struct ram_carried_list *list = f->list;
    struct ram_map map = {0};
    struct stat st;

    char *path = ram_path_join(f->dir, name, f->err);
    if (!path)
        return RAM_ENOMEM;
    int status = RAM_OK;
    const char *hindrance = find_hindrance(f, path, &st);
    if (hindrance) {
        status = *hindrance ? pass_over(f, name, hindrance) : RAM_OK;
        list->tokenizer_lost = list->tokenizer_lost || (*hindrance && tokenizer);
        goto done;
    }
    status = ram_map_open(&map, path, f->err); /* refuses a Git LFS pointer */
    if (!status && is_outside(path, f->dir))
        status = note_outside(f, name);
    if (!status)
        status = ram_grow(&list->files, sizeof *list->files, list->n, &f->cap, f->err);
    if (status)
        goto done;
    list->files[list->n] =
        (struct ram_carried){.name = ram_strdup(name, f->err), .size = (uint64_t)st.st_size};
    if (!list->files[list->n].name) {
        status = RAM_ENOMEM;
        goto done;
    }
    list->n++;
    list->tokenizer = list->tokenizer || (tokenizer && map.size);
done:
    ram_map_close(&map);
    free(path);
    return status;
}

/* The templates of one folder, which may be a link. */
static int add_templates(struct finder *f, const char *folder)
{
    const struct dirent *entry;
    struct stat st;
    int status = RAM_OK;

    char *path = ram_path_join(f->dir, folder, f->err);
    if (!path)
        return RAM_ENOMEM;
    const bool there = !lstat(path, &st);
    DIR *stream = there ? opendir(path) : NULL;
    if (there && !stream)
        status = pass_over(f, folder, "not a folder that can be read");
    while (stream && !status && (entry = readdir(stream))) {
        if (fnmatch("*.jinja", entry->d_name, FNM_PERIOD))
            continue;
        char *name = ram_path_join(folder, entry->d_name, f->err);
        status = name ? add(f, name, false) : RAM_ENOMEM;
        free(name);
    }
    if (stream)
        closedir(stream);
    free(path);
    return status;
}

int ram_carried_find(struct ram_carried_list *out, const char *dir, struct ram_err *err)
{
    const struct dirent *entry;
    struct finder f = {.list = out, .dir = dir, .err = err};
    bool tokenizer;
    int status = RAM_OK;
    DIR *stream = opendir(dir);

    *out = (struct ram_carried_list){0};
    if (!stream)
        return ram_fail_errno(err, "%s: cannot read the directory", dir);
    while (!status && (entry = readdir(stream)))
        if (wanted(entry->d_name, &tokenizer))
            status = add(&f, entry->d_name, tokenizer);
    closedir(stream);
    for (size_t i = 0; i < sizeof template_dirs / sizeof *template_dirs && !status; i++)
        status = add_templates(&f, template_dirs[i]);
    if (status)
        ram_carried_release(out);
    else if (out->n)
        qsort(out->files, out->n, sizeof *out->files, by_name);
    return status;
}

bool ram_has_tokenizer(const char *dir)
{
    struct ram_carried_list list;
    struct ram_err ignored = {0};

    const bool found = !ram_carried_find(&list, dir, &ignored) && list.tokenizer;
    ram_carried_release(&list);
    return found;
}

void ram_carried_notice(const struct ram_carried_list *list, const struct ram_exec *exec)
{
    if (!list->tokenizer && list->tokenizer_lost)
        ram_exec_notice(exec, "the output has no tokenizer, because that of the source cannot be "
                              "copied: copy its files into both before text is generated");
    else if (!list->tokenizer)
        ram_exec_notice(exec, "the source has no tokenizer, so the output has none either: copy "
                              "the tokenizer's files into both before text is generated");
    for (size_t i = 0; i < list->n_passed_over; i++)
        ram_exec_notice(exec, "%s", list->passed_over[i]);
    if (list->n_outside)
        ram_exec_notice(exec,
                        "links lead out of the checkpoint under %zu of the names that are copied, "
                        "such as %s: the output has the files that they lead to",
                        list->n_outside, list->outside);
}

/* ---- copying ----------------------------------------------------------------------------- */

/* Makes the folder that a name like "chat_templates/x.jinja" lies in. */
static int make_folder(const char *to, const char *name, struct ram_err *err)
{
    const char *slash = strchr(name, '/');
    int status = RAM_OK;

    if (!slash)
        return RAM_OK;
    char *path = ram_path_join(to, name, err);
    if (!path)
        return RAM_ENOMEM;
    path[strlen(path) - strlen(slash)] = '\0';
    if (mkdir(path, 0777) && errno != EEXIST)
        status = ram_fail_errno(err, "%s: cannot create", path);
    free(path);
    return status;
}

static int copy(const char *from, const char *to, const char *name, struct ram_err *err)
{
    struct ram_map map = {0};
    struct ram_sink sink = {.fd = -1};
    int status = RAM_ENOMEM;
    char *source = ram_path_join(from, name, err);
    char *target = ram_path_join(to, name, err);

    if (!source || !target)
        goto done;
    status = make_folder(to, name, err);
    if (!status)
        status = ram_map_open(&map, source, err);
    if (!status)
        status = ram_sink_open(&sink, target, false, err);
    if (!status)
        status = ram_sink_write(&sink, map.data, map.size, err);
    if (!status)
        status = ram_sink_close(&sink, err);
done:
    ram_sink_abandon(&sink);
    ram_map_close(&map);
    free(source);
    free(target);
    return status;
}

int ram_carried_copy(const struct ram_carried_list *list, const char *from, const char *to,
                     struct ram_err *err)
{
    int status = RAM_OK;
    for (size_t i = 0; i < list->n && !status; i++)
        status = copy(from, to, list->files[i].name, err);
    return status;
}

void ram_carried_release(struct ram_carried_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->files[i].name);
    for (size_t i = 0; i < list->n_passed_over; i++)
        free(list->passed_over[i]);
    free(list->files);
    free(list->passed_over);
    free(list->outside);
    *list = (struct ram_carried_list){0};
}
