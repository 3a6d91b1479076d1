/* mem.c - see mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 64 * 1024, ALIGNMENT = 64 };

struct ram_arena_block {
    struct ram_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

bool ram_mul_size(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool ram_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

void *ram_alloc(size_t n, size_t size, struct ram_err *err)
{
    size_t bytes;
    void *p = NULL;

    if (!ram_mul_size(n, size, &bytes) || bytes > SIZE_MAX - ALIGNMENT ||
        posix_memalign(&p, ALIGNMENT, bytes ? bytes : 1)) {
        ram_fail(err, RAM_ENOMEM, "no memory for %zu items of %zu bytes", n, size);
        return NULL;
    }
    return p;
}

void *ram_calloc(size_t n, size_t size, struct ram_err *err)
{
    void *p = ram_alloc(n, size, err);

    if (p)
        memset(p, 0, n * size);
    return p;
}

int ram_grow(void *items, size_t size, size_t n, size_t *cap, struct ram_err *err)
{
    void **p = items;
    size_t bytes;

    if (n < *cap)
        return RAM_OK;
    const size_t room = n < 8 ? 16 : n * 2;
    if (!ram_mul_size(room, size, &bytes))
        return ram_fail(err, RAM_ENOMEM, "no memory for %zu items of %zu bytes", room, size);
    void *grown = realloc(*p, bytes);
    if (!grown)
        return ram_fail(err, RAM_ENOMEM, "no memory for %zu bytes", bytes);
    *p = grown;
    *cap = room;
    return RAM_OK;
}

char *ram_strdup(const char *s, struct ram_err *err)
{
    char *copy = strdup(s);
    if (!copy)
        ram_fail(err, RAM_ENOMEM, "no memory for a string of %zu bytes", strlen(s));
    return copy;
}

void *ram_arena_alloc(struct ram_arena *arena, size_t size, struct ram_err *err)
{
    struct ram_arena_block *block = arena->head;

    if (size > SIZE_MAX / 2) {
        ram_fail(err, RAM_ENOMEM, "no memory for %zu bytes", size);
        return NULL;
    }
    size = (size + 15) & ~(size_t)15;
    if (!block || block->size - block->used < size) {
        const size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        block = malloc(sizeof *block + room);
        if (!block) {
            ram_fail(err, RAM_ENOMEM, "no memory for %zu bytes", room);
            return NULL;
        }
        *block = (struct ram_arena_block){.next = arena->head, .size = room};
        arena->head = block;
    }
    void *p = block->data + block->used;
    block->used += size;
    return memset(p, 0, size);
}

char *ram_arena_strdup(struct ram_arena *arena, const char *s, struct ram_err *err)
{
    const size_t size = strlen(s) + 1;
    char *copy = ram_arena_alloc(arena, size, err);
    return copy ? memcpy(copy, s, size) : NULL;
}

char *ram_arena_printf(struct ram_arena *arena, struct ram_err *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        ram_fail(err, RAM_EINTERNAL, "format '%s' failed", fmt);
        return NULL;
    }
    char *s = ram_arena_alloc(arena, (size_t)n + 1, err);
    if (s) {
        va_start(args, fmt);
        vsnprintf(s, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    return s;
}

void ram_arena_release(struct ram_arena *arena)
{
    while (arena->head) {
        struct ram_arena_block *next = arena->head->next;
        free(arena->head);
        arena->head = next;
    }
}
