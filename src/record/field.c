/* field.c - see field.h. */
#include "record/field.h"

#include "record/limits.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

bool ram_scan_fields(struct ram_scan *scan, const struct ram_field *fields, size_t n_fields)
{
    uint64_t seen = 0;

    ram_scan_object(scan);
    while (ram_scan_member(scan)) {
        size_t i = 0;
        while (i < n_fields && strcmp(fields[i].key, scan->key) != 0)
            i++;
        if (i == n_fields) {
            ram_scan_skip(scan);
            continue;
        }
        if (seen >> i & 1)
            return ram_scan_fail(scan, RAM_EFORMAT, "\"%s\" is given twice", scan->key);
        seen |= (uint64_t)1 << i;
        fields[i].read(scan, fields[i].into);
    }
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].required && !(seen >> i & 1))
            return ram_scan_fail(scan, RAM_EFORMAT, "\"%s\" is missing", fields[i].key);
    return ram_scan_good(scan);
}

bool ram_field_text(struct ram_scan *scan, void *into)
{
    return ram_scan_string(scan, into);
}

bool ram_field_name(struct ram_scan *scan, void *into)
{
    const char **const name = into;

    if (!ram_scan_string(scan, name))
        return false;
    if (!**name)
        return ram_scan_fail(scan, RAM_EFORMAT, "\"%s\" is empty", scan->key);
    scan->name = *name;
    return true;
}

bool ram_field_count(struct ram_scan *scan, void *into)
{
    return ram_scan_uint(scan, RAM_MAX_PARAMETERS, into);
}

bool ram_field_seed(struct ram_scan *scan, void *into)
{
    return ram_scan_uint(scan, INT64_MAX, into);
}

bool ram_field_index(struct ram_scan *scan, void *into)
{
    uint64_t value = 0;
    int *const out = into;

    *out = -1;
    if (ram_scan_null(scan))
        return true;
    if (ram_scan_uint(scan, INT_MAX, &value))
        *out = (int)value;
    return ram_scan_good(scan);
}

bool ram_field_figure(struct ram_scan *scan, void *into)
{
    return ram_scan_null(scan) || ram_scan_real(scan, into);
}

bool ram_field_object(struct ram_scan *scan, void *into)
{
    json_t **const out = into;
    json_t *value;

    if (ram_scan_null(scan))
        return true;
    if (!ram_scan_tree(scan, &value))
        return false;
    if (!json_is_object(value)) {
        json_decref(value);
        return ram_scan_fail(scan, RAM_EFORMAT, "\"%s\" is not an object", scan->key);
    }
    json_decref(*out);
    *out = value;
    return true;
}

static const struct record {
    const char *schema, *name, *verb; /* schema: without its version */
} records[] = {
    {"ram.manifest/", "a manifest", "ram analyze"},
    {"ram.plan/", "a plan", "ram allocate"},
    {"ram.score/", "a score", "ram evaluate"},
    {"ram.converted/", "the record of a conversion", "ram convert"},
};

static const struct record *record_of(const char *schema)
{
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        if (!strncmp(schema, records[i].schema, strlen(records[i].schema)))
            return &records[i];
    return NULL;
}

void ram_schema_text(const char *found, const char *wanted, char *out, size_t size)
{
    const struct record *is = record_of(found), *needed = record_of(wanted);
    const int n = snprintf(out, size, "\"schema\" is \"%.80s\", expected \"%s\"", found, wanted);

    if (n < 0 || (size_t)n >= size || !is || !needed)
        return;
    if (is != needed)
        snprintf(out + n, size - (size_t)n, ": this is %s; %s is needed, which %s -o writes",
                 is->name, needed->name, needed->verb);
    else
        snprintf(out + n, size - (size_t)n,
                 ": another version of ram wrote it; write it anew with %s", needed->verb);
}

bool ram_field_schema(struct ram_scan *scan, void *into)
{
    const char *schema;
    char text[300];
    const char *const wanted = into;

    if (!ram_scan_string(scan, &schema))
        return false;
    if (!strcmp(schema, wanted))
        return true;
    ram_schema_text(schema, wanted, text, sizeof text);
    return ram_scan_fail(scan, RAM_EFORMAT, "%s", text);
}

bool ram_scan_by_form(struct ram_scan *scan, double *figures)
{
    struct ram_field fields[RAM_N_FORMS];

    for (size_t i = 0; i < RAM_N_FORMS; i++)
        fields[i] = (struct ram_field){ram_forms[i].id, ram_field_figure, &figures[i], false};
    return ram_scan_fields(scan, fields, RAM_N_FORMS);
}

static bool find_by_width(struct ram_scan *scan, uint64_t bits, uint64_t group,
                          const struct ram_form **out)
{
    char widths[RAM_FORM_TEXT], groups[RAM_FORM_TEXT];

    *out = ram_form_of((int64_t)bits, (int64_t)group);
    if (!*out)
        return ram_scan_fail(scan, RAM_EFORMAT,
                             "bits %llu with group %llu; expected bits %s with group %s, or bits "
                             "16 with group 0",
                             (unsigned long long)bits, (unsigned long long)group,
                             ram_form_bits_text(widths), ram_form_groups_text(groups));
    return true;
}

bool ram_scan_form(struct ram_scan *scan, const char *id, uint64_t bits, uint64_t group,
                   const struct ram_form **out)
{
    if (!id)
        return find_by_width(scan, bits, group, out);
    *out = ram_form_find(id);
    if (!*out)
        return ram_scan_fail(scan, RAM_EFORMAT,
                             "\"form\" is \"%.40s\", which is no form that RAM knows, such as "
                             "\"%s\" or \"%s\"",
                             id, ram_forms[0].id, RAM_FORM_16->id);
    if ((uint64_t)(*out)->bits != bits || (uint64_t)(*out)->group != group)
        return ram_scan_fail(
            scan, RAM_EFORMAT, "bits %llu with group %llu; form \"%s\" has bits %d with group %d",
            (unsigned long long)bits, (unsigned long long)group, id, (*out)->bits, (*out)->group);
    return true;
}

bool ram_scan_counts(struct ram_scan *scan, uint64_t *const *out, size_t n, const char *what)
{
    size_t i = 0;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        if (i == n)
            return ram_scan_fail(scan, RAM_EFORMAT, "%s", what);
        ram_field_count(scan, out[i++]);
    }
    return i == n ? ram_scan_good(scan) : ram_scan_fail(scan, RAM_EFORMAT, "%s", what);
}

bool ram_scan_add_product(struct ram_scan *scan, uint64_t a, uint64_t b, uint64_t *total,
                          const char *what)
{
    size_t product;

    if (!ram_mul_size(a, b, &product) || product > RAM_MAX_PARAMETERS - *total)
        return ram_scan_fail(scan, RAM_EFORMAT, "%s of more than %llu elements", what,
                             (unsigned long long)RAM_MAX_PARAMETERS);
    *total += product;
    return true;
}
