/* affix.h - how strings begin and end. */
#ifndef RAM_BASE_AFFIX_H
#define RAM_BASE_AFFIX_H

#include <stdbool.h>
#include <string.h>

static inline bool ram_begins(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

static inline bool ram_ends(const char *s, const char *with)
{
    const size_t n = strlen(s), m = strlen(with);
    return n >= m && !memcmp(s + n - m, with, m);
}

#endif
