/* hash.c - see hash.h. */
#include "base/hash.h"

#include <sys/types.h>

#include <sha256.h>
#include <string.h>

#define PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME_3 UINT64_C(0x165667B19E3779F9)
#define PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME_5 UINT64_C(0x27D4EB2F165667C5)

void ram_sha256(const void *data, size_t size, char out[RAM_SHA256_HEX])
{
    SHA256Data(data, size, out);
}

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t word(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&v, p, n);
#else
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
#endif
    return v;
}

static uint64_t step(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge(uint64_t h, uint64_t lane)
{
    return (h ^ step(0, lane)) * PRIME_1 + PRIME_4;
}

uint64_t ram_hash64(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *p = data;
    size_t left = size;
    uint64_t h = seed + PRIME_5;

    if (size >= 32) {
        uint64_t a = seed + PRIME_1 + PRIME_2, b = seed + PRIME_2, c = seed, d = seed - PRIME_1;
        for (; left >= 32; left -= 32, p += 32) {
            a = step(a, word(p, 8));
            b = step(b, word(p + 8, 8));
            c = step(c, word(p + 16, 8));
            d = step(d, word(p + 24, 8));
        }
        h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        h = merge(merge(merge(merge(h, a), b), c), d);
    }
    h += size;
    for (; left >= 8; left -= 8, p += 8)
        h = rotate(h ^ step(0, word(p, 8)), 27) * PRIME_1 + PRIME_4;
    if (left >= 4) {
        h = rotate(h ^ word(p, 4) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        left -= 4;
        p += 4;
    }
    for (; left; left--, p++)
        h = rotate(h ^ *p * PRIME_5, 11) * PRIME_1;
    h = (h ^ h >> 33) * PRIME_2;
    h = (h ^ h >> 29) * PRIME_3;
    return h ^ h >> 32;
}
