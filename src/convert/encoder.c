/* encoder.c - see encoder.h. A new encoder is a line in the table. */
#include "convert/encoder.h"

#include "base/buf.h"

#include <string.h>

static const struct ram_encoder encoders[] = {
    {"rtn", "round to nearest: the bytes that MLX itself would write", ram_affine_encode},
};

int ram_encoder_find(const struct ram_encoder **out, const char *name, struct ram_err *err)
{
    struct ram_buf names = {0};
    const size_t n = sizeof encoders / sizeof *encoders;

    for (size_t i = 0; i < n; i++) {
        if (!strcmp(name ? name : "rtn", encoders[i].name)) {
            *out = &encoders[i];
            return RAM_OK;
        }
    }
    for (size_t i = 0; i < n; i++)
        ram_buf_printf(&names, "%s%s", i ? ", " : "", encoders[i].name);
    const int status = ram_fail(err, RAM_EUSAGE, "unknown encoder \"%s\"; there is: %s", name,
                                names.data ? names.data : "rtn");
    ram_buf_release(&names);
    return status;
}
