/* nn_neon.c - the row loops with AArch64 Advanced SIMD, which every such processor has. */
#include "kern/nn.h"

#if defined(__aarch64__)

#define TABLE      ram_nn_neon
#define TABLE_NAME "neon"
#include "kern/nn_lanes.inc"

#else
typedef int ram_nn_neon_is_empty; /* a file must declare something */
#endif
