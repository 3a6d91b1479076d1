/*
 * options.h - what was asked of the allocator: which options go together, and how a plan records
 * them, so that the command that made it can be told again.
 */
#ifndef RAM_ALLOCATE_OPTIONS_H
#define RAM_ALLOCATE_OPTIONS_H

#include "allocate/method.h"

/* RAM_EUSAGE names the option that the method does not have, or that needs or excludes another. */
int ram_allocate_check(const struct ram_method *method, const struct ram_allocate_opts *opts,
                       struct ram_err *err);

/*
 * Adds to the plan's settings "options": every option that was given, by its name on the command
 * line, in the order in which --help lists them; and "measured": how the manifest was made,
 * likewise. Those two together with "encoder" make the same plan again.
 */
int ram_allocate_record(struct ram_plan *plan, const struct ram_manifest *manifest,
                        const char *method, const struct ram_allocate_opts *opts,
                        struct ram_err *err);

#endif
