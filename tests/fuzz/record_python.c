/* JSON as Python reads it, from hostile bytes: refused, or such that what is written of it reads
 * back as the same value. What strict JSON takes, this takes too. */
#include "record/emit.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL, *back = NULL, *strict = NULL;
    struct ram_err err = {0}, ignored = {0};
    struct ram_buf text = {0};
    const char *in = (const char *)data;

    const bool is_strict = ram_json_parse(&strict, in, size, "strict", &ignored) == RAM_OK;
    if (ram_json_parse_python(&value, in, size, "python", &err)) {
        if (is_strict && size < 512) /* nor so many levels as strict JSON may have */
            abort();
    } else {
        ram_emit_json(&text, value, 0);
        if (text.failed || ram_json_parse_python(&back, text.data, text.size, "written", &err) ||
            !json_equal(value, back))
            abort();
        if (is_strict && (!ram_json_is_plain(value) || !json_equal(value, strict)))
            abort();
    }
    ram_buf_release(&text);
    json_decref(value);
    json_decref(back);
    json_decref(strict);
    return 0;
}
