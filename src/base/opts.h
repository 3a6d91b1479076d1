/* opts.h - the members of ram.h's structs that this version does not know. */
#ifndef RAM_BASE_OPTS_H
#define RAM_BASE_OPTS_H

#include "base/err.h"

/* RAM_EUSAGE if a reserved member is set: by a program that was built for a newer ram.h and asks
 * for what this library cannot do, or because the struct was never zeroed. reserved [n]: NULL for
 * a struct that was not given. what: "struct ram_run". */
int ram_opts_check(const uint64_t *reserved, size_t n, const char *what, struct ram_err *err);

/* The same of a pointer to a struct, or NULL. */
#define RAM_OPTS_CHECK(opts, what, err)                                                            \
    ram_opts_check((opts) ? (opts)->reserved : NULL,                                               \
                   sizeof((opts)->reserved) / sizeof *(opts)->reserved, what, err)

#endif
