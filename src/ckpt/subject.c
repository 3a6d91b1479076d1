/* subject.c - see subject.h. */
#include "ckpt/subject.h"

#include "base/rd.h"
#include "ckpt/digest.h"

#include <stdlib.h>
#include <string.h>

/* The digest of the checkpoint that was measured last; it has no scope. */
#define SUBJECT "checkpoint"

static void notice_found(const struct ram_store_found *found, const char *path, bool resume,
                         const struct ram_exec *exec)
{
    struct ram_buf line = {0};

    if (found->foreign)
        ram_buf_printf(&line,
                       "%s/log is damaged or was written by another version of ram; nothing in it "
                       "is used",
                       path);
    else if (resume && (found->n_damaged || found->cut))
        ram_buf_printf(&line,
                       "%s/log ends in the middle of a record or is damaged; %zu records are used, "
                       "the rest is computed again",
                       path, found->n_records);
    else if (!resume && found->n_records)
        ram_buf_printf(&line,
                       "%s holds %zu finished pieces of work of an earlier run; they are kept but "
                       "not used, because --resume was not given",
                       path, found->n_records);
    if (line.data && !line.failed)
        ram_exec_notice(exec, "%s", line.data);
    ram_buf_release(&line);
}

static int refuse(const char *path, const struct ram_buf *why, struct ram_err *err)
{
    return ram_fail(err, RAM_EUSAGE,
                    "%s was measured from %s; remove it, or run without --resume to begin again",
                    path, why->failed ? "other weights" : why->data);
}

/* What was measured of other weights is never taken, and hours of it are not thrown away either. */
static int check_subject(struct ram_store *store, const char *path, const struct ram_ckpt *ckpt,
                         const struct ram_digest *digest, struct ram_err *err)
{
    struct ram_buf before = {0}, now = {0}, why = {0};
    int status = RAM_OK;

    ram_pack_u64(&now, digest->config);
    ram_buf_add(&now, digest->tensors, digest->n * sizeof *digest->tensors);
    if (ram_store_get(store, NULL, SUBJECT, SIZE_MAX, &before) && before.size >= 8) {
        uint64_t config, *const tensors = ram_alloc(before.size / 8, 8, err);
        status = tensors ? RAM_OK : RAM_ENOMEM;
        if (tensors) {
            memcpy(&config, before.data, 8);
            memcpy(tensors, before.data + 8, before.size - 8);
            if (ram_digest_differs(digest, ckpt, config, tensors, before.size / 8 - 1, &why))
                status = refuse(path, &why, err);
        }
        free(tensors);
    } else if (!now.failed) {
        ram_store_put(store, NULL, SUBJECT, now.data, now.size);
    }
    ram_buf_release(&before);
    ram_buf_release(&now);
    ram_buf_release(&why);
    return status;
}

/* A store that cannot be made is no reason not to work; one that should be read but cannot is. */
static int open_or_go_on(struct ram_store **out, const char *path, bool resume,
                         const struct ram_exec *exec, struct ram_err *err)
{
    struct ram_store_found found;
    struct ram_err own = {0};

    const int status = ram_store_new(out, path, resume, &found, &own);
    if (!status)
        notice_found(&found, path, resume, exec);
    if (status == RAM_OK || status != RAM_EIO || resume) {
        *err = own;
        return status;
    }
    ram_exec_notice(exec, "%s; an interrupted run will have to begin again", own.message);
    return RAM_OK;
}

int ram_subject_open(struct ram_store **out, const char *path, const struct ram_ckpt *ckpt,
                     bool resume, const struct ram_exec *exec, struct ram_err *err)
{
    struct ram_store *store = NULL;
    struct ram_digest *digest = NULL;

    *out = NULL;
    int status = open_or_go_on(&store, path, resume, exec, err);
    if (status || !store)
        return status;
    status = ram_digest_new(&digest, ckpt, exec->pool, err);
    if (!status)
        status = check_subject(store, path, ckpt, digest, err);
    if (!status)
        status = ram_store_bind(store, digest->sha256, err);
    ram_digest_free(digest);
    if (status)
        ram_store_free(store, false);
    else
        *out = store;
    return status;
}
