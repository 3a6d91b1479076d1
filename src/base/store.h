/*
 * store.h - finished work that outlives the process: what a later run with --resume need not do
 * again.
 *
 * A directory beside the output that is being made. `log` is an append-only file of small records,
 * each a key, a value and their checksums: a record that a crash tore off is cut away, one that was
 * damaged is passed over. `state` holds one large value at a time (the activations between two
 * layers), replaced by a rename. `output` is the directory that a conversion writes into.
 * docs/formats.md describes the bytes.
 *
 * Every key begins with a scope: a hash of what the value depends on (the weights, the version of
 * the program, the instruction set, the settings of the stage). A value that was made from
 * something else is therefore never found, and several settings can share a store.
 *
 * A store is an aid. When it cannot be written (a full disk), the work goes on without it, and
 * ram_store_complaint says so once. All functions accept NULL, which keeps nothing and finds
 * nothing.
 */
#ifndef RAM_BASE_STORE_H
#define RAM_BASE_STORE_H

#include "base/buf.h"

enum { RAM_STORE_SCOPE = 33 }; /* 32 hexadecimal digits and a final 0 */

struct ram_store_scope {
    char text[RAM_STORE_SCOPE];
};

/* What stood in a store when it was opened. */
struct ram_store_found {
    size_t n_records;
    size_t n_damaged; /* records that were passed over */
    uint64_t cut;     /* bytes at the end of the log that are no record */
    bool foreign;     /* the log is no log of this version: nothing in it is used */
};

/*
 * Opens or makes the directory `path`. resume: what earlier runs left can be found; otherwise it is
 * kept, but only records of this run are found. RAM_EUSAGE if another process has it open.
 */
int ram_store_new(struct ram_store **out, const char *path, bool resume,
                  struct ram_store_found *found, struct ram_err *err);

/* finished: the result is in a safe place, and the directory is removed. So is one without finished
 * work. True if it stays. */
bool ram_store_free(struct ram_store *store, bool finished);

/* What all scopes depend on: the digest of a checkpoint. */
int ram_store_bind(struct ram_store *store, const char *subject, struct ram_err *err);

/* settings: a text that says everything which could change a value of this stage. */
void ram_store_scope(const struct ram_store *store, const char *stage, const char *settings,
                     struct ram_store_scope *out);

/* Is it a later run of what was begun before? */
bool ram_store_resumed(const struct ram_store *store);

/* Appends the value to the log; the last value of a key counts. From any thread. */
void ram_store_put(struct ram_store *store, const struct ram_store_scope *scope, const char *name,
                   const void *value, size_t size);

/* Appends the value to `out` if there is one of exactly this size, or of any size (SIZE_MAX). */
bool ram_store_get(struct ram_store *store, const struct ram_store_scope *scope, const char *name,
                   size_t size, struct ram_buf *out);

/* True at most every two seconds, for what could be kept at any moment and would become too much.
 */
bool ram_store_due(struct ram_store *store);

/* ---- the state --------------------------------------------------------------------------- */

/* Moves bytes [at, at + n) of a body from or to where it lives. */
struct ram_store_body {
    void *ctx;
    uint64_t size;
    int (*move)(void *ctx, uint64_t at, void *data, size_t n, struct ram_err *err);
};

/*
 * Replaces the state, unless that was done so recently that writing it again would cost more than a
 * fiftieth of the time, or it would take more than a quarter of what is free on the disk beside
 * what was reserved. An error is that of body->move alone. From one thread.
 */
int ram_store_state_put(struct ram_store *store, const struct ram_store_scope *scope,
                        const struct ram_buf *head, const struct ram_store_body *body,
                        struct ram_err *err);

/* The head of the state of this scope into `head`, and the size of its body; everything was
 * compared with its checksum. */
bool ram_store_state_find(struct ram_store *store, const struct ram_store_scope *scope,
                          struct ram_buf *head, uint64_t *body_size);

/* The body of what ram_store_state_find found. RAM_EIO if it cannot be read any more. */
int ram_store_state_get(struct ram_store *store, const struct ram_store_body *body,
                        struct ram_err *err);

/* The pass that it was of is over: gives its space back. */
void ram_store_state_drop(struct ram_store *store);

/* Bytes of the disk that the result itself will need. */
void ram_store_reserve(struct ram_store *store, uint64_t bytes);

/* ---- the rest ---------------------------------------------------------------------------- */

/* Where a conversion writes, to be freed. NULL with RAM_ENOMEM. */
char *ram_store_output(const struct ram_store *store, struct ram_err *err);

/* Why the store cannot be written any more, when it is first asked for after that; NULL otherwise.
 * ram_exec_progress tells the user. */
const char *ram_store_complaint(struct ram_store *store);

/* ---- the log as bytes -------------------------------------------------------------------- */

struct ram_store_record {
    const char *key;
    size_t key_size;
    const uint8_t *value;
    size_t value_size;
};

/* Calls `take` for every good record of a log; returns the bytes that can be appended to, 0 if it
 * is no log at all. */
size_t ram_store_scan(const uint8_t *data, size_t size,
                      void (*take)(void *ctx, const struct ram_store_record *record), void *ctx,
                      size_t *n_damaged);

/* A record as it stands in the log, and what stands before the first. */
void ram_store_encode(struct ram_buf *out, const struct ram_store_record *record);
void ram_store_begin(struct ram_buf *out);

/* Numbers in values, as the machine holds them: a store does not travel to one of another order. */
void ram_pack_u64(struct ram_buf *buf, uint64_t value);
void ram_pack_f64(struct ram_buf *buf, const double *values, size_t n);

#endif
