/*
 * kern.h - the hot loops over weights, one table of functions for each kind of processor.
 *
 * kern_ref.c is the meaning, in plain C; kern_x86.c and kern_arm.c overwrite entries upwards. All
 * variants give the same bits: every sum has a stated order, and the checker (tests/kern) compares
 * with memcmp.
 */
#ifndef RAM_KERN_KERN_H
#define RAM_KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ram_kern {
    const char *name; /* "ref", "avx2", "avx512", "neon" */

    /* Exact widening; input need not be aligned. */
    void (*widen_bf16)(const void *in, size_t n, float *out);
    void (*widen_f16)(const void *in, size_t n, float *out);
    /* Round to nearest even; NaN becomes 0x7fc0. */
    void (*narrow_bf16)(const float *in, size_t n, uint16_t *out);
};

/* The best table this processor can run, as RAM_CPU allows. */
const struct ram_kern *ram_kern(void);

/* All tables this processor can run, worst first, for the checker; returns their number. */
size_t ram_kern_all(const struct ram_kern *tables[8]);

#endif
