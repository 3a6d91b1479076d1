/* carry.c - the files of the source that an MLX directory takes over as they are. */
#include "convert/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Tokenizers of all kinds, how to generate, how to talk, code that a model brings along, and what
 * its licence asks to be passed on. */
static const char *const patterns[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "chat_template.*",
    "*.jinja",
    "generation_config.json",
    "*.py",
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
};

static int by_name(const void *a, const void *b)
{
    const struct ram_carried *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool wanted(const char *name)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (!fnmatch(patterns[i], name, FNM_PERIOD))
            return true;
    return false;
}

/* Adds a file if it is one: links are followed (the Hugging Face cache is made of them), folders
 * and devices passed over. */
static int add(struct ram_carried_list *list, size_t *cap, const char *dir, const char *name,
               struct ram_err *err)
{
    struct stat st;
    char *path = ram_path_join(dir, name, err);
    if (!path)
        return RAM_ENOMEM;
    const bool regular = !stat(path, &st) && S_ISREG(st.st_mode);
    free(path);
    if (!regular)
        return RAM_OK;
    const int status = ram_grow(&list->files, sizeof *list->files, list->n, cap, err);
    if (status)
        return status;
    list->files[list->n] =
        (struct ram_carried){.name = ram_strdup(name, err), .size = (uint64_t)st.st_size};
    if (!list->files[list->n].name)
        return RAM_ENOMEM;
    list->n++;
    return RAM_OK;
}

int ram_carried_find(struct ram_carried_list *out, const char *dir, struct ram_err *err)
{
    const struct dirent *entry;
    size_t cap = 0;
    int status = RAM_OK;
    DIR *stream = opendir(dir);

    *out = (struct ram_carried_list){0};
    if (!stream)
        return ram_fail_errno(err, "%s: cannot read the directory", dir);
    while (!status && (entry = readdir(stream)))
        if (wanted(entry->d_name))
            status = add(out, &cap, dir, entry->d_name, err);
    closedir(stream);
    if (status)
        ram_carried_release(out);
    else if (out->n)
        qsort(out->files, out->n, sizeof *out->files, by_name);
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
    status = ram_map_open(&map, source, err);
    if (!status)
        status = ram_sink_open(&sink, target, err);
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
    free(list->files);
    *list = (struct ram_carried_list){0};
}
