/* slot.c - see slot.h. */
#include "arch/slot.h"

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
