/* err.c - statuses, messages, exit codes. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local unsigned n_losses;

void ram_note_loss(void)
{
    n_losses++;
}

unsigned ram_losses(void)
{
    return n_losses;
}

int ram_fail(struct ram_err *err, int status, const char *fmt, ...)
{
    if (status == RAM_ENOMEM)
        n_losses = 0;
    if (err->status == RAM_OK) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

int ram_fail_errno(struct ram_err *err, const char *fmt, ...)
{
    const int saved = errno;
    const int status = saved == ENOMEM ? RAM_ENOMEM : RAM_EIO;

    if (status == RAM_ENOMEM)
        n_losses = 0;
    if (err->status == RAM_OK) {
        va_list args;
        va_start(args, fmt);
        const int n = vsnprintf(err->message, sizeof err->message, fmt, args);
        va_end(args);
        if (n >= 0 && (size_t)n < sizeof err->message)
            snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", strerror(saved));
        err->status = status;
    }
    return status;
}

int ram_exit_code(int status)
{
    switch (status) {
    case RAM_OK:
        return 0;
    case RAM_EUSAGE:
    case RAM_EEXIST:
        return 2;
    case RAM_EFORMAT:
    case RAM_ERANGE:
    case RAM_EUNSUPPORTED:
        return 3;
    case RAM_EBUDGET:
        return 4;
    case RAM_EDIFF:
        return 5;
    case RAM_EINTERRUPT:
        return 130;
    default:
        return 1;
    }
}
