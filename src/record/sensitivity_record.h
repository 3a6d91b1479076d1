/*
 * sensitivity_record.h - the record of what probing a model found: what it costs the model when a
 * unit is stored in another form, and what each form costs under an encoder. It is the member
 * "sensitivities" of a manifest (docs/formats.md).
 */
#ifndef RAM_RECORD_SENSITIVITY_RECORD_H
#define RAM_RECORD_SENSITIVITY_RECORD_H

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/scan.h"
#include "codec/form.h"

/* Figures by unit, in the order in which they were measured. */
struct ram_unit_figures {
    size_t width;       /* figures of a unit */
    size_t n;           /* units */
    const char **units; /* in an arena */
    double *figures;    /* [n, width] */
    size_t *by_name;    /* unit numbers in byte order of names (ram_unit_figures_index) */
    size_t cap_units, cap_figures;
};

/* A probe: every unit by itself as if it were stored in one form. */
struct ram_probe_record {
    const struct ram_form *form;   /* NULL: there was no such probe */
    double joint;                  /* nats per token with all units at once; NAN: not known */
    struct ram_unit_figures units; /* nats per token; NAN: not known */
};

struct ram_sensitivity_record {
    const char *tier;    /* "kl", "local" */
    const char *encoder; /* that method budget takes if it is not told another; or NULL */
    /* What the model was run on. */
    const char *tokens; /* "synthetic", "text"; or NULL */
    uint64_t sequences, length, seed;
    json_t *calibration; /* the text: {"file", "bytes", "sha256"}; or NULL */
    /* fine: of a mixture of experts, at more bits, because flips of routers do not fall with the
     * square of an error (allocate/divergence.h). */
    struct ram_probe_record coarse, fine;
    /* For every unit and form the error under an encoder, divided by that of the coarse probe. */
    struct {
        const char *encoder; /* NULL: there are no curves */
        uint64_t sequences, length;
        double damp;
        struct ram_unit_figures units; /* [RAM_N_FORMS]; NAN: the form does not fit */
    } curves;
};

int ram_sensitivity_new(struct ram_sensitivity_record **out, struct ram_err *err);
void ram_sensitivity_free(struct ram_sensitivity_record *record);

/* unit lives as long as the record; figures [width]. */
int ram_unit_figures_add(struct ram_unit_figures *all, const char *unit, const double *figures,
                         struct ram_err *err);
/* Sorts the names. RAM_EFORMAT if one stands there twice. */
int ram_unit_figures_index(struct ram_unit_figures *all, const char *where, struct ram_err *err);
/* The figures of a unit, once they are indexed; NULL: it has none. */
const double *ram_unit_figures_find(const struct ram_unit_figures *all, const char *unit);

/* Writes it as a value of the record's JSON; depth as ram_emit_json has it. */
void ram_sensitivity_emit(struct ram_buf *buf, const struct ram_sensitivity_record *record,
                          int depth);

/* A field's reader (record/field.h). into: struct ram_sensitivity_record **, NULL at first. */
bool ram_sensitivity_scan(struct ram_scan *scan, void *into);

#endif
