/*
 * lookup.h - finds items by name: an open hash table over any array of structs whose first member
 * is the name.
 */
#ifndef RAM_BASE_LOOKUP_H
#define RAM_BASE_LOOKUP_H

#include "base/err.h"

struct ram_names {
    const char *items; /* borrowed */
    size_t stride;     /* bytes from one item to the next */
    uint64_t *slots;   /* 32 bits of the name's hash, then index + 1; or 0 */
    size_t n_slots;    /* a power of two; 0 for an empty table */
};

/* n is at most 2^31. A name that occurs twice goes to *twin (NULL if there is none); the table
 * finds its first. */
int ram_names_build(struct ram_names *names, const void *items, size_t stride, size_t n,
                    const char **twin, struct ram_err *err);
void ram_names_release(struct ram_names *names);

/* Index of the item called so, or SIZE_MAX. */
size_t ram_names_find(const struct ram_names *names, const char *name);

#endif
