/*
 * name_guess.h - what a tensor's name says where no family's table knows it: names of unknown
 * architectures, and those under which quantisers and formats keep tensors of known ones.
 */
#ifndef RAM_ARCH_NAME_GUESS_H
#define RAM_ARCH_NAME_GUESS_H

#include "arch/role.h"

#include <stdbool.h>
#include <stddef.h>

struct ram_name {
    enum ram_role role; /* as records have it: no norm or bias in particular */
    int layer, expert;  /* -1: none */
    bool is_bias;
    enum { RAM_STACK_NONE, RAM_STACK_ONE, RAM_STACK_GATE_UP } stack; /* experts in one tensor */
    size_t expert_at, expert_end; /* where the expert's number stands in the name */
    size_t stack_at;              /* where the part stands that means all experts; 0: nowhere */
};

struct ram_name ram_name_parse(const char *name);

/* Is it a layer for multi-token prediction that stands outside of the model? */
bool ram_name_is_mtp(const char *name);

/*
 * Regular expressions of names that keep 16 bits, whatever the family: those that only scored
 * methods spare (uniform quantisation touches them, as stock converters do), and those that nothing
 * touches. Ended by NULL.
 */
extern const char *const ram_names_scored_only[], *const ram_names_always[];

#endif
