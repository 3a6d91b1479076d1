/* config_parts.h - the parts of reading a configuration; private to src/arch. */
#ifndef RAM_ARCH_CONFIG_PARTS_H
#define RAM_ARCH_CONFIG_PARTS_H

#include "arch/family.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct ram_config_reader {
    const json_t *top, *text; /* text: "text_config", or NULL */
    struct ram_config *config;
    struct ram_arena *arena;
    struct ram_err *err;
};

/* The top level's value, else that of "text_config", else null if one of them is, else NULL. */
const json_t *ram_config_find(const struct ram_config_reader *r, const char *key);

/* Reports a value of another kind than expected. */
int ram_config_wrong(struct ram_config_reader *r, const char *key, const json_t *value,
                     const char *expected);

bool ram_config_number(struct ram_config_reader *r, const char *key, const json_t *value,
                       double *out);

/* Which layers have no experts, and which see a window only. */
void ram_config_read_layers(struct ram_config_reader *r, const struct ram_family *family);

void ram_config_read_rope(struct ram_config_reader *r, const struct ram_family *family);

#endif
