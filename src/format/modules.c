/* modules.c - see modules.h. */
#include "format/modules.h"

#include <stdlib.h>
#include <string.h>

void ram_found_release(struct ram_found_list *list)
{
    free(list->items);
    ram_arena_release(&list->arena);
    *list = (struct ram_found_list){0};
}

size_t ram_found_parts(const struct ram_found *found)
{
    return found->as.form->codec->n_planes;
}

const struct ram_tensor *ram_finder_take(struct ram_finder *f, const char *name)
{
    const struct ram_tensor *tensor = ram_ckpt_find(f->ckpt, name);
    if (tensor)
        f->used[tensor - f->ckpt->tensors] = true;
    return tensor;
}

bool ram_finder_is_float(enum ram_dtype dtype)
{
    enum ram_scale_type unused;
    return ram_dtype_scales(dtype, &unused);
}

bool ram_finder_check_plain(struct ram_finder *f, struct ram_found *found)
{
    const struct ram_tensor *tensor = found->parts[0];
    const struct ram_expected *e = found->expected;
    char is[RAM_SHAPE_TEXT], want[RAM_SHAPE_TEXT];

    found->cols = tensor->n_dims ? tensor->shape[tensor->n_dims - 1] : 1;
    found->rows = 1;
    for (int k = 0; k + 1 < tensor->n_dims; k++)
        found->rows *= tensor->shape[k];
    if (e && (e->n_dims != tensor->n_dims ||
              memcmp(e->shape, tensor->shape, (size_t)e->n_dims * sizeof *e->shape))) {
        ram_findings_add(f->findings, RAM_CHECK_TENSORS, tensor->name, "has shape %s, expected %s",
                         ram_shape_text(tensor->shape, tensor->n_dims, is),
                         ram_shape_text(e->shape, e->n_dims, want));
        return false;
    }
    if (!ram_finder_is_float(tensor->dtype)) {
        ram_findings_add(f->findings, RAM_CHECK_TENSORS, tensor->name,
                         "is of type %s, expected BF16, F16 or F32",
                         ram_dtypes[tensor->dtype].name);
        return false;
    }
    return true;
}

int ram_finder_expected(struct ram_finder *f, const struct ram_expectation *expectation,
                        int (*add)(struct ram_finder *finder, const struct ram_expected *expected,
                                   const char *module, const struct ram_tensor *tensor,
                                   struct ram_err *err),
                        struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; i < expectation->n && !status; i++) {
        const struct ram_expected *e = &expectation->items[i];
        const struct ram_tensor *tensor = ram_finder_take(f, e->name);
        if (tensor)
            status = add(f, e, e->module, tensor, err);
        else if (!e->optional)
            ram_findings_add(f->findings, RAM_CHECK_TENSORS, e->name, "is missing");
    }
    for (size_t i = 0; i < f->ckpt->n_tensors && !status; i++)
        if (!f->used[i])
            ram_findings_add(f->findings, RAM_CHECK_TENSORS, f->ckpt->tensors[i].name,
                             "is not a tensor of this architecture; strict loading fails");
    return status;
}

int ram_finder_keep(struct ram_finder *f, const struct ram_found *found, struct ram_err *err)
{
    const int status = ram_grow(&f->list->items, sizeof *found, f->list->n, &f->list->cap, err);
    if (!status)
        f->list->items[f->list->n++] = *found;
    return status;
}
