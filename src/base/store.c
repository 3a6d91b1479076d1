/* store.c - see store.h: the directory and its log. */
#include "base/store.h"

#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/store_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A crash of the process loses nothing that was written; these seconds are what a crash of the
 * machine may lose. Flushing after every record would wait for the disk thousands of times. */
#define SYNC_SECONDS 5.0
#define DUE_SECONDS  2.0

enum { FIRST_SLOTS = 256 };

/* ---- small things ------------------------------------------------------------------------- */

double ram_store_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void ram_store_failed(struct ram_store *store, const struct ram_err *err)
{
    if (atomic_load(&store->failed))
        return;
    snprintf(store->failure, sizeof store->failure, "%.500s", err->message);
    atomic_store(&store->failed, true);
}

char *ram_store_file(const struct ram_store *store, const char *name)
{
    struct ram_err ignored = {0};
    return ram_path_join(store->path, name, &ignored);
}

int ram_store_pwrite(int fd, const char *path, uint64_t at, const void *data, size_t size,
                     struct ram_err *err)
{
    const char *p = data;

    while (size) {
        const ssize_t n = pwrite(fd, p, size > (1u << 30) ? (1u << 30) : size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ram_fail_errno(err, "%s: cannot write", path);
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return RAM_OK;
}

bool ram_store_pread(int fd, uint64_t at, void *data, size_t size)
{
    char *p = data;

    while (size) {
        const ssize_t n = pread(fd, p, size > (1u << 30) ? (1u << 30) : size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

/* ---- the index ------------------------------------------------------------------------------ */

static struct ram_store_slot *slot_of(struct ram_store_slot *slots, size_t n,
                                      const uint64_t hash[2])
{
    size_t i = (size_t)hash[0] & (n - 1);

    while (slots[i].offset && (slots[i].hash[0] != hash[0] || slots[i].hash[1] != hash[1]))
        i = (i + 1) & (n - 1);
    return &slots[i];
}

static bool grow(struct ram_store *store)
{
    struct ram_err ignored = {0};
    const size_t n = store->n_slots ? 2 * store->n_slots : FIRST_SLOTS;
    struct ram_store_slot *slots = ram_calloc(n, sizeof *slots, &ignored);

    if (!slots)
        return false;
    for (size_t i = 0; i < store->n_slots; i++)
        if (store->slots[i].offset)
            *slot_of(slots, n, store->slots[i].hash) = store->slots[i];
    free(store->slots);
    store->slots = slots;
    store->n_slots = n;
    return true;
}

static void hash_key(const char *key, size_t size, uint64_t hash[2])
{
    hash[0] = ram_hash64(key, size, 2);
    hash[1] = ram_hash64(key, size, 3);
}

/* A key that finds no place is measured again, no more. */
static void enter(struct ram_store *store, const uint64_t hash[2], uint64_t offset, uint64_t size)
{
    if (2 * (store->n_used + 1) > store->n_slots && !grow(store))
        return;
    struct ram_store_slot *slot = slot_of(store->slots, store->n_slots, hash);
    store->n_used += slot->offset == 0;
    *slot = (struct ram_store_slot){{hash[0], hash[1]}, offset, size};
}

struct scan {
    struct ram_store *store;
    const uint8_t *data;
};

static void take(void *ctx, const struct ram_store_record *record)
{
    struct scan *scan = ctx;
    uint64_t hash[2];

    scan->store->n_records += *record->key != '/'; /* what has no scope is no work */
    if (!scan->store->resume)
        return;
    hash_key(record->key, record->key_size, hash);
    enter(scan->store, hash, (uint64_t)(record->value - scan->data), record->value_size);
}

/* ---- opening ------------------------------------------------------------------------------- */

static int begin_log(struct ram_store *store, const char *path, struct ram_err *err)
{
    struct ram_buf first = {0};

    ram_store_begin(&first);
    int status = first.failed ? ram_fail(err, RAM_ENOMEM, "no memory for %s", path) : RAM_OK;
    if (!status && ftruncate(store->log, 0))
        status = ram_fail_errno(err, "%s: cannot cut", path);
    if (!status)
        status = ram_store_pwrite(store->log, path, 0, first.data, first.size, err);
    store->log_end = first.size;
    ram_buf_release(&first);
    return status;
}

static int read_log(struct ram_store *store, const char *path, struct ram_store_found *found,
                    struct ram_err *err)
{
    struct ram_map map = {0};
    int status = ram_map_open(&map, path, err);

    if (status)
        return status;
    struct scan scan = {store, map.data};
    const size_t kept = ram_store_scan(map.data, map.size, take, &scan, &found->n_damaged);
    found->n_records = (size_t)store->n_records;
    found->cut = kept ? map.size - kept : 0;
    found->foreign = map.size > 0 && kept == 0;
    store->log_end = kept;
    if (kept == 0)
        status = begin_log(store, path, err);
    else if (found->cut && ftruncate(store->log, (off_t)kept))
        status = ram_fail_errno(err, "%s: cannot cut", path);
    ram_map_close(&map);
    return status;
}

static int open_log(struct ram_store *store, struct ram_store_found *found, struct ram_err *err)
{
    char *path = ram_store_file(store, "log");
    int status = RAM_OK;

    if (!path)
        return ram_fail(err, RAM_ENOMEM, "no memory for a name");
    store->log = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (store->log < 0)
        status = ram_fail_errno(err, "%s: cannot open", path);
    else if (flock(store->log, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        status = ram_fail(err, RAM_EUSAGE,
                          "%s: another ram process is using it; wait until that has ended, or "
                          "choose another output",
                          store->path);
    else
        status = read_log(store, path, found, err);
    free(path);
    return status;
}

int ram_store_new(struct ram_store **out, const char *path, bool resume,
                  struct ram_store_found *found, struct ram_err *err)
{
    const char *keep = getenv("RAM_KEEP");
    struct ram_store *store = ram_calloc(1, sizeof *store, err);

    *found = (struct ram_store_found){0};
    if (!store)
        return RAM_ENOMEM;
    pthread_mutex_init(&store->lock, NULL);
    store->resume = resume;
    store->always = keep && !strcmp(keep, "always");
    store->log = store->found = -1;
    store->last_sync = store->last_due = store->state_at = ram_store_now();
    store->path = ram_strdup(path, err);
    int status = store->path ? RAM_OK : RAM_ENOMEM;
    if (!status && mkdir(path, 0777) && errno != EEXIST)
        status = ram_fail_errno(err, "%s: cannot create", path);
    if (!status)
        status = open_log(store, found, err);
    if (status) {
        /* What could not be locked or read is somebody's, and is not removed. */
        if (store->log >= 0)
            close(store->log);
        store->log = -1;
        ram_store_free(store, false);
        return status;
    }
    *out = store;
    return RAM_OK;
}

/* ---- closing ------------------------------------------------------------------------------- */

/* Only what a store consists of: a directory with something else in it stays. */
static void remove_all(const struct ram_store *store)
{
    static const char *const names[] = {"state", "state.new", "log"};

    char *output = ram_store_file(store, "output");
    if (output)
        ram_directory_clear(output, NULL, NULL);
    free(output);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = ram_store_file(store, names[i]);
        if (path)
            unlink(path);
        free(path);
    }
    rmdir(store->path);
}

bool ram_store_free(struct ram_store *store, bool finished)
{
    bool stays = false;

    if (!store)
        return false;
    ram_store_state_forget(store);
    if (store->path && store->log >= 0) {
        stays = !finished && (store->n_records || store->state_mine);
        if (stays)
            (void)fdatasync(store->log);
        else
            remove_all(store);
    } else if (store->path) {
        rmdir(store->path); /* if this run made it and could do nothing with it */
    }
    if (store->log >= 0)
        close(store->log);
    pthread_mutex_destroy(&store->lock);
    free(store->slots);
    free(store->subject);
    free(store->path);
    free(store);
    return stays;
}

/* ---- scopes -------------------------------------------------------------------------------- */

int ram_store_bind(struct ram_store *store, const char *subject, struct ram_err *err)
{
    if (!store)
        return RAM_OK;
    free(store->subject);
    store->subject = ram_strdup(subject, err);
    return store->subject ? RAM_OK : RAM_ENOMEM;
}

void ram_store_scope(const struct ram_store *store, const char *stage, const char *settings,
                     struct ram_store_scope *out)
{
    struct ram_buf text = {0};

    out->text[0] = '\0';
    if (!store)
        return;
    ram_buf_printf(&text, "%s\n%s\n%s\n%s\n%s\n", RAM_VERSION, ram_cpu()->level,
                   store->subject ? store->subject : "", stage, settings);
    if (!text.failed)
        snprintf(out->text, sizeof out->text, "%016llx%016llx",
                 (unsigned long long)ram_hash64(text.data, text.size, 4),
                 (unsigned long long)ram_hash64(text.data, text.size, 5));
    ram_buf_release(&text);
}

int ram_store_path(const char *output, char **out, struct ram_err *err)
{
    struct ram_buf path = {0};
    char *real = realpath(output, NULL); /* NULL: it is not there yet */
    const char *name = real ? real : output;
    size_t n = strlen(name);

    while (n > 1 && name[n - 1] == '/')
        n--;
    ram_buf_add(&path, name, n);
    ram_buf_puts(&path, ".ram-partial");
    free(real);
    return ram_buf_take(&path, out, err);
}

bool ram_store_resumed(const struct ram_store *store)
{
    return store && store->resume;
}

/* ---- records ------------------------------------------------------------------------------- */

/* A log that grows no further must still end with a whole record. */
static void append(struct ram_store *store, const struct ram_buf *bytes, const uint64_t hash[2],
                   size_t value_size)
{
    struct ram_err err = {0};
    const double now = ram_store_now();

    if (ram_store_pwrite(store->log, store->path, store->log_end, bytes->data, bytes->size, &err)) {
        (void)!ftruncate(store->log, (off_t)store->log_end);
        ram_store_failed(store, &err);
        return;
    }
    store->log_end += bytes->size;
    enter(store, hash, store->log_end - value_size, value_size);
    if (now - store->last_sync > SYNC_SECONDS) {
        (void)fdatasync(store->log);
        store->last_sync = now;
    }
}

void ram_store_put(struct ram_store *store, const struct ram_store_scope *scope, const char *name,
                   const void *value, size_t size)
{
    struct ram_buf key = {0}, bytes = {0};
    uint64_t hash[2];

    if (!store || atomic_load(&store->failed))
        return;
    ram_buf_printf(&key, "%s/%s", scope ? scope->text : "", name);
    if (!key.failed) {
        const struct ram_store_record record = {key.data, key.size, value, size};
        ram_store_encode(&bytes, &record);
        hash_key(key.data, key.size, hash);
    }
    if (!key.failed && !bytes.failed) {
        pthread_mutex_lock(&store->lock);
        append(store, &bytes, hash, size);
        store->n_records += scope != NULL;
        pthread_mutex_unlock(&store->lock);
    }
    ram_buf_release(&key);
    ram_buf_release(&bytes);
}

static bool read_value(const struct ram_store *store, const struct ram_store_slot *slot,
                       struct ram_buf *out)
{
    struct ram_err ignored = {0};
    void *value = ram_alloc((size_t)slot->size, 1, &ignored);
    const bool good = value && ram_store_pread(store->log, slot->offset, value, (size_t)slot->size);

    if (good)
        ram_buf_add(out, value, (size_t)slot->size);
    free(value);
    return good && !out->failed;
}

bool ram_store_get(struct ram_store *store, const struct ram_store_scope *scope, const char *name,
                   size_t size, struct ram_buf *out)
{
    struct ram_buf key = {0};
    bool good = false;
    uint64_t hash[2];

    if (!store || store->n_slots == 0)
        return false;
    ram_buf_printf(&key, "%s/%s", scope ? scope->text : "", name);
    if (!key.failed) {
        hash_key(key.data, key.size, hash);
        pthread_mutex_lock(&store->lock);
        const struct ram_store_slot *slot = slot_of(store->slots, store->n_slots, hash);
        good = slot->offset && (size == SIZE_MAX || slot->size == size) &&
               read_value(store, slot, out);
        pthread_mutex_unlock(&store->lock);
    }
    ram_buf_release(&key);
    return good;
}

bool ram_store_due(struct ram_store *store)
{
    if (!store || atomic_load(&store->failed))
        return false;
    pthread_mutex_lock(&store->lock);
    const double now = ram_store_now();
    const bool due = store->always || now - store->last_due > DUE_SECONDS;
    if (due)
        store->last_due = now;
    pthread_mutex_unlock(&store->lock);
    return due;
}

/* ---- the rest ------------------------------------------------------------------------------ */

char *ram_store_output(const struct ram_store *store, struct ram_err *err)
{
    return ram_path_join(store->path, "output", err);
}

void ram_store_reserve(struct ram_store *store, uint64_t bytes)
{
    if (store)
        store->reserved = bytes;
}

const char *ram_store_complaint(struct ram_store *store)
{
    return store && atomic_load(&store->failed) && !atomic_exchange(&store->told, true)
               ? store->failure
               : NULL;
}
