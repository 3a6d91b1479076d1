/* index.c - see index.h. */
#include "ckpt/index.h"

#include "base/scan.h"

#include <stdlib.h>
#include <string.h>

/* "model-00001-of-00002.safetensors", "sub/x.safetensors"; no part is empty or begins with '.'. */
static bool is_shard_name(const char *name)
{
    if (strlen(name) > 255)
        return false;
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (!*part || *part == '.' || *part == '/')
            return false;
    return true;
}

static bool read_map(struct ram_scan *scan, struct ram_index *index)
{
    size_t cap = 0;
    struct ram_index_entry entry = {0};

    ram_scan_object(scan);
    while (ram_scan_entry(scan, &entry.name)) {
        if (index->n_entries == RAM_CKPT_MAX_TENSORS)
            return ram_scan_fail(scan, RAM_ERANGE, "more than %d tensors", RAM_CKPT_MAX_TENSORS);
        scan->kind = "tensor";
        scan->name = entry.name;
        scan->number++;
        if (!ram_scan_string(scan, &entry.shard))
            return false;
        if (!is_shard_name(entry.shard))
            return ram_scan_fail(scan, RAM_EFORMAT, "'%.80s' is not the name of a shard",
                                 entry.shard);
        scan->status = ram_grow(&index->entries, sizeof entry, index->n_entries, &cap, scan->err);
        if (scan->status)
            return false;
        index->entries[index->n_entries++] = entry;
    }
    scan->kind = NULL;
    return ram_scan_good(scan);
}

static bool read_index(struct ram_scan *scan, struct ram_index *index)
{
    bool map = false;

    ram_scan_object(scan);
    while (ram_scan_member(scan)) {
        const bool is_map = !strcmp(scan->key, "weight_map");
        if (is_map && map)
            return ram_scan_fail(scan, RAM_EFORMAT, "duplicate key 'weight_map'");
        map = map || is_map;
        if (!(is_map ? read_map(scan, index) : ram_scan_skip(scan)))
            return false;
    }
    if (!ram_scan_end(scan))
        return false;
    return map || ram_scan_fail(scan, RAM_EFORMAT, "no \"weight_map\"");
}

/* Numbers the shards: entries of one shard refer to the first entry that names it. */
static int number_files(struct ram_index *index, const char *where, struct ram_err *err)
{
    struct ram_names names;
    const char *twin;
    size_t cap = 0;

    int status = ram_names_build(&names, &index->entries->shard, sizeof *index->entries,
                                 index->n_entries, &twin, err);
    for (size_t i = 0; i < index->n_entries && !status; i++) {
        struct ram_index_entry *entry = &index->entries[i];
        const size_t first = ram_names_find(&names, entry->shard);
        if (first < i) {
            *entry = (struct ram_index_entry){entry->name, index->entries[first].shard,
                                              index->entries[first].file};
            continue;
        }
        if (index->n_files == RAM_CKPT_MAX_FILES)
            status =
                ram_fail(err, RAM_ERANGE, "%s: more than %d shards", where, RAM_CKPT_MAX_FILES);
        else
            status = ram_grow(&index->files, sizeof *index->files, index->n_files, &cap, err);
        if (!status) {
            entry->file = index->n_files;
            index->files[index->n_files++] = entry->shard;
        }
    }
    ram_names_release(&names);
    return status;
}

int ram_index_parse(struct ram_index *index, const char *text, size_t size, const char *where,
                    struct ram_err *err)
{
    struct ram_scan scan;
    struct ram_names names = {0};
    const char *twin;

    *index = (struct ram_index){0};
    ram_scan_init(&scan, text, size, where, &index->arena, err);
    if (!read_index(&scan, index))
        return scan.status;
    if (!index->n_entries)
        return ram_fail(err, RAM_EFORMAT, "%s: \"weight_map\" is empty", where);
    int status = ram_names_build(&names, index->entries, sizeof *index->entries, index->n_entries,
                                 &twin, err);
    if (!status && twin)
        status = ram_fail(err, RAM_EFORMAT, "%s: tensor '%s' is listed twice", where, twin);
    ram_names_release(&names);
    return status ? status : number_files(index, where, err);
}

void ram_index_release(struct ram_index *index)
{
    free(index->entries);
    free(index->files);
    ram_arena_release(&index->arena);
    *index = (struct ram_index){0};
}

int ram_index_compare(const struct ram_index *index, struct ram_ckpt *ckpt, struct ram_err *err)
{
    const struct ram_index_entry *ghost = NULL, *moved = NULL;
    size_t n_found = 0, n_ghosts = 0, n_moved = 0;
    int status = RAM_OK;

    for (size_t i = 0; i < index->n_entries; i++) {
        const struct ram_index_entry *entry = &index->entries[i];
        const struct ram_tensor *t = ram_ckpt_find(ckpt, entry->name);
        if (!t) {
            ghost = ghost ? ghost : entry;
            n_ghosts++;
            continue;
        }
        n_found++;
        if (t->file != entry->file) {
            moved = moved ? moved : entry;
            n_moved++;
        }
    }
    if (ghost)
        status = ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                               "the index lists %zu tensor%s that no file holds, such as '%s'",
                               n_ghosts, n_ghosts == 1 ? "" : "s", ghost->name);
    if (moved && !status)
        status =
            ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                          "the index is wrong about the files of %zu tensor%s: '%s' is not in %s",
                          n_moved, n_moved == 1 ? "" : "s", moved->name, moved->shard);
    if (n_found < ckpt->n_tensors && !status)
        status = ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                               "the index does not list %zu tensors that its files hold; they "
                               "are read all the same",
                               ckpt->n_tensors - n_found);
    return status;
}
