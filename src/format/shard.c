/*
 * shard.c - safetensors: which tensor goes to which file, and at which byte.
 *
 * Files are filled greedily in the order of the module tree, as mlx_lm does; a tensor that is
 * larger than the limit has a file of its own, and no file is empty. Inside a file the order is
 * that of the reference writer (huggingface/safetensors): widest type first, then by name, so that
 * every tensor is aligned to its element and the file is the one Python's save_file would make.
 */
#include "format/outline.h"

#include "ckpt/safetensors.h"

#include <stdlib.h>
#include <string.h>

static int by_dtype_then_name(const void *a, const void *b)
{
    const struct ram_out_tensor *x = *(const struct ram_out_tensor *const *)a;
    const struct ram_out_tensor *y = *(const struct ram_out_tensor *const *)b;

    if (x->dtype != y->dtype)
        return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Header and offsets of one file, whose tensors were counted before. */
static int lay_out_file(struct ram_outline *outline, unsigned number, const char *tag,
                        struct ram_err *err)
{
    struct ram_out_file *file = &outline->files[number];
    struct ram_buf header = {0};
    int status = RAM_OK;
    struct ram_out_tensor **order =
        ram_calloc(file->n_tensors, sizeof(struct ram_out_tensor *), err);
    struct ram_st_item *items = ram_calloc(file->n_tensors, sizeof *items, err);

    if (!order || !items) {
        status = RAM_ENOMEM;
        goto done;
    }
    for (size_t i = 0; i < file->n_tensors; i++)
        order[i] = &outline->tensors[file->first_tensor + i];
    qsort(order, file->n_tensors, sizeof(struct ram_out_tensor *), by_dtype_then_name);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct ram_out_tensor *tensor = order[i];
        items[i] = (struct ram_st_item){.name = tensor->name,
                                        .dtype = tensor->dtype,
                                        .n_dims = tensor->n_dims,
                                        .size = tensor->size};
        memcpy(items[i].shape, tensor->shape, sizeof items[i].shape);
    }
    status = ram_st_header(items, file->n_tensors, tag, &header, err);
    if (status)
        goto done;
    file->header_size = header.size;
    status = ram_buf_take(&header, &file->header, err);
    if (status)
        goto done;
    file->size = file->header_size;
    for (size_t i = 0; i < file->n_tensors; i++) {
        order[i]->file = number;
        order[i]->offset = file->size;
        file->size += order[i]->size;
    }
    outline->disk_bytes += file->size;
done:
    ram_buf_release(&header);
    free(items);
    free(order);
    return status;
}

static int cut(struct ram_outline *outline, struct ram_err *err)
{
    uint64_t filled = 0;
    size_t cap = 0;

    for (size_t i = 0; i < outline->n_tensors; i++) {
        const uint64_t size = outline->tensors[i].size;
        if (!outline->n_files || filled + size > outline->shard_size) {
            const int status =
                ram_grow(&outline->files, sizeof *outline->files, outline->n_files, &cap, err);
            if (status)
                return status;
            outline->files[outline->n_files++] = (struct ram_out_file){.first_tensor = i};
            filled = 0;
        }
        filled += size;
        outline->files[outline->n_files - 1].n_tensors++;
    }
    return RAM_OK;
}

int ram_outline_shard(struct ram_outline *outline, const char *tag, struct ram_err *err)
{
    int status = cut(outline, err);
    if (!status && outline->n_files > 99999)
        status = ram_fail(err, RAM_EUSAGE,
                          "a shard size of %llu bytes makes %zu files, at most 99999 can be named",
                          (unsigned long long)outline->shard_size, outline->n_files);
    for (size_t i = 0; i < outline->n_files && !status; i++) {
        struct ram_out_file *file = &outline->files[i];
        file->name = outline->n_files == 1 ? "model.safetensors"
                                           : ram_arena_printf(&outline->arena, err,
                                                              "model-%05zu-of-%05zu.safetensors",
                                                              i + 1, outline->n_files);
        status = file->name ? lay_out_file(outline, (unsigned)i, tag, err) : RAM_ENOMEM;
    }
    return status;
}
