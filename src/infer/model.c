/*
 * model.c - see model.h.
 *
 * The slots of the family (arch/slot.h) say which tensors a layer has. A matrix is looked for under
 * its published name and under those that formats give it: experts one by one, fused, or stacked; a
 * matrix of heads whole, or split into halves of which the first is turned.
 */
#include "infer/model.h"

#include "arch/config_read.h"
#include "arch/tensors.h"
#include "ckpt/fp8.h"
#include "ckpt/prefix.h"
#include "ckpt/settle.h"
#include "format/placed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct finder {
    struct ram_model *model;
    struct ram_err *err;
    int layer; /* or RAM_NO_LAYER */
};

/* Where the tensors of a layer go, in the order in which they are looked for. That of the matrices
 * is the order of units. */
#define AT(member) offsetof(struct ram_layer, member)

static const struct {
    enum ram_role role;
    bool is_vector;
    size_t at;
} parts[] = {
    {RAM_ROLE_NORM_BEFORE_ATTENTION, true, AT(before_attention)},
    {RAM_ROLE_NORM_AFTER_ATTENTION, true, AT(after_attention)},
    {RAM_ROLE_NORM_BEFORE_MLP, true, AT(before_mlp)},
    {RAM_ROLE_NORM_AFTER_MLP, true, AT(after_mlp)},
    {RAM_ROLE_Q_A, false, AT(attention.q_a)},
    {RAM_ROLE_NORM_Q_LATENT, true, AT(attention.q_a_norm)},
    {RAM_ROLE_Q_B, false, AT(attention.q)},
    {RAM_ROLE_Q, false, AT(attention.q)},
    {RAM_ROLE_K, false, AT(attention.k)},
    {RAM_ROLE_V, false, AT(attention.v)},
    {RAM_ROLE_KV_A, false, AT(attention.kv_a)},
    {RAM_ROLE_NORM_KV_LATENT, true, AT(attention.kv_a_norm)},
    {RAM_ROLE_KV_B, false, 0}, /* to the heads */
    {RAM_ROLE_DELTA_QKV, false, AT(delta.qkv)},
    {RAM_ROLE_DELTA_Z, false, AT(delta.z)},
    {RAM_ROLE_DELTA_B, false, AT(delta.b)},
    {RAM_ROLE_DELTA_A, false, AT(delta.a)},
    {RAM_ROLE_DELTA_QKVZ, false, AT(delta.qkvz)},
    {RAM_ROLE_DELTA_BA, false, AT(delta.ba)},
    {RAM_ROLE_DELTA_KERNEL, true, AT(delta.kernel)},
    {RAM_ROLE_DELTA_STEP, true, AT(delta.step)},
    {RAM_ROLE_DELTA_DECAY, true, AT(delta.decay)},
    {RAM_ROLE_NORM_DELTA, true, AT(delta.norm)},
    {RAM_ROLE_O, false, AT(attention.o)},
    {RAM_ROLE_NORM_Q, true, AT(attention.q_norm)},
    {RAM_ROLE_NORM_K, true, AT(attention.k_norm)},
    {RAM_ROLE_ROUTER, false, AT(router)},
    {RAM_ROLE_CORRECTION, true, AT(router_bias)},
    {RAM_ROLE_GATE, false, AT(mlp.gate)},
    {RAM_ROLE_UP, false, AT(mlp.up)},
    {RAM_ROLE_DOWN, false, AT(mlp.down)},
    {RAM_ROLE_SHARED_GATE, false, AT(shared.gate)},
    {RAM_ROLE_SHARED_UP, false, AT(shared.up)},
    {RAM_ROLE_SHARED_DOWN, false, AT(shared.down)},
    {RAM_ROLE_SHARED_ROUTER, false, AT(shared_router)},
};

/* ---- finding ---------------------------------------------------------------------------- */

static size_t layer_of(const struct finder *f)
{
    return f->layer < 0 ? SIZE_MAX : (size_t)f->layer;
}

/* A new unit of n matrices from `first` on; its number to *out. */
static int add_unit(struct finder *f, const struct ram_slot *slot, const struct ram_linear *first,
                    size_t n, size_t stride, unsigned *out)
{
    struct ram_model *model = f->model;
    char name[RAM_SLOT_NAME];

    if (model->n_units == 0)
        model->n_units = 1; /* 0 means none */
    if (ram_grow(&model->units, sizeof *model->units, model->n_units, &model->unit_room, f->err))
        return RAM_ENOMEM;
    const char *copy = ram_arena_strdup(
        &model->arena, ram_slot_unit(name, &model->config, slot, f->layer), f->err);
    if (!copy)
        return RAM_ENOMEM;
    model->units[model->n_units] =
        (struct ram_model_unit){copy, layer_of(f), slot->role, slot->input, first, n, stride};
    *out = (unsigned)model->n_units++;
    return RAM_OK;
}

const struct ram_linear *ram_unit_matrix(const struct ram_model_unit *unit, size_t i)
{
    return (const struct ram_linear *)(const void *)((const char *)unit->first + i * unit->stride);
}

/* name: of the tensor. */
static int missing(const struct finder *f, const char *name)
{
    char there[RAM_PREFIX_TEXT];

    return ram_fail(f->err, RAM_EFORMAT, "%s: no tensor \"%s\", which a %s model needs%s",
                    f->model->ckpt->name, name, f->model->hp.model_type,
                    ram_prefix_describe(f->model->ckpt, name, there));
}

static bool is_present(const struct ram_weight *weight)
{
    return weight->rows > 0;
}

/* A vector as f32, or NULL in *out if it is absent and that is allowed. */
static int find_vector(struct finder *f, const struct ram_slot *slot, bool needed,
                       const float **out)
{
    const struct ram_model *model = f->model;
    const size_t n = (size_t)ram_slot_dim(&model->config, slot->rows);
    char name[RAM_SLOT_NAME];

    ram_slot_name(name, &model->config, slot, f->layer, 0);
    const struct ram_tensor *tensor = ram_ckpt_find(model->ckpt, name);
    *out = NULL;
    if (!tensor)
        return needed ? missing(f, name) : RAM_OK;
    if (tensor->n_dims != 1 || tensor->n != n || !ram_dtypes[tensor->dtype].is_weight)
        return ram_fail(f->err, RAM_EFORMAT,
                        "%s: \"%s\" has %zu elements in %d dimensions, expected %zu in 1",
                        model->ckpt->name, name, tensor->n, tensor->n_dims, n);
    float *values = ram_arena_alloc(&f->model->arena, n * sizeof *values, f->err);
    if (!values)
        return RAM_ENOMEM;
    struct ram_view view = ram_view_whole(tensor);
    view.add = slot->placement == RAM_PLACE_GAIN && !model->config.gains_whole ? 1 : 0;
    *out = values;
    return ram_view_read(&view, 0, view.rows, values, f->err);
}

/* The weights of a convolution, by positions. */
static int find_kernel(struct finder *f, const struct ram_slot *slot, const float **out)
{
    const struct ram_model *model = f->model;
    const size_t channels = (size_t)ram_slot_dim(&model->config, slot->rows);
    const size_t positions = (size_t)ram_slot_dim(&model->config, slot->cols);
    const size_t n = channels * positions;
    char name[RAM_SLOT_NAME];

    ram_slot_name(name, &model->config, slot, f->layer, 0);
    const struct ram_tensor *t = ram_ckpt_find(model->ckpt, name);
    if (!t)
        return missing(f, name);
    if (!ram_is_kernel(&model->config, slot, t) || !ram_dtypes[t->dtype].is_weight)
        return ram_fail(f->err, RAM_EFORMAT,
                        "%s: \"%s\" has %zu elements in %d dimensions, expected [%zu, 1, %zu]",
                        model->ckpt->name, name, t->n, t->n_dims, channels, positions);
    float *stored = ram_calloc(n, sizeof *stored, f->err);
    float *values = ram_arena_alloc(&f->model->arena, n * sizeof *values, f->err);
    const struct ram_view view = ram_view_whole(t);
    int status = stored && values ? ram_view_read(&view, 0, view.rows, stored, f->err) : RAM_ENOMEM;
    for (size_t i = 0; !status && i < n; i++)
        values[i % positions * channels + i / positions] = stored[i];
    free(stored);
    *out = values;
    return status;
}

/* What is stored in FP8 is read as the type that it would be converted to. */
static void round_fp8(const struct finder *f, struct ram_weight *weight)
{
    const struct ram_tensor *t = weight->view.tensor;
    if (t && ram_is_fp8(t->dtype))
        weight->rounded = ram_config_dtype(&f->model->config, t->dtype);
}

static int find_weight(struct finder *f, const char *module, struct ram_weight *out)
{
    const int status = ram_weight_find(out, f->model->ckpt, module, f->err);

    if (!status)
        round_fp8(f, out);
    return status;
}

static int expect_shape(const struct finder *f, const char *name, const struct ram_weight *w,
                        size_t blocks, size_t rows, size_t cols)
{
    char unsaid[RAM_UNSAID_TEXT];

    if (w->blocks == blocks && w->rows == rows && w->cols == cols)
        return RAM_OK;
    ram_config_unsaid(&f->model->config, unsaid);
    if (w->blocks == 1 && blocks == 1)
        return ram_fail(f->err, RAM_EFORMAT,
                        "%s: \"%s\" is [%zu, %zu], config.json says [%zu, %zu]%s",
                        f->model->ckpt->name, name, w->rows, w->cols, rows, cols, unsaid);
    return ram_fail(
        f->err, RAM_EFORMAT, "%s: \"%s\" is [%zu, %zu, %zu], config.json says [%zu, %zu, %zu]%s",
        f->model->ckpt->name, name, w->blocks, w->rows, w->cols, blocks, rows, cols, unsaid);
}

/* The bias of a slot's matrix, if the class of this family has one there. A bias that is stored
 * without being asked for is passed over, as transformers passes over it, and counted. */
static int find_bias(struct finder *f, const struct ram_slot *slot, const char *module,
                     struct ram_linear *linear)
{
    struct ram_model *model = f->model;
    char name[RAM_SLOT_NAME + sizeof ".bias"];
    const struct ram_slot *bias =
        f->layer < 0 ? NULL : ram_family_vector(&model->config, slot->role, (uint64_t)f->layer);

    if (bias)
        return find_vector(f, bias, true, &linear->bias);
    snprintf(name, sizeof name, "%s.bias", module);
    const struct ram_tensor *stored = ram_ckpt_find(model->ckpt, name);
    if (stored && !model->n_unread++)
        model->unread = stored->name;
    return RAM_OK;
}

/* A linear layer [out, in], with its bias if it has one, as part of a unit. expert: which, of a
 * slot that has one for each. */
static int find_linear(struct finder *f, const struct ram_slot *slot, size_t expert,
                       struct ram_linear *linear)
{
    const struct ram_config *config = &f->model->config;
    char module[RAM_SLOT_NAME], name[RAM_SLOT_NAME];

    *linear = (struct ram_linear){.out = (size_t)ram_slot_dim(config, slot->rows),
                                  .in = (size_t)ram_slot_dim(config, slot->cols)};
    ram_slot_module(module, config, slot, f->layer, (long)expert);
    ram_slot_name(name, config, slot, f->layer, (long)expert);
    int status = find_weight(f, module, &linear->weight);
    if (!status && !is_present(&linear->weight))
        return missing(f, name);
    if (!status)
        status = expect_shape(f, name, &linear->weight, 1, linear->out, linear->in);
    return status ? status : find_bias(f, slot, module, linear);
}

/* One that is a unit of its own. */
static int find_unit(struct finder *f, const struct ram_slot *slot, struct ram_linear *linear)
{
    const int status = find_linear(f, slot, 0, linear);
    return status ? status : add_unit(f, slot, linear, 1, sizeof *linear, &linear->unit);
}

/* ---- experts ---------------------------------------------------------------------------- */

static struct ram_linear slab(const struct ram_weight *weight, size_t first, size_t out, size_t in)
{
    return (struct ram_linear){.weight = *weight, .first = first, .out = out, .in = in};
}

/* A stack that is stored without codes. */
static int weigh_tensor(struct finder *f, const struct ram_tensor *t, struct ram_weight *out)
{
    if (t->n_dims != 3)
        return ram_fail(f->err, RAM_EFORMAT, "%s: \"%s\" has %d dimensions, expected 3",
                        f->model->ckpt->name, t->name, t->n_dims);
    *out = (struct ram_weight){.blocks = (size_t)t->shape[0],
                               .rows = (size_t)t->shape[1],
                               .cols = (size_t)t->shape[2],
                               .view = ram_view_whole(t)};
    round_fp8(f, out);
    return RAM_OK;
}

/* The stack that holds the slot's experts, and its name; not present: they are stored one by one.
 */
static int find_stack(struct finder *f, const struct ram_slot *slot, struct ram_weight *out,
                      struct ram_stack_name *stack)
{
    const struct ram_model *model = f->model;
    int status = RAM_OK;

    *out = (struct ram_weight){0};
    for (size_t i = 0;
         !status && !is_present(out) && ram_placed_stack(stack, &model->config, slot, f->layer, i);
         i++) {
        const struct ram_tensor *t =
            stack->is_module ? NULL : ram_ckpt_find(model->ckpt, stack->name);
        if (stack->is_module)
            status = find_weight(f, stack->name, out);
        else if (t)
            status = weigh_tensor(f, t, out);
    }
    return status;
}

/* The experts of a layer [n_experts], of which slots have one projection each. */
static int make_experts(struct finder *f, struct ram_layer *layer)
{
    const size_t n = f->model->hp.moe.n_experts;

    if (!layer->experts)
        layer->experts = ram_arena_alloc(&f->model->arena, n * sizeof *layer->experts, f->err);
    return layer->experts ? RAM_OK : RAM_ENOMEM;
}

/* In whatever form they are stored, the experts of a projection are one unit. at: of the projection
 * in struct ram_layer's mlp. */
static int find_experts(struct finder *f, const struct ram_slot *slot, size_t at,
                        struct ram_layer *layer)
{
    const struct ram_config *config = &f->model->config;
    const size_t n = f->model->hp.moe.n_experts;
    const size_t out = (size_t)ram_slot_dim(config, slot->rows);
    const size_t in = (size_t)ram_slot_dim(config, slot->cols);
    struct ram_stack_name stack;
    struct ram_weight weight;
    unsigned unit = 0;

    int status = make_experts(f, layer);
    if (!status)
        status = find_stack(f, slot, &weight, &stack);
    if (status)
        return status;
    char *const first = (char *)layer->experts + (at - AT(mlp));
    const bool stacked = is_present(&weight);
    const size_t rows = stacked && stack.both ? 2 * out : out;
    const size_t skip = stacked && stack.both && slot->role == RAM_ROLE_UP ? out : 0;
    if (stacked)
        status = expect_shape(f, stack.name, &weight, n, rows, in);
    if (!status)
        status = add_unit(f, slot, (const struct ram_linear *)(const void *)first, n,
                          sizeof *layer->experts, &unit);
    for (size_t e = 0; !status && e < n; e++) {
        struct ram_linear *linear =
            (struct ram_linear *)(void *)(first + e * sizeof *layer->experts);
        if (stacked)
            *linear = slab(&weight, e * rows + skip, out, in);
        else
            status = find_linear(f, slot, e, linear);
        linear->unit = unit;
    }
    return status;
}

/* ---- attention -------------------------------------------------------------------------- */

/* One of the two, as a format keeps it. */
static int find_half(struct finder *f, const struct ram_slot *slot, int half,
                     struct ram_weight *weight, char module[RAM_SLOT_NAME])
{
    const struct ram_config *config = &f->model->config;
    char name[RAM_SLOT_NAME];
    int status = RAM_OK;

    *weight = (struct ram_weight){0};
    for (size_t i = 0;
         !status && !is_present(weight) && ram_placed_half(module, config, slot, f->layer, half, i);
         i++)
        status = find_weight(f, module, weight);
    if (status || is_present(weight))
        return status;
    return missing(f, ram_slot_name(name, config, slot, f->layer, 0));
}

/* kv_b_proj, whole or split: latent to keys (without their rotary part) and values of a head. */
static int find_heads(struct finder *f, const struct ram_slot *slot,
                      struct ram_attention_weights *a)
{
    const struct ram_config *config = &f->model->config;
    const struct ram_hparams *hp = &f->model->hp;
    const size_t n = hp->n_heads, rank = hp->kv_rank, nope = hp->nope_dim, v_dim = hp->v_dim;
    char module[RAM_SLOT_NAME], name[RAM_SLOT_NAME], halves[2][RAM_SLOT_NAME];
    struct ram_weight whole, half[2];
    unsigned unit = 0;
    int status;

    a->k_heads = ram_arena_alloc(&f->model->arena, n * sizeof *a->k_heads, f->err);
    a->v_heads = ram_arena_alloc(&f->model->arena, n * sizeof *a->v_heads, f->err);
    if (!a->k_heads || !a->v_heads)
        return RAM_ENOMEM;
    ram_slot_module(module, config, slot, f->layer, 0);
    ram_slot_name(name, config, slot, f->layer, 0);
    status = find_weight(f, module, &whole);
    if (!status && is_present(&whole)) {
        status = expect_shape(f, name, &whole, 1, n * (nope + v_dim), rank);
        if (!status)
            status = add_unit(f, slot, a->v_heads, n, sizeof *a->v_heads, &unit);
        for (size_t h = 0; !status && h < n; h++) {
            a->k_heads[h] = slab(&whole, h * (nope + v_dim), nope, rank);
            a->v_heads[h] = slab(&whole, h * (nope + v_dim) + nope, v_dim, rank);
            a->k_heads[h].unit = a->v_heads[h].unit = unit;
        }
        return status;
    }
    for (int i = 0; i < 2 && !status; i++)
        status = find_half(f, slot, i, &half[i], halves[i]);
    if (status || (status = expect_shape(f, halves[0], &half[0], n, rank, nope)) ||
        (status = expect_shape(f, halves[1], &half[1], n, v_dim, rank)))
        return status;
    for (size_t h = 0; h < n; h++) {
        a->k_heads[h] = slab(&half[0], h * rank, nope, rank);
        a->k_heads[h].transposed = true;
        a->v_heads[h] = slab(&half[1], h * v_dim, v_dim, rank);
    }
    return RAM_OK;
}

/* ---- the whole -------------------------------------------------------------------------- */

/* A matrix of the layer, or the matrices of its experts or heads. at: in struct ram_layer. */
static int find_matrix(struct finder *f, const struct ram_slot *slot, size_t at,
                       struct ram_layer *layer)
{
    if (slot->placement == RAM_PLACE_STACKED)
        return find_experts(f, slot, at, layer);
    if (slot->placement == RAM_PLACE_HEADS)
        return find_heads(f, slot, &layer->attention);
    return find_unit(f, slot, (struct ram_linear *)(void *)((char *)layer + at));
}

static int find_layer(struct finder *f, size_t index)
{
    struct ram_model *model = f->model;
    const struct ram_config *config = &model->config;
    struct ram_layer *layer = &model->layers[index];
    int status = RAM_OK;

    f->layer = (int)index;
    layer->window = ram_layer_window(&model->hp, index);
    layer->rope = ram_layer_rope(&model->hp, index);
    layer->recurs = ram_layer_recurs(&model->hp, index);
    for (size_t i = 0; !status && i < sizeof parts / sizeof *parts; i++) {
        const enum ram_role role = parts[i].role;
        const struct ram_slot *slot = parts[i].is_vector ? ram_family_vector(config, role, index)
                                                         : ram_family_matrix(config, role, index);
        const float **const vector = (const float **)(void *)((char *)layer + parts[i].at);
        if (slot && role == RAM_ROLE_DELTA_KERNEL)
            status = find_kernel(f, slot, vector);
        else if (slot && parts[i].is_vector) /* a router chooses without a correction, too */
            status = find_vector(f, slot, role != RAM_ROLE_CORRECTION, vector);
        else if (slot)
            status = find_matrix(f, slot, parts[i].at, layer);
    }
    layer->has_shared = layer->shared.gate.out > 0;
    return status;
}

static int find_ends(struct finder *f)
{
    struct ram_model *model = f->model;
    const struct ram_hparams *hp = &model->hp;
    const struct ram_family *family = model->config.family;
    char module[RAM_SLOT_NAME], name[RAM_SLOT_NAME];

    ram_slot_module(module, &model->config, family->embed, RAM_NO_LAYER, 0);
    ram_slot_name(name, &model->config, family->embed, RAM_NO_LAYER, 0);
    int status = find_weight(f, module, &model->embed);
    if (!status && !is_present(&model->embed))
        status = missing(f, name);
    if (!status)
        status = expect_shape(f, name, &model->embed, 1, hp->vocab, hp->hidden);
    if (!status)
        status = find_vector(f, family->norm, true, &model->norm);
    if (!status)
        status = add_unit(f, family->embed, NULL, 0, 0, &model->embed_unit);
    if (status)
        return status;
    if (!hp->tied)
        return find_unit(f, family->head, &model->head);
    struct ram_model_unit *unit = &model->units[model->embed_unit];
    model->head = slab(&model->embed, 0, hp->vocab, hp->hidden);
    model->head.unit = model->embed_unit;
    unit->input = family->head->input;
    unit->first = &model->head;
    unit->n = 1;
    return RAM_OK;
}

/* Numbers of an unknown family may mean anything: that it is unknown is what is then said. */
static int settle(struct ram_model *model, struct ram_err *err)
{
    struct ram_err found = {0};
    const int status =
        ram_config_settle(&model->config, model->ckpt, &model->arena, &model->notes, &found);
    return status && (model->config.family || status == RAM_ENOMEM)
               ? ram_fail(err, status, "%s", found.message)
               : RAM_OK;
}

int ram_model_open(struct ram_model **out, const struct ram_ckpt *ckpt, struct ram_err *err)
{
    struct ram_model *model = ram_calloc(1, sizeof *model, err);
    if (!model)
        return RAM_ENOMEM;
    struct finder f = {.model = model, .err = err, .layer = RAM_NO_LAYER};

    model->ckpt = ckpt;
    int status = ram_ckpt_check_coding(ckpt, err);
    if (!status)
        status = settle(model, err);
    if (!status)
        status = ram_hparams_read(&model->hp, &model->config, err);
    if (!status) {
        model->layers =
            ram_arena_alloc(&model->arena, model->hp.n_layers * sizeof *model->layers, err);
        status = model->layers ? find_ends(&f) : RAM_ENOMEM;
    }
    for (size_t i = 0; !status && i < model->hp.n_layers; i++)
        status = find_layer(&f, i);
    if (!status && model->n_unread)
        status = ram_notes_add(
            &model->notes, &model->arena, err,
            "%zu tensors such as '%s' are left out: config.json does not announce them, so "
            "the class of %s in transformers does not read them",
            model->n_unread, model->unread, model->hp.model_type);
    if (status) {
        ram_model_close(model);
        return status;
    }
    *out = model;
    return RAM_OK;
}

void ram_model_close(struct ram_model *model)
{
    if (!model)
        return;
    ram_arena_release(&model->arena);
    free(model->units);
    free(model);
}

static uint64_t slot_parameters(const struct ram_config *config, const struct ram_slot *slot)
{
    const uint64_t cols = slot->cols == RAM_DIM_NONE ? 1 : ram_slot_dim(config, slot->cols);
    const uint64_t n = slot->placement == RAM_PLACE_STACKED ? config->n_experts : 1;

    return n * ram_slot_dim(config, slot->rows) * cols;
}

uint64_t ram_model_parameters(const struct ram_model *model)
{
    const struct ram_config *config = &model->config;
    const struct ram_family *family = config->family;
    uint64_t n = slot_parameters(config, family->embed) + slot_parameters(config, family->norm);

    if (!model->hp.tied)
        n += slot_parameters(config, family->head);
    for (uint64_t layer = 0; layer < config->n_layers; layer++)
        for (size_t i = 0; i < family->n_slots; i++)
            if (ram_slot_exists(config, &family->slots[i], layer))
                n += slot_parameters(config, &family->slots[i]);
    return n;
}

uint64_t ram_model_bytes(const struct ram_model *model)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < model->ckpt->n_files; i++)
        bytes += model->ckpt->files[i].map.size;
    return bytes;
}
