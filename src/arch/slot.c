/* slot.c - see slot.h. */
#include "arch/slot.h"

#include "arch/family.h"

#include <stdio.h>
#include <string.h>

uint64_t ram_slot_dim(const struct ram_config *c, enum ram_dim dim)
{
    switch (dim) {
    case RAM_DIM_NONE:
        return 0;
    case RAM_DIM_HIDDEN:
        return c->hidden;
    case RAM_DIM_INTERMEDIATE:
        return c->intermediate;
    case RAM_DIM_MOE:
        return c->moe_intermediate;
    case RAM_DIM_SHARED:
        return c->moe_intermediate * c->n_shared;
    case RAM_DIM_VOCAB:
        return c->vocab;
    case RAM_DIM_EXPERTS:
        return c->n_experts;
    case RAM_DIM_HEAD:
        return c->head_dim;
    case RAM_DIM_Q:
        return c->n_heads * c->head_dim;
    case RAM_DIM_KV:
        return c->n_kv_heads * c->head_dim;
    case RAM_DIM_Q_LORA:
        return c->q_lora;
    case RAM_DIM_QK:
        return c->n_heads * (c->qk_nope + c->qk_rope);
    case RAM_DIM_KV_LORA:
        return c->kv_lora;
    case RAM_DIM_KV_A:
        return c->kv_lora + c->qk_rope;
    case RAM_DIM_KV_B:
        return c->n_heads * (c->qk_nope + c->v_head);
    case RAM_DIM_V:
        return c->n_heads * c->v_head;
    }
    return 0;
}

bool ram_slot_exists(const struct ram_config *c, const struct ram_slot *slot, uint64_t layer)
{
    /* Layers beyond the counted ones predict several tokens; they are built like the last. */
    const bool moe = c->n_experts > 0 && (layer >= c->n_layers || (c->dense && !c->dense[layer]));

    switch (slot->when) {
    case RAM_ALWAYS:
        return true;
    case RAM_IF_DENSE:
        return !moe;
    case RAM_IF_MOE:
        return moe;
    case RAM_IF_SHARED:
        return moe && c->n_shared > 0;
    case RAM_IF_ATTENTION_BIAS:
        return c->attention_bias;
    case RAM_IF_OUTPUT_BIAS:
        return c->output_bias;
    case RAM_IF_MLP_BIAS:
        return c->mlp_bias;
    case RAM_IF_QK_NORM:
        return c->qk_norm;
    case RAM_IF_Q_LORA:
        return c->q_lora > 0;
    case RAM_IF_Q_FULL:
        return c->q_lora == 0;
    case RAM_IF_Q_LORA_BIAS:
        return c->q_lora > 0 && c->attention_bias;
    }
    return false;
}

enum ram_role ram_slot_recorded_role(const struct ram_slot *slot)
{
    if (slot->cols != RAM_DIM_NONE)
        return slot->role;
    return ram_role_find(ram_role_name(slot->role)) == RAM_ROLE_NORM ? RAM_ROLE_NORM
                                                                     : RAM_ROLE_BIAS;
}

bool ram_slot_is_quantizable(const struct ram_slot *slot)
{
    return slot->placement != RAM_PLACE_PLAIN && slot->placement != RAM_PLACE_EXACT;
}

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
