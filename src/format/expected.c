/* expected.c - see expected.h. What a family consists of is told by its slots (arch/slot.h). */
#include "format/expected.h"

#include "arch/config_read.h"
#include "arch/tensors.h"
#include "format/placed.h"

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

static int add_slot(struct ram_expectation *e, const struct ram_format *format,
                    const struct ram_config *c, const struct ram_slot_walk *at, struct ram_err *err)
{
    struct ram_placed places[RAM_MAX_PLACED];
    char text[RAM_SLOT_NAME];
    int status = RAM_OK;

    const char *unit =
        ram_arena_strdup(&e->arena, ram_slot_unit(text, c, at->slot, at->layer), err);
    const size_t n = ram_placed_find(places, format, c, at->slot, at->layer);
    for (size_t i = 0; i < n && !status; i++) {
        struct ram_expected item = {.module = ram_arena_strdup(&e->arena, places[i].module, err),
                                    .unit = unit,
                                    .n_dims = places[i].n_dims,
                                    .quantizable = places[i].quantizable};
        memcpy(item.shape, places[i].shape, sizeof places[i].shape);
        status = add(e, &item, places[i].suffix, err);
    }
    return status;
}

static int add_model(struct ram_expectation *e, const struct ram_format *format,
                     const struct ram_config *c, struct ram_err *err)
{
    struct ram_slot_walk walk = {0};
    int status = RAM_OK;

    while (!status && ram_slot_next(&walk, c)) {
        if (!ram_placed_is_used(format, c, walk.slot))
            continue;
        status = add_slot(e, format, c, &walk, err);
        if (!status && walk.slot == c->family->head)
            e->items[e->n - 1].optional =
                c->tied == RAM_TIED_UNSAID && !format->has_own_head(c->family);
    }
    return status;
}

int ram_expect_config(struct ram_expectation *out, const struct ram_format *format,
                      const json_t *config, const char *where, struct ram_err *err)
{
    struct ram_config c;
    *out = (struct ram_expectation){0};

    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!type || !ram_family_find(type))
        return RAM_OK;
    out->known = true;
    int status = ram_config_read(&c, config, where, &out->arena, err);
    const char *lacks = status ? NULL : format->lacks(&c, config);
    if (lacks)
        status = ram_fail(err, RAM_EFORMAT, "%s: \"%s\" is missing, which %s needs", where, lacks,
                          format->loader);
    if (!status)
        status = ram_family_check(&c, where, err);
    if (!status)
        status = add_model(out, format, &c, err);
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
