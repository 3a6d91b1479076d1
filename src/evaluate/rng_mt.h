/*
 * rng_mt.h - the random numbers of CPython's `random.Random(seed)`: MT19937 seeded by an integer,
 * with randbelow, shuffle and sample as CPython 3.11 draws them. The harness whose scores
 * we reproduce chooses its examples with it.
 */
#ifndef RAM_EVALUATE_RNG_MT_H
#define RAM_EVALUATE_RNG_MT_H

#include <stddef.h>
#include <stdint.h>

struct ram_mt {
    uint32_t state[624];
    unsigned at;
};

void ram_mt_seed(struct ram_mt *mt, uint32_t seed);
uint32_t ram_mt_u32(struct ram_mt *mt);

/* Uniform in [0, n), n >= 1. */
size_t ram_mt_below(struct ram_mt *mt, size_t n);

/* In place, as random.shuffle. */
void ram_mt_shuffle(struct ram_mt *mt, size_t *items, size_t n);

/* k of [0, n) without repetition in the order drawn, as random.sample(range(n), k); k <= n. work
 * [n] is scratch. */
void ram_mt_sample(struct ram_mt *mt, size_t n, size_t k, size_t *out, size_t *work);

#endif
