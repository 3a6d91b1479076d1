/*
 * entry_parse.c - one element of a manifest's "tensors", field by field, and the rules that tie
 * the fields to each other.
 */
#include "record/entry_parse.h"

#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* into: the entry. */
static bool scan_shape(struct ram_scan *scan, void *into)
{
    struct ram_entry *const entry = into;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        if (entry->n_dims == RAM_MAX_DIMS)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %d dimensions", RAM_MAX_DIMS);
        ram_field_count(scan, &entry->shape[entry->n_dims++]);
    }
    return ram_scan_good(scan);
}

/* into: const char **. Unlike its own name, not what messages are about. */
static bool scan_unit(struct ram_scan *scan, void *into)
{
    const char *const name = scan->name;

    ram_field_name(scan, into);
    scan->name = name;
    return ram_scan_good(scan);
}

/* into: enum ram_skip *. */
static bool scan_skip(struct ram_scan *scan, void *into)
{
    const char *name;
    enum ram_skip *const out = into;

    if (ram_scan_null(scan))
        return true;
    if (!ram_scan_string(scan, &name))
        return false;
    for (int skip = RAM_SKIP_1D; skip <= RAM_SKIP_NOT_WEIGHT; skip++) {
        if (!strcmp(name, ram_skip_name((enum ram_skip)skip))) {
            *out = (enum ram_skip)skip;
            return true;
        }
    }
    return ram_scan_fail(scan, RAM_EFORMAT,
                         "\"skip\" is \"%.40s\", expected null, \"1d\", \"tiny\" or \"not-weight\"",
                         name);
}

/* into: the entry. */
static bool scan_matrices(struct ram_scan *scan, void *into)
{
    struct ram_entry *const entry = into;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        if (entry->n_stored == RAM_MAX_STORED)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %d stored matrices", RAM_MAX_STORED);
        struct ram_stored *const matrix = &entry->stored[entry->n_stored++];
        uint64_t *const sides[] = {&matrix->rows, &matrix->cols};
        ram_scan_counts(scan, sides, COUNT(sides), "a matrix is not [rows, cols]");
    }
    return ram_scan_good(scan);
}

/* into: the entry. */
static bool scan_stored(struct ram_scan *scan, void *into)
{
    struct ram_entry *const entry = into;
    uint64_t bytes = 0;
    const struct ram_field fields[] = {{"bytes", ram_field_count, &bytes, true},
                                       {"matrices", scan_matrices, entry, true}};

    if (ram_scan_fields(scan, fields, COUNT(fields)) && (bytes < 1 || bytes > 16))
        return ram_scan_fail(scan, RAM_EFORMAT, "stored at %llu bytes a weight, expected 1 to 16",
                             (unsigned long long)bytes);
    entry->stored_size = (int)bytes;
    return ram_scan_good(scan);
}

/* into: the entry. */
static bool scan_metrics(struct ram_scan *scan, void *into)
{
    struct ram_entry *const entry = into;
    struct ram_metrics *const m = &entry->metrics;
    const struct ram_field fields[] = {
        {"svd", ram_field_figure, &m->svd, true},
        {"kurtosis", ram_field_figure, &m->kurtosis, true},
        {"output", ram_field_figure, &m->output, true},
        {"error", ram_field_figure, &m->error, true},
    };

    if (ram_scan_null(scan))
        return true;
    *m = (struct ram_metrics){NAN, NAN, NAN, NAN};
    entry->measured = true;
    ram_scan_fields(scan, fields, COUNT(fields));
    if (isnan(m->kurtosis + m->output + m->error))
        return ram_scan_fail(scan, RAM_EFORMAT,
                             "a metric is null; \"svd\" may be, and \"metrics\" as a whole");
    return ram_scan_good(scan);
}

/* into: struct ram_stats *. */
static bool scan_stats(struct ram_scan *scan, void *into)
{
    struct ram_stats *const s = into;
    const struct ram_field fields[] = {
        {"mean", ram_field_figure, &s->mean, false}, {"std", ram_field_figure, &s->std, false},
        {"rms", ram_field_figure, &s->rms, false},   {"min", ram_field_figure, &s->min, false},
        {"max", ram_field_figure, &s->max, false},
    };

    if (ram_scan_null(scan))
        return true;
    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: the entry's errors. */
static bool scan_errors(struct ram_scan *scan, void *into)
{
    double *const errors = into;

    if (ram_scan_null(scan))
        return true;
    ram_scan_by_form(scan, errors);
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (errors[i] < 0)
            return ram_scan_fail(scan, RAM_EFORMAT, "error \"%s\" is %g, expected at least 0",
                                 ram_forms[i].id, errors[i]);
    return ram_scan_good(scan);
}

/* A manifest that does not say how the output holds a tensor: as it is, if it is a weight. */
static void assume_stored(struct ram_entry *entry)
{
    const char *const dtype = entry->dtype;
    const uint64_t cols = entry->n_dims ? entry->shape[entry->n_dims - 1] : 1;

    entry->stored_size = !strcmp(dtype, "F32") || !strcmp(dtype, "F64") ? 4 : 2;
    entry->n_stored = entry->skip != RAM_SKIP_NOT_WEIGHT;
    entry->stored[0] = (struct ram_stored){cols ? entry->parameters / cols : 0, cols};
}

static bool check_entry(struct ram_scan *scan, const struct ram_entry *entry)
{
    uint64_t elements = 1, stored = 0;

    for (int i = 0; i < entry->n_dims; i++) {
        uint64_t product = 0;
        ram_scan_add_product(scan, elements, entry->shape[i], &product, "a shape");
        elements = product;
    }
    for (int i = 0; i < entry->n_stored; i++)
        ram_scan_add_product(scan, entry->stored[i].rows, entry->stored[i].cols, &stored,
                             "stored matrices");
    /* One expert's part of a fused stack has fewer than the tensor it is part of. */
    if (entry->parameters > elements)
        return ram_scan_fail(scan, RAM_EFORMAT, "%llu parameters in a shape of %llu elements",
                             (unsigned long long)entry->parameters, (unsigned long long)elements);
    if (entry->n_stored && stored != entry->parameters)
        return ram_scan_fail(scan, RAM_EFORMAT, "stored matrices of %llu elements, expected %llu",
                             (unsigned long long)stored, (unsigned long long)entry->parameters);
    return ram_scan_good(scan);
}

bool ram_entry_scan(struct ram_scan *scan, struct ram_entry *entry)
{
    const struct ram_field fields[] = {
        {"name", ram_field_name, &entry->name, true},
        {"shape", scan_shape, entry, true},
        {"dtype", ram_field_text, &entry->dtype, true},
        {"parameters", ram_field_count, &entry->parameters, true},
        {"file", ram_field_text, &entry->file, false},
        {"role", ram_field_text, &entry->role, true},
        {"layer", ram_field_index, &entry->layer, false},
        {"expert", ram_field_index, &entry->expert, false},
        {"unit", scan_unit, &entry->unit, true},
        {"skip", scan_skip, &entry->skip, false},
        {"stored", scan_stored, entry, false},
        {"metrics", scan_metrics, entry, false},
        {"stats", scan_stats, &entry->stats, false},
        {"errors", scan_errors, entry->errors, false},
    };

    entry->file = "";
    entry->layer = entry->expert = -1;
    entry->stats = (struct ram_stats){NAN, NAN, NAN, NAN, NAN};
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        entry->errors[i] = NAN;
    if (!ram_scan_fields(scan, fields, COUNT(fields)))
        return false;
    if (!entry->stored_size) /* "stored" always sets it */
        assume_stored(entry);
    return check_entry(scan, entry);
}
