/*
 * target.c - the tensors of the output: what stock mlx_lm loads, and where their rows come from.
 *
 * The functions return whether to go on: not after a failure (b->err), nor when enough tensors are
 * known to be missing.
 */
#include "ckpt/build.h"

#include "ckpt/fp8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_MISSING = 4 };

/* ---- tensors by name and shape ------------------------------------------------------------------
 */

/* Notes a missing tensor. */
static bool miss(struct ram_build *b, const char *name)
{
    const size_t at = strlen(b->missing);

    if (!b->n_missing)
        snprintf(b->first_missing, sizeof b->first_missing, "%s", name);
    snprintf(b->missing + at, sizeof b->missing - at, "%s'%s'", at ? ", " : "", name);
    return ++b->n_missing < MAX_MISSING;
}

static bool has_shape(struct ram_build *b, const struct ram_tensor *t, const uint64_t *shape,
                      int n_dims)
{
    char found[RAM_SHAPE_TEXT], expected[RAM_SHAPE_TEXT], unsaid[RAM_UNSAID_TEXT];
    bool same = t->n_dims == n_dims;

    for (int i = 0; same && i < n_dims; i++)
        same = t->shape[i] == shape[i];
    if (!same)
        ram_fail(b->err, RAM_EFORMAT, "%s: tensor '%s' has shape %s, config.json means %s%s",
                 b->ckpt->dir, t->name, ram_shape_text(t->shape, t->n_dims, found),
                 ram_shape_text(shape, n_dims, expected),
                 ram_config_unsaid(&b->layout->config, unsaid));
    return same;
}

/* The tensor of a slot, or of one of its experts; NULL: it is not there. *name: its name. */
static const struct ram_tensor *find(const struct ram_build *b, const struct ram_slot *slot,
                                     int layer, long expert, char name[RAM_SLOT_NAME])
{
    return ram_ckpt_find(b->ckpt, ram_slot_name(name, &b->layout->config, slot, layer, expert));
}

/* ---- types ------------------------------------------------------------------------------- */

enum ram_dtype ram_build_dtype(const struct ram_config *config, enum ram_dtype dtype)
{
    static const enum ram_dtype casts[] = {
        [RAM_CAST_F16] = RAM_F16, [RAM_CAST_BF16] = RAM_BF16, [RAM_CAST_F32] = RAM_F32};

    if (ram_dtypes[dtype].is_weight && config->cast != RAM_CAST_NONE)
        return casts[config->cast];
    return dtype == RAM_F64 ? RAM_F32 : ram_is_fp8(dtype) ? RAM_BF16 : dtype;
}

/* MLX stacks arrays of different types as the wider one. */
static enum ram_dtype wider(enum ram_dtype a, enum ram_dtype b)
{
    return a == b ? a : RAM_F32;
}

/* ---- targets ----------------------------------------------------------------------------- */

/* Appends a target with room for n_views views; NULL after a failure. */
static struct ram_target *add(struct ram_build *b, const struct ram_slot *slot, const char *module,
                              size_t n_views)
{
    struct ram_layout *layout = b->layout;

    if (ram_grow(&layout->targets, sizeof *layout->targets, layout->n_targets, &b->target_cap,
                 b->err))
        return NULL;
    struct ram_target *target = &layout->targets[layout->n_targets];
    *target = (struct ram_target){
        .module = ram_arena_strdup(&layout->arena, module, b->err),
        .suffix = slot->suffix,
        .views = ram_arena_alloc(&layout->arena, n_views * sizeof *target->views, b->err),
        .quantizable = ram_slot_is_quantizable(slot),
    };
    if (!target->module || !target->views)
        return NULL;
    layout->n_targets++;
    return target;
}

/* Adds a view of t to target, and remembers that t has found its place. */
static void put(struct ram_build *b, struct ram_target *target, const struct ram_slot *slot,
                const struct ram_view *view)
{
    static const struct ram_config no_cast = {0};
    const struct ram_tensor *t = view->tensor;
    const enum ram_dtype dtype = ram_build_dtype(
        slot->placement == RAM_PLACE_EXACT ? &no_cast : &b->layout->config, t->dtype);

    target->dtype = target->n_views ? wider(target->dtype, dtype) : dtype;
    target->views[target->n_views++] = *view;
    b->used[t - b->ckpt->tensors] = true;
}

/* How a tensor is stored when it is not quantised: its sources say so too. */
static void tell_sources(struct ram_build *b, const struct ram_target *target)
{
    const struct ram_tensor *last = NULL;

    for (size_t i = 0; i < target->n_views; i++) {
        const struct ram_tensor *t = target->views[i].tensor;
        const size_t index = (size_t)(t - b->ckpt->tensors);
        for (size_t s = b->first[index]; t != last && s < b->first[index + 1]; s++)
            b->layout->sources[s].stored_dtype = target->dtype;
        last = t;
    }
}

/* A tensor that is stored as it is, under the same name. */
static bool put_plain(struct ram_build *b, const struct ram_slot *slot, int layer,
                      const struct ram_tensor *t)
{
    const struct ram_config *config = &b->layout->config;
    const uint64_t shape[2] = {ram_slot_dim(config, slot->rows), ram_slot_dim(config, slot->cols)};
    const int n_dims = slot->cols == RAM_DIM_NONE ? 1 : 2;
    char module[RAM_SLOT_NAME];

    if (!has_shape(b, t, shape, n_dims))
        return false;
    struct ram_target *target = add(b, slot, ram_slot_module(module, config, slot, layer, 0), 1);
    if (!target)
        return false;
    const struct ram_view view = ram_view_whole(t);
    target->unit = t->name;
    target->n_dims = n_dims;
    memcpy(target->shape, shape, sizeof shape);
    put(b, target, slot, &view);
    tell_sources(b, target);
    return true;
}

static bool build_plain(struct ram_build *b, const struct ram_slot *slot, int layer)
{
    char name[RAM_SLOT_NAME];
    const struct ram_tensor *t = find(b, slot, layer, 0, name);

    return t ? put_plain(b, slot, layer, t) : miss(b, name);
}

/* ---- experts ----------------------------------------------------------------------------- */

/* A stack that holds the slot's experts: MLX's own form, or fused; with gate and up rows in one
 * (*both) or without. NULL: none. */
static const struct ram_tensor *find_stack(const struct ram_build *b, const struct ram_slot *slot,
                                           int layer, bool *both)
{
    struct ram_stack_name stack;

    for (size_t i = 0; ram_slot_stack(&stack, &b->layout->config, slot, layer, i); i++) {
        char name[RAM_SLOT_NAME + sizeof ".weight"];
        snprintf(name, sizeof name, "%s%s", stack.name, stack.is_module ? ".weight" : "");
        const struct ram_tensor *t = ram_ckpt_find(b->ckpt, name);
        *both = stack.both;
        if (t)
            return t;
    }
    return NULL;
}

/* The sources of a stack are its experts in turn, each one matrix or gate and up. */
static bool put_stack(struct ram_build *b, const struct ram_slot *slot, struct ram_target *target,
                      const struct ram_tensor *t, bool gate_up)
{
    const uint64_t n = target->shape[0], rows = target->shape[1], cols = target->shape[2];
    const uint64_t shape[3] = {n, gate_up ? 2 * rows : rows, cols};
    const size_t index = (size_t)(t - b->ckpt->tensors);
    const size_t step = gate_up ? 2 : 1;
    const size_t first = b->first[index] + (gate_up && slot->role == RAM_ROLE_UP);

    if (!has_shape(b, t, shape, 3))
        return false;
    if (b->first[index + 1] - b->first[index] != n * step)
        return ram_fail(b->err, RAM_EINTERNAL, "'%s' is not cut into its experts", t->name), false;
    target->unit = b->layout->sources[first].unit;
    for (size_t e = 0; e < n; e++)
        put(b, target, slot, &b->layout->sources[first + e * step].view);
    return true;
}

static bool put_separate(struct ram_build *b, const struct ram_slot *slot,
                         struct ram_target *target, int layer)
{
    const uint64_t *shape = target->shape + 1;

    for (long e = 0; e < (long)target->shape[0]; e++) {
        char name[RAM_SLOT_NAME];
        const struct ram_tensor *t = find(b, slot, layer, e, name);
        if (!t && miss(b, name))
            continue;
        if (!t || !has_shape(b, t, shape, 2))
            return false;
        const struct ram_view view = ram_view_whole(t);
        target->unit = b->layout->sources[b->first[t - b->ckpt->tensors]].unit;
        put(b, target, slot, &view);
    }
    return true;
}

static bool build_experts(struct ram_build *b, const struct ram_slot *slot, int layer)
{
    const struct ram_config *config = &b->layout->config;
    struct ram_stack_name stacked;
    char first[RAM_SLOT_NAME];
    bool gate_up = false;

    const bool separate = find(b, slot, layer, 0, first) != NULL;
    const struct ram_tensor *stack = separate ? NULL : find_stack(b, slot, layer, &gate_up);
    if (!separate && !stack)
        return miss(b, first);
    if (!ram_slot_stack(&stacked, config, slot, layer, 0))
        return ram_fail(b->err, RAM_EINTERNAL, "'%s' names no experts", slot->module), false;
    struct ram_target *target = add(b, slot, stacked.name, (size_t)config->n_experts);
    if (!target)
        return false;
    target->n_dims = 3;
    target->shape[0] = config->n_experts;
    target->shape[1] = ram_slot_dim(config, slot->rows);
    target->shape[2] = ram_slot_dim(config, slot->cols);
    if (!(separate ? put_separate(b, slot, target, layer)
                   : put_stack(b, slot, target, stack, gate_up)))
        return false;
    tell_sources(b, target);
    return true;
}

/* ---- kv_b_proj --------------------------------------------------------------------------- */

/*
 * kv_b_proj [heads * (nope + v), r] holds for each head the nope rows of K, then the v rows of V.
 * MLX wants embed_q [heads, r, nope], K's part turned, and unembed_out [heads, v, r].
 */
struct kv_half {
    char module[RAM_SLOT_NAME];
    uint64_t rows, cols;
    struct ram_stored_view stored;
};

static void halve(const struct ram_config *c, const struct ram_slot *slot, int layer,
                  const struct ram_tensor *t, struct kv_half half[2])
{
    const size_t r = (size_t)c->kv_lora, nope = (size_t)c->qk_nope, v = (size_t)c->v_head;
    const size_t heads = (size_t)c->n_heads, stride = (nope + v) * r;

    half[0] = (struct kv_half){"", r, nope, {{t, 0, r, nope, 1, r}, heads, stride}};
    half[1] = (struct kv_half){"", v, r, {{t, nope * r, v, r, r, 1}, heads, stride}};
    for (int i = 0; i < 2; i++)
        ram_slot_half(half[i].module, c, slot, layer, i);
}

/* One of the two, from kv_b_proj or from a tensor that MLX has split before. */
static bool put_half(struct ram_build *b, const struct ram_slot *slot, const struct kv_half *half,
                     const struct ram_tensor *split)
{
    const size_t heads = half->stored.blocks;
    const uint64_t shape[3] = {heads, half->rows, half->cols};

    if (split && !has_shape(b, split, shape, 3))
        return false;
    struct ram_target *target = add(b, slot, half->module, split ? 1 : heads);
    if (!target)
        return false;
    target->n_dims = 3;
    memcpy(target->shape, shape, sizeof shape);
    if (split) {
        const struct ram_view view = ram_view_whole(split);
        target->unit = split->name;
        put(b, target, slot, &view);
    } else {
        struct ram_view view = half->stored.view;
        target->unit = view.tensor->name;
        for (size_t h = 0; h < heads; h++, view.first += half->stored.block_stride)
            put(b, target, slot, &view);
    }
    tell_sources(b, target);
    return true;
}

static bool build_kv_b(struct ram_build *b, const struct ram_slot *slot, int layer)
{
    const struct ram_config *config = &b->layout->config;
    const uint64_t shape[2] = {ram_slot_dim(config, slot->rows), ram_slot_dim(config, slot->cols)};
    const struct ram_tensor *split[2] = {NULL, NULL};
    struct kv_half half[2];
    char name[RAM_SLOT_NAME];

    const struct ram_tensor *t = find(b, slot, layer, 0, name);
    halve(config, slot, layer, t, half);
    if (t) {
        if (!has_shape(b, t, shape, 2))
            return false;
        struct ram_source *source = &b->layout->sources[b->first[t - b->ckpt->tensors]];
        source->n_stored = 2;
        source->stored[0] = half[0].stored;
        source->stored[1] = half[1].stored;
    }
    for (int i = 0; i < 2 && !t; i++) {
        char part[RAM_SLOT_NAME + sizeof ".weight"];
        snprintf(part, sizeof part, "%s.weight", half[i].module);
        split[i] = ram_ckpt_find(b->ckpt, part);
        if (!split[i])
            return miss(b, name);
    }
    return put_half(b, slot, &half[0], split[0]) && put_half(b, slot, &half[1], split[1]);
}

/* ---- all
 * ------------------------------------------------------------------------------------------------
 */

static bool build_slot(struct ram_build *b, const struct ram_slot *slot, int layer)
{
    switch (slot->placement) {
    case RAM_PLACE_STACKED:
        return build_experts(b, slot, layer);
    case RAM_PLACE_HEADS:
        return build_kv_b(b, slot, layer);
    default:
        return build_plain(b, slot, layer);
    }
}

/* The head: absent if mlx_lm takes the embedding, a copy of it where mlx_lm wants one of its own.
 */
static bool build_head(struct ram_build *b)
{
    const struct ram_family *family = b->layout->config.family;
    char name[RAM_SLOT_NAME], embed[RAM_SLOT_NAME];
    const struct ram_tensor *head = find(b, family->head, RAM_NO_LAYER, 0, name);

    if (b->layout->tied && !family->own_head)
        return true;
    if (b->layout->tied && !head)
        head = find(b, family->embed, RAM_NO_LAYER, 0, embed);
    if (!head)
        return miss(b, name);
    const bool copy = b->used[head - b->ckpt->tensors];
    if (!put_plain(b, family->head, RAM_NO_LAYER, head))
        return false;
    b->layout->targets[b->layout->n_targets - 1].copy = copy;
    if (copy) { /* the embedding is stored twice, and a plan counts it twice */
        struct ram_source *source = &b->layout->sources[b->first[head - b->ckpt->tensors]];
        source->n_stored = 2;
        source->stored[1] = source->stored[0];
    }
    return true;
}

int ram_build_targets(struct ram_build *b)
{
    const struct ram_config *config = &b->layout->config;
    const struct ram_family *family = config->family;

    bool go_on = build_slot(b, family->embed, RAM_NO_LAYER);
    for (int layer = 0; layer < (int)config->n_layers && go_on; layer++)
        for (size_t i = 0; i < family->n_slots && go_on; i++)
            if (ram_slot_exists(config, &family->slots[i], (uint64_t)layer))
                go_on = build_slot(b, &family->slots[i], layer);
    if (go_on && build_slot(b, family->norm, RAM_NO_LAYER))
        build_head(b);
    return b->err->status;
}
