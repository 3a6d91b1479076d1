/* limits.h - how large a record may be. */
#ifndef RAM_RECORD_LIMITS_H
#define RAM_RECORD_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Limits of what a manifest or a plan may hold. With them no sum of parameters, bytes or bits can
 * overflow 64 bits or lose a unit in a double. The largest public checkpoint has 2^40 parameters
 * in 2^17 tensors. */
#define RAM_MAX_PARAMETERS ((uint64_t)1 << 46)
#define RAM_MAX_ENTRIES    ((size_t)1 << 22)
#define RAM_MAX_RECORD     ((size_t)1 << 31) /* bytes of a record's file */

#endif
