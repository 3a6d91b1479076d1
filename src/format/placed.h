/*
 * placed.h - the tensors of an output, from slots and the names of a format; and the names under
 * which a checkpoint may keep what the published one keeps otherwise.
 */
#ifndef RAM_FORMAT_PLACED_H
#define RAM_FORMAT_PLACED_H

#include "format/format.h"

/* The tensors that a slot becomes: one, or two for RAM_PLACE_HEADS (of the keys, of the values).
 * Returns their number. */
enum { RAM_MAX_PLACED = 2 };
size_t ram_placed_find(struct ram_placed out[RAM_MAX_PLACED], const struct ram_format *format,
                       const struct ram_config *config, const struct ram_slot *slot, int layer);

/* Does the output of a model have this slot? All of them, but for a head that is the embedding. */
bool ram_placed_is_used(const struct ram_format *format, const struct ram_config *config,
                        const struct ram_slot *slot);

/* Name number i under which a stack of the slot's experts may stand in a checkpoint: as the formats
 * keep it, or fused (ram_slot_fused). false: there are no more names. */
bool ram_placed_stack(struct ram_stack_name *out, const struct ram_config *config,
                      const struct ram_slot *slot, int layer, size_t i);

/* The module of a half of a slot that is split by heads, as format number i keeps it. false: there
 * is no such format. */
bool ram_placed_half(char out[RAM_SLOT_NAME], const struct ram_config *config,
                     const struct ram_slot *slot, int layer, int half, size_t i);

#endif
