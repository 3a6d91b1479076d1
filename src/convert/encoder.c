/* encoder.c - see encoder.h. A new encoder is a line in the table. */
#include "convert/encoder.h"

#include "base/buf.h"
#include "codec/affine_search.h"

#include <string.h>

static double search(const struct ram_affine *f, const float *w, size_t n, size_t cols,
                     uint8_t *codes, uint8_t *scales, uint8_t *biases)
{
    static const struct ram_search usual;
    return ram_search_encode(f, &usual, w, n, cols, codes, scales, biases);
}

static const struct ram_weight_encoder encoders[] = {
    {"rtn", "round to nearest: the bytes that MLX itself would write", ram_affine_encode},
    {"search", "scales and biases searched for the least error; 50 times as long", search},
};

int ram_weight_encoder_find(const struct ram_weight_encoder **out, const char *name,
                            struct ram_err *err)
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
