/* mlx_names.c - what mlx_lm calls a tensor: as published, but for stacks of experts and for what
 * its classes split, which their sanitize() would make of the published names. */
#include "arch/tensors.h"
#include "format/mlx.h"

#include <stdio.h>
#include <string.h>

/* The module with `word` in place of its last part. */
static void name_last(char out[RAM_SLOT_NAME], const char *module, const char *word)
{
    const char *const dot = strrchr(module, '.');

    snprintf(out, RAM_SLOT_NAME, "%.*s%s", dot ? (int)(dot + 1 - module) : 0, module, word);
}

/* "mlp.experts.*.up_proj": "mlp.switch_mlp.up_proj". */
static void name_stack(char out[RAM_SLOT_NAME], const char *module)
{
    static const char own[] = "experts.*";
    const char *const at = strstr(module, own);

    if (at)
        snprintf(out, RAM_SLOT_NAME, "%.*sswitch_mlp%s", (int)(at - module), module,
                 at + strlen(own));
    else
        snprintf(out, RAM_SLOT_NAME, "%s", module);
}

void ram_mlx_name(struct ram_placed *place, const struct ram_config *config,
                  const struct ram_slot *slot, int layer, int half)
{
    char module[RAM_SLOT_NAME];

    place->suffix = slot->suffix;
    place->quantizable = ram_slot_is_quantizable(slot);
    switch (slot->placement) {
    case RAM_PLACE_STACKED:
        name_stack(module, slot->module);
        break;
    case RAM_PLACE_HEADS:
        name_last(module, slot->module, half ? "unembed_out" : "embed_q");
        break;
    default:
        snprintf(module, sizeof module, "%s", slot->module);
    }
    ram_slot_in_layer(place->module, config, layer, module);
}
