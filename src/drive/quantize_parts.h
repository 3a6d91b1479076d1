/* quantize_parts.h - what the files of ram_quantize_run share. */
#ifndef RAM_DRIVE_QUANTIZE_PARTS_H
#define RAM_DRIVE_QUANTIZE_PARTS_H

#include "drive/quantize.h"
#include "record/plan.h"

struct ram_quantize_work {
    const struct ram_ckpt *ckpt;
    const char *dir;
    const struct ram_quantize_opts *opts;
    struct ram_exec exec; /* the caller's, with a store of our own where he has none */
    struct ram_quantized *out;
    bool to_budget;      /* the method is budget */
    json_t *calibration; /* which text is used instead of the model's own; NULL: none */
};

/* quantize.c: the caller is told. */
void ram_quantize_tell(const struct ram_quantize_work *w, enum ram_quantize_step step);

/* quantize_opts.c: the options of the stages, as far as they are settled by now; what is recorded
 * of them in a plan's settings, by their names on the command line, so that the card can tell the
 * command. */
struct ram_allocate_opts ram_quantize_allocate_opts(const struct ram_quantize_work *w);
struct ram_convert_opts ram_quantize_convert_opts(const struct ram_quantize_work *w, bool force);
const struct ram_effort *ram_quantize_effort(const struct ram_quantize_work *w);
bool ram_quantize_by_inputs(const struct ram_quantize_work *w); /* the encoder runs the model */
int ram_quantize_record(const struct ram_quantize_work *w, struct ram_plan *plan,
                        struct ram_err *err);

/* quantize_begin.c: refuses what can be refused before anything is measured, and chooses the
 * effort. */
int ram_quantize_begin(struct ram_quantize_work *w, struct ram_err *err);

#endif
