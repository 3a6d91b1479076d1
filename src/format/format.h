/*
 * format.h - what a loader wants: under which names and in which types it looks for tensors, which
 * codes it reads, which files it opens, and what it cannot be told. The table in format.c lists the
 * formats; each is one set of files, <id>_*.c, and no other file knows anything of it.
 *
 * What all formats have in common is not here: the slots of a family say which tensors there are
 * and of which shape (placed.h), a layout where their rows come from (layout.h), an outline which
 * bytes stand where (outline.h).
 */
#ifndef RAM_FORMAT_FORMAT_H
#define RAM_FORMAT_FORMAT_H

#include "arch/tensors.h"
#include "base/buf.h"
#include "ckpt/settle.h"

/* A tensor of the output before it is coded. */
struct ram_placed {
    char module[RAM_SLOT_NAME]; /* "model.layers.3.mlp.switch_mlp.up_proj" */
    const char *suffix;         /* "weight"; "": the module's name is the tensor's */
    bool quantizable;           /* the loader has coded forms of it */
    int n_dims;
    uint64_t shape[3];
    float add; /* to what the checkpoint has */
};

struct ram_outline;
struct ram_expectation;
struct ram_findings;
struct ram_found_list;

/* A plane of a coded matrix as a tensor of its module. */
struct ram_plane {
    const char *suffix;
    enum ram_dtype dtype;
    uint64_t cols; /* its last dimension; the others are the matrix's */
};

/* A file beside the weights that the loader reads. */
struct ram_format_text {
    const char *name;
    int (*make)(const struct ram_outline *outline, char **out, struct ram_err *err);
};

struct ram_format {
    const char *id;     /* "mlx": in options and records */
    const char *what;   /* one line for a person */
    const char *loader; /* the program that loads it, in messages */

    /* ---- tensors ---- */
    /* Module and suffix of a slot's tensor, whether the loader has it in coded forms, and what else
     * than the published shape and values it wants. half: of RAM_PLACE_HEADS, 0 for the keys' and
     * 1 for the values'. */
    void (*name)(struct ram_placed *placed, const struct ram_config *config,
                 const struct ram_slot *slot, int layer, int half);
    /* What stands before the names of all modules, but not where a checkpoint is read
     * (ckpt/prefix.h takes it away); "" or a word with its dot. */
    const char *(*prefix)(const struct ram_family *family);
    /* The name of a tensor that the loader passes over, and other programs read: of a vision tower.
     * Its shape is the checkpoint's. false: the loader does not know what to do with it. */
    bool (*carry)(char out[RAM_SLOT_NAME], const struct ram_config *config, const char *name);
    /* Does the loader look for a head of its own where the embedding is the head? */
    bool (*has_own_head)(const struct ram_family *family);
    /* The type in which a slot's tensor is stored when it is not coded. slot: NULL for a tensor
     * that has none. */
    enum ram_dtype (*dtype)(const struct ram_config *config, const struct ram_slot *slot,
                            enum ram_dtype dtype);
    /* Can the loader read this coded form? And plane k of rows of cols weights that have it. dtype:
     * of the weights when they are not coded. */
    bool (*has_form)(const struct ram_form *form);
    struct ram_plane (*plane)(const struct ram_storage *as, enum ram_dtype dtype, uint64_t cols,
                              size_t k);

    /* ---- models of a known family ---- */
    /* What the loader would compute otherwise, whatever it is told: one sentence in the arena;
     * NULL: nothing (or err, if memory ran out). json: config.json. */
    const char *(*obstacle)(const struct ram_config *config, const json_t *json,
                            struct ram_arena *arena, struct ram_err *err);
    /* What it computes otherwise and is converted all the same. */
    int (*note)(const struct ram_config *config, struct ram_notes *notes, struct ram_arena *arena,
                struct ram_err *err);

    /* ---- files ---- */
    /* Files, headers and offsets of outline->tensors. */
    int (*lay_out)(struct ram_outline *outline, struct ram_err *err);
    /* Ended by a name that is NULL. The directory can be loaded once the last one is written. */
    const struct ram_format_text *texts;
    /* Does the directory hold an output in this format, whoever wrote it? */
    bool (*is_output)(const char *dir);

    /* ---- verification of a directory ---- */
    /* Containers and index: what the loader would read otherwise. */
    int (*check_files)(const struct ram_ckpt *ckpt, struct ram_findings *findings,
                       struct ram_err *err);
    /* A key of config.json that the loader cannot do without, and that is not there; or NULL. */
    const char *(*lacks)(const struct ram_config *config, const json_t *json);
    /* The modules that are there, and their forms (modules.h). Differences go to findings; only
     * memory fails. expectation->known may be false. */
    int (*find)(struct ram_found_list *out, const struct ram_ckpt *ckpt,
                const struct ram_expectation *expectation, struct ram_findings *findings,
                struct ram_err *err);

    /* ---- the model card ---- */
    const char *library; /* as hubs spell it */
    const char *target;  /* "quantised for ..." */
    void (*usage)(struct ram_buf *buf,
                  const char *name); /* how to run it; name: of the directory */
};

/* Number i of the formats, the usual one first; NULL behind the last. */
const struct ram_format *ram_format_at(size_t i);

/* id: NULL means the usual one. RAM_EUSAGE lists what there is. */
int ram_format_find(const struct ram_format **out, const char *id, struct ram_err *err);

/* The format of the output that a directory holds; NULL: none that is known. */
const struct ram_format *ram_format_of(const char *dir);

#endif
