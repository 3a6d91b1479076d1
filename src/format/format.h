/*
 * format.h - what a loader wants: under which names it looks for tensors, in which types, and what
 * it cannot be told. The table in format.c lists the formats; each is one set of files,
 * <id>_*.c, and no other file knows anything of it.
 *
 * What all formats have in common is not here: the slots of a family say which tensors there are
 * and of which shape (placed.h), a layout where their rows come from (layout.h).
 */
#ifndef RAM_FORMAT_FORMAT_H
#define RAM_FORMAT_FORMAT_H

#include "ckpt/settle.h"
#include "format/placed.h"

struct ram_format {
    const char *id;     /* "mlx": in options and records */
    const char *what;   /* one line for a person */
    const char *loader; /* the program that loads it, in messages */

    /* ---- tensors ---- */
    /* Module and suffix of a slot's tensor, and whether the loader has it in coded forms. half: of
     * RAM_PLACE_HEADS, 0 for the keys' and 1 for the values'. */
    void (*name)(struct ram_placed *place, const struct ram_config *config,
                 const struct ram_slot *slot, int layer, int half);
    /* Does the loader look for a head of its own where the embedding is the head? */
    bool (*has_own_head)(const struct ram_family *family);
    /* The type in which a slot's tensor is stored when it is not coded. slot: NULL for a tensor
     * that has none. */
    enum ram_dtype (*dtype)(const struct ram_config *config, const struct ram_slot *slot,
                            enum ram_dtype dtype);

    /* ---- models of a known family ---- */
    /* What the loader would compute otherwise, whatever it is told: one sentence in the arena;
     * NULL: nothing (or err, if memory ran out). json: config.json. */
    const char *(*obstacle)(const struct ram_config *config, const json_t *json,
                            struct ram_arena *arena, struct ram_err *err);
    /* What it computes otherwise and is converted all the same. */
    int (*note)(const struct ram_config *config, struct ram_notes *notes, struct ram_arena *arena,
                struct ram_err *err);
};

/* Number i of the formats, the usual one first; NULL behind the last. */
const struct ram_format *ram_format_at(size_t i);

/* id: NULL means the usual one. RAM_EUSAGE lists what there is. */
int ram_format_find(const struct ram_format **out, const char *id, struct ram_err *err);

#endif
