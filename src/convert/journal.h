/*
 * journal.h - which blocks of rows of a conversion are written, so that a later run need not encode
 * them again.
 *
 * Blocks are written in any order, and recorded in theirs: a record says that all blocks before a
 * place are in the files, and what they came to (errors as doubles, added up from the first on, so
 * that a run that continues adds the same numbers in the same order). What a record promises is
 * compared with the checksums of the files before it is believed: the machine may have crashed
 * between the two.
 */
#ifndef RAM_CONVERT_JOURNAL_H
#define RAM_CONVERT_JOURNAL_H

#include "base/pool.h"
#include "base/store.h"
#include "convert/result.h"
#include "format/outline.h"

/* The next block to be encoded: a row of a view of a module. */
struct ram_block_place {
    size_t module, view, row;
};

struct ram_journal {
    struct ram_store *store; /* or NULL */
    struct ram_store_scope scope;
    uint64_t n_records;
};

/* settings: what decides the bytes of a block beside outline and source. */
void ram_journal_open(struct ram_journal *journal, struct ram_store *store,
                      const struct ram_outline *outline, const char *settings);

/*
 * Where to continue with the files in dir, and what everything before came to in results
 * [n_modules] (zeroed). The beginning, if nothing fits.
 */
int ram_journal_load(struct ram_journal *journal, const struct ram_outline *outline,
                     const char *dir, struct ram_pool *pool, struct ram_module_result *results,
                     struct ram_block_place *place, struct ram_err *err);

/* All blocks before `place` are written; since the last record modules from `first` on changed. */
void ram_journal_add(struct ram_journal *journal, const struct ram_outline *outline,
                     const struct ram_block_place *place, size_t first,
                     const struct ram_module_result *results);

/*
 * A directory that was given its name is known by its ram.json. ram_written_put records the one in
 * `dir`; ram_written_find tells whether the one there was recorded by an earlier run with the same
 * store, and if `key` is that run's, too, gives its results.
 */
enum ram_written { RAM_WRITTEN_NOT, RAM_WRITTEN_OTHERWISE, RAM_WRITTEN_SAME };

void ram_written_put(struct ram_store *store, const char *dir, uint64_t key,
                     const struct ram_module_result *results, size_t n);
enum ram_written ram_written_find(struct ram_store *store, const char *dir, uint64_t key,
                                  struct ram_module_result *results, size_t n);

/* A number that stands for everything that an outline says. */
uint64_t ram_outline_hash(const struct ram_outline *outline);

#endif
