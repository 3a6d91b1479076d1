/* verify_expected.c - see verify_expected.h. What a family consists of is told by its slots
 * (arch/slot.h). */
#include "convert/verify_expected.h"

#include "arch/family.h"

#include <stdlib.h>
#include <string.h>

/* One tensor; the strings are in the arena already, or NULL if memory ran out. */
static int add(struct ram_expectation *e, const struct ram_expected *item, const char *suffix,
               struct ram_err *err)
{
    if (!item->module || !item->unit)
        return RAM_ENOMEM;
    const int status = ram_grow(&e->items, sizeof *e->items, e->n, &e->cap, err);
    if (status)
        return status;
    e->items[e->n] = *item;
    e->items[e->n].name =
        *suffix ? ram_arena_printf(&e->arena, err, "%s.%s", item->module, suffix) : item->module;
    return e->items[e->n++].name ? RAM_OK : RAM_ENOMEM;
}

/* A slot of a layer, or outside of layers. */
struct at {
    const struct ram_config *config;
    const struct ram_slot *slot;
    int layer;
};

/* kv_b_proj [heads * (nope + v), r] becomes K's half [heads, r, nope], V's [heads, v, r]. */
static int add_halves(struct ram_expectation *e, const struct at *at, const char *unit,
                      struct ram_err *err)
{
    const struct ram_config *c = at->config;
    const uint64_t shapes[2][3] = {{c->n_heads, c->kv_lora, c->qk_nope},
                                   {c->n_heads, c->v_head, c->kv_lora}};
    int status = RAM_OK;

    for (int i = 0; i < 2 && !status; i++) {
        char module[RAM_SLOT_NAME];
        ram_slot_half(module, c, at->slot, at->layer, i);
        struct ram_expected half = {.module = ram_arena_strdup(&e->arena, module, err),
                                    .unit = unit,
                                    .n_dims = 3,
                                    .quantizable = true};
        memcpy(half.shape, shapes[i], sizeof shapes[i]);
        status = add(e, &half, "weight", err);
    }
    return status;
}

static int add_slot(struct ram_expectation *e, const struct at *at, struct ram_err *err)
{
    const struct ram_config *c = at->config;
    const struct ram_slot *slot = at->slot;
    struct ram_stack_name stack;
    char text[RAM_SLOT_NAME];

    const char *unit = ram_arena_strdup(&e->arena, ram_slot_unit(text, c, slot, at->layer), err);
    if (!unit)
        return RAM_ENOMEM;
    if (slot->placement == RAM_PLACE_HEADS)
        return add_halves(e, at, unit, err);

    struct ram_expected item = {.unit = unit, .quantizable = ram_slot_is_quantizable(slot)};
    const char *module = ram_slot_module(text, c, slot, at->layer, 0);
    if (slot->placement == RAM_PLACE_STACKED && ram_slot_stack(&stack, c, slot, at->layer, 0)) {
        item.shape[item.n_dims++] = c->n_experts;
        module = stack.name;
    }
    item.shape[item.n_dims++] = ram_slot_dim(c, slot->rows);
    if (slot->cols != RAM_DIM_NONE)
        item.shape[item.n_dims++] = ram_slot_dim(c, slot->cols);
    item.module = ram_arena_strdup(&e->arena, module, err);
    return add(e, &item, slot->suffix, err);
}

static int add_model(struct ram_expectation *e, const struct ram_config *c, struct ram_err *err)
{
    const struct ram_family *family = c->family;
    int status = add_slot(e, &(struct at){c, family->embed, RAM_NO_LAYER}, err);

    for (int layer = 0; layer < (int)c->n_layers && !status; layer++)
        for (size_t i = 0; i < family->n_slots && !status; i++)
            if (ram_slot_exists(c, &family->slots[i], (uint64_t)layer))
                status = add_slot(e, &(struct at){c, &family->slots[i], layer}, err);
    if (!status)
        status = add_slot(e, &(struct at){c, family->norm, RAM_NO_LAYER}, err);
    if (status || (c->tied == RAM_TIED_YES && !family->own_head))
        return status;
    status = add_slot(e, &(struct at){c, family->head, RAM_NO_LAYER}, err);
    if (!status)
        e->items[e->n - 1].optional = c->tied == RAM_TIED_UNSAID && !family->own_head;
    return status;
}

int ram_expect_config(struct ram_expectation *out, const json_t *config, const char *where,
                      struct ram_err *err)
{
    struct ram_config c;
    *out = (struct ram_expectation){0};

    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!type || !ram_family_find(type))
        return RAM_OK;
    out->known = true;
    int status = ram_config_read(&c, config, where, &out->arena, err);
    if (!status && ram_config_mlx_lacks(&c, config))
        status = ram_fail(err, RAM_EFORMAT, "%s: \"%s\" is missing, which mlx_lm needs", where,
                          ram_config_mlx_lacks(&c, config));
    if (!status)
        status = ram_family_check(&c, where, err);
    if (!status)
        status = add_model(out, &c, err);
    if (status)
        ram_expect_release(out);
    return status;
}

int ram_expect_layout(struct ram_expectation *out, const struct ram_layout *layout,
                      struct ram_err *err)
{
    int status = RAM_OK;

    *out = (struct ram_expectation){.known = layout->known};
    for (size_t i = 0; i < layout->n_targets && !status; i++) {
        const struct ram_target *target = &layout->targets[i];
        struct ram_expected item = {.module = target->module,
                                    .unit = target->unit,
                                    .n_dims = target->n_dims,
                                    .quantizable = target->quantizable,
                                    .target = target};
        memcpy(item.shape, target->shape, sizeof item.shape);
        status = add(out, &item, target->suffix, err);
    }
    if (status)
        ram_expect_release(out);
    return status;
}

void ram_expect_release(struct ram_expectation *e)
{
    free(e->items);
    ram_arena_release(&e->arena);
    *e = (struct ram_expectation){0};
}
