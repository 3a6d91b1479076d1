/* placed.c - see placed.h. */
#include "format/placed.h"

#include <stdio.h>
#include <string.h>

static void name_place(struct ram_placed *place, const struct ram_format *format,
                       const struct ram_config *config, const struct ram_slot *slot, int layer,
                       int half)
{
    char module[RAM_SLOT_NAME];

    format->name(place, config, slot, layer, half);
    memcpy(module, place->module, sizeof module);
    snprintf(place->module, sizeof place->module, "%s%s", format->prefix(ram_family_of(config)),
             module);
}

size_t ram_placed_find(struct ram_placed out[RAM_MAX_PLACED], const struct ram_format *format,
                       const struct ram_config *c, const struct ram_slot *slot, int layer)
{
    const uint64_t rows = ram_slot_dim(c, slot->rows), cols = ram_slot_dim(c, slot->cols);

    switch (slot->placement) {
    case RAM_PLACE_STACKED:
        out[0] = (struct ram_placed){.n_dims = 3, .shape = {c->n_experts, rows, cols}};
        break;
    case RAM_PLACE_HEADS: /* [heads * (nope + v), r]: K's part is turned */
        out[0] = (struct ram_placed){.n_dims = 3, .shape = {c->n_heads, c->kv_lora, c->qk_nope}};
        out[1] = (struct ram_placed){.n_dims = 3, .shape = {c->n_heads, c->v_head, c->kv_lora}};
        name_place(&out[1], format, c, slot, layer, 1);
        break;
    case RAM_PLACE_KERNEL:
        out[0] = (struct ram_placed){.n_dims = 3, .shape = {rows, 1, cols}};
        break;
    default:
        out[0] = (struct ram_placed){.n_dims = slot->cols == RAM_DIM_NONE ? 1 : 2,
                                     .shape = {rows, cols}};
    }
    name_place(&out[0], format, c, slot, layer, 0);
    return slot->placement == RAM_PLACE_HEADS ? 2 : 1;
}

bool ram_placed_is_used(const struct ram_format *format, const struct ram_config *config,
                        const struct ram_slot *slot)
{
    const struct ram_family *family = ram_family_of(config);

    return slot != family->head || config->tied != RAM_TIED_YES || format->has_own_head(family);
}

bool ram_placed_stack(struct ram_stack_name *out, const struct ram_config *config,
                      const struct ram_slot *slot, int layer, size_t i)
{
    const struct ram_format *format;
    struct ram_placed place = {0};
    size_t n = 0;

    while ((format = ram_format_at(n)) && n < i)
        n++;
    if (!format)
        return ram_slot_fused(out, config, slot, layer, i - n);
    format->name(&place, config, slot, layer, 0);
    *out = (struct ram_stack_name){.is_module = true};
    memcpy(out->name, place.module, sizeof out->name);
    return true;
}

bool ram_placed_half(char out[RAM_SLOT_NAME], const struct ram_config *config,
                     const struct ram_slot *slot, int layer, int half, size_t i)
{
    const struct ram_format *format = ram_format_at(i);
    struct ram_placed place = {0};

    if (!format)
        return false;
    format->name(&place, config, slot, layer, half);
    memcpy(out, place.module, RAM_SLOT_NAME);
    return true;
}
