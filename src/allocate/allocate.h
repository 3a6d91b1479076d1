/* allocate.h - what the wiring behind ram.h needs of this stage beyond ram_allocate. */
#ifndef RAM_ALLOCATE_ALLOCATE_H
#define RAM_ALLOCATE_ALLOCATE_H

#include "allocate/method.h"

/* ram_allocate without the manifest's digest, which takes longer than all the rest: for plans
 * that are only looked at. */
int ram_allocate_unsigned(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                          struct ram_plan **out, struct ram_err *err);

/* What a budget is decided for, unless the user says: the encoder of the curves that were measured,
 * or the one that goes with the probes. That is what ram_quantize converts with. */
const char *ram_allocate_encoder(const struct ram_manifest *manifest);

/* What shapes alone say of the bytes of all weight files: nothing need have been measured. */
struct ram_budget_bounds {
    uint64_t budget;   /* what was asked for; 0: the method is not budget */
    uint64_t smallest; /* no plan of the method takes less; one may not get that low */
    uint64_t largest;  /* everything at 16 bits */
};

/* RAM_EBUDGET if the budget is below the smallest; the message says how small it can be. */
int ram_allocate_bounds(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                        struct ram_budget_bounds *out, struct ram_err *err);

#endif
