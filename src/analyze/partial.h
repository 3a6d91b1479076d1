/*
 * partial.h - the figures of finished entries in a store: what a killed sweep need not measure
 * again.
 */
#ifndef RAM_ANALYZE_PARTIAL_H
#define RAM_ANALYZE_PARTIAL_H

#include "base/store.h"
#include "record/manifest.h"

/* What entries of this manifest are measured with; its settings are complete. */
int ram_partial_scope(struct ram_store *store, const struct ram_manifest *manifest,
                      struct ram_store_scope *out, struct ram_err *err);

/* Fills in every entry that the store has figures of. */
void ram_partial_load(struct ram_store *store, const struct ram_store_scope *scope,
                      struct ram_manifest *manifest);

/* Keeps the figures of an entry; any thread. */
void ram_partial_add(struct ram_store *store, const struct ram_store_scope *scope,
                     const struct ram_entry *entry);

#endif
