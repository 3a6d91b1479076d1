/* verify_sidecars.c - see sidecar.h. */
#include "convert/sidecar.h"

#include "convert/stream.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_RECORD = 1 << 30 };

/* The encoder sums its error in f32 kernels, the comparison in f64. */
static const double tolerance = 1e-3;

static void read_plan(struct ram_sidecar *sidecar, struct ram_findings *findings)
{
    struct ram_err found = {0};
    char *text = NULL;
    json_t *plan = json_object_get(sidecar->root, "plan");

    if (!json_is_object(plan)) {
        ram_findings_add(findings, RAM_CHECK_RECORD, "ram.json", "has no plan");
        return;
    }
    if (ram_json_text(plan, 0, false, &text, &found) ||
        ram_plan_parse(&sidecar->plan, text, strlen(text), "ram.json", &found))
        ram_findings_add(findings, RAM_CHECK_RECORD, "ram.json", "%s", found.message);
    free(text);
}

void ram_sidecar_parse(struct ram_sidecar *out, const char *text, size_t size,
                       struct ram_findings *findings)
{
    struct ram_err found = {0};

    *out = (struct ram_sidecar){0};
    if (ram_json_parse(&out->root, text, size, "ram.json", &found)) {
        ram_findings_add(findings, RAM_CHECK_RECORD, "ram.json", "%s", found.message);
        return;
    }
    const char *schema = json_string_value(json_object_get(out->root, "schema"));
    if (!schema || strcmp(schema, "ram.converted/1")) {
        ram_findings_add(findings, RAM_CHECK_RECORD, "ram.json",
                         "its schema is \"%s\", expected \"ram.converted/1\"",
                         schema ? schema : "");
        ram_sidecar_release(out);
        return;
    }
    ram_findings_note(findings, RAM_CHECK_RECORD, true, "widths and checksums");
    read_plan(out, findings);
}

int ram_sidecar_read(struct ram_sidecar *out, const char *dir, struct ram_findings *findings,
                     struct ram_err *err)
{
    struct ram_err found = {0};
    char *text = NULL;
    size_t size = 0;

    *out = (struct ram_sidecar){0};
    char *path = ram_path_join(dir, "ram.json", err);
    if (!path)
        return RAM_ENOMEM;
    if (access(path, F_OK))
        ram_findings_note(findings, RAM_CHECK_RECORD, false, "there is none");
    else if (ram_file_read(path, MAX_RECORD, &text, &size, &found))
        ram_findings_add(findings, RAM_CHECK_RECORD, "ram.json", "%s", found.message);
    else
        ram_sidecar_parse(out, text, size, findings);
    free(text);
    free(path);
    return RAM_OK;
}

/* The form that an entry says: its id counts before bits and group, which need not tell it. */
static const struct ram_form *form_of(const json_t *entry)
{
    const char *id = json_string_value(json_object_get(entry, "form"));

    return id ? ram_form_find(id)
              : ram_form_of(json_integer_value(json_object_get(entry, "bits")),
                            json_integer_value(json_object_get(entry, "group")));
}

static void check_entry(const json_t *entry, const struct ram_found *found, bool measured,
                        struct ram_findings *findings)
{
    const json_t *sums = json_object_get(entry, "checksums");
    const json_int_t bits = json_integer_value(json_object_get(entry, "bits"));
    const json_int_t group = json_integer_value(json_object_get(entry, "group"));

    if (form_of(entry) != found->as.form)
        ram_findings_add(findings, RAM_CHECK_RECORD, found->module,
                         "was written with %lld bits, group %lld", (long long)bits,
                         (long long)group);
    for (size_t k = 0; k < ram_found_parts(found); k++) {
        const char *name = found->parts[k]->name;
        const char *sum = json_string_value(json_object_get(sums, name));
        char now[RAM_CHECKSUM_HEX];
        ram_checksum_text(&found->sums[k], now);
        if (!sum || strcmp(sum, now))
            ram_findings_add(findings, RAM_CHECK_RECORD, name,
                             "its bytes are not those that were written (checksum %s, was %s)", now,
                             sum ? sum : "missing");
    }
    const double was = json_number_value(json_object_get(entry, "relative_error"));
    const double is = ram_relative_error(found->squared_error, found->squared);
    if (measured && found->quantized && fabs(is - was) > tolerance * fabs(was) + 1e-9)
        ram_findings_add(findings, RAM_CHECK_RECORD, found->module,
                         "its relative error is %.6g, was %.6g when it was written", is, was);
}

static bool names(const json_t *entry, const char *name)
{
    const char *is = json_string_value(json_object_get(entry, "name"));
    return is && !strcmp(is, name);
}

void ram_sidecar_check(const struct ram_sidecar *sidecar, const struct ram_found_list *list,
                       bool measured, struct ram_findings *findings)
{
    const json_t *tensors = json_object_get(sidecar->root, "tensors");
    size_t i = 0;

    if (!sidecar->root)
        return;
    /* Both are in the order of the module tree; a module that is missing here was told of. */
    for (size_t k = 0; k < json_array_size(tensors); k++) {
        const json_t *entry = json_array_get(tensors, k);
        size_t at = i;
        while (at < list->n && !names(entry, list->items[at].name))
            at++;
        if (at == list->n) {
            const char *name = json_string_value(json_object_get(entry, "name"));
            ram_findings_add(findings, RAM_CHECK_RECORD, name ? name : "?",
                             "is in ram.json, but not (or not soundly) in the directory");
            continue;
        }
        check_entry(entry, &list->items[at], measured, findings);
        i = at + 1;
    }
}

void ram_sidecar_release(struct ram_sidecar *sidecar)
{
    json_decref(sidecar->root);
    ram_plan_free(sidecar->plan);
    *sidecar = (struct ram_sidecar){0};
}
