/*
 * peak.h - what this core can do at best: the same multiply instruction that the matrix product
 * uses, on registers alone. Other benches divide by it.
 *
 * ram_peak_f32(), ram_peak_bf16() and ram_peak_int8() give GFLOP/s of one thread, the best of
 * several short runs, because other guests of the machine come and go. Time is the thread's own, so
 * that what the system gives to other processes does not count.
 */
#ifndef RAM_BENCH_PEAK_H
#define RAM_BENCH_PEAK_H

#include "base/cpu.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static inline double ram_seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline double ram_seconds(void)
{
    return ram_seconds_of(CLOCK_MONOTONIC);
}

/* Each loop does `rounds` x 12 independent multiplications and returns something that depends on
 * all of them. Twelve chains cover the latency of every unit there is. */
enum { RAM_PEAK_CHAINS = 12 };

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static inline float ram_peak_loop_avx2(size_t rounds)
{
    const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
    __m256 sum[RAM_PEAK_CHAINS];
    float out[8], all = 0;

    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        sum[i] = x;
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], x, y);
    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++) {
        _mm256_storeu_ps(out, sum[i]);
        all += out[0];
    }
    return all;
}

__attribute__((target("avx512f"))) static inline float ram_peak_loop_avx512(size_t rounds)
{
    const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
    __m512 sum[RAM_PEAK_CHAINS];
    float all = 0;

    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        sum[i] = x;
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], x, y);
    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        all += _mm512_cvtss_f32(sum[i]);
    return all;
}

__attribute__((target("avx512f,avx512bf16"))) static inline float ram_peak_loop_avx512_bf16(
    size_t rounds)
{
    const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3c003c00);
    __m512 sum[RAM_PEAK_CHAINS];
    float all = 0;

    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        all += _mm512_cvtss_f32(sum[i]);
    return all;
}

__attribute__((target("avx512f,avx512vnni"))) static inline float ram_peak_loop_avx512_vnni(
    size_t rounds)
{
    const __m512i x = _mm512_set1_epi32(0x01010101);
    __m512i sum[RAM_PEAK_CHAINS];
    int all = 0;

#pragma GCC unroll 12 /* or they become an array in memory */
    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        sum[i] = _mm512_setzero_si512();
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
            __asm__("vpdpbusd %1, %1, %0" : "+v"(sum[i]) : "v"(x));
#pragma GCC unroll 12
    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        all += _mm512_cvtsi512_si32(sum[i]);
    return (float)all;
}

/* Six tiles of C and one each of A and B, all of 16 rows of 64 bytes. */
__attribute__((target("amx-tile,amx-bf16"))) static inline float ram_peak_loop_amx(size_t rounds)
{
    _Alignas(64) uint8_t config[64] = {1};

    for (int t = 0; t < 8; t++) {
        config[16 + 2 * t] = 64;
        config[48 + t] = 16;
    }
    __asm__ volatile("" ::: "memory");
    _tile_loadconfig(config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t half = 0; half < 2; half++) {
            _tile_dpbf16ps(0, 6, 7);
            _tile_dpbf16ps(1, 6, 7);
            _tile_dpbf16ps(2, 6, 7);
            _tile_dpbf16ps(3, 6, 7);
            _tile_dpbf16ps(4, 6, 7);
            _tile_dpbf16ps(5, 6, 7);
        }
    }
    _tile_release();
    return 0;
}
#elif defined(__aarch64__)
static inline float ram_peak_loop_neon(size_t rounds)
{
    const float32x4_t x = vdupq_n_f32(0.999f), y = vdupq_n_f32(1e-3f);
    float32x4_t sum[RAM_PEAK_CHAINS];
    float all = 0;

    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        sum[i] = x;
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
            sum[i] = vfmaq_f32(sum[i], x, y);
    for (size_t i = 0; i < RAM_PEAK_CHAINS; i++)
        all += vgetq_lane_f32(sum[i], 0);
    return all;
}
#endif

/* The best of 15 runs of about a millisecond, in GFLOP/s. */
static inline double ram_peak_of(float (*loop)(size_t rounds), double flops_each)
{
    volatile float sink;
    size_t rounds = 1000;
    double best = 0;

    for (int run = 0; run < 15; run++) {
        const double t0 = ram_seconds_of(CLOCK_THREAD_CPUTIME_ID);
        sink = loop(rounds);
        const double t = ram_seconds_of(CLOCK_THREAD_CPUTIME_ID) - t0;
        const double rate = (double)rounds * RAM_PEAK_CHAINS * flops_each / t * 1e-9;
        best = rate > best ? rate : best;
        if (t < 1e-3)
            rounds *= 4;
    }
    (void)sink;
    return best;
}

/* 0 where there is no such instruction. */
static inline double ram_peak_f32(void)
{
    const struct ram_cpu *cpu = ram_cpu();
#if defined(__x86_64__)
    if (cpu->avx512)
        return ram_peak_of(ram_peak_loop_avx512, 32);
    if (cpu->avx2)
        return ram_peak_of(ram_peak_loop_avx2, 16);
#elif defined(__aarch64__)
    if (cpu->neon)
        return ram_peak_of(ram_peak_loop_neon, 8);
#endif
    (void)cpu;
    return 0;
}

/* Of the instruction that RAM_GEMM_BF16 uses here: without a special one, that of f32. */
static inline double ram_peak_bf16(void)
{
#if defined(__x86_64__)
    const struct ram_cpu *cpu = ram_cpu();
    if (cpu->amx_bf16)
        return ram_peak_of(ram_peak_loop_amx, 16 * 16 * 32 * 2);
    if (cpu->avx512_bf16)
        return ram_peak_of(ram_peak_loop_avx512_bf16, 64);
#endif
    return ram_peak_f32();
}

/* Of the instruction that RAM_GEMM_INT8 uses here. */
static inline double ram_peak_int8(void)
{
#if defined(__x86_64__)
    if (ram_cpu()->avx512_vnni)
        return ram_peak_of(ram_peak_loop_avx512_vnni, 128);
#endif
    return 0;
}

#endif
