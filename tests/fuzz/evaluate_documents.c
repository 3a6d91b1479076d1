/* Questions from hostile bytes, for both tasks: refused, or such that every one can be asked. */
#include "evaluate/documents.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as(enum ram_choice_task task, const char *text, size_t size)
{
    const struct ram_documents_opts opts = {.task = task};
    struct ram_documents documents;
    struct ram_err err = {0};

    if (ram_documents_parse(&documents, text, size, &opts, "fuzz", &err)) {
        if (documents.n || !err.message[0])
            abort();
        return;
    }
    for (size_t i = 0; i < documents.n; i++) {
        const struct ram_document *document = &documents.items[i];
        if (!document->query || document->gold >= document->n_choices)
            abort();
        for (size_t k = 0; k < document->n_choices; k++)
            if (!document->choices[k])
                abort();
    }
    ram_documents_release(&documents);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(RAM_ARC_CHALLENGE, (const char *)data, size);
    read_as(RAM_HELLASWAG, (const char *)data, size);
    return 0;
}
