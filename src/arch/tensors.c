/* tensors.c - see tensors.h. */
#include "arch/tensors.h"

#include <stdio.h>
#include <string.h>

/* ---- all of a model ------------------------------------------------------------------------ */

/* walk->next counts all places of all layers, those that a layer does not have included. */
bool ram_slot_next(struct ram_slot_walk *walk, const struct ram_config *config)
{
    const struct ram_family *family = ram_family_of(config);
    const size_t n = family->n_slots, n_inside = n * (size_t)config->n_layers;

    for (size_t at; (at = walk->next) < n_inside + 3;) {
        walk->next++;
        walk->layer = RAM_NO_LAYER;
        walk->slot = at == 0 ? family->embed : at == n_inside + 1 ? family->norm : family->head;
        if (at == 0 || at > n_inside)
            return true;
        walk->layer = (int)((at - 1) / n);
        walk->slot = &family->slots[(at - 1) % n];
        if (ram_slot_exists(config, walk->slot, (uint64_t)walk->layer))
            return true;
    }
    return false;
}

/* ---- names -------------------------------------------------------------------------------- */

/* "model.layers.3." or "". */
static void put_prefix(char out[RAM_SLOT_NAME], const struct ram_config *config, int layer)
{
    *out = '\0';
    if (layer >= 0)
        snprintf(out, RAM_SLOT_NAME, "%s%d.", ram_family_of(config)->layer_prefix, layer);
}

/* Appends; names of tables are short, so that nothing is cut. */
static const char *put(char out[RAM_SLOT_NAME], const char *text, size_t size)
{
    const size_t n = strlen(out);

    snprintf(out + n, RAM_SLOT_NAME - n, "%.*s", (int)size, text);
    return out;
}

static const char *put_all(char out[RAM_SLOT_NAME], const char *text)
{
    return put(out, text, strlen(text));
}

const char *ram_slot_module(char out[RAM_SLOT_NAME], const struct ram_config *config,
                            const struct ram_slot *slot, int layer, long expert)
{
    const char *star = strchr(slot->module, '*');
    char number[24];

    put_prefix(out, config, layer);
    if (!star)
        return put_all(out, slot->module);
    snprintf(number, sizeof number, "%ld", expert);
    put(out, slot->module, (size_t)(star - slot->module));
    put_all(out, number);
    return put_all(out, star + 1);
}

static const char *put_suffix(char out[RAM_SLOT_NAME], const struct ram_slot *slot)
{
    put_all(out, ".");
    return put_all(out, slot->suffix);
}

const char *ram_slot_name(char out[RAM_SLOT_NAME], const struct ram_config *config,
                          const struct ram_slot *slot, int layer, long expert)
{
    ram_slot_module(out, config, slot, layer, expert);
    return put_suffix(out, slot);
}

const char *ram_slot_unit(char out[RAM_SLOT_NAME], const struct ram_config *config,
                          const struct ram_slot *slot, int layer)
{
    put_prefix(out, config, layer);
    put_all(out, slot->module);
    return put_suffix(out, slot);
}

const char *ram_slot_in_layer(char out[RAM_SLOT_NAME], const struct ram_config *config, int layer,
                              const char *module)
{
    put_prefix(out, config, layer);
    return put_all(out, module);
}

bool ram_slot_fused(struct ram_stack_name *out, const struct ram_config *config,
                    const struct ram_slot *slot, int layer, size_t i)
{
    static const char star[] = "*.";
    const char *const own = strstr(slot->module, star);

    *out = (struct ram_stack_name){.is_module = i % 2 != 0, .both = i >= 2};
    if (!own || i >= 4 || (out->both && slot->role == RAM_ROLE_DOWN))
        return false;
    put_prefix(out->name, config, layer);
    put(out->name, slot->module, (size_t)(own - slot->module));
    put_all(out->name, out->both ? "gate_up_proj" : own + strlen(star));
    return true;
}
