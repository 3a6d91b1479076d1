/*
 * mlx_config.c - config.json and the index of an MLX directory, as mlx_lm's load_model reads them.
 *
 * What a loader needs of a config, mlx_publish.c writes.
 */
#include "format/mlx.h"
#include "format/outline.h"

#include "record/emit.h"

#include <stdlib.h>
#include <string.h>

/* ---- quantization -----------------------------------------------------------------------------
 */

static json_t *width(const struct ram_form *form)
{
    return json_pack("{s:i, s:i, s:s}", "group_size", form->group, "bits", form->bits, "mode",
                     "affine");
}

/* The default is what most weights have, so that few modules need an entry of their own. mlx_lm
 * hands an entry's keys to the module's to_quantized: no other key may stand there. A module that
 * is not quantised has no entry; the absence of its scales says so. */
static json_t *quantization(const struct ram_outline *outline)
{
    struct ram_made block = ram_made_from(width(outline->usual));

    for (size_t i = 0; i < outline->n_modules; i++) {
        const struct ram_out_module *module = &outline->modules[i];
        if (module->quantized && module->as.form != outline->usual)
            ram_made_put(&block, module->target->module, width(module->as.form));
    }
    return ram_made_take(&block);
}

/* ---- texts ------------------------------------------------------------------------------------
 */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The same members in byte order of their keys; what is inside them keeps its order. */
static json_t *sort_members(json_t *object, struct ram_err *err)
{
    const size_t n = json_object_size(object);
    const char **keys = ram_calloc(n, sizeof *keys, err);
    struct ram_made made = ram_made_object(); /* keeps the order of insertion */
    const char *key;
    json_t *value;
    size_t i = 0;

    if (keys) {
        json_object_foreach(object, key, value) keys[i++] = key;
        qsort(keys, n, sizeof *keys, compare_keys);
        for (i = 0; i < n; i++)
            made.failed |=
                json_object_set_nocheck(made.json, keys[i], json_object_get(object, keys[i])) != 0;
    }
    json_t *const sorted = keys ? ram_made_take(&made) : NULL;
    if (!keys)
        json_decref(ram_made_take(&made));
    free(keys);
    if (!sorted)
        ram_fail(err, RAM_ENOMEM, "no memory for config.json");
    return sorted;
}

int ram_mlx_config(const struct ram_outline *outline, char **out, struct ram_err *err)
{
    json_t *config = json_deep_copy(outline->layout->ckpt->config);
    json_t *sorted = NULL;
    int status = RAM_OK;

    if (!config) {
        status = ram_fail(err, RAM_ENOMEM, "no memory for config.json");
        goto done;
    }
    /* What the source was coded as (FP8); mlx_lm would believe it, here or in text_config. */
    json_object_del(config, "quantization_config");
    json_object_del(config, "compression_config");
    json_object_del(json_object_get(config, "text_config"), "quantization_config");
    status = ram_mlx_publish(config, outline, err);
    if (status)
        goto done;
    if (outline->n_quantized) {
        json_t *block = quantization(outline);
        status = ram_json_put(config, "quantization_config", json_deep_copy(block), err);
        const int put = ram_json_put(config, "quantization", block, err);
        status = status ? status : put;
        if (status)
            goto done;
    }
    sorted = sort_members(config, err);
    status = sorted ? ram_emit_text(sorted, out, err) : RAM_ENOMEM;
done:
    json_decref(config);
    return status;
}

static int compare_tensor_names(const void *a, const void *b)
{
    const struct ram_out_tensor *x = *(const struct ram_out_tensor *const *)a;
    const struct ram_out_tensor *y = *(const struct ram_out_tensor *const *)b;
    return strcmp(x->name, y->name);
}

int ram_mlx_index(const struct ram_outline *outline, char **out, struct ram_err *err)
{
    const struct ram_out_tensor **order =
        ram_calloc(outline->n_tensors, sizeof(const struct ram_out_tensor *), err);
    struct ram_made map = ram_made_object();

    for (size_t i = 0; order && i < outline->n_tensors; i++)
        order[i] = &outline->tensors[i];
    if (order)
        qsort(order, outline->n_tensors, sizeof(const struct ram_out_tensor *),
              compare_tensor_names);
    for (size_t i = 0; order && i < outline->n_tensors; i++)
        ram_made_put(&map, order[i]->name, json_string(outline->files[order[i]->file].name));
    free(order);
    json_t *index = json_pack("{s:{s:I, s:I}, s:o}", "metadata", "total_size",
                              (json_int_t)outline->bytes, "total_parameters",
                              (json_int_t)outline->parameters, "weight_map", ram_made_take(&map));
    const int status = order ? ram_json_text(index, 4, false, out, err) : RAM_ENOMEM;
    json_decref(index);
    return status;
}
