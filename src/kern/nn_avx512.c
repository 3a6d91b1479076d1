/* nn_avx512.c - the row loops with AVX-512. */
#include "kern/nn.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))),        \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#endif

#define TABLE      ram_nn_avx512
#define TABLE_NAME "avx512"
#include "kern/nn_lanes.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else
typedef int ram_nn_avx512_is_empty; /* a file must declare something */
#endif
