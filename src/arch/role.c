/* role.c - see role.h. */
#include "arch/role.h"

#include <string.h>

static const char *const names[RAM_N_ROLES] = {
    [RAM_ROLE_EMBED] = "embed",
    [RAM_ROLE_Q] = "q",
    [RAM_ROLE_K] = "k",
    [RAM_ROLE_V] = "v",
    [RAM_ROLE_Q_A] = "q_a",
    [RAM_ROLE_Q_B] = "q_b",
    [RAM_ROLE_KV_A] = "kv_a",
    [RAM_ROLE_KV_B] = "kv_b",
    [RAM_ROLE_O] = "o",
    [RAM_ROLE_GATE] = "gate",
    [RAM_ROLE_UP] = "up",
    [RAM_ROLE_DOWN] = "down",
    [RAM_ROLE_ROUTER] = "router",
    [RAM_ROLE_SHARED_GATE] = "shared_gate",
    [RAM_ROLE_SHARED_UP] = "shared_up",
    [RAM_ROLE_SHARED_DOWN] = "shared_down",
    [RAM_ROLE_SHARED_ROUTER] = "shared_router",
    [RAM_ROLE_DELTA_QKV] = "delta_qkv",
    [RAM_ROLE_DELTA_Z] = "delta_z",
    [RAM_ROLE_DELTA_B] = "delta_b",
    [RAM_ROLE_DELTA_A] = "delta_a",
    [RAM_ROLE_DELTA_QKVZ] = "delta_qkvz",
    [RAM_ROLE_DELTA_BA] = "delta_ba",
    [RAM_ROLE_HEAD] = "head",
    [RAM_ROLE_NORM] = "norm",
    [RAM_ROLE_BIAS] = "bias",
    [RAM_ROLE_OTHER] = "other",
    [RAM_ROLE_NORM_BEFORE_ATTENTION] = "norm",
    [RAM_ROLE_NORM_AFTER_ATTENTION] = "norm",
    [RAM_ROLE_NORM_BEFORE_MLP] = "norm",
    [RAM_ROLE_NORM_AFTER_MLP] = "norm",
    [RAM_ROLE_NORM_Q] = "norm",
    [RAM_ROLE_NORM_K] = "norm",
    [RAM_ROLE_NORM_Q_LATENT] = "norm",
    [RAM_ROLE_NORM_KV_LATENT] = "norm",
    [RAM_ROLE_NORM_FINAL] = "norm",
    [RAM_ROLE_NORM_DELTA] = "norm",
    [RAM_ROLE_DELTA_KERNEL] = "other",
    [RAM_ROLE_DELTA_DECAY] = "bias",
    [RAM_ROLE_DELTA_STEP] = "bias",
    [RAM_ROLE_CORRECTION] = "bias",
};

const char *ram_role_name(enum ram_role role)
{
    return names[role];
}

bool ram_role_is_router(enum ram_role role)
{
    return role == RAM_ROLE_ROUTER || role == RAM_ROLE_SHARED_ROUTER;
}

enum ram_role ram_role_find(const char *name)
{
    enum ram_role role = RAM_ROLE_EMBED;

    while (role < RAM_ROLE_OTHER && strcmp(names[role], name) != 0)
        role++;
    return role;
}
