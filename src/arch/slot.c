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
        return c->shared_intermediate ? c->shared_intermediate : c->moe_intermediate * c->n_shared;
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
    case RAM_DIM_Q_GATED:
        return 2 * c->n_heads * c->head_dim;
    case RAM_DIM_ONE:
        return 1;
    case RAM_DIM_DELTA:
        return 2 * c->linear_k_heads * c->linear_k_dim + c->linear_v_heads * c->linear_v_dim;
    case RAM_DIM_DELTA_ALL:
        return 2 * (c->linear_k_heads * c->linear_k_dim + c->linear_v_heads * c->linear_v_dim);
    case RAM_DIM_DELTA_V:
        return c->linear_v_heads * c->linear_v_dim;
    case RAM_DIM_DELTA_HEAD:
        return c->linear_v_dim;
    case RAM_DIM_DELTA_HEADS:
        return c->linear_v_heads;
    case RAM_DIM_DELTA_HEADS_2:
        return 2 * c->linear_v_heads;
    case RAM_DIM_DELTA_KERNEL:
        return c->conv_kernel;
    }
    return 0;
}

bool ram_slot_exists(const struct ram_config *c, const struct ram_slot *slot, uint64_t layer)
{
    /* Layers beyond the counted ones predict several tokens; they are built like the last. */
    const bool moe = c->n_experts > 0 && (layer >= c->n_layers || (c->dense && !c->dense[layer]));
    const bool recurs = layer < c->n_layers && c->recurs && c->recurs[layer];

    switch (slot->when) {
    case RAM_ALWAYS:
        return true;
    case RAM_IF_DENSE:
        return !moe;
    case RAM_IF_MOE:
        return moe;
    case RAM_IF_SHARED:
        return moe && ram_slot_dim(c, RAM_DIM_SHARED) > 0;
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
    case RAM_IF_ATTENDS:
        return !recurs;
    case RAM_IF_ATTENDS_BIAS:
        return !recurs && c->attention_bias;
    case RAM_IF_RECURS:
        return recurs;
    }
    return false;
}

enum ram_role ram_slot_recorded_role(const struct ram_slot *slot)
{
    if (ram_slot_is_matrix(slot))
        return slot->role;
    if (slot->placement == RAM_PLACE_KERNEL)
        return RAM_ROLE_OTHER;
    return ram_role_find(ram_role_name(slot->role)) == RAM_ROLE_NORM ? RAM_ROLE_NORM
                                                                     : RAM_ROLE_BIAS;
}

bool ram_slot_is_matrix(const struct ram_slot *slot)
{
    return slot->cols != RAM_DIM_NONE && slot->placement != RAM_PLACE_KERNEL;
}

bool ram_slot_is_quantizable(const struct ram_slot *slot)
{
    return slot->placement == RAM_PLACE_MATRIX || slot->placement == RAM_PLACE_STACKED ||
           slot->placement == RAM_PLACE_HEADS;
}
