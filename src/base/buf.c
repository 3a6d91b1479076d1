/* buf.c - see buf.h. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct ram_buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    if (more < buf->room - buf->size)
        return true;
    const size_t need = buf->size + more + 1;
    const size_t room = need < 256 ? 256 : need * 2;
    char *data = need > more ? realloc(buf->data, room) : NULL;
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->room = room;
    return true;
}

void ram_buf_add(struct ram_buf *buf, const void *data, size_t size)
{
    if (!reserve(buf, size))
        return;
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void ram_buf_puts(struct ram_buf *buf, const char *s)
{
    ram_buf_add(buf, s, strlen(s));
}

void ram_buf_vprintf(struct ram_buf *buf, const char *fmt, va_list args)
{
    va_list again;

    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0 || !reserve(buf, (size_t)n))
        return;
    vsnprintf(buf->data + buf->size, (size_t)n + 1, fmt, args);
    buf->size += (size_t)n;
}

void ram_buf_printf(struct ram_buf *buf, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    ram_buf_vprintf(buf, fmt, args);
    va_end(args);
}

int ram_buf_take(struct ram_buf *buf, char **out, struct ram_err *err)
{
    ram_buf_add(buf, "", 0);
    if (buf->failed || ram_losses()) {
        ram_buf_release(buf);
        return ram_fail(err, RAM_ENOMEM, "no memory for a text");
    }
    *out = buf->data;
    *buf = (struct ram_buf){0};
    return RAM_OK;
}

void ram_buf_release(struct ram_buf *buf)
{
    free(buf->data);
    *buf = (struct ram_buf){0};
}
