/* layout.c - see layout.h. */
#include "format/layout.h"

#include "arch/config_read.h"
#include "ckpt/coding.h"
#include "ckpt/prefix.h"
#include "format/layout_build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

    ram_config_settle(&layout->config, b->ckpt, &layout->arena, &layout->notes, &soft);
    layout->model_type = layout->config.model_type;
    layout->known = layout->config.family != NULL;
    if (soft.status && (layout->known || soft.status == RAM_ENOMEM))
        return ram_fail(b->err, soft.status, "%s", soft.message);
    layout->moe = layout->config.n_experts > 1;
    layout->tied = layout->config.tied == RAM_TIED_YES;
    layout->quantized = ram_coding_quantized(b->ckpt) != NULL;
    return RAM_OK;
}

static int set_obstacle(struct ram_build *b, const char *text)
{
    b->layout->obstacle = text;
    return text ? RAM_OK : b->err->status;
}

/* A bias whose matrix is in use: one that config.json does not announce, or that the class never
 * has; or a norm of queries or keys that is not announced. Transformers passes over it. */
static bool is_unread_bias(const struct ram_build *b, const struct ram_tensor *t)
{
    static const char suffix[] = ".bias";
    const size_t n = strlen(t->name), m = strlen(suffix);
    const struct ram_slot *slot = ram_family_slot(&b->layout->config, t->name);
    char weight[256];

    if (slot && t->n_dims == 1 && (slot->role == RAM_ROLE_NORM_Q || slot->role == RAM_ROLE_NORM_K))
        return true;
    if (n <= m || n - m > sizeof weight - sizeof ".weight" || strcmp(t->name + n - m, suffix))
        return false;
    snprintf(weight, sizeof weight, "%.*s.weight", (int)(n - m), t->name);
    const struct ram_tensor *matrix = ram_ckpt_find(b->ckpt, weight);
    return matrix && b->used[matrix - b->ckpt->tensors];
}

static int drop_biases(struct ram_build *b)
{
    struct ram_layout *layout = b->layout;
    const char *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < b->ckpt->n_tensors; i++) {
        struct ram_source *source = &layout->sources[b->first[i]];
        if (b->used[i] || source->dropped || !is_unread_bias(b, &b->ckpt->tensors[i]))
            continue;
        source->dropped = true;
        source->why_dropped = "not read: config.json does not announce it";
        source->n_stored = 0;
        first = first ? first : b->ckpt->tensors[i].name;
        n++;
    }
    return n ? ram_notes_add(
                   &layout->notes, &layout->arena, b->err,
                   "%zu tensors such as '%s' are left out: config.json does not announce them, so "
                   "the class of %s in transformers does not read them",
                   n, first, layout->model_type)
             : RAM_OK;
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
                                            "%s's %s has no place for %zu of its tensors, such as "
                                            "'%s'",
                                            b->layout->format->loader, b->layout->model_type, n,
                                            homeless));
}

static int lay_out_known(struct ram_build *b)
{
    struct ram_layout *layout = b->layout;
    const struct ram_format *format = layout->format;
    const struct ram_config *config = &layout->config;
    char unsaid[RAM_UNSAID_TEXT], there[RAM_PREFIX_TEXT];

    if (ram_family_check(config, b->ckpt->dir, b->err))
        return b->err->status;
    if (ram_build_targets(b))
        return b->err->status;
    if (!b->n_missing) {
        if (drop_biases(b) || format->note(config, &layout->notes, &layout->arena, b->err))
            return b->err->status;
        layout->obstacle = format->obstacle(config, b->ckpt->config, &layout->arena, b->err);
        return layout->obstacle || b->err->status ? b->err->status : check_all_used(b);
    }
    return ram_fail(
        b->err, RAM_EFORMAT, "%s: model_type '%s' with %" PRIu64 " layers lacks %s%s%s%s",
        b->ckpt->dir, layout->model_type, config->n_layers, b->missing,
        b->n_missing > 3 ? " and perhaps more" : "",
        ram_prefix_describe(b->ckpt, b->first_missing, there), ram_config_unsaid(config, unsaid));
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
        return set_obstacle(b, ram_arena_printf(&layout->arena, b->err,
                                                "%s already; convert from the original checkpoint",
                                                ram_coding_quantized(b->ckpt)));
    if (b->ckpt->coding.problem)
        return set_obstacle(b, b->ckpt->coding.problem);
    if (!layout->known)
        return set_obstacle(b, ram_arena_printf(&layout->arena, b->err,
                                                "model_type '%s' is not known here, so the names "
                                                "that %s would load are not either",
                                                layout->model_type, layout->format->loader));
    return lay_out_known(b);
}

/* Keeps what was laid out before a contradiction was found: the sources, if it got so far. */
static int keep_sources(struct ram_build *b)
{
    struct ram_layout *layout = b->layout;
    const struct ram_err found = *b->err;

    if (found.status != RAM_EFORMAT && found.status != RAM_ERANGE)
        return found.status;
    *b->err = (struct ram_err){0};
    layout->n_targets = 0;
    layout->obstacle = ram_arena_strdup(&layout->arena, found.message, b->err);
    if (layout->n_sources || b->err->status)
        return b->err->status;
    mark_scales(b);
    return ram_build_sources(b);
}

static int make(struct ram_layout **out, const struct ram_ckpt *ckpt,
                const struct ram_format *format, bool look, struct ram_err *err)
{
    struct ram_build b = {.ckpt = ckpt, .err = err};

    *out = NULL;
    b.layout = ram_calloc(1, sizeof *b.layout, err);
    if (b.layout)
        *b.layout = (struct ram_layout){.ckpt = ckpt, .format = format};
    b.first = ram_calloc(ckpt->n_tensors + 1, sizeof *b.first, err);
    b.is_scale = ram_calloc(ckpt->n_tensors, sizeof *b.is_scale, err);
    b.used = ram_calloc(ckpt->n_tensors, sizeof *b.used, err);
    int status = b.layout && b.first && b.is_scale && b.used ? lay_out(&b) : RAM_ENOMEM;
    if (status && look && b.layout)
        status = keep_sources(&b);
    free(b.first);
    free(b.is_scale);
    free(b.used);
    if (status)
        ram_layout_free(b.layout);
    else
        *out = b.layout;
    return status;
}

int ram_layout_new(struct ram_layout **out, const struct ram_ckpt *ckpt,
                   const struct ram_format *format, struct ram_err *err)
{
    return make(out, ckpt, format, false, err);
}

int ram_layout_look(struct ram_layout **out, const struct ram_ckpt *ckpt,
                    const struct ram_format *format, struct ram_err *err)
{
    return make(out, ckpt, format, true, err);
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
