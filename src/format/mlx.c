/* mlx.c - the format of mlx_lm: safetensors under nearly the published names, with config.json. */
#include "format/mlx.h"

#include "arch/family.h"
#include "base/file.h"
#include "codec/affine.h"
#include "format/outline.h"

#include <stdlib.h>

/* ---- tensors ------------------------------------------------------------------------------ */

static const char *prefix_of(const struct ram_family *family)
{
    return family->loader.prefix ? family->loader.prefix : "";
}

static bool has_own_head(const struct ram_family *family)
{
    return family->loader.own_head;
}

/* As mlx_lm.convert casts, whatever load() would take. */
static enum ram_dtype dtype_of(const struct ram_config *config, const struct ram_slot *slot,
                               enum ram_dtype dtype)
{
    static const struct ram_config no_cast = {0};

    return ram_config_dtype(slot && slot->placement == RAM_PLACE_EXACT ? &no_cast : config, dtype);
}

static bool has_form(const struct ram_form *form)
{
    return form->codec == &ram_affine_codec;
}

/* Codes are 32-bit words; scales and biases have the type of the weights. */
static struct ram_plane plane_of(const struct ram_storage *as, enum ram_dtype dtype, uint64_t cols,
                                 size_t k)
{
    const uint64_t bytes = ram_storage_row_size(as, k, (size_t)cols);

    if (k == 0)
        dtype = RAM_U32;
    return (struct ram_plane){.suffix = as->form->codec->planes[k],
                              .dtype = dtype,
                              .cols = bytes * 8 / (uint64_t)ram_dtypes[dtype].bits};
}

/* ---- files -------------------------------------------------------------------------------- */

static int lay_out(struct ram_outline *outline, struct ram_err *err)
{
    return ram_outline_shard(outline, "mlx", err);
}

static const struct ram_format_text texts[] = {
    {"model.safetensors.index.json", ram_mlx_index},
    {"config.json", ram_mlx_config},
    {NULL, NULL},
};

/* Its config.json has the quantization block that MLX writes. */
static bool is_output(const char *dir)
{
    struct ram_err ignored = {0};
    char *path = ram_path_join(dir, "config.json", &ignored), *text = NULL;
    json_t *root = NULL;
    size_t size = 0;

    const bool is = path && !ram_file_read(path, RAM_CKPT_MAX_CONFIG, &text, &size, &ignored) &&
                    !ram_json_parse(&root, text, size, path, &ignored) &&
                    json_is_object(json_object_get(root, "quantization"));
    json_decref(root);
    free(text);
    free(path);
    return is;
}

/* ---- the model card ------------------------------------------------------------------------ */

static void usage(struct ram_buf *buf, const char *name)
{
    ram_buf_puts(buf, "```\npip install mlx-lm\n");
    ram_buf_printf(buf, "mlx_lm.generate --model %s --prompt \"Once upon a time\"\n```\n", name);
}

const struct ram_format ram_format_mlx = {
    .id = "mlx",
    .what = "safetensors with MLX affine codes, for mlx_lm",
    .loader = "mlx_lm",
    .name = ram_mlx_name,
    .prefix = prefix_of,
    .carry = ram_mlx_carry,
    .has_own_head = has_own_head,
    .dtype = dtype_of,
    .has_form = has_form,
    .plane = plane_of,
    .obstacle = ram_mlx_obstacle,
    .note = ram_mlx_note,
    .lay_out = lay_out,
    .texts = texts,
    .is_output = is_output,
    .check_files = ram_mlx_check_files,
    .lacks = ram_mlx_lacks,
    .find = ram_mlx_find,
    .library = "mlx",
    .target = "MLX",
    .usage = usage,
};
