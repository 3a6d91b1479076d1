/* roles.c - see roles.h. */
#include "report/roles.h"

#include "arch/role.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROLES = 64 }; /* a hostile record may name one for every tensor */

/* A role that we do not know comes last. */
static int rank(const char *name)
{
    char role[40];

    snprintf(role, sizeof role, "%.*s", (int)strcspn(name, " "), name);
    const enum ram_role found = ram_role_find(role);
    return strcmp(ram_role_name(found), role) ? RAM_N_ROLES : (int)found;
}

static struct ram_role_row *find(const struct ram_roles *roles, const char *name)
{
    for (size_t i = 0; i < roles->n; i++)
        if (!strcmp(roles->items[i].name, name))
            return &roles->items[i];
    return NULL;
}

struct ram_role_row *ram_roles_at(struct ram_roles *roles, const char *role, bool stacked,
                                  struct ram_err *err)
{
    const char *const suffix = stacked ? " (experts)" : "";
    struct ram_role_row item = {0}, *found;

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
    const struct ram_role_row *const x = a, *const y = b;
    const int i = rank(x->name), j = rank(y->name);

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
