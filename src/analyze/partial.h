/*
 * partial.h - the journal of a sweep: what a killed run has finished, for the next one.
 *
 * A text file. The first line says which model and which settings it belongs to; every further
 * line is one finished entry, appended with one write as soon as it is known. A line that a crash
 * tore off is ignored and cut away.
 */
#ifndef RAM_ANALYZE_PARTIAL_H
#define RAM_ANALYZE_PARTIAL_H

#include "record/manifest.h"

struct ram_partial;

/*
 * Opens the journal at path for this manifest (files and settings are set). resume: what it
 * holds is filled into the manifest's entries, *n says how many; if it belongs to something else
 * it is begun anew and *stale is set. RAM_EIO; RAM_EUSAGE if another process writes to it.
 */
int ram_partial_open(struct ram_partial **out, const char *path, bool resume,
                     struct ram_manifest *manifest, size_t *n, bool *stale, struct ram_err *err);

/* Appends entry i of the manifest; any thread. */
int ram_partial_add(struct ram_partial *partial, size_t i, struct ram_err *err);

/* Closes it and leaves the file: who has put the result in a safe place removes it. NULL is fine. */
void ram_partial_close(struct ram_partial *partial);

#endif
