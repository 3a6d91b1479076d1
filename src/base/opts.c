/* opts.c - see opts.h. */
#include "base/opts.h"

int ram_opts_check(const uint64_t *reserved, size_t n, const char *what, struct ram_err *err)
{
    for (size_t i = 0; reserved && i < n; i++)
        if (reserved[i])
            return ram_fail(err, RAM_EUSAGE,
                            "%s: reserved[%zu] is not 0. Either the struct was not zeroed, or the "
                            "program sets a member that libram %s does not have",
                            what, i, RAM_VERSION);
    return RAM_OK;
}
