/* allocate.h - what the wiring behind ram.h needs of this stage beyond ram_allocate. */
#ifndef RAM_ALLOCATE_ALLOCATE_H
#define RAM_ALLOCATE_ALLOCATE_H

#include "allocate/method.h"

/* ram_allocate without the manifest's digest, which takes longer than all the rest: for plans
 * that are only looked at. */
int ram_allocate_unsigned(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                          struct ram_plan **out, struct ram_err *err);

#endif
