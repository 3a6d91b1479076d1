/*
 * files.c - see files.h. What the two loaders do was tried: transformers wants the file or the
 * index by their names and believes the index only as a list of files, mlx_lm reads
 * model*.safetensors and no index.
 */
#include "ckpt/files.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char ram_ckpt_index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";

enum { NAME_ROOM = 256, MAX_SHOWN = 3 };

/* ---- the directory ----------------------------------------------------------------------- */

/* Files that are no weights of ours but could have been meant, best guess first. */
static const struct stranger {
    const char *pattern, *advice;
} strangers[] = {
    {"*.safetensors.incomplete", "its download was interrupted; run it again"},
    {"*.safetensors.aria2", "its download was interrupted; run it again"},
    {"*.safetensors.part", "its download was interrupted; run it again"},
    {"*.safetensors.crdownload", "its download was interrupted; run it again"},
    {"adapter_model*.safetensors",
     "a LoRA adapter; merge it into its base model and give the merged checkpoint"},
    {"consolidated*.safetensors",
     "Mistral's own format; download the model*.safetensors of the same repository"},
    {"*.safetensors.index*.json", "an index under another name; rename it, or download its shards"},
    {"*.safetensors", "not named model*.safetensors; rename it if it holds the weights"},
    {"pytorch_model*.bin",
     "weights as PyTorch pickles them; load and save the model with transformers, which writes "
     "safetensors"},
    {"consolidated*.pth",
     "Meta's own format; download the repository in the Hugging Face format instead"},
    {"*.pth", "weights as PyTorch pickles them; load and save the model with transformers"},
    {"*.pt", "weights as PyTorch pickles them; load and save the model with transformers"},
    {"*.bin", "weights as PyTorch pickles them; load and save the model with transformers"},
    {"*.gguf", "a GGUF file, made for llama.cpp; use the checkpoint that it was made from"},
    {"*.nemo", "a NeMo archive; export it to the Hugging Face format"},
    {"*.msgpack", "weights of Flax; load and save the model with transformers"},
    {"*.h5", "weights of TensorFlow; load and save the model with transformers"},
    {"*.npz", "weights of NumPy or old MLX; use the checkpoint that they were made from"},
    {"*.onnx", "an ONNX graph; use the checkpoint that it was made from"},
};

enum { N_STRANGERS = sizeof strangers / sizeof *strangers };

static bool is_model_file(const char *name)
{
    return !fnmatch("model*.safetensors", name, 0);
}

static bool is_there(const struct ram_ckpt *ckpt, const char *name, struct ram_err *err)
{
    char *path = ram_path_join(ckpt->dir, name, err);
    /* A link that leads nowhere is missing, too. */
    const bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* The most telling stranger of a directory, the first by name; N_STRANGERS: none. */
static size_t find_stranger(const char *path, char found[NAME_ROOM])
{
    const struct dirent *entry;
    size_t best = N_STRANGERS;
    DIR *dir = opendir(path);

    *found = '\0';
    while (dir && (entry = readdir(dir)))
        for (size_t i = 0; i < N_STRANGERS && i <= best; i++) {
            if (fnmatch(strangers[i].pattern, entry->d_name, FNM_PERIOD) ||
                is_model_file(entry->d_name))
                continue;
            if (i < best || strcmp(entry->d_name, found) < 0)
                snprintf(found, NAME_ROOM, "%s", entry->d_name);
            best = i;
        }
    if (dir)
        closedir(dir);
    return best;
}

/* huggingface_hub leaves what it could not finish in .cache/huggingface/download of a directory
 * that it was told to fill, and among the blobs of its cache. */
static bool was_interrupted(const struct ram_ckpt *ckpt)
{
    static const char *const places[] = {".cache/huggingface/download", "../../blobs"};
    struct ram_err err = {0};
    bool found = false;

    for (size_t i = 0; i < 2 && !found; i++) {
        const struct dirent *entry;
        char *path = ram_path_join(ckpt->dir, places[i], &err);
        DIR *dir = path ? opendir(path) : NULL;
        while (dir && !found && (entry = readdir(dir)))
            found = !fnmatch("*.incomplete", entry->d_name, FNM_PERIOD);
        if (dir)
            closedir(dir);
        free(path);
    }
    return found;
}

/* How to get what is missing, for the end of a sentence. */
static const char *advice_of(const struct ram_ckpt *ckpt, char text[NAME_ROOM])
{
    const bool cached = strstr(ckpt->dir, "/snapshots/") && strstr(ckpt->dir, "/models--");

    if (cached)
        snprintf(text, NAME_ROOM, "%sto download it: hf download %.180s",
                 was_interrupted(ckpt) ? "a download was interrupted; " : "", ckpt->name);
    else
        snprintf(text, NAME_ROOM, "%s",
                 was_interrupted(ckpt) ? "a download was interrupted, run it again"
                                       : "download what is missing");
    return text;
}

static int refuse_empty(const struct ram_ckpt *ckpt, struct ram_err *err)
{
    char name[NAME_ROOM];

    const size_t i = find_stranger(ckpt->dir, name);
    if (i < N_STRANGERS)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: no weights that can be read: neither %s nor model*.safetensors; there "
                        "is %s (%s)",
                        ckpt->dir, ram_ckpt_index_name, name, strangers[i].advice);
    return ram_fail(err, RAM_EFORMAT, "%s: no weights: neither %s nor model*.safetensors; %s",
                    ckpt->dir, ram_ckpt_index_name, advice_of(ckpt, name));
}

const char *ram_ckpt_config_hint(const char *dir, char text[RAM_FILES_HINT])
{
    struct ram_err err = {0};
    const struct dirent *entry;
    char name[NAME_ROOM];
    DIR *stream = opendir(dir);

    *text = '\0';
    while (stream && (entry = readdir(stream)) && !*text) {
        char inner[NAME_ROOM + 16];
        snprintf(inner, sizeof inner, "%s/config.json", entry->d_name);
        char *path = ram_path_join(dir, inner, &err);
        if (*entry->d_name != '.' && path && !access(path, F_OK))
            snprintf(text, RAM_FILES_HINT, "; there is one in %s/%.200s", dir, entry->d_name);
        else if (!strcmp(entry->d_name, "snapshots"))
            snprintf(text, RAM_FILES_HINT,
                     "; this is a repository of the Hugging Face cache: give org/name, or a "
                     "directory below snapshots/");
        free(path);
    }
    if (stream)
        closedir(stream);
    const size_t i = *text ? N_STRANGERS : find_stranger(dir, name);
    if (i < N_STRANGERS)
        snprintf(text, RAM_FILES_HINT, "; there is %s (%s)", name, strangers[i].advice);
    return text;
}

/* ---- files to read ----------------------------------------------------------------------- */

static int add_file(struct ram_ckpt *ckpt, const char *name, size_t *cap, struct ram_err *err)
{
    if (ckpt->n_files == RAM_CKPT_MAX_FILES)
        return ram_fail(err, RAM_ERANGE, "%s: more than %d weight files", ckpt->dir,
                        RAM_CKPT_MAX_FILES);
    if (ram_grow(&ckpt->files, sizeof *ckpt->files, ckpt->n_files, cap, err))
        return err->status;
    char *copy = ram_strdup(name, err);
    if (!copy)
        return RAM_ENOMEM;
    ckpt->files[ckpt->n_files++] = (struct ram_ckpt_file){.name = copy};
    return RAM_OK;
}

static int by_file_name(const void *a, const void *b)
{
    return ram_ckpt_name_order(((const struct ram_ckpt_file *)a)->name,
                               ((const struct ram_ckpt_file *)b)->name);
}

/* Names that are missing, the first few of them, for a sentence. */
struct missing {
    size_t n;
    char names[MAX_SHOWN * (NAME_ROOM + 4)];
};

static void miss(struct missing *m, const char *name)
{
    const size_t at = strlen(m->names);

    if (m->n++ < MAX_SHOWN)
        snprintf(m->names + at, sizeof m->names - at, "%s%.255s", at ? ", " : "", name);
}

static int refuse_missing(const struct ram_ckpt *ckpt, const struct missing *m, const char *who,
                          size_t of, struct ram_err *err)
{
    char advice[NAME_ROOM];

    return ram_fail(err, RAM_EFORMAT,
                    "%s: %s name%s %zu weight file%s, of which %zu %s missing: %s%s; %s", ckpt->dir,
                    who, strcmp(who, ram_ckpt_index_name) ? "" : "s", of, of == 1 ? "" : "s", m->n,
                    m->n == 1 ? "is" : "are", m->names, m->n > MAX_SHOWN ? ", ..." : "",
                    advice_of(ckpt, advice));
}

/* "model-00002-of-00007.safetensors": 7 and, in *digits, where the first number stands; else 0. */
static unsigned shard_count(const char *name, const char **digits)
{
    const char *of = strstr(name, "-of-");
    char *end;

    if (!of || of - name < 6)
        return 0;
    *digits = of - 5;
    const unsigned long n = strtoul(of + 4, &end, 10);
    return (*digits)[-1] == '-' && end == of + 9 && !strcmp(end, ".safetensors") &&
                   n <= RAM_CKPT_MAX_FILES
               ? (unsigned)n
               : 0;
}

/* Without an index the names tell how many shards there should be. */
static int check_count(const struct ram_ckpt *ckpt, struct ram_err *err)
{
    struct missing missing = {0};
    const char *digits;
    const char *first = ckpt->files[0].name;

    const unsigned n = shard_count(first, &digits);
    for (unsigned i = 1; i <= n && !err->status; i++) {
        char name[NAME_ROOM + 16];
        snprintf(name, sizeof name, "%.*s%05u%s", (int)(digits - first), first, i, digits + 5);
        if (!is_there(ckpt, name, err))
            miss(&missing, name);
    }
    if (err->status || !missing.n)
        return err->status;
    return refuse_missing(ckpt, &missing, "its shards", n, err);
}

/* Without an index: what mlx_lm would load, which is every model*.safetensors. */
static int list_files(struct ram_ckpt *ckpt, struct ram_err *err)
{
    const struct dirent *entry;
    size_t cap = 0;
    int status = RAM_OK;

    DIR *dir = opendir(ckpt->dir);
    if (!dir)
        return ram_fail_errno(err, "%s", ckpt->dir);
    while (!status && (entry = readdir(dir)))
        if (is_model_file(entry->d_name))
            status = add_file(ckpt, entry->d_name, &cap, err);
    closedir(dir);
    if (!status && !ckpt->n_files)
        status = refuse_empty(ckpt, err);
    if (status)
        return status;
    qsort(ckpt->files, ckpt->n_files, sizeof *ckpt->files, by_file_name);
    return check_count(ckpt, err);
}

/* Says which weights in the directory the index does not name. */
static int note_strays(struct ram_ckpt *ckpt, const struct ram_index *index, struct ram_err *err)
{
    struct missing strays = {0};
    const struct dirent *entry;
    DIR *dir = opendir(ckpt->dir);

    while (dir && (entry = readdir(dir))) {
        size_t i = 0;
        if (fnmatch("*.safetensors", entry->d_name, FNM_PERIOD))
            continue;
        while (i < index->n_files && strcmp(index->files[i], entry->d_name) != 0)
            i++;
        if (i == index->n_files)
            miss(&strays, entry->d_name);
    }
    if (dir)
        closedir(dir);
    return strays.n ? ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                                    "passed over, because %s does not name %s: %s%s",
                                    ram_ckpt_index_name, strays.n == 1 ? "it" : "them",
                                    strays.names, strays.n > MAX_SHOWN ? ", ..." : "")
                    : RAM_OK;
}

/* An index of shards that are all gone: the weights were saved again as one file. */
static int drop_index(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err)
{
    size_t cap = 0;

    ram_index_release(index);
    const int status = add_file(ckpt, single_name, &cap, err);
    return status ? status
                  : ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                                  "%s names files that are not there; %s is read instead",
                                  ram_ckpt_index_name, single_name);
}

static int take_index(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err)
{
    struct missing missing = {0};
    size_t cap = 0;
    int status = RAM_OK;

    for (size_t i = 0; i < index->n_files && !err->status; i++)
        if (!is_there(ckpt, index->files[i], err))
            miss(&missing, index->files[i]);
    if (err->status)
        return err->status;
    if (missing.n == index->n_files && is_there(ckpt, single_name, err))
        return drop_index(ckpt, index, err);
    if (missing.n)
        return refuse_missing(ckpt, &missing, ram_ckpt_index_name, index->n_files, err);
    for (size_t i = 0; i < index->n_files && !status; i++)
        status = add_file(ckpt, index->files[i], &cap, err);
    return status ? status : note_strays(ckpt, index, err);
}

int ram_ckpt_find_files(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    char *path = ram_path_join(ckpt->dir, ram_ckpt_index_name, err);
    if (!path)
        return RAM_ENOMEM;
    int status = RAM_OK;
    if (access(path, F_OK) && errno == ENOENT) {
        status = list_files(ckpt, err);
    } else {
        status = ram_file_read(path, RAM_INDEX_MAX, &text, &size, err);
        if (!status)
            status = ram_index_parse(index, text, size, path, err);
        if (!status)
            status = take_index(ckpt, index, err);
    }
    free(text);
    free(path);
    return status;
}
