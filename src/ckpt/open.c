/*
 * open.c - opening a checkpoint: which files, their headers, order, index, FP8 scales.
 */
#include "base/hash.h"
#include "ckpt/coding.h"
#include "ckpt/files.h"
#include "ckpt/hub.h"
#include "ckpt/prefix.h"
#include "ckpt/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- order ------------------------------------------------------------------------------- */

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

/* Without an index two generations of shards may lie in one directory. */
static int refuse_twin(const struct ram_ckpt *ckpt, const char *name, struct ram_err *err)
{
    const char *files[2] = {"", ""};
    size_t n = 0;

    for (size_t i = 0; i < ckpt->n_tensors && n < 2 && ckpt->n_files; i++)
        if (!strcmp(ckpt->tensors[i].name, name))
            files[n++] = ckpt->files[ckpt->tensors[i].file].name;
    return ram_fail(err, RAM_EFORMAT,
                    "%s: tensor '%s' is in more than one file (%s, %s); remove the files that do "
                    "not belong to the model, or add its %s",
                    ckpt->dir, name, files[0], files[1], ram_ckpt_index_name);
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
        return refuse_twin(ckpt, twin, err);
    return ram_coding_find(ckpt, err);
}

/* ---- files ------------------------------------------------------------------------------- */

static int open_file(struct ram_ckpt *ckpt, unsigned i, struct ram_st_list *list,
                     struct ram_err *err)
{
    struct ram_ckpt_file *file = &ckpt->files[i];
    size_t header_size = 0;

    char *path = ram_path_join(ckpt->dir, file->name, err);
    if (!path)
        return RAM_ENOMEM;
    int status = ram_map_open(&file->map, path, err);
    if (!status)
        status = ram_st_parse(file->map.data, file->map.size, path, i, list, &header_size, err);
    if (!status) {
        ram_sha256(file->map.data + 8, header_size, file->header_sha256);
        ram_map_forget(&file->map, 0, 8 + header_size);
    }
    free(path);
    return status;
}

static int open_files(struct ram_ckpt *ckpt, bool as_named, struct ram_err *err)
{
    struct ram_index index = {0};
    struct ram_st_list list = {.arena = &ckpt->arena};

    int status = ram_ckpt_find_files(ckpt, &index, err);
    for (size_t i = 0; i < ckpt->n_files && !status; i++)
        status = open_file(ckpt, (unsigned)i, &list, err);
    ckpt->tensors = list.tensors;
    ckpt->n_tensors = list.n;
    if (!status && !as_named)
        status = ram_prefix_settle(ckpt, &index, err);
    if (!status)
        status = ram_ckpt_seal(ckpt, err);
    if (!status && index.n_entries)
        status = ram_index_compare(&index, ckpt, err);
    ram_index_release(&index);
    return status;
}

static int read_config(struct ram_ckpt *ckpt, struct ram_err *err)
{
    char hint[RAM_FILES_HINT];
    char *path = ram_path_join(ckpt->dir, "config.json", err);
    if (!path)
        return RAM_ENOMEM;
    int status = RAM_OK;
    if (access(path, F_OK) && errno == ENOENT)
        status = ram_fail(err, RAM_EFORMAT, "%s: no config.json%s", ckpt->dir,
                          ram_ckpt_config_hint(ckpt->dir, hint));
    if (!status)
        status = ram_json_read_python(&ckpt->config, path, RAM_CKPT_MAX_CONFIG, err);
    if (!status && !json_is_object(ckpt->config))
        status = ram_fail(err, RAM_EFORMAT, "%s: not a JSON object", path);
    free(path);
    return status;
}

static int open_model(struct ram_ckpt **out, const char *model, bool as_named, struct ram_err *err)
{
    *out = NULL;
    struct ram_ckpt *ckpt = ram_calloc(1, sizeof *ckpt, err);
    if (!ckpt)
        return RAM_ENOMEM;
    int status = ram_hub_find(model, &ckpt->dir, &ckpt->name, err);
    if (!status)
        status = read_config(ckpt, err);
    if (!status)
        status = open_files(ckpt, as_named, err);
    if (status)
        ram_ckpt_close(ckpt);
    else
        *out = ckpt;
    return status;
}

int ram_ckpt_open(struct ram_ckpt **out, const char *model, struct ram_err *err)
{
    return open_model(out, model, false, err);
}

int ram_ckpt_open_as_named(struct ram_ckpt **out, const char *model, struct ram_err *err)
{
    return open_model(out, model, true, err);
}
