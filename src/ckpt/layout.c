/* layout.c - see layout.h. */
#include "ckpt/layout.h"

#include "ckpt/build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Does a tensor of codes have its scales beside it, as MLX writes them? */
static bool has_mlx_codes(const struct ram_ckpt *ckpt)
{
    static const char weight[] = ".weight";
    char name[1024];

    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const struct ram_tensor *t = &ckpt->tensors[i];
        const size_t n = strlen(t->name), m = strlen(weight);
        if (t->dtype != RAM_U32 || n < m || n > sizeof name - 16 || strcmp(t->name + n - m, weight))
            continue;
        snprintf(name, sizeof name, "%.*s.scales", (int)(n - m), t->name);
        if (ram_ckpt_find(ckpt, name))
            return true;
    }
    return false;
}

static void mark_scales(struct ram_build *b)
{
    for (size_t i = 0; i < b->ckpt->n_tensors; i++)
        if (b->ckpt->tensors[i].scale)
            b->is_scale[b->ckpt->tensors[i].scale - b->ckpt->tensors] = true;
}

/* Numbers of an unknown architecture may mean anything; those of a known one must be right. */
static int read_config(struct ram_build *b)
{
    struct ram_layout *layout = b->layout;
    struct ram_err soft = {0};

    ram_config_parse(&layout->config, b->ckpt->config, b->ckpt->dir, &layout->arena, &soft);
    layout->model_type = layout->config.model_type;
    b->arch = ram_arch_find(layout->model_type);
    layout->known = b->arch != NULL;
    if (soft.status && (b->arch || soft.status == RAM_ENOMEM))
        return ram_fail(b->err, soft.status, "%s", soft.message);
    layout->moe = layout->config.n_experts > 1;
    layout->tied = layout->config.tied == RAM_TIED_UNSAID
                       ? !ram_ckpt_find(b->ckpt, "lm_head.weight")
                       : layout->config.tied == RAM_TIED_YES;
    layout->quantized = layout->config.has_mlx_quantization || has_mlx_codes(b->ckpt);
    return RAM_OK;
}

static int set_obstacle(struct ram_build *b, const char *text)
{
    b->layout->obstacle = text;
    return text ? RAM_OK : b->err->status;
}

/* Nothing must get lost: a tensor without a place is a reason not to convert. */
static int check_all_used(struct ram_build *b)
{
    const char *homeless = NULL;
    size_t n = 0;

    for (size_t i = 0; i < b->ckpt->n_tensors; i++) {
        const struct ram_tensor *t = &b->ckpt->tensors[i];
        if (b->used[i] && !ram_dtypes[t->dtype].is_weight)
            return set_obstacle(b, ram_arena_printf(&b->layout->arena, b->err,
                                                    "tensor '%s' is %s, not a floating type",
                                                    t->name, ram_dtypes[t->dtype].name));
        if (b->used[i] || b->layout->sources[b->first[i]].dropped)
            continue;
        homeless = homeless ? homeless : t->name;
        n++;
    }
    if (!homeless)
        return RAM_OK;
    return set_obstacle(b, ram_arena_printf(&b->layout->arena, b->err,
                                            "mlx_lm's %s has no place for %zu of its tensors, such "
                                            "as '%s'",
                                            b->layout->model_type, n, homeless));
}

static int lay_out_known(struct ram_build *b)
{
    const struct ram_config *config = &b->layout->config;

    if (ram_arch_check(b->arch, config, b->ckpt->dir, b->err))
        return b->err->status;
    if (ram_build_targets(b))
        return b->err->status;
    if (!b->n_missing)
        return check_all_used(b);
    if (!config->quant_method || !strcmp(config->quant_method, "fp8"))
        return ram_fail(b->err, RAM_EFORMAT,
                        "%s: model_type '%s' with %" PRIu64 " layers lacks %s%s", b->ckpt->dir,
                        b->layout->model_type, config->n_layers, b->missing,
                        b->n_missing > 3 ? " and perhaps more" : "");
    b->layout->n_targets = 0;
    return set_obstacle(b, ram_arena_printf(&b->layout->arena, b->err,
                                            "its weights are coded by '%s', which cannot be read",
                                            config->quant_method));
}

static int lay_out(struct ram_build *b)
{
    struct ram_layout *layout = b->layout;

    if (read_config(b))
        return b->err->status;
    mark_scales(b);
    if (ram_build_sources(b))
        return b->err->status;
    for (size_t i = 0; i < layout->n_sources; i++)
        layout->moe = layout->moe || layout->sources[i].expert >= 0;
    if (layout->quantized)
        return set_obstacle(b, "its weights are MLX codes already; convert from the original "
                               "checkpoint");
    if (!layout->known)
        return set_obstacle(b, ram_arena_printf(&layout->arena, b->err,
                                                "model_type '%s' is not known here, so the names "
                                                "that mlx_lm would load are not either",
                                                layout->model_type));
    return lay_out_known(b);
}

int ram_layout_new(struct ram_layout **out, const struct ram_ckpt *ckpt, struct ram_err *err)
{
    struct ram_build b = {.ckpt = ckpt, .err = err};

    *out = NULL;
    b.layout = ram_calloc(1, sizeof *b.layout, err);
    b.first = ram_calloc(ckpt->n_tensors + 1, sizeof *b.first, err);
    b.is_scale = ram_calloc(ckpt->n_tensors, sizeof *b.is_scale, err);
    b.used = ram_calloc(ckpt->n_tensors, sizeof *b.used, err);
    const int status = b.layout && b.first && b.is_scale && b.used ? lay_out(&b) : RAM_ENOMEM;
    free(b.first);
    free(b.is_scale);
    free(b.used);
    if (status)
        ram_layout_free(b.layout);
    else
        *out = b.layout;
    return status;
}

void ram_layout_free(struct ram_layout *layout)
{
    if (!layout)
        return;
    free(layout->sources);
    free(layout->targets);
    ram_arena_release(&layout->arena);
    free(layout);
}
