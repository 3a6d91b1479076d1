/* rows.c - see rows.h. */
#include "infer/rows.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_spill(struct ram_rows *rows, struct ram_err *err)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];

    const int n =
        snprintf(path, sizeof path, "%s/ram-activations-XXXXXX", dir && *dir ? dir : "/tmp");
    if (n < 0 || (size_t)n >= sizeof path)
        return ram_fail(err, RAM_EIO, "TMPDIR is too long");
    rows->fd = mkstemp(path);
    if (rows->fd < 0)
        return ram_fail_errno(err, "%s: cannot create", path);
    unlink(path);
    if (ftruncate(rows->fd, (off_t)(rows->n * rows->width * sizeof(float))))
        return ram_fail_errno(err, "%s: cannot reserve space for %zu rows of activations", path,
                              rows->n);
    return RAM_OK;
}

int ram_rows_new(struct ram_rows *rows, size_t n, size_t width, bool spill, struct ram_err *err)
{
    size_t bytes;

    *rows = (struct ram_rows){.n = n, .width = width, .fd = -1};
    if (!ram_mul_size(n, width, &bytes) || !ram_mul_size(bytes, sizeof(float), &bytes))
        return ram_fail(err, RAM_ENOMEM, "no memory for %zu rows of %zu activations", n, width);
    if (spill)
        return open_spill(rows, err);
    rows->memory = ram_calloc(n * width, sizeof(float), err);
    return rows->memory ? RAM_OK : RAM_ENOMEM;
}

void ram_rows_release(struct ram_rows *rows)
{
    free(rows->memory);
    if (rows->fd >= 0)
        close(rows->fd);
    *rows = (struct ram_rows){.fd = -1};
}

int ram_rows_load(struct ram_rows *rows, size_t first, size_t n, float *buffer, float **out,
                  struct ram_err *err)
{
    size_t left = n * rows->width * sizeof(float);
    off_t at = (off_t)(first * rows->width * sizeof(float));
    char *p = (char *)buffer;

    if (rows->memory) {
        *out = rows->memory + first * rows->width;
        return RAM_OK;
    }
    while (left) {
        const ssize_t got = pread(rows->fd, p, left, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ram_fail_errno(err, "cannot read spilled activations");
        p += got;
        at += got;
        left -= (size_t)got;
    }
    *out = buffer;
    return RAM_OK;
}

int ram_rows_store(struct ram_rows *rows, size_t first, size_t n, const float *from,
                   struct ram_err *err)
{
    size_t left = n * rows->width * sizeof(float);
    off_t at = (off_t)(first * rows->width * sizeof(float));
    const char *p = (const char *)from;

    if (rows->memory)
        return RAM_OK;
    while (left) {
        const ssize_t put = pwrite(rows->fd, p, left, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return ram_fail_errno(err, "cannot spill activations");
        p += put;
        at += put;
        left -= (size_t)put;
    }
    return RAM_OK;
}
