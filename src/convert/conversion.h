/*
 * conversion.h - one conversion: what it is made of, what it takes over from the source, and the
 * texts that tell of it, which every format's output has: README.md and ram.json.
 *
 * Texts are made here and written by convert.c, so that a dry run can count them and a test can
 * read them without a disk.
 */
#ifndef RAM_CONVERT_CONVERSION_H
#define RAM_CONVERT_CONVERSION_H

#include "convert/stream.h"

/* A file of the source that the output takes over as it is. */
struct ram_carried {
    char *name;
    uint64_t size;
};

struct ram_carried_list {
    struct ram_carried *files; /* by name; "additional_chat_templates/x.jinja" is a name, too */
    size_t n;
    bool tokenizer;      /* among them is what a tokenizer can be made of */
    bool tokenizer_lost; /* there is none, but one was passed over */
    char **passed_over;  /* a line for each file that is not carried: which, and why */
    size_t n_passed_over, passed_over_cap;
    char *outside; /* the first of the files that lie outside of the checkpoint, or NULL */
    size_t n_outside;
};

/* Everything that one conversion is made of. */
struct ram_conversion {
    const struct ram_ckpt *ckpt;
    const struct ram_format *format;
    const struct ram_plan *plan;
    const struct ram_convert_opts *opts;
    const struct ram_weight_encoder *encoder;
    const struct ram_weight_inputs *inputs; /* NULL: no factors are known */
    const char *dir;                        /* where the output will be ... */
    char *output_name;                      /* ... and the last part of that */
    struct ram_layout *layout;
    struct ram_outline *outline;
    struct ram_module_result *results; /* one for each module; NULL in a dry run */
    uint64_t key;                      /* of everything that decides what is written */
    bool written;                      /* by an earlier run that was stopped behind it */
    bool replace;                      /* what stands there: by force, or it is ours */
    struct ram_carried_list carried;
    json_t *encoded_on; /* which text the encoder ran the model on; NULL: none, or its own */
};

/* The text that the plan was decided by ("file", "bytes", "sha256"); NULL: none (card.c). */
const json_t *ram_plan_calibration(const struct ram_plan *plan);

/* README.md, the model card (card.c). */
int ram_card_text(const struct ram_conversion *conversion, char **out, struct ram_err *err);

/* What a self-check found, into the card of a finished directory. A card that has it already, of a
 * run that was interrupted behind this, gets it anew; one without sections stays as it is. */
int ram_card_add_check(const char *dir, const struct ram_kld_check *check, bool fell_back,
                       struct ram_err *err);

/* How a directory can be made again. */
enum ram_remade {
    RAM_REMADE,           /* by the commands, */
    RAM_REMADE_FROM_PLAN, /* by the command and the plan, which was edited, */
    RAM_REMADE_PERHAPS /* by the command if the plan was not edited: it is of an earlier version */
};

/* Lines for a shell that make the directory again, as `output` (command.c). */
enum ram_remade ram_command_text(const struct ram_conversion *conversion, const char *output,
                                 struct ram_buf *buf);

/* ram.json: the plan as converted, versions, settings, the error and checksum of every tensor
 * (sidecar.c). docs/formats.md describes it. */
int ram_sidecar_text(const struct ram_conversion *conversion, char **out, struct ram_err *err);

/* Tokenizer, generation settings, chat templates, code and licences in the source's directory.
 * RAM_EFORMAT if one of them is a Git LFS pointer. */
int ram_carried_find(struct ram_carried_list *out, const char *dir, struct ram_err *err);
int ram_carried_copy(const struct ram_carried_list *list, const char *from, const char *to,
                     struct ram_err *err);
/* Says that there is no tokenizer, and what is passed over. */
void ram_carried_notice(const struct ram_carried_list *list, const struct ram_exec *exec);
void ram_carried_release(struct ram_carried_list *list);

/* What was or would be written, as text or JSON (describe.c); Markdown is the card. */
int ram_conversion_describe(const struct ram_conversion *conversion, enum ram_markup markup,
                            char **out, struct ram_err *err);

/* A line to the user for each reason why tensors are left out that a runtime of the source would
 * have used; scales of FP8 weights and computed buffers are not missed (left_out.c). */
void ram_notice_left_out(const struct ram_layout *layout, const struct ram_exec *exec);

/* 12345678 as "12,345,678". */
void ram_buf_grouped(struct ram_buf *buf, uint64_t n);

/* Squared error and squared weights of all quantised modules together, as a relative error. */
double ram_conversion_error(const struct ram_conversion *conversion);

#endif
