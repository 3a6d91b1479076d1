/* mlx_names.c - what mlx_lm calls a tensor: as published, but for stacks of experts and for what
 * its classes split, which their sanitize() would make of the published names. */
#include "arch/tensors.h"
#include "base/affix.h"
#include "format/mlx.h"

#include <stdio.h>
#include <string.h>

/* The module with `word` in place of its last part. */
static void name_last(char out[RAM_SLOT_NAME], const char *module, const char *word)
{
    const char *const dot = strrchr(module, '.');

    snprintf(out, RAM_SLOT_NAME, "%.*s%s", dot ? (int)(dot + 1 - module) : 0, module, word);
}

/* "mlp.experts.*.up_proj": "mlp.switch_mlp.up_proj"; so is "block_sparse_moe.experts.*.w3". */
static void name_stack(char out[RAM_SLOT_NAME], const struct ram_slot *slot)
{
    const char *const at = strstr(slot->module, "experts.*");
    const char *const word = slot->role == RAM_ROLE_GATE ? "gate_proj"
                             : slot->role == RAM_ROLE_UP ? "up_proj"
                                                         : "down_proj";

    snprintf(out, RAM_SLOT_NAME, "%.*sswitch_mlp.%s", at ? (int)(at - slot->module) : 0,
             slot->module, word);
}

void ram_mlx_name(struct ram_placed *place, const struct ram_config *config,
                  const struct ram_slot *slot, int layer, int half)
{
    const struct ram_loader_class *loader = &ram_family_of(config)->loader;
    char module[RAM_SLOT_NAME];

    place->suffix = slot->suffix;
    place->quantizable = ram_slot_is_quantizable(slot);
    switch (slot->placement) {
    case RAM_PLACE_STACKED:
        name_stack(module, slot);
        break;
    case RAM_PLACE_HEADS:
        name_last(module, slot->module, half ? "unembed_out" : "embed_q");
        break;
    case RAM_PLACE_KERNEL: /* the channels of a group, of which each has one, come last */
        place->shape[1] = place->shape[2];
        place->shape[2] = 1;
        __attribute__((fallthrough));
    default:
        snprintf(module, sizeof module, "%s", slot->module);
    }
    if (slot->placement == RAM_PLACE_GAIN && loader->whole_gains && !config->gains_whole)
        place->add = 1;
    ram_slot_in_layer(place->module, config, layer, module);
}

bool ram_mlx_carry(char out[RAM_SLOT_NAME], const struct ram_config *config, const char *name)
{
    static const char tower[] = "vision_tower.";
    const char *published = ram_family_of(config)->loader.tower;

    if (!published || strlen(name) + sizeof tower > RAM_SLOT_NAME)
        return false;
    if (ram_begins(name, tower))
        snprintf(out, RAM_SLOT_NAME, "%s", name);
    else if (ram_begins(name, published))
        snprintf(out, RAM_SLOT_NAME, "%s%s", tower, name + strlen(published));
    else
        return false;
    return true;
}
