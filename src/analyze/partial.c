/* partial.c - see partial.h. */
#include "analyze/partial.h"

#include <stdlib.h>
#include <string.h>

enum { N_FIGURES = 9, N_ALL = N_FIGURES + RAM_N_FORMS };

static void figures_of(struct ram_entry *entry, double *out[N_FIGURES])
{
    double *const figures[N_FIGURES] = {
        &entry->metrics.svd,   &entry->metrics.kurtosis, &entry->metrics.output,
        &entry->metrics.error, &entry->stats.mean,       &entry->stats.std,
        &entry->stats.rms,     &entry->stats.min,        &entry->stats.max};
    memcpy(out, figures, sizeof figures);
}

int ram_partial_scope(struct ram_store *store, const struct ram_manifest *manifest,
                      struct ram_store_scope *out, struct ram_err *err)
{
    char *text = NULL;

    out->text[0] = '\0';
    if (!store)
        return RAM_OK;
    const int status = ram_json_text(manifest->settings, 0, false, &text, err);
    if (!status)
        ram_store_scope(store, "analyze", text, out);
    free(text);
    return status;
}

void ram_partial_load(struct ram_store *store, const struct ram_store_scope *scope,
                      struct ram_manifest *manifest)
{
    struct ram_buf value = {0};

    for (size_t i = 0; ram_store_resumed(store) && i < manifest->n_entries; i++) {
        struct ram_entry *entry = &manifest->entries[i];
        double all[N_ALL], *figures[N_FIGURES];
        value.size = 0;
        if (entry->skip != RAM_SKIP_NONE ||
            !ram_store_get(store, scope, entry->name, sizeof all, &value))
            continue;
        memcpy(all, value.data, sizeof all);
        figures_of(entry, figures);
        for (size_t k = 0; k < N_FIGURES; k++)
            *figures[k] = all[k];
        memcpy(entry->errors, all + N_FIGURES, sizeof entry->errors);
        entry->measured = true;
    }
    ram_buf_release(&value);
}

void ram_partial_add(struct ram_store *store, const struct ram_store_scope *scope,
                     const struct ram_entry *entry)
{
    struct ram_entry copy = *entry;
    double all[N_ALL], *figures[N_FIGURES];

    figures_of(&copy, figures);
    for (size_t k = 0; k < N_FIGURES; k++)
        all[k] = *figures[k];
    memcpy(all + N_FIGURES, entry->errors, sizeof entry->errors);
    ram_store_put(store, scope, entry->name, all, sizeof all);
}
