/* ckpt.c - see ckpt.h: the order of names, and what an open checkpoint is asked. */
#include "ckpt/ckpt.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Orders two runs of digits by their value; runs that differ in leading zeros only are equal. */
static int number_order(const char *a, const char *b)
{
    while (*a == '0')
        a++;
    while (*b == '0')
        b++;
    size_t n = 0;
    while (is_digit(a[n]) && is_digit(b[n]))
        n++;
    if (is_digit(a[n]) != is_digit(b[n]))
        return is_digit(b[n]) ? -1 : 1;
    return memcmp(a, b, n);
}

int ram_ckpt_name_order(const char *a, const char *b)
{
    size_t i = 0;

    while (a[i] && a[i] == b[i])
        i++;
    if (a[i] == b[i])
        return 0;
    /* The first difference may lie inside two numbers: compare them from their beginnings. */
    size_t start = i;
    while (start && is_digit(a[start - 1]))
        start--;
    const int order =
        is_digit(a[start]) && is_digit(b[start]) ? number_order(a + start, b + start) : 0;
    return order ? order : (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
}

const struct ram_tensor *ram_ckpt_find(const struct ram_ckpt *ckpt, const char *name)
{
    const size_t i = ram_names_find(&ckpt->names, name);
    return i == SIZE_MAX ? NULL : &ckpt->tensors[i];
}

const char *ram_ckpt_note(const struct ram_ckpt *ckpt, size_t i)
{
    return i < ckpt->notes.n ? ckpt->notes.lines[i] : NULL;
}

void ram_ckpt_close(struct ram_ckpt *ckpt)
{
    if (!ckpt)
        return;
    for (size_t i = 0; i < ckpt->n_files; i++) {
        ram_map_close(&ckpt->files[i].map);
        free(ckpt->files[i].name);
    }
    free(ckpt->files);
    free(ckpt->tensors);
    ram_names_release(&ckpt->names);
    ram_arena_release(&ckpt->arena);
    json_decref(ckpt->config);
    free(ckpt->dir);
    free(ckpt->name);
    free(ckpt);
}
