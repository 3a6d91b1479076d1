/*
 * manifest_parse.c - a manifest from its JSON form, which may be hostile.
 *
 * Every number has a limit, every name a meaning, and a message says which tensor was wrong, what
 * was found and what was expected. Keys that we do not know are checked as JSON and forgotten.
 */
#include "base/hash.h"
#include "record/emit.h"
#include "record/entry_parse.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* into: struct ram_manifest *. */
static bool scan_files(struct ram_scan *scan, void *into)
{
    struct ram_manifest *const m = into;
    size_t cap = 0;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        scan->status = ram_grow(&m->files, sizeof *m->files, m->n_files, &cap, scan->err);
        if (scan->status)
            return false;
        struct ram_manifest_file *const file = &m->files[m->n_files++];
        const struct ram_field fields[] = {
            {"name", ram_field_text, &file->name, true},
            {"bytes", ram_field_count, &file->bytes, true},
            {"sha256", ram_field_text, &file->header_sha256, false},
        };
        *file = (struct ram_manifest_file){.header_sha256 = ""};
        scan->kind = "file";
        scan->number = m->n_files;
        ram_scan_fields(scan, fields, COUNT(fields));
    }
    scan->kind = NULL;
    return ram_scan_good(scan);
}

/* into: struct ram_manifest *. */
static bool scan_model(struct ram_scan *scan, void *into)
{
    struct ram_manifest *const m = into;
    const struct ram_field fields[] = {
        {"name", ram_field_text, &m->model_name, true},
        {"model_type", ram_field_text, &m->model_type, true},
        {"architecture", ram_field_text, &m->architecture, false},
        {"parameters", ram_field_count, &m->parameters, true},
        {"bytes", ram_field_count, &m->bytes, true},
        {"files", scan_files, m, false},
        {"config", ram_field_object, &m->config, false},
    };

    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: struct ram_manifest *. */
static bool scan_tensors(struct ram_scan *scan, void *into)
{
    struct ram_manifest *const m = into;
    uint64_t parameters = 0;
    size_t cap = 0;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        scan->kind = "tensor";
        scan->number = m->n_entries + 1;
        scan->name = NULL;
        if (m->n_entries == RAM_MAX_ENTRIES)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %zu tensors", RAM_MAX_ENTRIES);
        scan->status = ram_grow(&m->entries, sizeof *m->entries, m->n_entries, &cap, scan->err);
        if (scan->status)
            return false;
        struct ram_entry *const entry = &m->entries[m->n_entries++];
        *entry = (struct ram_entry){0};
        ram_entry_scan(scan, entry);
        if (entry->parameters > RAM_MAX_PARAMETERS - parameters)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %llu parameters in all",
                                 (unsigned long long)RAM_MAX_PARAMETERS);
        parameters += entry->parameters;
    }
    scan->kind = scan->name = NULL;
    return ram_scan_good(scan);
}

struct identity {
    const struct ram_entry *entry;
};

static int by_identity(const void *a, const void *b)
{
    const struct ram_entry *const x = ((const struct identity *)a)->entry;
    const struct ram_entry *const y = ((const struct identity *)b)->entry;

    const int order = strcmp(x->name, y->name);
    if (order)
        return order;
    if (x->expert != y->expert)
        return x->expert < y->expert ? -1 : 1;
    return strcmp(x->unit, y->unit);
}

/* A tensor counted twice would make every size wrong. Experts of a fused stack share its name. */
static int check_unique(const struct ram_manifest *m, const char *where, struct ram_err *err)
{
    int status = RAM_OK;

    struct identity *const order = ram_calloc(m->n_entries, sizeof *order, err);
    if (!order)
        return RAM_ENOMEM;
    for (size_t i = 0; i < m->n_entries; i++)
        order[i].entry = &m->entries[i];
    qsort(order, m->n_entries, sizeof *order, by_identity);
    for (size_t i = 1; !status && i < m->n_entries; i++)
        if (!by_identity(&order[i - 1], &order[i]))
            status = ram_fail(err, RAM_EFORMAT, "%s: tensor %s stands in it twice", where,
                              order[i].entry->name);
    free(order);
    return status;
}

static int parse(struct ram_manifest *m, const char *text, size_t size, const char *where,
                 struct ram_err *err)
{
    char schema[] = "ram.manifest/1", sha256[RAM_SHA256_HEX];
    struct ram_scan scan;
    const struct ram_field fields[] = {
        {"schema", ram_field_schema, schema, true},
        {"ram", ram_field_text, &m->version, false},
        {"model", scan_model, m, true},
        {"settings", ram_field_object, &m->settings, false},
        {"sensitivities", ram_sensitivity_scan, &m->sensitivities, false},
        {"tensors", scan_tensors, m, true},
    };

    ram_scan_init(&scan, text, size, where, &m->arena, err);
    ram_scan_fields(&scan, fields, COUNT(fields));
    ram_scan_end(&scan);
    const int status = scan.status ? scan.status : check_unique(m, where, err);
    if (status)
        return status;
    ram_sha256(text, size, sha256);
    m->sha256 = ram_arena_strdup(&m->arena, sha256, err);
    return m->sha256 ? RAM_OK : RAM_ENOMEM;
}

int ram_manifest_parse(struct ram_manifest **out, const char *text, size_t size, const char *where,
                       struct ram_err *err)
{
    struct ram_manifest *manifest = NULL;
    struct ram_c_locale locale;

    *out = NULL;
    int status = ram_manifest_new(&manifest, err);
    if (status)
        return status;
    status = ram_c_locale_enter(&locale, err);
    if (!status) {
        status = parse(manifest, text, size, where, err);
        ram_c_locale_leave(&locale);
    }
    if (status) {
        ram_manifest_free(manifest);
        return status;
    }
    *out = manifest;
    return RAM_OK;
}
