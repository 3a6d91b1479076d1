/*
 * rng.h - random numbers that are a function of (seed, stream, index): any part of a sequence
 * can be made by any thread. SplitMix64's finaliser over a keyed counter (Steele, Lea, Flood:
 * "Fast splittable pseudorandom number generators", 2014).
 */
#ifndef RAM_BASE_RNG_H
#define RAM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct ram_rng {
    uint64_t key;
};

/* stream: a name of the sequence, such as a tensor's name. */
struct ram_rng ram_rng_for(uint64_t seed, const char *stream);

uint64_t ram_rng_u64(struct ram_rng rng, uint64_t index);

/* Uniform in [0, 1), 53 bits. */
double ram_rng_uniform(struct ram_rng rng, uint64_t index);

/* Standard normal values first .. first + n - 1 of the sequence (Box-Muller, f64, then f32). */
void ram_rng_normal(struct ram_rng rng, uint64_t first, size_t n, float *out);

/* The first index at which the sum of p [n] exceeds u; the last possible one if rounding keeps the
 * sum below. p: probabilities. */
size_t ram_rng_draw(const float *p, size_t n, double u);

#endif
