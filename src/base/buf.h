/* buf.h - a growing run of bytes, mostly text. Zeroed storage is an empty buffer. */
#ifndef RAM_BASE_BUF_H
#define RAM_BASE_BUF_H

#include "base/err.h"

#include <stdarg.h>

struct ram_buf {
    char *data;  /* data[size] is 0 once anything was added */
    size_t size; /* without the final 0 */
    size_t room;
    bool failed; /* memory ran out: later additions do nothing, _take reports it */
};

void ram_buf_add(struct ram_buf *buf, const void *data, size_t size);
void ram_buf_puts(struct ram_buf *buf, const char *s);
void ram_buf_printf(struct ram_buf *buf, const char *fmt, ...) RAM_PRINTF(2, 3);
void ram_buf_vprintf(struct ram_buf *buf, const char *fmt, va_list args) RAM_PRINTF(2, 0);

/* Hands the text to the caller, who frees it; the buffer is empty again. RAM_ENOMEM if
 * memory ran out for it or for a JSON value (err.h). */
int ram_buf_take(struct ram_buf *buf, char **out, struct ram_err *err);
void ram_buf_release(struct ram_buf *buf);

#endif
