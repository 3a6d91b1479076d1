/* tokenizer_load.h - reading tokenizer.json; for tokenizer_load.c and tokenizer_steps.c alone. */
#ifndef RAM_TEXT_TOKENIZER_LOAD_H
#define RAM_TEXT_TOKENIZER_LOAD_H

#include "text/tokenizer_parts.h"

struct ram_load {
    struct ram_tokenizer *tokenizer;
    const char *where; /* what messages begin with */
    const char *kind;  /* what refusals call it; NULL: nothing is known */
    struct ram_err *err;
};

/* RAM_EUNSUPPORTED, naming a field and what was found there. */
int ram_load_refuse(const struct ram_load *load, const char *field, const char *found);

/* An absent flag is `otherwise`, as is null. */
int ram_load_flag(const struct ram_load *load, const json_t *obj, const char *key, bool otherwise,
                  bool *out);

/* NULL for what is absent or null. */
const json_t *ram_load_member(const json_t *obj, const char *key);

/* The fields of these names; NULL where a field is null. *bytes: a ByteLevel was seen, which
 * must come last, since it changes the alphabet. */
int ram_load_normalizer(const struct ram_load *load, const json_t *item);
int ram_load_pre_tokenizer(const struct ram_load *load, const json_t *item, bool *bytes);
int ram_load_post_processor(const struct ram_load *load, const json_t *item);

#endif
