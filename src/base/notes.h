/* notes.h - what a user ought to know although nothing failed: lines in an arena, in order. */
#ifndef RAM_BASE_NOTES_H
#define RAM_BASE_NOTES_H

#include "base/exec.h"
#include "base/mem.h"

struct ram_notes {
    const char **lines;
    size_t n;
};

/* Appends a line; both the list and the line lie in the arena. */
int ram_notes_add(struct ram_notes *notes, struct ram_arena *arena, struct ram_err *err,
                  const char *fmt, ...) RAM_PRINTF(4, 5);

/* Hands each line to the user. */
void ram_notes_tell(const struct ram_notes *notes, const struct ram_exec *exec);

#endif
