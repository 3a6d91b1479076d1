/*
 * store_state.c - see store.h: the one large value of a store.
 *
 * A file of a head of 64 bytes (magic, scope, two sizes, checksum of these), the small head of the
 * caller, the body, and a checksum of both. It is written under another name and renamed, so that
 * an earlier state is there until the next one is whole.
 */
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/store_parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PIECE = 1 << 20, MAX_HEAD = 1 << 28, SEED = 6 };

#define MAGIC      UINT64_C(0x3174734d4152ff00)
#define COST_SHARE 50  /* of the time, at most, is spent on states */
#define FIRST_RATE 1e8 /* bytes a second, until the first one was written */
#define LEAST_WAIT 1.0 /* seconds between two states */

struct head {
    uint64_t magic;
    char scope[RAM_STORE_SCOPE - 1];
    uint64_t head_size, body_size, sum;
};
_Static_assert(sizeof(struct head) == 64, "the head of a state");

/* Bytes of a body in pieces, folded into a checksum: the same pieces when it is read. */
static int move_body(int fd, const char *path, uint64_t at, const struct ram_store_body *body,
                     void *piece, uint64_t *sum, struct ram_err *err)
{
    int status = RAM_OK;

    for (uint64_t done = 0; !status && done < body->size;) {
        const size_t n = body->size - done < PIECE ? (size_t)(body->size - done) : PIECE;
        status = body->move(body->ctx, done, piece, n, err);
        if (status)
            return status;
        *sum = ram_hash64(piece, n, *sum);
        struct ram_err full = {0};
        if (ram_store_pwrite(fd, path, at + done, piece, n, &full)) {
            *err = full;
            return RAM_EIO;
        }
        done += n;
    }
    return status;
}

/* Is now the time, and is there space? */
static bool worth_writing(const struct ram_store *store, uint64_t size)
{
    struct statvfs fs;
    const double usual = (double)size / FIRST_RATE;
    const double cost = store->state_cost > 0 ? store->state_cost : usual;
    const double wait = cost * COST_SHARE > LEAST_WAIT ? cost * COST_SHARE : LEAST_WAIT;

    if (store->state_off || atomic_load(&store->failed))
        return false;
    if (!store->always && ram_store_now() - store->state_at < wait)
        return false;
    if (statvfs(store->path, &fs) || !fs.f_blocks)
        return true;
    const uint64_t space = (uint64_t)fs.f_bavail * fs.f_frsize;
    return space > store->reserved && size <= (space - store->reserved) / 4;
}

static int write_state(int fd, const char *path, const struct ram_store_scope *scope,
                       const struct ram_buf *small, const struct ram_store_body *body,
                       bool *caller_failed, struct ram_err *err)
{
    struct head head = {.magic = MAGIC, .head_size = small->size, .body_size = body->size};
    void *piece = ram_alloc(PIECE, 1, err);

    if (!piece)
        return RAM_ENOMEM;
    memcpy(head.scope, scope->text, sizeof head.scope);
    head.sum = ram_hash64(&head, offsetof(struct head, sum), SEED);
    uint64_t sum = ram_hash64(small->data, small->size, head.sum), at = sizeof head;
    int status = ram_store_pwrite(fd, path, 0, &head, sizeof head, err);
    if (!status)
        status = ram_store_pwrite(fd, path, at, small->data, small->size, err);
    at += small->size;
    if (!status) {
        status = move_body(fd, path, at, body, piece, &sum, err);
        *caller_failed = status && status != RAM_EIO;
    }
    if (!status)
        status = ram_store_pwrite(fd, path, at + body->size, &sum, sizeof sum, err);
    free(piece);
    return status;
}

int ram_store_state_put(struct ram_store *store, const struct ram_store_scope *scope,
                        const struct ram_buf *head, const struct ram_store_body *body,
                        struct ram_err *err)
{
    struct ram_err own = {0};
    bool caller_failed = false;

    if (!store || head->failed || !worth_writing(store, head->size + body->size))
        return RAM_OK;
    const double before = ram_store_now();
    char *temp = ram_store_file(store, "state.new"), *path = ram_store_file(store, "state");
    const int fd =
        temp && path ? open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    int status = fd < 0 ? ram_fail_errno(&own, "%s: cannot create", temp ? temp : store->path)
                        : write_state(fd, temp, scope, head, body, &caller_failed, &own);
    /* The rename must not reach the disk before what it names. */
    if (!status && (fdatasync(fd) || rename(temp, path)))
        status = ram_fail_errno(&own, "%s: cannot write", temp);
    if (fd >= 0)
        close(fd);
    if (status && temp)
        unlink(temp);
    free(temp);
    free(path);
    store->state_mine = store->state_mine || !status;
    store->state_off = status != 0; /* the log, which is small, may still be written */
    store->state_at = ram_store_now();
    store->state_cost = store->state_at - before;
    if (caller_failed)
        *err = own;
    return caller_failed ? own.status : RAM_OK;
}

/* ---- reading ------------------------------------------------------------------------------- */

void ram_store_state_forget(struct ram_store *store)
{
    if (store->found >= 0)
        close(store->found);
    store->found = -1;
}

/* The head of the file, if it is of this scope and the sizes are those of the file. */
static bool read_head(int fd, const struct ram_store_scope *scope, struct head *head)
{
    struct stat st;

    if (!ram_store_pread(fd, 0, head, sizeof *head) || fstat(fd, &st) || st.st_size < 0)
        return false;
    const uint64_t size = (uint64_t)st.st_size;
    return head->magic == MAGIC && !memcmp(head->scope, scope->text, sizeof head->scope) &&
           head->sum == ram_hash64(head, offsetof(struct head, sum), SEED) &&
           head->head_size <= MAX_HEAD && size >= sizeof *head + 8 + head->head_size &&
           size - sizeof *head - 8 - head->head_size == head->body_size;
}

static bool check_body(int fd, uint64_t at, uint64_t size, uint64_t sum)
{
    struct ram_err ignored = {0};
    void *piece = ram_alloc(PIECE, 1, &ignored);
    bool good = piece != NULL;
    uint64_t stored = 0;

    for (uint64_t done = 0; good && done < size;) {
        const size_t n = size - done < PIECE ? (size_t)(size - done) : PIECE;
        good = ram_store_pread(fd, at + done, piece, n);
        if (good)
            sum = ram_hash64(piece, n, sum);
        done += n;
    }
    good = good && ram_store_pread(fd, at + size, &stored, sizeof stored) && stored == sum;
    free(piece);
    return good;
}

static bool read_small(int fd, const struct head *head, struct ram_buf *out, uint64_t *sum)
{
    struct ram_err ignored = {0};
    void *small = ram_alloc((size_t)head->head_size, 1, &ignored);
    const bool good = small && ram_store_pread(fd, sizeof *head, small, (size_t)head->head_size);

    if (good) {
        ram_buf_add(out, small, (size_t)head->head_size);
        *sum = ram_hash64(small, (size_t)head->head_size, head->sum);
    }
    free(small);
    return good && !out->failed;
}

bool ram_store_state_find(struct ram_store *store, const struct ram_store_scope *scope,
                          struct ram_buf *head, uint64_t *body_size)
{
    struct head found;
    uint64_t sum = 0;

    if (!store || !(store->resume || store->state_mine))
        return false;
    ram_store_state_forget(store);
    char *path = ram_store_file(store, "state");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    free(path);
    const bool good = fd >= 0 && read_head(fd, scope, &found) &&
                      read_small(fd, &found, head, &sum) &&
                      check_body(fd, sizeof found + found.head_size, found.body_size, sum);
    if (!good) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    store->found = fd;
    store->found_body = sizeof found + found.head_size;
    *body_size = store->found_size = found.body_size;
    return true;
}

int ram_store_state_get(struct ram_store *store, const struct ram_store_body *body,
                        struct ram_err *err)
{
    void *piece = ram_alloc(PIECE, 1, err);
    int status = piece ? RAM_OK : RAM_ENOMEM;

    if (!status && (store->found < 0 || body->size > store->found_size))
        status = ram_fail(err, RAM_EINTERNAL, "%s: no such state", store->path);
    for (uint64_t done = 0; !status && done < body->size;) {
        const size_t n = body->size - done < PIECE ? (size_t)(body->size - done) : PIECE;
        if (!ram_store_pread(store->found, store->found_body + done, piece, n))
            status = ram_fail_errno(err, "%s/state: cannot read", store->path);
        if (!status)
            status = body->move(body->ctx, done, piece, n, err);
        done += n;
    }
    free(piece);
    return status;
}

void ram_store_state_drop(struct ram_store *store)
{
    if (!store)
        return;
    ram_store_state_forget(store);
    char *path = ram_store_file(store, "state");
    if (path)
        unlink(path);
    free(path);
    store->state_mine = false;
}
