/* cpu.h - what this processor can do, masked by RAM_CPU=ref|avx2|avx512|amx|neon for tests. */
#ifndef RAM_BASE_CPU_H
#define RAM_BASE_CPU_H

#include <stdbool.h>

struct ram_cpu {
    bool avx2;   /* AVX2, FMA, F16C */
    bool avx512; /* F, BW, VL, DQ */
    bool avx512_bf16;
    bool avx512_vnni;
    bool amx_bf16; /* tiles, and the system lets us use them */
    bool neon;     /* AArch64 Advanced SIMD */
    bool neon_bf16;
    char name[64];     /* the processor's own name */
    const char *level; /* "ref", "avx2", "avx512", "amx", "neon": the highest allowed */
};

/* Detected once. RAM_CPU can only remove features; an unknown value counts as unset. */
const struct ram_cpu *ram_cpu(void);

#endif
