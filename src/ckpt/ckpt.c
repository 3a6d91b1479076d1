/*
 * ckpt.c - opening a checkpoint: which files, their headers, order, index, FP8 scales.
 */
#include "ckpt/ckpt.h"

#include "base/hash.h"
#include "ckpt/coding.h"
#include "ckpt/hub.h"
#include "ckpt/index.h"
#include "ckpt/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char index_name[] = "model.safetensors.index.json";

/* ---- order and lookup -------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Orders two runs of digits by their value; runs that differ in leading zeros only are equal. */
static int number_order(const char *a, const char *b)
{
    while (*a == '0')
        a++;
    while (*b == '0')
        b++;
    size_t n = 0;
    while (is_digit(a[n]) && is_digit(b[n]))
        n++;
    if (is_digit(a[n]) != is_digit(b[n]))
        return is_digit(b[n]) ? -1 : 1;
    return memcmp(a, b, n);
}

int ram_ckpt_name_order(const char *a, const char *b)
{
    size_t i = 0;

    while (a[i] && a[i] == b[i])
        i++;
    if (a[i] == b[i])
        return 0;
    /* The first difference may lie inside two numbers: compare them from their beginnings. */
    size_t start = i;
    while (start && is_digit(a[start - 1]))
        start--;
    const int order =
        is_digit(a[start]) && is_digit(b[start]) ? number_order(a + start, b + start) : 0;
    return order ? order : (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
}

/* A tensor's name and place: small, so that sorting moves little. */
struct place {
    const char *name;
    size_t index;
};

static int by_name(const void *a, const void *b)
{
    return ram_ckpt_name_order(((const struct place *)a)->name, ((const struct place *)b)->name);
}

static int sort_tensors(struct ram_ckpt *ckpt, struct ram_err *err)
{
    const size_t n = ckpt->n_tensors;
    struct place *places = ram_calloc(n, sizeof *places, err);
    struct ram_tensor *sorted = ram_calloc(n, sizeof *sorted, err);

    if (places && sorted) {
        for (size_t i = 0; i < n; i++)
            places[i] = (struct place){ckpt->tensors[i].name, i};
        qsort(places, n, sizeof *places, by_name);
        for (size_t i = 0; i < n; i++)
            sorted[i] = ckpt->tensors[places[i].index];
        free(ckpt->tensors);
        ckpt->tensors = sorted;
        sorted = NULL;
    }
    free(places);
    free(sorted);
    return err->status;
}

const struct ram_tensor *ram_ckpt_find(const struct ram_ckpt *ckpt, const char *name)
{
    const size_t i = ram_names_find(&ckpt->names, name);
    return i == SIZE_MAX ? NULL : &ckpt->tensors[i];
}

int ram_ckpt_seal(struct ram_ckpt *ckpt, struct ram_err *err)
{
    const char *twin;

    int status = sort_tensors(ckpt, err);
    if (!status)
        status = ram_names_build(&ckpt->names, ckpt->tensors, sizeof *ckpt->tensors,
                                 ckpt->n_tensors, &twin, err);
    if (status)
        return status;
    if (twin)
        return ram_fail(err, RAM_EFORMAT, "%s: tensor '%s' is in more than one file", ckpt->dir,
                        twin);
    return ram_coding_find(ckpt, err);
}

/* ---- files ------------------------------------------------------------------------------- */

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

static bool has_suffix(const char *s, const char *suffix)
{
    const size_t n = strlen(s), m = strlen(suffix);
    return n >= m && !strcmp(s + n - m, suffix);
}

/* Without an index: what mlx_lm would load, which is every model*.safetensors. */
static int list_files(struct ram_ckpt *ckpt, struct ram_err *err)
{
    struct dirent *entry;
    char other[256] = "";
    size_t cap = 0;
    int status = RAM_OK;

    DIR *dir = opendir(ckpt->dir);
    if (!dir)
        return ram_fail_errno(err, "%s", ckpt->dir);
    while (!status && (entry = readdir(dir))) {
        if (!has_suffix(entry->d_name, ".safetensors"))
            continue;
        if (!strncmp(entry->d_name, "model", 5))
            status = add_file(ckpt, entry->d_name, &cap, err);
        else if (!*other || strcmp(entry->d_name, other) < 0)
            memcpy(other, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(dir);
    if (!status && !ckpt->n_files)
        return ram_fail(err, RAM_EFORMAT, "%s: no weights: neither %s nor model*.safetensors%s%s%s",
                        ckpt->dir, index_name, *other ? " (there is " : "", other,
                        *other ? ", which is none of them)" : "");
    if (!status)
        qsort(ckpt->files, ckpt->n_files, sizeof *ckpt->files, by_file_name);
    return status;
}

/* Lists the files; *text is the index (to be freed with its size), or NULL if there is none. */
static int find_files(struct ram_ckpt *ckpt, struct ram_index *index, const char *index_path,
                      struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0, cap = 0;

    if (access(index_path, F_OK) && errno == ENOENT)
        return list_files(ckpt, err);
    int status = ram_file_read(index_path, RAM_INDEX_MAX, &text, &size, err);
    if (!status)
        status = ram_index_parse(index, text, size, index_path, err);
    for (size_t i = 0; i < index->n_files && !status; i++)
        status = add_file(ckpt, index->files[i], &cap, err);
    free(text);
    return status;
}

static int open_file(struct ram_ckpt *ckpt, unsigned i, struct ram_st_list *list,
                     struct ram_err *err)
{
    struct ram_ckpt_file *file = &ckpt->files[i];
    size_t header_size = 0;

    char *path = ram_path_join(ckpt->dir, file->name, err);
    if (!path)
        return RAM_ENOMEM;
    int status = RAM_OK;
    if (access(path, F_OK) && errno == ENOENT)
        status = ram_fail(err, RAM_EFORMAT, "%s: missing; %s names it", path, index_name);
    if (!status)
        status = ram_map_open(&file->map, path, err);
    if (!status)
        status = ram_st_parse(file->map.data, file->map.size, path, i, list, &header_size, err);
    if (!status) {
        ram_sha256(file->map.data + 8, header_size, file->header_sha256);
        ram_map_forget(&file->map, 0, 8 + header_size);
    }
    free(path);
    return status;
}

static int open_files(struct ram_ckpt *ckpt, struct ram_err *err)
{
    struct ram_index index = {0};
    struct ram_st_list list = {.arena = &ckpt->arena};

    char *index_path = ram_path_join(ckpt->dir, index_name, err);
    if (!index_path)
        return RAM_ENOMEM;
    int status = find_files(ckpt, &index, index_path, err);
    for (size_t i = 0; i < ckpt->n_files && !status; i++)
        status = open_file(ckpt, (unsigned)i, &list, err);
    ckpt->tensors = list.tensors;
    ckpt->n_tensors = list.n;
    if (!status)
        status = ram_ckpt_seal(ckpt, err);
    if (!status && index.n_entries)
        status = ram_index_check(&index, ckpt, index_path, err);
    ram_index_release(&index);
    free(index_path);
    return status;
}

static int read_config(struct ram_ckpt *ckpt, struct ram_err *err)
{
    char *path = ram_path_join(ckpt->dir, "config.json", err);
    if (!path)
        return RAM_ENOMEM;
    int status = RAM_OK;
    if (access(path, F_OK) && errno == ENOENT)
        status = ram_fail(err, RAM_EFORMAT, "%s: no config.json", ckpt->dir);
    if (!status)
        status = ram_json_read(&ckpt->config, path, RAM_CKPT_MAX_CONFIG, err);
    if (!status && !json_is_object(ckpt->config))
        status = ram_fail(err, RAM_EFORMAT, "%s: not a JSON object", path);
    free(path);
    return status;
}

int ram_ckpt_open(struct ram_ckpt **out, const char *model, struct ram_err *err)
{
    *out = NULL;
    struct ram_ckpt *ckpt = ram_calloc(1, sizeof *ckpt, err);
    if (!ckpt)
        return RAM_ENOMEM;
    int status = ram_hub_find(model, &ckpt->dir, &ckpt->name, err);
    if (!status)
        status = read_config(ckpt, err);
    if (!status)
        status = open_files(ckpt, err);
    if (status)
        ram_ckpt_close(ckpt);
    else
        *out = ckpt;
    return status;
}

void ram_ckpt_close(struct ram_ckpt *ckpt)
{
    if (!ckpt)
        return;
    for (size_t i = 0; i < ckpt->n_files; i++) {
        ram_map_close(&ckpt->files[i].map);
        free(ckpt->files[i].name);
    }
    free(ckpt->files);
    free(ckpt->tensors);
    ram_names_release(&ckpt->names);
    ram_arena_release(&ckpt->arena);
    json_decref(ckpt->config);
    free(ckpt->dir);
    free(ckpt->name);
    free(ckpt);
}
