/* store_parts.h - what store.c and store_state.c share. */
#ifndef RAM_BASE_STORE_PARTS_H
#define RAM_BASE_STORE_PARTS_H

#include "base/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* Where a value lies in the log. A key is known by two hashes: of some 10^5 keys no two agree. */
struct ram_store_slot {
    uint64_t hash[2];
    uint64_t offset, size; /* of the value; offset 0: a free slot */
};

struct ram_store {
    pthread_mutex_t lock; /* of everything that _put and _get touch */
    char *path, *subject;
    bool resume;
    bool always; /* RAM_KEEP=always: keep at every opportunity, for tests */
    int log;     /* locked against other processes */
    uint64_t log_end, n_records;
    struct ram_store_slot *slots;
    size_t n_slots, n_used;
    double last_sync, last_due;
    /* The state: when it was last written and how long that took; and the one that was found. */
    double state_at, state_cost;
    bool state_mine, state_off;
    int found;
    uint64_t found_body, found_size;
    uint64_t reserved;
    atomic_bool failed, told;
    char failure[512];
};

/* Seconds on a clock that does not jump. */
double ram_store_now(void);

/* Keeps the first failure for ram_store_complaint. */
void ram_store_failed(struct ram_store *store, const struct ram_err *err);

/* "<path>/<name>", NULL without memory. */
char *ram_store_file(const struct ram_store *store, const char *name);

int ram_store_pwrite(int fd, const char *path, uint64_t at, const void *data, size_t size,
                     struct ram_err *err);
bool ram_store_pread(int fd, uint64_t at, void *data, size_t size);

void ram_store_state_forget(struct ram_store *store);

#endif
