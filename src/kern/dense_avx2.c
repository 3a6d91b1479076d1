/* dense_avx2.c - the small dense problems in AVX2. */
#include "kern/dense_table.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define BYTES 32
#define TABLE ram_dense_avx2
#include "kern/dense_lanes.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
