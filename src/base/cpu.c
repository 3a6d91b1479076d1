/* cpu.c - see cpu.h. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "base/cpu.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ram_cpu cpu;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Linux hands out the 8 KiB of tile state only to processes that ask (since 5.16). */
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static uint64_t xgetbv0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static void detect(struct ram_cpu *c)
{
    enum { XCR_AVX = 0x6, XCR_AVX512 = 0xe6, XCR_TILES = 0x60000 };
    unsigned a, b, cx, d, a1, b1, c1, d1;
    unsigned brand[12] = {0};

    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                         &brand[4 * i + 3]))
            break;
    memcpy(c->name, brand, sizeof brand);
    if (!__get_cpuid(1, &a, &b, &cx, &d) || !(cx & bit_OSXSAVE))
        return;
    const uint64_t xcr = xgetbv0();
    if (!__get_cpuid_count(7, 0, &a1, &b1, &c1, &d1))
        return;
    c->avx2 = (xcr & XCR_AVX) == XCR_AVX && (b1 & bit_AVX2) && (cx & bit_FMA) && (cx & bit_F16C);
    c->avx512 = c->avx2 && (xcr & XCR_AVX512) == XCR_AVX512 && (b1 & bit_AVX512F) &&
                (b1 & bit_AVX512BW) && (b1 & bit_AVX512VL) && (b1 & bit_AVX512DQ);
    c->avx512_vnni = c->avx512 && (c1 >> 11 & 1);
    const unsigned tiles = 1u << 24 | 1u << 22; /* AMX-TILE, AMX-BF16 */
    c->amx_bf16 =
        c->avx512 && (xcr & XCR_TILES) == XCR_TILES && (d1 & tiles) == tiles && may_use_tiles();
    if (__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1))
        c->avx512_bf16 = c->avx512 && (a1 >> 5 & 1);
}
#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif
static void detect(struct ram_cpu *c)
{
    c->neon = true;
#if defined(__linux__)
    enum { HWCAP2_BF16_BIT = 14 };
    c->neon_bf16 = getauxval(AT_HWCAP2) >> HWCAP2_BF16_BIT & 1;
#elif defined(__APPLE__)
    c->neon_bf16 = false;
#endif
    snprintf(c->name, sizeof c->name, "AArch64");
}
#else
static void detect(struct ram_cpu *c)
{
    snprintf(c->name, sizeof c->name, "generic");
}
#endif

static void mask(struct ram_cpu *c, const char *level)
{
    static const char *const levels[] = {"ref", "avx2", "avx512", "amx", "neon"};
    size_t k = 0;

    while (k < sizeof levels / sizeof *levels && strcmp(level, levels[k]))
        k++;
    if (k == sizeof levels / sizeof *levels)
        return;
    const bool x86 = k < 4;
    c->avx2 = c->avx2 && x86 && k >= 1;
    c->avx512 = c->avx512 && x86 && k >= 2;
    c->avx512_bf16 = c->avx512_bf16 && x86 && k >= 2;
    c->avx512_vnni = c->avx512_vnni && x86 && k >= 2;
    c->amx_bf16 = c->amx_bf16 && k == 3;
    c->neon = c->neon && k == 4;
    c->neon_bf16 = c->neon_bf16 && k == 4;
}

static void find_out(void)
{
    const char *level = getenv("RAM_CPU");

    detect(&cpu);
    if (level)
        mask(&cpu, level);
    cpu.level = cpu.amx_bf16 ? "amx"
                : cpu.avx512 ? "avx512"
                : cpu.avx2   ? "avx2"
                : cpu.neon   ? "neon"
                             : "ref";
}

const struct ram_cpu *ram_cpu(void)
{
    pthread_once(&once, find_out);
    return &cpu;
}
