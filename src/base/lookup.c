/* lookup.c - see lookup.h. */
#include "base/lookup.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Eight bytes at a time; names are some fifty bytes long and there are tens of thousands. The
 * multiplier is 2^64 / golden ratio. */
static uint64_t hash(const char *name)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    size_t n = strlen(name);
    uint64_t h = n * odd;

    for (; n >= 8; n -= 8, name += 8) {
        uint64_t word;
        memcpy(&word, name, 8);
        h = (h ^ word) * odd;
        h ^= h >> 32;
    }
    uint64_t tail = 0;
    memcpy(&tail, name, n);
    h = (h ^ tail) * odd;
    return h ^ h >> 32;
}

static const char *name_of(const struct ram_names *names, size_t i)
{
    const char *name;
    memcpy(&name, names->items + i * names->stride, sizeof name);
    return name;
}

static size_t index_of(uint64_t slot)
{
    return (size_t)(slot & UINT32_MAX) - 1;
}

/* The slot that holds name, or the empty one where it belongs. Names are compared only if their
 * hashes agree, since each comparison is a cache miss. */
static uint64_t *slot_of(const struct ram_names *names, const char *name, uint64_t h)
{
    const size_t mask = names->n_slots - 1;
    size_t at = (size_t)h & mask;

    for (; names->slots[at]; at = (at + 1) & mask)
        if (names->slots[at] >> 32 == h >> 32 &&
            !strcmp(name_of(names, index_of(names->slots[at])), name))
            break;
    return &names->slots[at];
}

int ram_names_build(struct ram_names *names, const void *items, size_t stride, size_t n,
                    const char **twin, struct ram_err *err)
{
    size_t n_slots = 16;

    *names = (struct ram_names){.items = items, .stride = stride};
    *twin = NULL;
    while (n_slots / 2 < n)
        n_slots *= 2;
    names->slots = ram_calloc(n_slots, sizeof *names->slots, err);
    if (!names->slots)
        return RAM_ENOMEM;
    names->n_slots = n_slots;
    for (size_t i = 0; i < n; i++) {
        const char *name = name_of(names, i);
        const uint64_t h = hash(name);
        uint64_t *slot = slot_of(names, name, h);
        if (!*slot)
            *slot = (h & ~(uint64_t)UINT32_MAX) | (i + 1);
        else if (!*twin)
            *twin = name;
    }
    return RAM_OK;
}

void ram_names_release(struct ram_names *names)
{
    free(names->slots);
    *names = (struct ram_names){0};
}

size_t ram_names_find(const struct ram_names *names, const char *name)
{
    if (!names->n_slots)
        return SIZE_MAX;
    const uint64_t found = *slot_of(names, name, hash(name));
    return found ? index_of(found) : SIZE_MAX;
}
