/* roles.h - sums over what has the same role: one line each in every report. */
#ifndef RAM_REPORT_ROLES_H
#define RAM_REPORT_ROLES_H

#include "record/plan.h"

struct ram_role_row {
    char name[40]; /* "up", "up (experts)" */
    uint64_t tensors, parameters, bytes;
    struct ram_share shares[RAM_MAX_BITS + 1]; /* by the width of codes */
};

struct ram_roles {
    struct ram_role_row *items; /* in the order of a forward pass */
    size_t n, cap;
};

/* Finds or adds. NULL: no memory. */
struct ram_role_row *ram_roles_at(struct ram_roles *roles, const char *role, bool stacked,
                                  struct ram_err *err);
void ram_roles_sort(struct ram_roles *roles);
void ram_roles_release(struct ram_roles *roles);

#endif
