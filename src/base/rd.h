/*
 * rd.h - a bounded little-endian reader with a sticky error.
 *
 * Reads past the end return zero and set `bad`; a parser checks it once at the end of a header
 * instead of after every field.
 */
#ifndef RAM_BASE_RD_H
#define RAM_BASE_RD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ram_rd {
    const uint8_t *p, *end;
    bool bad;
};

static inline const uint8_t *ram_rd_bytes(struct ram_rd *rd, size_t n)
{
    const uint8_t *p = rd->p;
    if (rd->bad || (size_t)(rd->end - p) < n) {
        rd->bad = true;
        return NULL;
    }
    rd->p += n;
    return p;
}

static inline uint64_t ram_rd_uint(struct ram_rd *rd, size_t n)
{
    const uint8_t *p = ram_rd_bytes(rd, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline uint64_t ram_rd_u64(struct ram_rd *rd)
{
    return ram_rd_uint(rd, 8);
}

static inline uint32_t ram_rd_u32(struct ram_rd *rd)
{
    return (uint32_t)ram_rd_uint(rd, 4);
}

#endif
