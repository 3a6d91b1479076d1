/* notes.c - see notes.h. */
#include "base/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int ram_notes_add(struct ram_notes *notes, struct ram_arena *arena, struct ram_err *err,
                  const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    /* There are a handful at most: the list is copied each time. */
    const char **lines = ram_arena_alloc(arena, (notes->n + 1) * sizeof *lines, err);
    const char *line = ram_arena_strdup(arena, text, err);
    if (!lines || !line)
        return RAM_ENOMEM;
    if (notes->n)
        memcpy(lines, notes->lines, notes->n * sizeof *lines);
    lines[notes->n++] = line;
    notes->lines = lines;
    return RAM_OK;
}

void ram_notes_tell(const struct ram_notes *notes, const struct ram_exec *exec)
{
    for (size_t i = 0; i < notes->n; i++)
        ram_exec_notice(exec, "%s", notes->lines[i]);
}
