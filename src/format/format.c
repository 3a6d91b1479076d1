/* format.c - see format.h. A new format is a line in the table. */
#include "format/format.h"

#include "format/mlx.h"

#include <stdio.h>
#include <string.h>

static const struct ram_format *const formats[] = {&ram_format_mlx};

enum { N_FORMATS = sizeof formats / sizeof *formats };

const struct ram_format *ram_format_at(size_t i)
{
    return i < N_FORMATS ? formats[i] : NULL;
}

int ram_format_find(const struct ram_format **out, const char *id, struct ram_err *err)
{
    char names[256] = "";
    size_t n = 0;

    for (size_t i = 0; i < N_FORMATS; i++) {
        if (!id || !strcmp(id, formats[i]->id)) {
            *out = formats[i];
            return RAM_OK;
        }
        if (n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
                                  formats[i]->id);
    }
    return ram_fail(err, RAM_EUSAGE, "unknown format \"%s\"; there is: %s", id, names);
}

const struct ram_format *ram_format_of(const char *dir)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (formats[i]->is_output(dir))
            return formats[i];
    return NULL;
}
