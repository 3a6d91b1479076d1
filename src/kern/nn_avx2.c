/* nn_avx2.c - the row loops with AVX2. */
#include "kern/nn.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define TABLE      ram_nn_avx2
#define TABLE_NAME "avx2"
#include "kern/nn_lanes.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else
typedef int ram_nn_avx2_is_empty; /* a file must declare something */
#endif
