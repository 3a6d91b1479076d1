/*
 * rng_mt.c - see rng_mt.h. Matsumoto and Nishimura, "Mersenne Twister" (1998); seeding by
 * init_by_array with the key [seed], as CPython seeds from an integer below 2^32.
 */
#include "evaluate/rng_mt.h"

#include <stdbool.h>

enum { N = 624, M = 397 };

static void seed_linear(struct ram_mt *mt, uint32_t seed)
{
    mt->state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        mt->state[i] = 1812433253u * (mt->state[i - 1] ^ (mt->state[i - 1] >> 30)) + i;
}

void ram_mt_seed(struct ram_mt *mt, uint32_t seed)
{
    uint32_t *s = mt->state;
    uint32_t i = 1;

    seed_linear(mt, 19650218u);
    for (uint32_t k = 0; k < N; k++) { /* the key has one word: its index stays 0 */
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525u)) + seed;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    for (uint32_t k = 0; k < N - 1; k++) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000u;
    mt->at = N;
}

static void refill(struct ram_mt *mt)
{
    uint32_t *s = mt->state;

    for (unsigned i = 0; i < N; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
        s[i] = s[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    mt->at = 0;
}

uint32_t ram_mt_u32(struct ram_mt *mt)
{
    if (mt->at == N)
        refill(mt);
    uint32_t y = mt->state[mt->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

size_t ram_mt_below(struct ram_mt *mt, size_t n)
{
    unsigned bits = 0;
    uint32_t r;

    for (size_t m = n; m; m >>= 1)
        bits++;
    do
        r = ram_mt_u32(mt) >> (32 - bits);
    while (r >= n);
    return r;
}

void ram_mt_shuffle(struct ram_mt *mt, size_t *items, size_t n)
{
    for (size_t i = n; i-- > 1;) {
        const size_t j = ram_mt_below(mt, i + 1), kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

/* CPython keeps a set of what was drawn when that is smaller than a list of the population. */
static bool prefers_set(size_t n, size_t k)
{
    size_t set_size = 21;
    if (k > 5) {
        size_t power = 1;
        while (power < 3 * k)
            power *= 4;
        set_size += power;
    }
    return n > set_size;
}

void ram_mt_sample(struct ram_mt *mt, size_t n, size_t k, size_t *out, size_t *work)
{
    for (size_t i = 0; i < n; i++)
        work[i] = i;
    if (!prefers_set(n, k)) {
        for (size_t i = 0; i < k; i++) {
            const size_t j = ram_mt_below(mt, n - i);
            out[i] = work[j];
            work[j] = work[n - i - 1];
        }
        return;
    }
    for (size_t i = 0; i < k; i++) {
        size_t j;
        do
            j = ram_mt_below(mt, n);
        while (work[j] == n); /* n marks what was drawn */
        work[j] = n;
        out[i] = j;
    }
}
