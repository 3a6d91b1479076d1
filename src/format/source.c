/* source.c - every tensor as the matrices that the method scores; see layout.h. */
#include "base/affix.h"
#include "ckpt/coding_config.h"
#include "format/layout_build.h"

#include "arch/name_guess.h"
#include "ckpt/coding.h"

#include <stdio.h>
#include <string.h>

/* Zero points that compressed-tensors writes beside FP8 weights; fp8.c has looked at them. */
static bool is_zero_point(const struct ram_build *b, const struct ram_tensor *t)
{
    static const char suffix[] = "_zero_point";
    char name[1024];

    if (!ram_ends(t->name, suffix))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(strlen(t->name) - strlen(suffix)), t->name);
    const struct ram_tensor *weight = ram_ckpt_find(b->ckpt, name);
    return weight && weight->scale;
}

/* Buffers of the rotary embedding, which are computed and never loaded. */
static bool follows_from_config(const char *name)
{
    static const char *const buffers[] = {"rotary_emb.inv_freq", "rotary_emb.original_inv_freq",
                                          "rotary_emb.cos_cached", "rotary_emb.sin_cached"};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (ram_ends(name, buffers[i]))
            return true;
    return false;
}

/* The head, its bias included. */
static bool is_head(const struct ram_config *config, const char *name)
{
    const char *module = ram_family_of(config)->head->module;
    return ram_begins(name, module) && name[strlen(module)] == '.';
}

/* A layer behind the last one that config.json counts. */
static bool is_beyond(const struct ram_config *config, const struct ram_tensor *t,
                      const struct ram_name *name)
{
    return ram_begins(t->name, ram_family_of(config)->layer_prefix) && config->n_layers &&
           name->layer >= 0 && (uint64_t)name->layer >= config->n_layers;
}

/* Sets why the output has no such tensor, if it has none. */
static void drop(const struct ram_build *b, const struct ram_name *name, struct ram_source *source)
{
    const struct ram_config *config = &b->layout->config;
    const struct ram_tensor *t = source->tensor;
    const bool beyond = is_beyond(config, t, name);

    if (b->is_scale[t - b->ckpt->tensors])
        source->why_dropped = "scales of FP8 weights";
    else if (is_zero_point(b, t))
        source->why_dropped = "zero points of FP8 weights, all 0";
    else if (follows_from_config(t->name))
        source->why_dropped = "follows from config.json";
    else if (b->layout->tied && is_head(config, t->name) &&
             !b->layout->format->has_own_head(ram_family_of(config)))
        source->why_dropped = "tied to the embedding";
    else if (ram_coding_is_activation(t->name))
        source->why_dropped = "scales of activations";
    else if (ram_name_is_mtp(t->name) ||
             (beyond && (config->n_mtp || (config->family && config->family->has_mtp))))
        source->why_dropped = "multi-token prediction";
    else if (beyond)
        source->why_dropped = "layers beyond num_hidden_layers";
    source->dropped = source->why_dropped != NULL;
    source->missed = ram_coding_is_activation(t->name) || beyond || ram_name_is_mtp(t->name);
}

static int add(struct ram_build *b, const struct ram_source *source)
{
    struct ram_layout *layout = b->layout;

    if (layout->n_sources == RAM_CKPT_MAX_TENSORS)
        return ram_fail(b->err, RAM_ERANGE, "%s: more than %d matrices", b->ckpt->dir,
                        RAM_CKPT_MAX_TENSORS);
    if (ram_grow(&layout->sources, sizeof *source, layout->n_sources, &b->source_cap, b->err))
        return b->err->status;
    layout->sources[layout->n_sources++] = *source;
    return RAM_OK;
}

/* ---- experts that share a tensor --------------------------------------------------------------
 */

/* Expert e's matrix of a stack [n, rows of all, cols]: `rows` of its rows from row `skip`. */
static struct ram_view expert_view(const struct ram_tensor *t, size_t e, size_t skip, size_t rows)
{
    const size_t cols = (size_t)t->shape[2];

    return (struct ram_view){.tensor = t,
                             .first = (e * (size_t)t->shape[1] + skip) * cols,
                             .rows = rows,
                             .cols = cols,
                             .row_stride = cols,
                             .col_stride = 1};
}

/* "a.mlp.experts.up_proj", whatever the part is called: "a.mlp.experts.*.up_proj.weight". */
static const char *stack_unit(struct ram_build *b, const char *text, const struct ram_name *name,
                              const char *projection)
{
    if (!name->stack_at)
        return text;
    return ram_arena_printf(&b->layout->arena, b->err, "%.*sexperts.*.%s.weight",
                            (int)name->stack_at, text, projection);
}

/* The projection's own name: the last part, or the one before "weight". */
static const char *projection_of(struct ram_build *b, const char *name)
{
    const size_t n = strlen(name) - (ram_ends(name, ".weight") ? strlen(".weight") : 0);
    size_t start = n;

    while (start && name[start - 1] != '.')
        start--;
    return ram_arena_printf(&b->layout->arena, b->err, "%.*s", (int)(n - start), name + start);
}

/* Gate rows, then up rows; anything else is one projection. */
static bool splits(const struct ram_build *b, const struct ram_tensor *t,
                   const struct ram_name *name)
{
    const struct ram_config *config = &b->layout->config;

    return name->stack == RAM_STACK_GATE_UP && t->shape[1] == 2 * config->moe_intermediate &&
           t->shape[2] == config->hidden;
}

static int add_stack(struct ram_build *b, struct ram_source source, const struct ram_name *name)
{
    const struct ram_tensor *t = source.tensor;
    const bool split = splits(b, t, name);
    const size_t rows = (size_t)t->shape[1] / (split ? 2 : 1);
    const struct {
        enum ram_role role;
        const char *unit;
    } parts[2] = {
        {split ? RAM_ROLE_GATE : source.role,
         stack_unit(b, t->name, name, split ? "gate_proj" : projection_of(b, t->name))},
        {RAM_ROLE_UP, split ? stack_unit(b, t->name, name, "up_proj") : NULL},
    };

    if (b->err->status)
        return b->err->status;
    for (size_t e = 0; e < t->shape[0]; e++)
        for (size_t i = 0; i < (split ? 2 : 1); i++) {
            source.role = parts[i].role;
            source.unit = parts[i].unit;
            source.expert = (int)e;
            source.view = expert_view(t, e, i * rows, rows);
            source.stored[0] = (struct ram_stored_view){source.view, 1, 0};
            if (add(b, &source))
                return b->err->status;
        }
    return RAM_OK;
}

/* ---- one tensor -------------------------------------------------------------------------------
 */

/* "a.experts.7.up_proj.weight" to "a.experts.*.up_proj.weight". */
static const char *expert_unit(struct ram_build *b, const char *text, const struct ram_name *name)
{
    return ram_arena_printf(&b->layout->arena, b->err, "%.*s*%s", (int)name->expert_at, text,
                            text + name->expert_end);
}

/* A tensor of more than two dimensions that is no stack of experts. */
static struct ram_view deep_view(const struct ram_tensor *t)
{
    const size_t rows = (size_t)t->shape[0], cols = rows ? t->n / rows : 0;
    return (struct ram_view){t, 0, rows, cols, cols, 1, 0};
}

static int add_tensor(struct ram_build *b, const struct ram_tensor *t)
{
    const struct ram_name name = ram_name_parse(t->name);
    const struct ram_slot *slot =
        b->layout->known ? ram_family_slot(&b->layout->config, t->name) : NULL;
    struct ram_source source = {.tensor = t,
                                .view = ram_view_whole(t),
                                .role = slot ? ram_slot_recorded_role(slot) : name.role,
                                .layer = name.layer,
                                .expert = name.expert,
                                .fixed = slot && slot->placement == RAM_PLACE_KERNEL,
                                .unit = t->name};

    drop(b, &name, &source);
    source.stored_dtype = b->layout->format->dtype(&b->layout->config, NULL, t->dtype);
    source.n_stored = source.dropped ? 0 : 1;
    if (name.stack != RAM_STACK_NONE && t->n_dims == 3 && t->n &&
        t->shape[0] <= RAM_CONFIG_MAX_EXPERTS)
        return add_stack(b, source, &name);
    if (name.expert >= 0)
        source.unit = expert_unit(b, t->name, &name);
    if (!source.unit)
        return b->err->status;
    source.stored[0] = (struct ram_stored_view){source.view, 1, 0};
    if (t->n_dims == 3 && t->n && source.role == RAM_ROLE_KV_B) {
        /* One matrix for each head, already split. */
        const size_t rows = (size_t)t->shape[1], cols = (size_t)t->shape[2];
        source.stored[0] = (struct ram_stored_view){
            {t, 0, rows, cols, cols, 1, 0}, (size_t)t->shape[0], rows * cols};
    } else if (t->n_dims > 2) {
        source.view = deep_view(t);
        source.stored[0].view = source.view;
    }
    return add(b, &source);
}

int ram_build_sources(struct ram_build *b)
{
    for (size_t i = 0; i < b->ckpt->n_tensors; i++) {
        b->first[i] = b->layout->n_sources;
        if (add_tensor(b, &b->ckpt->tensors[i]))
            return b->err->status;
    }
    b->first[b->ckpt->n_tensors] = b->layout->n_sources;
    return RAM_OK;
}
