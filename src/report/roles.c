/* roles.c - see roles.h. */
#include "report/roles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROLES = 64 }; /* a hostile record may name one for every tensor */

static const char *const order[] = {"embed",       "q",    "k",      "v",           "q_a",
                                    "q_b",         "kv_a", "kv_b",   "o",           "gate",
                                    "up",          "down", "router", "shared_gate", "shared_up",
                                    "shared_down", "head", "norm",   "bias",        "other"};

static size_t rank(const char *name)
{
    const size_t size = strcspn(name, " ");
    size_t i = 0;

    while (i < sizeof order / sizeof *order &&
           (strlen(order[i]) != size || memcmp(order[i], name, size) != 0))
        i++;
    return i;
}

static struct ram_role *find(const struct ram_roles *roles, const char *name)
{
    for (size_t i = 0; i < roles->n; i++)
        if (!strcmp(roles->items[i].name, name))
            return &roles->items[i];
    return NULL;
}

struct ram_role *ram_roles_at(struct ram_roles *roles, const char *role, bool stacked,
                              struct ram_err *err)
{
    const char *const suffix = stacked ? " (experts)" : "";
    struct ram_role item = {0}, *found;

    snprintf(item.name, sizeof item.name, "%.24s%s", role, suffix);
    found = find(roles, item.name);
    if (!found && roles->n >= MAX_ROLES) {
        snprintf(item.name, sizeof item.name, "other%s", suffix);
        found = find(roles, item.name);
    }
    if (found)
        return found;
    if (ram_grow(&roles->items, sizeof *roles->items, roles->n, &roles->cap, err))
        return NULL;
    roles->items[roles->n] = item;
    return &roles->items[roles->n++];
}

static int by_rank(const void *a, const void *b)
{
    const struct ram_role *const x = a, *const y = b;
    const size_t i = rank(x->name), j = rank(y->name);

    return i != j ? (i > j) - (i < j) : strcmp(x->name, y->name);
}

void ram_roles_sort(struct ram_roles *roles)
{
    if (roles->n)
        qsort(roles->items, roles->n, sizeof *roles->items, by_rank);
}

void ram_roles_release(struct ram_roles *roles)
{
    free(roles->items);
    *roles = (struct ram_roles){0};
}
