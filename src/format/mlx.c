/* mlx.c - the format of mlx_lm: safetensors under nearly the published names, with config.json. */
#include "format/mlx.h"

#include "arch/family.h"

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

const struct ram_format ram_format_mlx = {
    .id = "mlx",
    .what = "safetensors with MLX affine codes, for mlx_lm",
    .loader = "mlx_lm",
    .name = ram_mlx_name,
    .has_own_head = has_own_head,
    .dtype = dtype_of,
    .obstacle = ram_mlx_obstacle,
    .note = ram_mlx_note,
};
