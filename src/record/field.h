/*
 * field.h - objects read by a table of their fields.
 *
 * A table names the keys of an object, who reads each, and where to; so a record's parser is
 * mostly tables. `into` is what the reader says it is.
 */
#ifndef RAM_RECORD_FIELD_H
#define RAM_RECORD_FIELD_H

#include "base/scan.h"
#include "codec/form.h"

typedef bool ram_field_fn(struct ram_scan *scan, void *into);

struct ram_field {
    const char *key;
    ram_field_fn *read;
    void *into;
    bool required;
};

/* Each key at most once; members that are not in the table are checked as JSON and skipped. */
bool ram_scan_fields(struct ram_scan *scan, const struct ram_field *fields, size_t n_fields);

/* Readers. into: const char **; ... not empty, and from here on messages are about it; */
ram_field_fn ram_field_text, ram_field_name;

/* uint64_t *, up to RAM_MAX_PARAMETERS, or up to what JSON can say; int *, null makes it -1; */
ram_field_fn ram_field_count, ram_field_seed, ram_field_index;

/* double *, null leaves it as it was set: NAN; json_t **, replaced, null leaves it. */
ram_field_fn ram_field_figure, ram_field_object;

/* A string that must be this: const char[]. */
ram_field_fn ram_field_schema;

/* What to say of a schema that is another than the one wanted: which record it is of, which is
 * needed, and who writes that. */
void ram_schema_text(const char *found, const char *wanted, char *out, size_t size);

/* An object of figures by the ids of forms: figures [RAM_N_FORMS], of which those that are not
 * given stay as they were set. */
bool ram_scan_by_form(struct ram_scan *scan, double *figures);

/* The form that bits and group say, or an id (NULL: none is given), with which they must agree. */
bool ram_scan_form(struct ram_scan *scan, const char *id, uint64_t bits, uint64_t group,
                   const struct ram_form **out);

/* An array of exactly n counts. what: for messages, "a shape is not [rows, cols]". */
bool ram_scan_counts(struct ram_scan *scan, uint64_t *const *out, size_t n, const char *what);

/* *total += a * b, or a failure that says what has more than RAM_MAX_PARAMETERS elements. */
bool ram_scan_add_product(struct ram_scan *scan, uint64_t a, uint64_t b, uint64_t *total,
                          const char *what);

#endif
