/*
 * outline.h - an output directory as far as it is known before a weight is read: which tensors it
 * holds, in which form, in which file, at which byte.
 *
 * Made from a layout (what the loader expects of this architecture) and a plan (what was decided
 * for each unit). Everything that can be wrong between the two is found here: a unit that the plan
 * forgets, one that the checkpoint does not have, a width that the format cannot hold. Pure: no
 * files, no weights, so that a dry run and a real run cannot disagree.
 */
#ifndef RAM_FORMAT_OUTLINE_H
#define RAM_FORMAT_OUTLINE_H

#include "format/layout.h"
#include "record/plan.h"

/* A tensor of the output. */
struct ram_out_tensor {
    const char *name;
    enum ram_dtype dtype;
    int n_dims;
    uint64_t shape[RAM_CKPT_MAX_DIMS];
    uint64_t size;   /* bytes */
    size_t module;   /* in ram_outline.modules */
    unsigned file;   /* in ram_outline.files */
    uint64_t offset; /* of its first byte in that file */
};

/* What becomes of a target: one tensor as it is, or one for each plane of its form in a row. */
struct ram_out_module {
    const struct ram_target *target;
    const struct ram_unit *unit;
    struct ram_storage as; /* RAM_FORM_16: as it is */
    bool quantized;        /* in another form than that */
    uint64_t rows, cols;   /* of all its matrices, one under the other */
    size_t tensor;         /* the first of its tensors */
    const char *fallback;  /* why it is not what the plan says; NULL: it is */
};

struct ram_out_file {
    const char *name;
    char *header; /* its first bytes, up to the tensors; free() */
    size_t header_size;
    uint64_t size; /* of the whole file */
    size_t first_tensor, n_tensors;
};

struct ram_outline {
    struct ram_arena arena;
    const struct ram_layout *layout;
    struct ram_out_module *modules; /* one for each target, in its order */
    size_t n_modules;
    struct ram_out_tensor *tensors; /* module order; those of a file stand together */
    size_t n_tensors;
    struct ram_out_file *files;
    size_t n_files;
    uint64_t parameters; /* weights that are stored */
    uint64_t bytes;      /* of all tensors, without headers: what a plan promises */
    uint64_t disk_bytes; /* of the weight files */
    uint64_t shard_size; /* bytes of tensors a file may have */
    size_t n_quantized;
    const struct ram_form *usual; /* what most coded weights have; NULL: there are none */
};

/*
 * shard_size: bytes of tensors a file may hold (one that is larger has a file of its own).
 * RAM_EUNSUPPORTED for an unknown architecture, RAM_EFORMAT if plan and checkpoint are not of one
 * model, RAM_EUSAGE if the plan has a width that cannot be stored. plan and layout are borrowed.
 */
int ram_outline_new(struct ram_outline **out, const struct ram_layout *layout,
                    const struct ram_plan *plan, const struct ram_convert_opts *opts,
                    struct ram_err *err);
void ram_outline_free(struct ram_outline *outline);

/* The number of tensors a module has in the output: the planes of its form. */
size_t ram_out_module_tensors(const struct ram_out_module *module);

/* All bytes of a module's tensors. */
uint64_t ram_out_module_bytes(const struct ram_outline *outline,
                              const struct ram_out_module *module);

/* Assigns files, offsets and headers to outline->tensors, as safetensors; for ram_format.lay_out.
 * tag: "format" of the metadata (shard.c). */
int ram_outline_shard(struct ram_outline *outline, const char *tag, struct ram_err *err);

#endif
