/*
 * target.c - the tensors of the output: what the loader looks for, and where their rows come from.
 *
 * The functions return whether to go on: not after a failure (b->err), nor when enough tensors are
 * known to be missing.
 */
#include "arch/config_read.h"
#include "arch/tensors.h"
#include "format/layout_build.h"
#include "format/placed.h"

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

/* ---- targets ----------------------------------------------------------------------------- */

/* Arrays of different types are stacked as the wider one. */
static enum ram_dtype wider(enum ram_dtype a, enum ram_dtype b)
{
    return a == b ? a : RAM_F32;
}

/* A slot of a layer, and where the format puts it. */
struct at {
    const struct ram_slot *slot;
    int layer;
    struct ram_placed places[RAM_MAX_PLACED];
};

/* Appends a target with room for n_views views; NULL after a failure. */
static struct ram_target *add(struct ram_build *b, const struct ram_placed *place, size_t n_views)
{
    struct ram_layout *layout = b->layout;

    if (ram_grow(&layout->targets, sizeof *layout->targets, layout->n_targets, &b->target_cap,
                 b->err))
        return NULL;
    struct ram_target *target = &layout->targets[layout->n_targets];
    *target = (struct ram_target){
        .module = ram_arena_strdup(&layout->arena, place->module, b->err),
        .suffix = place->suffix,
        .n_dims = place->n_dims,
        .views = ram_arena_alloc(&layout->arena, n_views * sizeof *target->views, b->err),
        .quantizable = place->quantizable,
    };
    memcpy(target->shape, place->shape, sizeof place->shape);
    if (!target->module || !target->views)
        return NULL;
    layout->n_targets++;
    return target;
}

/* Adds a view of t to target, and remembers that t has found its place. */
static void put(struct ram_build *b, struct ram_target *target, const struct ram_slot *slot,
                const struct ram_view *view)
{
    const struct ram_tensor *t = view->tensor;
    const enum ram_dtype dtype = b->layout->format->dtype(&b->layout->config, slot, t->dtype);

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

/* A tensor that is stored as it is. */
static bool put_plain(struct ram_build *b, const struct at *at, const struct ram_tensor *t)
{
    const struct ram_placed *place = &at->places[0];

    const bool kernel =
        at->slot->placement == RAM_PLACE_KERNEL && ram_is_kernel(&b->layout->config, at->slot, t);
    if (!kernel && !has_shape(b, t, place->shape, place->n_dims))
        return false;
    struct ram_target *target = add(b, place, 1);
    if (!target)
        return false;
    struct ram_view view = ram_view_whole(t);
    view.cols = view.row_stride = (size_t)place->shape[place->n_dims - 1];
    view.rows = view.cols ? t->n / view.cols : 0;
    view.add = place->add;
    target->unit = t->name;
    put(b, target, at->slot, &view);
    tell_sources(b, target);
    return true;
}

static bool build_plain(struct ram_build *b, const struct at *at)
{
    char name[RAM_SLOT_NAME];
    const struct ram_tensor *t = find(b, at->slot, at->layer, 0, name);

    return t ? put_plain(b, at, t) : miss(b, name);
}

/* ---- experts ----------------------------------------------------------------------------- */

/* A stack that holds the slot's experts: as a format keeps it, or fused; with gate and up rows in
 * one (*both) or without. NULL: none. */
static const struct ram_tensor *find_stack(const struct ram_build *b, const struct at *at,
                                           bool *both)
{
    struct ram_stack_name stack;

    for (size_t i = 0; ram_placed_stack(&stack, &b->layout->config, at->slot, at->layer, i); i++) {
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
static bool put_stack(struct ram_build *b, const struct at *at, struct ram_target *target,
                      const struct ram_tensor *t, bool gate_up)
{
    const uint64_t n = target->shape[0], rows = target->shape[1], cols = target->shape[2];
    const uint64_t shape[3] = {n, gate_up ? 2 * rows : rows, cols};
    const size_t index = (size_t)(t - b->ckpt->tensors);
    const size_t step = gate_up ? 2 : 1;
    const size_t first = b->first[index] + (gate_up && at->slot->role == RAM_ROLE_UP);

    if (!has_shape(b, t, shape, 3))
        return false;
    if (b->first[index + 1] - b->first[index] != n * step)
        return ram_fail(b->err, RAM_EINTERNAL, "'%s' is not cut into its experts", t->name), false;
    target->unit = b->layout->sources[first].unit;
    for (size_t e = 0; e < n; e++)
        put(b, target, at->slot, &b->layout->sources[first + e * step].view);
    return true;
}

static bool put_separate(struct ram_build *b, const struct at *at, struct ram_target *target)
{
    const uint64_t *shape = target->shape + 1;

    for (long e = 0; e < (long)target->shape[0]; e++) {
        char name[RAM_SLOT_NAME];
        const struct ram_tensor *t = find(b, at->slot, at->layer, e, name);
        if (!t && miss(b, name))
            continue;
        if (!t || !has_shape(b, t, shape, 2))
            return false;
        const struct ram_view view = ram_view_whole(t);
        target->unit = b->layout->sources[b->first[t - b->ckpt->tensors]].unit;
        put(b, target, at->slot, &view);
    }
    return true;
}

static bool build_experts(struct ram_build *b, const struct at *at)
{
    char first[RAM_SLOT_NAME];
    bool gate_up = false;

    const bool separate = find(b, at->slot, at->layer, 0, first) != NULL;
    const struct ram_tensor *stack = separate ? NULL : find_stack(b, at, &gate_up);
    if (!separate && !stack)
        return miss(b, first);
    struct ram_target *target = add(b, &at->places[0], (size_t)at->places[0].shape[0]);
    if (!target)
        return false;
    if (!(separate ? put_separate(b, at, target) : put_stack(b, at, target, stack, gate_up)))
        return false;
    tell_sources(b, target);
    return true;
}

/* ---- kv_b_proj --------------------------------------------------------------------------- */

/*
 * kv_b_proj [heads * (nope + v), r] holds for each head the nope rows of K, then the v rows of V.
 * Outputs have K's part turned, [heads, r, nope], and V's, [heads, v, r]: as the blocks of two
 * views.
 */
static void halve(const struct ram_config *c, const struct ram_tensor *t,
                  struct ram_stored_view half[2])
{
    const size_t r = (size_t)c->kv_lora, nope = (size_t)c->qk_nope, v = (size_t)c->v_head;
    const size_t heads = (size_t)c->n_heads, stride = (nope + v) * r;

    half[0] = (struct ram_stored_view){{t, 0, r, nope, 1, r, 0}, heads, stride};
    half[1] = (struct ram_stored_view){{t, nope * r, v, r, r, 1, 0}, heads, stride};
}

/* One of the two, from kv_b_proj or from a tensor that has been split before. */
static bool put_half(struct ram_build *b, const struct at *at, int i,
                     const struct ram_stored_view *half, const struct ram_tensor *split)
{
    const struct ram_placed *place = &at->places[i];

    if (split && !has_shape(b, split, place->shape, 3))
        return false;
    struct ram_target *target = add(b, place, split ? 1 : half->blocks);
    if (!target)
        return false;
    if (split) {
        const struct ram_view view = ram_view_whole(split);
        target->unit = split->name;
        put(b, target, at->slot, &view);
    } else {
        struct ram_view view = half->view;
        target->unit = view.tensor->name;
        for (size_t h = 0; h < half->blocks; h++, view.first += half->block_stride)
            put(b, target, at->slot, &view);
    }
    tell_sources(b, target);
    return true;
}

/* A half that is stored by itself, as a format keeps it. */
static const struct ram_tensor *find_half(const struct ram_build *b, const struct at *at, int half)
{
    char module[RAM_SLOT_NAME], name[RAM_SLOT_NAME + sizeof ".weight"];
    const struct ram_tensor *t = NULL;

    for (size_t i = 0;
         !t && ram_placed_half(module, &b->layout->config, at->slot, at->layer, half, i); i++) {
        snprintf(name, sizeof name, "%s.weight", module);
        t = ram_ckpt_find(b->ckpt, name);
    }
    return t;
}

static bool build_heads(struct ram_build *b, const struct at *at)
{
    const struct ram_config *config = &b->layout->config;
    const uint64_t shape[2] = {ram_slot_dim(config, at->slot->rows),
                               ram_slot_dim(config, at->slot->cols)};
    const struct ram_tensor *split[2] = {NULL, NULL};
    struct ram_stored_view half[2];
    char name[RAM_SLOT_NAME];

    const struct ram_tensor *t = find(b, at->slot, at->layer, 0, name);
    halve(config, t, half);
    if (t) {
        if (!has_shape(b, t, shape, 2))
            return false;
        struct ram_source *source = &b->layout->sources[b->first[t - b->ckpt->tensors]];
        source->n_stored = 2;
        memcpy(source->stored, half, sizeof half);
    }
    for (int i = 0; i < 2 && !t; i++) {
        split[i] = find_half(b, at, i);
        if (!split[i])
            return miss(b, name);
    }
    return put_half(b, at, 0, &half[0], split[0]) && put_half(b, at, 1, &half[1], split[1]);
}

/* ---- all ----------------------------------------------------------------------------------- */

/* A head that is the embedding, but that the loader looks for, is a copy of it. */
static bool build_head(struct ram_build *b, const struct at *at)
{
    const struct ram_family *family = b->layout->config.family;
    char name[RAM_SLOT_NAME], embed[RAM_SLOT_NAME];
    const struct ram_tensor *head = find(b, at->slot, at->layer, 0, name);

    if (b->layout->tied && !head)
        head = find(b, family->embed, RAM_NO_LAYER, 0, embed);
    if (!head)
        return miss(b, name);
    const bool copy = b->used[head - b->ckpt->tensors];
    if (!put_plain(b, at, head))
        return false;
    b->layout->targets[b->layout->n_targets - 1].copy = copy;
    if (copy) { /* the embedding is stored twice, and a plan counts it twice */
        struct ram_source *source = &b->layout->sources[b->first[head - b->ckpt->tensors]];
        source->n_stored = 2;
        source->stored[1] = source->stored[0];
    }
    return true;
}

static bool build_slot(struct ram_build *b, const struct ram_slot *slot, int layer)
{
    const struct ram_layout *layout = b->layout;
    struct at at = {.slot = slot, .layer = layer};

    if (!ram_placed_is_used(layout->format, &layout->config, slot))
        return true;
    ram_placed_find(at.places, layout->format, &layout->config, slot, layer);
    if (slot == layout->config.family->head)
        return build_head(b, &at);
    if (slot->placement == RAM_PLACE_STACKED)
        return build_experts(b, &at);
    return slot->placement == RAM_PLACE_HEADS ? build_heads(b, &at) : build_plain(b, &at);
}

/* A tensor without a slot that is carried along as it is. */
static int carry(struct ram_build *b, const struct ram_tensor *t, char name[RAM_SLOT_NAME])
{
    char *const dot = strrchr(name, '.');
    struct ram_placed place = {.suffix = dot ? dot + 1 : "", .n_dims = t->n_dims};

    place.suffix = ram_arena_strdup(&b->layout->arena, place.suffix, b->err);
    if (dot)
        *dot = '\0';
    memcpy(place.module, name, sizeof place.module);
    struct ram_target *target = place.suffix ? add(b, &place, 1) : NULL;
    if (!target)
        return b->err->status;
    memcpy(target->shape, t->shape, sizeof target->shape);
    struct ram_view view = ram_view_whole(t);
    target->unit = t->name;
    put(b, target, NULL, &view);
    tell_sources(b, target);
    return RAM_OK;
}

static int carry_rest(struct ram_build *b)
{
    const struct ram_layout *layout = b->layout;
    char name[RAM_SLOT_NAME];
    int status = RAM_OK;

    for (size_t i = 0; !status && i < b->ckpt->n_tensors; i++) {
        const struct ram_tensor *t = &b->ckpt->tensors[i];
        if (!b->used[i] && !layout->sources[b->first[i]].dropped &&
            layout->format->carry(name, &layout->config, t->name))
            status = carry(b, t, name);
    }
    return status;
}

int ram_build_targets(struct ram_build *b)
{
    struct ram_slot_walk walk = {0};

    while (ram_slot_next(&walk, &b->layout->config) && build_slot(b, walk.slot, walk.layer))
        ;
    return b->err->status || b->n_missing ? b->err->status : carry_rest(b);
}
