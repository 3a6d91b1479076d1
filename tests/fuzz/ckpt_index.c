/*
 * model.safetensors.index.json of any bytes. What is accepted names files below the directory,
 * every one used, and agrees with jansson's reading of the same text.
 */
#include "ckpt/index.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void check(const struct ram_index *index, const char *text, size_t size)
{
    struct ram_err err = {0};
    json_t *json = NULL;

    if (ram_json_parse(&json, text, size, "input", &err)) {
        /* What means nothing to us is checked less: it may be deeper, and say things twice. */
        require(strstr(err.message, "depth") || strstr(err.message, "duplicate"));
        return;
    }
    const json_t *map = json_object_get(json, "weight_map");
    require(json_object_size(map) == index->n_entries);
    for (size_t i = 0; i < index->n_entries; i++) {
        const struct ram_index_entry *entry = &index->entries[i];
        const char *file = json_string_value(json_object_get(map, entry->name));
        require(file && entry->file < index->n_files);
        require(!strcmp(file, index->files[entry->file]) &&
                entry->shard == index->files[entry->file]);
    }
    for (size_t i = 0; i < index->n_files; i++)
        require(index->files[i][0] && index->files[i][0] != '/' && index->files[i][0] != '.' &&
                !strstr(index->files[i], "/.") && !strstr(index->files[i], "//"));
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ram_index index;
    struct ram_err err = {0};

    const int status = ram_index_parse(&index, (const char *)data, size, "input", &err);
    require(status == err.status);
    if (!status)
        check(&index, (const char *)data, size);
    ram_index_release(&index);
    return 0;
}
