/* Files of text from hostile bytes, for every use: refused with a reason, or UTF-8 with a final 0.
 */
#include "base/textfile.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as(enum ram_textfile_use use, const uint8_t *data, size_t size)
{
    struct ram_textfile file;
    struct ram_err err = {0};
    char *copy = malloc(size + 1);

    if (!copy)
        return;
    memcpy(copy, data, size);
    copy[size] = '\0';
    if (ram_textfile_take(&file, copy, size, "fuzz", use, NULL, &err)) {
        if (file.text || !err.message[0])
            abort();
        return;
    }
    if (file.text[file.size] || file.size > size || strlen(file.text) != file.size)
        abort();
    if (use != RAM_TEXTFILE_VERBATIM &&
        (ram_utf8_valid((const uint8_t *)file.text, file.size) < file.size ||
         memchr(file.text, '\r', file.size)))
        abort();
    ram_textfile_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(RAM_TEXTFILE_PLAIN, data, size);
    read_as(RAM_TEXTFILE_RECORDS, data, size);
    read_as(RAM_TEXTFILE_VERBATIM, data, size);
    return 0;
}
