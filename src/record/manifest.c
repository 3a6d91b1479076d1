/* manifest.c - the grid of widths and the life of a manifest. See manifest.h. */
#include "record/manifest.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool ram_entry_scored(const struct ram_entry *entry)
{
    return entry->measured && !isnan(entry->metrics.svd);
}

const char *ram_skip_name(enum ram_skip skip)
{
    switch (skip) {
    case RAM_SKIP_1D:
        return "1d";
    case RAM_SKIP_TINY:
        return "tiny";
    case RAM_SKIP_NOT_WEIGHT:
        return "not-weight";
    case RAM_SKIP_NONE:
        break;
    }
    return NULL;
}

uint64_t ram_entry_stored(const struct ram_entry *entry)
{
    uint64_t parameters = 0;

    for (int i = 0; i < entry->n_stored; i++)
        parameters += entry->stored[i].rows * entry->stored[i].cols;
    return parameters;
}

int ram_manifest_new(struct ram_manifest **out, struct ram_err *err)
{
    struct ram_manifest *manifest = ram_calloc(1, sizeof *manifest, err);
    if (!manifest)
        return RAM_ENOMEM;
    manifest->version = manifest->model_name = manifest->model_type = manifest->architecture = "";
    manifest->config = json_object();
    manifest->settings = json_object();
    if (!manifest->config || !manifest->settings) {
        ram_manifest_free(manifest);
        return ram_fail(err, RAM_ENOMEM, "no memory for a manifest");
    }
    *out = manifest;
    return RAM_OK;
}

void ram_manifest_free(struct ram_manifest *manifest)
{
    if (!manifest)
        return;
    json_decref(manifest->config);
    json_decref(manifest->settings);
    ram_sensitivity_free(manifest->sensitivities);
    free(manifest->files);
    free(manifest->entries);
    ram_arena_release(&manifest->arena);
    free(manifest);
}

int ram_manifest_read(struct ram_manifest **out, const char *path, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    *out = NULL;
    int status = ram_file_read(path, RAM_MAX_RECORD, &text, &size, err);
    if (!status)
        status = ram_manifest_parse(out, text, size, path, err);
    free(text);
    return status;
}

int ram_manifest_write(const struct ram_manifest *manifest, const char *path, bool force,
                       struct ram_err *err)
{
    char *text = NULL;

    int status = ram_manifest_text(manifest, &text, err);
    if (!status)
        status = ram_file_write(path, text, strlen(text), force, err);
    free(text);
    return status;
}

double ram_manifest_sensitivity(const struct ram_manifest *manifest, const char *unit)
{
    const struct ram_sensitivity_record *record = manifest->sensitivities;
    const double *found =
        record && unit ? ram_unit_figures_find(&record->coarse.units, unit) : NULL;

    return found ? *found : NAN;
}
