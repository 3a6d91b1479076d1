/* config_read.h - config.json read into struct ram_config, and values that are no part of it. */
#ifndef RAM_ARCH_CONFIG_READ_H
#define RAM_ARCH_CONFIG_READ_H

#include "arch/config.h"

/*
 * where begins messages and must outlive config; strings are borrowed from json. A size that is not
 * what its key should hold leaves 0 and is reported (RAM_EFORMAT, RAM_ERANGE), but the rest is read
 * all the same: of an unknown family, a key may well mean something else.
 */
int ram_config_read(struct ram_config *config, const json_t *json, const char *where,
                    struct ram_arena *arena, struct ram_err *err);

/* Are there layers with a window and layers without? */
bool ram_config_has_both_kinds(const struct ram_config *config);

/* Of a known family: the sizes that json does not say, with what the class takes them for, as
 * ' (not said, so taken as usual: "vocab_size" 32000)'; "" if all are said. Returns text. */
enum { RAM_UNSAID_TEXT = 256 };
const char *ram_config_unsaid(const struct ram_config *config, char text[RAM_UNSAID_TEXT]);

/* A key's value: the top level's, else that of "text_config" (null counts as absent). */
const json_t *ram_config_value(const json_t *json, const char *key);

/* The keys that a record of a model keeps, ended by NULL: sizes, layers, types and codings. */
extern const char *const ram_config_survey[];

/* Is the token one that begins, ends or fills a text (bos, eos, pad; a number or a list)? */
bool ram_config_is_marker(const json_t *json, uint64_t token);

/* eos_token_id as the n-th number of its list (or the only one); false: there are no more. */
bool ram_config_end_token(const json_t *json, size_t n, uint64_t *token);

#endif
