/* field.c - see field.h. */
#include "record/field.h"

#include "record/manifest.h"

#include <limits.h>
#include <string.h>

int ram_scan_fields(struct ram_scan *scan, const struct ram_field *fields, size_t n_fields,
                    struct ram_err *err)
{
    uint64_t seen = 0;
    bool more;
    int status;

    for (status = ram_scan_object(scan, &more, err); !status && more;
         status = status ? status : ram_scan_member(scan, &more, err)) {
        size_t i = 0;
        while (i < n_fields && strcmp(fields[i].key, scan->key) != 0)
            i++;
        if (i == n_fields)
            status = ram_scan_skip(scan, NULL, NULL, err);
        else if (seen >> i & 1)
            status = ram_scan_fail(scan, err, "\"%s\" is given twice", scan->key);
        else
            status = fields[i].read(scan, fields[i].into, err);
        seen |= i < n_fields ? (uint64_t)1 << i : 0;
    }
    for (size_t i = 0; !status && i < n_fields; i++)
        if (fields[i].required && !(seen >> i & 1))
            status = ram_scan_fail(scan, err, "\"%s\" is missing", fields[i].key);
    return status;
}

int ram_field_text(struct ram_scan *scan, void *into, struct ram_err *err)
{
    return ram_scan_string(scan, into, err);
}

int ram_field_name(struct ram_scan *scan, void *into, struct ram_err *err)
{
    const char **const name = into;

    const int status = ram_scan_string(scan, name, err);
    if (status)
        return status;
    if (!**name)
        return ram_scan_fail(scan, err, "\"%s\" is empty", scan->key);
    scan->name = *name;
    return RAM_OK;
}

int ram_field_count(struct ram_scan *scan, void *into, struct ram_err *err)
{
    return ram_scan_uint(scan, RAM_MAX_PARAMETERS, into, err);
}

int ram_field_index(struct ram_scan *scan, void *into, struct ram_err *err)
{
    uint64_t value = 0;
    int *const out = into;

    *out = -1;
    if (ram_scan_null(scan))
        return RAM_OK;
    const int status = ram_scan_uint(scan, INT_MAX, &value, err);
    if (!status)
        *out = (int)value;
    return status;
}

int ram_field_figure(struct ram_scan *scan, void *into, struct ram_err *err)
{
    return ram_scan_null(scan) ? RAM_OK : ram_scan_real(scan, into, err);
}

int ram_field_object(struct ram_scan *scan, void *into, struct ram_err *err)
{
    char key[sizeof scan->key];
    json_t **const out = into;
    json_t *value = NULL;
    const char *text;
    size_t size;

    if (ram_scan_null(scan))
        return RAM_OK;
    memcpy(key, scan->key, sizeof key);
    int status = ram_scan_skip(scan, &text, &size, err);
    if (!status && *text != '{')
        return ram_scan_fail(scan, err, "\"%s\" is not an object", key);
    if (!status)
        status = ram_json_parse(&value, text, size, scan->where, err);
    if (status)
        return status;
    json_decref(*out);
    *out = value;
    return RAM_OK;
}

int ram_scan_counts(struct ram_scan *scan, uint64_t *const *out, size_t n, const char *what,
                    struct ram_err *err)
{
    size_t i = 0;
    bool more;
    int status;

    for (status = ram_scan_array(scan, &more, err); !status && more && i < n;
         status = status ? status : ram_scan_element(scan, &more, err))
        status = ram_field_count(scan, out[i++], err);
    if (!status && (more || i < n))
        return ram_scan_fail(scan, err, "%s", what);
    return status;
}

int ram_scan_add_product(struct ram_scan *scan, uint64_t a, uint64_t b, uint64_t *total,
                         const char *what, struct ram_err *err)
{
    size_t product;

    if (!ram_mul_size(a, b, &product) || product > RAM_MAX_PARAMETERS - *total)
        return ram_scan_fail(scan, err, "%s of more than %llu elements", what,
                             (unsigned long long)RAM_MAX_PARAMETERS);
    *total += product;
    return RAM_OK;
}
