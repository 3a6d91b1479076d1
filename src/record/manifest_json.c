/*
 * manifest_json.c - the JSON form of a manifest, "ram.manifest/1".
 *
 * Beyond the keys that docs/formats.md promises, an entry has "stored": {"bytes": of a weight at
 * 16 bits, "matrices": [[rows, cols], ...]}: how the output holds it; an empty list means that
 * it is dropped. Where that is missing, the tensor is taken to be stored as it is.
 *
 * Reading trusts nothing: every number has a limit, every name a meaning, and a message says
 * which tensor was wrong, what was found and what was expected.
 */
#include "base/hash.h"
#include "record/emit.h"
#include "record/manifest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] = "ram.manifest/1";

/* ---- writing ----------------------------------------------------------------------------- */

static void put_text(struct ram_buf *buf, const char *key, const char *value)
{
    ram_buf_printf(buf, "\"%s\": ", key);
    ram_emit_string(buf, value);
}

static void put_index(struct ram_buf *buf, const char *key, int value)
{
    if (value < 0)
        ram_buf_printf(buf, ", \"%s\": null", key);
    else
        ram_buf_printf(buf, ", \"%s\": %d", key, value);
}

static void put_stored(struct ram_buf *buf, const struct ram_entry *entry)
{
    ram_buf_printf(buf, ", \"stored\": {\"bytes\": %d, \"matrices\": [", entry->stored_size);
    for (int i = 0; i < entry->n_stored; i++)
        ram_buf_printf(buf, "%s[%llu, %llu]", i ? ", " : "",
                       (unsigned long long)entry->stored[i].rows,
                       (unsigned long long)entry->stored[i].cols);
    ram_buf_puts(buf, "]}");
}

static void put_errors(struct ram_buf *buf, const struct ram_entry *entry)
{
    const char *separator = "";

    ram_buf_puts(buf, ", \"errors\": {");
    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        if (!isfinite(entry->errors[i]))
            continue;
        ram_buf_printf(buf, "%s\"%s\": ", separator, ram_forms[i].id);
        ram_emit_real(buf, entry->errors[i]);
        separator = ", ";
    }
    ram_buf_puts(buf, "}");
}

static void put_figures(struct ram_buf *buf, const struct ram_entry *entry)
{
    const struct ram_metrics *const m = &entry->metrics;
    const struct ram_stats *const s = &entry->stats;
    const struct {
        const char *before;
        double value;
    } figures[] = {{", \"metrics\": {\"svd\": ", m->svd},
                   {", \"kurtosis\": ", m->kurtosis},
                   {", \"output\": ", m->output},
                   {", \"error\": ", m->error},
                   {"}, \"stats\": {\"mean\": ", s->mean},
                   {", \"std\": ", s->std},
                   {", \"rms\": ", s->rms},
                   {", \"min\": ", s->min},
                   {", \"max\": ", s->max}};

    if (!entry->measured) {
        ram_buf_puts(buf, ", \"metrics\": null, \"stats\": null, \"errors\": null");
        return;
    }
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        ram_buf_puts(buf, figures[i].before);
        ram_emit_real(buf, figures[i].value);
    }
    ram_buf_puts(buf, "}");
    put_errors(buf, entry);
}

static void put_entry(struct ram_buf *buf, const struct ram_entry *entry)
{
    ram_buf_puts(buf, "    {");
    put_text(buf, "name", entry->name);
    ram_buf_puts(buf, ", \"shape\": [");
    for (int i = 0; i < entry->n_dims; i++)
        ram_buf_printf(buf, "%s%llu", i ? ", " : "", (unsigned long long)entry->shape[i]);
    ram_buf_puts(buf, "], ");
    put_text(buf, "dtype", entry->dtype);
    ram_buf_printf(buf, ", \"parameters\": %llu, ", (unsigned long long)entry->parameters);
    put_text(buf, "file", entry->file);
    ram_buf_puts(buf, ", ");
    put_text(buf, "role", entry->role);
    put_index(buf, "layer", entry->layer);
    put_index(buf, "expert", entry->expert);
    ram_buf_puts(buf, ", ");
    put_text(buf, "unit", entry->unit);
    ram_buf_puts(buf, ", ");
    put_text(buf, "skip", ram_skip_name(entry->skip));
    put_stored(buf, entry);
    put_figures(buf, entry);
    ram_buf_puts(buf, "}");
}

static void put_model(struct ram_buf *buf, const struct ram_manifest *manifest)
{
    ram_buf_puts(buf, "  \"model\": {\n    ");
    put_text(buf, "name", manifest->model_name);
    ram_buf_puts(buf, ",\n    ");
    put_text(buf, "model_type", manifest->model_type);
    ram_buf_puts(buf, ",\n    ");
    put_text(buf, "architecture", manifest->architecture);
    ram_buf_printf(buf, ",\n    \"parameters\": %llu,\n    \"bytes\": %llu,\n    \"files\": [",
                   (unsigned long long)manifest->parameters, (unsigned long long)manifest->bytes);
    for (size_t i = 0; i < manifest->n_files; i++) {
        ram_buf_puts(buf, i ? ",\n      {" : "\n      {");
        put_text(buf, "name", manifest->files[i].name);
        ram_buf_printf(buf, ", \"bytes\": %llu, ", (unsigned long long)manifest->files[i].bytes);
        put_text(buf, "sha256", manifest->files[i].header_sha256);
        ram_buf_puts(buf, "}");
    }
    ram_buf_puts(buf, manifest->n_files ? "\n    ],\n" : "],\n");
    ram_buf_puts(buf, "    \"config\": ");
    ram_emit_json(buf, manifest->config, 2);
    ram_buf_puts(buf, "\n  },\n");
}

int ram_manifest_text(const struct ram_manifest *manifest, char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};
    struct ram_c_locale locale;

    const int status = ram_c_locale_enter(&locale, err);
    if (status)
        return status;
    ram_buf_puts(&buf, "{\n  ");
    put_text(&buf, "schema", schema);
    ram_buf_puts(&buf, ",\n  ");
    put_text(&buf, "ram", manifest->version);
    ram_buf_puts(&buf, ",\n");
    put_model(&buf, manifest);
    ram_buf_puts(&buf, "  \"settings\": ");
    ram_emit_json(&buf, manifest->settings, 1);
    if (manifest->sensitivities) {
        ram_buf_puts(&buf, ",\n  \"sensitivities\": ");
        ram_sensitivity_emit(&buf, manifest->sensitivities, 1);
    }
    ram_buf_puts(&buf, ",\n  \"tensors\": [");
    for (size_t i = 0; i < manifest->n_entries; i++) {
        ram_buf_puts(&buf, i ? ",\n" : "\n");
        put_entry(&buf, &manifest->entries[i]);
    }
    ram_buf_puts(&buf, manifest->n_entries ? "\n  ]\n}\n" : "]\n}\n");
    ram_c_locale_leave(&locale);
    return ram_buf_take(&buf, out, err);
}
