/* A manifest from hostile bytes: refused, or such that its own text says the same again. */
#include "record/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ram_manifest *manifest = NULL, *back = NULL;
    struct ram_err err = {0};
    char *text = NULL, *again = NULL;

    if (ram_manifest_parse(&manifest, (const char *)data, size, "fuzz", &err))
        return 0;
    if (ram_manifest_text(manifest, &text, &err) ||
        ram_manifest_parse(&back, text, strlen(text), "text", &err) ||
        ram_manifest_text(back, &again, &err) || strcmp(text, again) != 0)
        abort();
    free(text);
    free(again);
    ram_manifest_free(manifest);
    ram_manifest_free(back);
    return 0;
}
