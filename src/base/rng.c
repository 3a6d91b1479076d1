/* rng.c - see rng.h. */
#include "base/rng.h"

#include <math.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct ram_rng ram_rng_for(uint64_t seed, const char *stream)
{
    uint64_t key = 0xcbf29ce484222325u; /* FNV-1a over the name */
    for (const char *p = stream; *p; p++)
        key = (key ^ (unsigned char)*p) * 0x100000001b3u;
    return (struct ram_rng){.key = mix(key ^ mix(seed + 0x9e3779b97f4a7c15u))};
}

uint64_t ram_rng_u64(struct ram_rng rng, uint64_t index)
{
    return mix(rng.key + (index + 1) * 0x9e3779b97f4a7c15u);
}

double ram_rng_uniform(struct ram_rng rng, uint64_t index)
{
    return (double)(ram_rng_u64(rng, index) >> 11) * 0x1p-53;
}

void ram_rng_normal(struct ram_rng rng, uint64_t first, size_t n, float *out)
{
    const double two_pi = 6.283185307179586476925;

    for (size_t i = 0; i < n;) {
        const uint64_t index = first + i;
        const uint64_t pair = index / 2;
        const double u = 1.0 - ram_rng_uniform(rng, 2 * pair); /* (0, 1] */
        const double angle = two_pi * ram_rng_uniform(rng, 2 * pair + 1);
        const double r = sqrt(-2.0 * log(u));
        if (index % 2 == 0)
            out[i++] = (float)(r * cos(angle));
        if (i < n && (first + i) / 2 == pair)
            out[i++] = (float)(r * sin(angle));
    }
}

size_t ram_rng_draw(const float *p, size_t n, double u)
{
    size_t last = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] > 0)
            last = i;
        u -= (double)p[i];
        if (u < 0)
            break;
    }
    return last;
}
