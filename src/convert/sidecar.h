/* sidecar.h - ram.json read back, and a directory checked against it (sidecar.c writes it). */
#ifndef RAM_CONVERT_SIDECAR_H
#define RAM_CONVERT_SIDECAR_H

#include "format/modules.h"
#include "record/plan.h"

struct ram_sidecar {
    json_t *root;          /* NULL: there is no ram.json */
    struct ram_plan *plan; /* the plan in it, or NULL */
};

/* A ram.json that cannot be understood is a difference, not an error. */
int ram_sidecar_read(struct ram_sidecar *out, const char *dir, struct ram_findings *findings,
                     struct ram_err *err);

/* The same of a text. */
void ram_sidecar_parse(struct ram_sidecar *out, const char *text, size_t size,
                       struct ram_findings *findings);

/* Widths and checksums of every module, and (measured: list was compared with the source) errors.
 */
void ram_sidecar_check(const struct ram_sidecar *sidecar, const struct ram_found_list *list,
                       bool measured, struct ram_findings *findings);

void ram_sidecar_release(struct ram_sidecar *sidecar);

#endif
