/*
 * role.h - what a tensor is to a transformer, whatever it is called; and how records, reports and
 * messages spell it.
 */
#ifndef RAM_ARCH_ROLE_H
#define RAM_ARCH_ROLE_H

#include <stdbool.h>

/* In the order of reports. */
enum ram_role {
    RAM_ROLE_EMBED,
    RAM_ROLE_Q, /* behind q_a, where the query has a latent: q_b */
    RAM_ROLE_K,
    RAM_ROLE_V,
    RAM_ROLE_Q_A,
    RAM_ROLE_Q_B,
    RAM_ROLE_KV_A,
    RAM_ROLE_KV_B,
    RAM_ROLE_O,
    RAM_ROLE_GATE, /* of a dense MLP, or of an expert; so are up and down */
    RAM_ROLE_UP,
    RAM_ROLE_DOWN,
    RAM_ROLE_ROUTER,
    RAM_ROLE_SHARED_GATE, /* of the expert that all tokens pass */
    RAM_ROLE_SHARED_UP,
    RAM_ROLE_SHARED_DOWN,
    RAM_ROLE_SHARED_ROUTER, /* gives the weight of that expert */
    /* What a delta rule makes of the hidden state: queries, keys and values; gate; correction;
     * decay. Or in two matrices, interleaved by heads. */
    RAM_ROLE_DELTA_QKV,
    RAM_ROLE_DELTA_Z,
    RAM_ROLE_DELTA_B,
    RAM_ROLE_DELTA_A,
    RAM_ROLE_DELTA_QKVZ,
    RAM_ROLE_DELTA_BA,
    RAM_ROLE_HEAD,
    RAM_ROLE_NORM,
    RAM_ROLE_BIAS,
    RAM_ROLE_OTHER,
    /* A block asks which norm and which bias; a record does not, and spells them "norm" and "bias".
     * A norm before attention or the MLP is applied to the hidden state, a norm after it to what it
     * gives. */
    RAM_ROLE_NORM_BEFORE_ATTENTION,
    RAM_ROLE_NORM_AFTER_ATTENTION,
    RAM_ROLE_NORM_BEFORE_MLP,
    RAM_ROLE_NORM_AFTER_MLP,
    RAM_ROLE_NORM_Q,
    RAM_ROLE_NORM_K,
    RAM_ROLE_NORM_Q_LATENT,
    RAM_ROLE_NORM_KV_LATENT,
    RAM_ROLE_NORM_FINAL,
    RAM_ROLE_NORM_DELTA,   /* of what a head of a delta rule gives */
    RAM_ROLE_DELTA_KERNEL, /* its convolution; and by head how fast it forgets, and a bias of that
                            */
    RAM_ROLE_DELTA_DECAY,
    RAM_ROLE_DELTA_STEP,
    RAM_ROLE_CORRECTION, /* is added to the router's scores where experts are chosen */
    RAM_N_ROLES
};

const char *ram_role_name(enum ram_role role);

/* Does it choose experts, or weigh the one that all tokens pass? */
bool ram_role_is_router(enum ram_role role);

/* A record's word; RAM_ROLE_OTHER for one that we do not know. */
enum ram_role ram_role_find(const char *name);

#endif
