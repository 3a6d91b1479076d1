/* mlx_files.c - the weight files and the index of a directory, as mlx_lm finds them. */
#include "format/mlx.h"

#include "base/file.h"
#include "ckpt/files.h"
#include "format/findings.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static bool is_weight_file(const char *name)
{
    const size_t n = strlen(name), suffix = strlen(".safetensors");
    return !strncmp(name, "model", 5) && n > suffix && !strcmp(name + n - suffix, ".safetensors");
}

/* mlx_lm loads every model*.safetensors, whatever the index says. */
static int check_strays(const struct ram_ckpt *ckpt, struct ram_findings *findings,
                        struct ram_err *err)
{
    const struct dirent *entry;
    DIR *stream = opendir(ckpt->dir);

    if (!stream)
        return ram_fail_errno(err, "%s", ckpt->dir);
    while ((entry = readdir(stream))) {
        bool known = !is_weight_file(entry->d_name);
        for (size_t i = 0; i < ckpt->n_files && !known; i++)
            known = !strcmp(ckpt->files[i].name, entry->d_name);
        if (!known)
            ram_findings_add(findings, RAM_CHECK_FILES, entry->d_name,
                             "is not in the index, but mlx_lm loads it too");
    }
    closedir(stream);
    for (size_t i = 0; i < ckpt->n_files; i++)
        if (!is_weight_file(ckpt->files[i].name))
            ram_findings_add(findings, RAM_CHECK_FILES, ckpt->files[i].name,
                             "is in the index, but mlx_lm loads only model*.safetensors");
    return RAM_OK;
}

/* The index's names were checked when the checkpoint was opened; here its sum. */
static int check_index(const struct ram_ckpt *ckpt, struct ram_findings *findings,
                       struct ram_err *err)
{
    enum { MAX_INDEX = 256 << 20 };
    struct ram_err ignored = {0};
    json_t *index = NULL;
    uint64_t bytes = 0;

    for (size_t i = 0; i < ckpt->n_tensors; i++)
        bytes += ckpt->tensors[i].size;
    char *path = ram_path_join(ckpt->dir, ram_ckpt_index_name, err);
    if (!path)
        return RAM_ENOMEM;
    const bool read = ram_json_read(&index, path, MAX_INDEX, &ignored) == RAM_OK;
    free(path);
    const json_t *total = json_object_get(json_object_get(index, "metadata"), "total_size");
    if (total && (!json_is_integer(total) || (uint64_t)json_integer_value(total) != bytes))
        ram_findings_add(findings, RAM_CHECK_FILES, ram_ckpt_index_name,
                         "its total_size is %lld, the tensors have %llu bytes",
                         (long long)json_integer_value(total), (unsigned long long)bytes);
    ram_findings_note(findings, RAM_CHECK_FILES, true, "%zu weight file%s, %llu bytes%s",
                      ckpt->n_files, ckpt->n_files == 1 ? "" : "s", (unsigned long long)bytes,
                      read ? "" : "; no index");
    json_decref(index);
    return RAM_OK;
}

int ram_mlx_check_files(const struct ram_ckpt *ckpt, struct ram_findings *findings,
                        struct ram_err *err)
{
    const int status = check_strays(ckpt, findings, err);
    return status ? status : check_index(ckpt, findings, err);
}
