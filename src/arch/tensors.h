/* tensors.h - the tensors that a model has: the slots of its family, layer after layer, by name. */
#ifndef RAM_ARCH_TENSORS_H
#define RAM_ARCH_TENSORS_H

#include "arch/family.h"

/* ---- all of a model ------------------------------------------------------------------------ */

/* The slots that a model has, in the order of outputs: the embedding, those of one layer after the
 * other, the last norm, the head. Begins with {0}; false: there are no more. */
struct ram_slot_walk {
    const struct ram_slot *slot;
    int layer; /* RAM_NO_LAYER outside of layers */
    size_t next;
};
bool ram_slot_next(struct ram_slot_walk *walk, const struct ram_config *config);

/* ---- names -------------------------------------------------------------------------------- */

enum { RAM_SLOT_NAME = 256, RAM_NO_LAYER = -1 };

/* The name of its tensor: "model.layers.3.self_attn.q_proj.weight". layer: RAM_NO_LAYER outside of
 * layers; expert: of a slot that has one for each, otherwise any. Returns out. */
const char *ram_slot_name(char out[RAM_SLOT_NAME], const struct ram_config *config,
                          const struct ram_slot *slot, int layer, long expert);

/* The module alone: "model.layers.3.self_attn.q_proj". */
const char *ram_slot_module(char out[RAM_SLOT_NAME], const struct ram_config *config,
                            const struct ram_slot *slot, int layer, long expert);

/* Any module of the layer, by its name within it. */
const char *ram_slot_in_layer(char out[RAM_SLOT_NAME], const struct ram_config *config, int layer,
                              const char *module);

/* The name of what a plan decides: all experts are one. */
const char *ram_slot_unit(char out[RAM_SLOT_NAME], const struct ram_config *config,
                          const struct ram_slot *slot, int layer);

/*
 * Name number i under which the slot's experts may stand in one tensor, as transformers 5 fuses
 * them; *both: with the rows of gate and up of each expert. false: there are no more names.
 * is_module: name.weight is the tensor. Formats have names of their own (format/placed.h).
 */
struct ram_stack_name {
    char name[RAM_SLOT_NAME];
    bool is_module, both;
};
bool ram_slot_fused(struct ram_stack_name *out, const struct ram_config *config,
                    const struct ram_slot *slot, int layer, size_t i);

#endif
