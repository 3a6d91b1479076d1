/* dense_base.c - the small dense problems with whatever vectors every processor has. */
#include "kern/dense_table.h"

#define BYTES 16
#define TABLE ram_dense_base
#include "kern/dense_lanes.inc"
