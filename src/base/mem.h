/* mem.h - memory with checked sizes, and an arena for the many small strings of a checkpoint. */
#ifndef RAM_BASE_MEM_H
#define RAM_BASE_MEM_H

#include "base/err.h"

/* *out = a * b, a + b; false on overflow. Every product of sizes from a file comes through here. */
bool ram_mul_size(size_t a, size_t b, size_t *out);
bool ram_add_size(size_t a, size_t b, size_t *out);

/* n zeroed items of size bytes, aligned to 64 bytes; never NULL for n = 0; RAM_ENOMEM. free(). */
void *ram_calloc(size_t n, size_t size, struct ram_err *err);

/* The same, not zeroed. */
void *ram_alloc(size_t n, size_t size, struct ram_err *err);

/* Grows *items (of `size` bytes each) to hold at least n + 1; *cap is how many fit. RAM_ENOMEM. */
int ram_grow(void *items, size_t size, size_t n, size_t *cap, struct ram_err *err);

char *ram_strdup(const char *s, struct ram_err *err);

/* Memory that is released as a whole. Zeroed storage is an empty arena. */
struct ram_arena {
    struct ram_arena_block *head;
};

void *ram_arena_alloc(struct ram_arena *arena, size_t size, struct ram_err *err); /* zeroed */
char *ram_arena_strdup(struct ram_arena *arena, const char *s, struct ram_err *err);
char *ram_arena_printf(struct ram_arena *arena, struct ram_err *err, const char *fmt, ...)
    RAM_PRINTF(3, 4);
void ram_arena_release(struct ram_arena *arena);

#endif
