/*
 * sensitivity_record.c - see sensitivity_record.h. Reading trusts nothing: probes name their form,
 * figures are finite numbers or null, no unit occurs twice, and a message says which unit and key
 * was wrong.
 */
#include "record/sensitivity_record.h"

#include "record/emit.h"
#include "record/field.h"
#include "record/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- figures by unit ------------------------------------------------------------------------ */

int ram_unit_figures_add(struct ram_unit_figures *all, const char *unit, const double *figures,
                         struct ram_err *err)
{
    int status = ram_grow(&all->units, sizeof(const char *), all->n, &all->cap_units, err);
    if (!status)
        status = ram_grow(&all->figures, all->width * sizeof *all->figures, all->n,
                          &all->cap_figures, err);
    if (status)
        return status;
    all->units[all->n] = unit;
    memcpy(all->figures + all->n * all->width, figures, all->width * sizeof *figures);
    all->n++;
    return RAM_OK;
}

struct named {
    const char *name;
    size_t index;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

int ram_unit_figures_index(struct ram_unit_figures *all, const char *where, struct ram_err *err)
{
    struct named *const names = ram_calloc(all->n, sizeof *names, err);
    int status = RAM_OK;

    free(all->by_name);
    all->by_name = ram_calloc(all->n, sizeof *all->by_name, err);
    if (!names || !all->by_name) {
        free(names);
        return RAM_ENOMEM;
    }
    for (size_t i = 0; i < all->n; i++)
        names[i] = (struct named){all->units[i], i};
    qsort(names, all->n, sizeof *names, by_name);
    for (size_t i = 0; i < all->n; i++) {
        all->by_name[i] = names[i].index;
        if (!status && i && !by_name(&names[i - 1], &names[i]))
            status = ram_fail(err, RAM_EFORMAT, "%s: sensitivities: unit %s stands in them twice",
                              where, names[i].name);
    }
    free(names);
    return status;
}

const double *ram_unit_figures_find(const struct ram_unit_figures *all, const char *unit)
{
    size_t low = 0, high = all->by_name ? all->n : 0;

    while (low < high) {
        const size_t middle = low + (high - low) / 2, found = all->by_name[middle];
        const int order = strcmp(unit, all->units[found]);
        if (!order)
            return all->figures + found * all->width;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static void release(struct ram_unit_figures *all)
{
    free(all->units);
    free(all->figures);
    free(all->by_name);
}

/* ---- the record ----------------------------------------------------------------------------- */

int ram_sensitivity_new(struct ram_sensitivity_record **out, struct ram_err *err)
{
    struct ram_sensitivity_record *const record = ram_calloc(1, sizeof *record, err);

    if (!record)
        return RAM_ENOMEM;
    record->coarse.joint = record->fine.joint = record->curves.damp = NAN;
    record->coarse.units.width = record->fine.units.width = 1;
    record->curves.units.width = RAM_N_FORMS;
    *out = record;
    return RAM_OK;
}

void ram_sensitivity_free(struct ram_sensitivity_record *record)
{
    if (!record)
        return;
    json_decref(record->calibration);
    release(&record->coarse.units);
    release(&record->fine.units);
    release(&record->curves.units);
    free(record);
}

/* ---- writing -------------------------------------------------------------------------------- */

static json_t *nats_json(const struct ram_unit_figures *all)
{
    struct ram_made units = ram_made_object();

    for (size_t i = 0; i < all->n; i++)
        ram_made_put(&units, all->units[i], ram_json_real(all->figures[i]));
    return ram_made_take(&units);
}

static json_t *ratios_json(const double ratios[RAM_N_FORMS])
{
    struct ram_made out = ram_made_object();

    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (isfinite(ratios[i]))
            ram_made_put(&out, ram_forms[i].id, ram_json_real(ratios[i]));
    return ram_made_take(&out);
}

static json_t *curves_json(const struct ram_sensitivity_record *r)
{
    struct ram_made units = ram_made_object();

    for (size_t i = 0; i < r->curves.units.n; i++)
        ram_made_put(&units, r->curves.units.units[i],
                     ratios_json(r->curves.units.figures + i * RAM_N_FORMS));
    return json_pack("{s:s, s:{s:I, s:I, s:o}, s:o}", "encoder", r->curves.encoder, "settings",
                     "sequences", (json_int_t)r->curves.sequences, "length",
                     (json_int_t)r->curves.length, "damp", ram_json_real(r->curves.damp), "units",
                     ram_made_take(&units));
}

/* A form that bits and group do not tell has its id. */
static void put_id(struct ram_made *object, const struct ram_form *form)
{
    if (!ram_form_is_plain(form))
        ram_made_put(object, "form", json_string(form->id));
}

static json_t *settings_json(const struct ram_sensitivity_record *r)
{
    const struct ram_form *const form = r->coarse.form;
    struct ram_made settings = ram_made_from(
        json_pack("{s:s*, s:s*, s:I, s:I, s:I, s:i, s:i}", "encoder", r->encoder, "tokens",
                  r->tokens, "sequences", (json_int_t)r->sequences, "length", (json_int_t)r->length,
                  "seed", (json_int_t)r->seed, "bits", form->bits, "group", form->group));

    put_id(&settings, form);
    if (r->calibration)
        ram_made_put(&settings, "calibration", json_incref(r->calibration));
    return ram_made_take(&settings);
}

/* The fine probe has the group of the coarse one, unless it says another. */
static json_t *fine_json(const struct ram_sensitivity_record *r)
{
    struct ram_made fine = ram_made_object();

    ram_made_put(&fine, "bits", json_integer(r->fine.form->bits));
    if (r->fine.form->group != r->coarse.form->group)
        ram_made_put(&fine, "group", json_integer(r->fine.form->group));
    put_id(&fine, r->fine.form);
    ram_made_put(&fine, "joint", ram_json_real(r->fine.joint));
    ram_made_put(&fine, "units", nats_json(&r->fine.units));
    return ram_made_take(&fine);
}

void ram_sensitivity_emit(struct ram_buf *buf, const struct ram_sensitivity_record *r, int depth)
{
    struct ram_made all = ram_made_from(
        json_pack("{s:s, s:o, s:o, s:o}", "tier", r->tier, "settings", settings_json(r), "joint",
                  ram_json_real(r->coarse.joint), "units", nats_json(&r->coarse.units)));

    if (r->fine.form)
        ram_made_put(&all, "fine", fine_json(r));
    if (r->curves.encoder)
        ram_made_put(&all, "curves", curves_json(r));
    json_t *const value = ram_made_take(&all);
    buf->failed = buf->failed || !value;
    ram_emit_json(buf, value, depth);
    json_decref(value);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* bits, group and id as they stand there; NONE: not given. */
struct said {
    uint64_t bits, group;
    const char *id;
};
#define NONE UINT64_MAX

struct reader {
    struct ram_sensitivity_record *record;
    struct said coarse, fine;
    bool has_fine;
};

/* into: struct ram_unit_figures * of one figure. */
static bool scan_nats(struct ram_scan *scan, void *into)
{
    struct ram_unit_figures *const all = into;
    const char *unit;

    ram_scan_object(scan);
    while (ram_scan_entry(scan, &unit)) {
        double nats = NAN;
        scan->kind = "sensitivity";
        scan->name = unit;
        scan->number = all->n + 1;
        if (all->n == RAM_MAX_ENTRIES)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %zu units", RAM_MAX_ENTRIES);
        if (ram_field_figure(scan, &nats))
            scan->status = ram_unit_figures_add(all, unit, &nats, scan->err);
    }
    scan->kind = scan->name = NULL;
    return ram_scan_good(scan);
}

/* into: the reader. */
static bool scan_settings(struct ram_scan *scan, void *into)
{
    struct reader *const reader = into;
    struct ram_sensitivity_record *const r = reader->record;
    const struct ram_field fields[] = {
        {"encoder", ram_field_text, &r->encoder, false},
        {"tokens", ram_field_text, &r->tokens, false},
        {"sequences", ram_field_count, &r->sequences, false},
        {"length", ram_field_count, &r->length, false},
        {"seed", ram_field_seed, &r->seed, false},
        {"bits", ram_field_count, &reader->coarse.bits, true},
        {"group", ram_field_count, &reader->coarse.group, true},
        {"form", ram_field_text, &reader->coarse.id, false},
        {"calibration", ram_field_object, &r->calibration, false},
    };

    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: the reader. */
static bool scan_fine(struct ram_scan *scan, void *into)
{
    struct reader *const reader = into;
    struct ram_probe_record *const fine = &reader->record->fine;
    const struct ram_field fields[] = {
        {"bits", ram_field_count, &reader->fine.bits, true},
        {"group", ram_field_count, &reader->fine.group, false},
        {"form", ram_field_text, &reader->fine.id, false},
        {"joint", ram_field_figure, &fine->joint, false},
        {"units", scan_nats, &fine->units, true},
    };

    if (ram_scan_null(scan))
        return true;
    reader->has_fine = true;
    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: struct ram_unit_figures *. */
static bool scan_ratios(struct ram_scan *scan, void *into)
{
    struct ram_unit_figures *const all = into;
    const char *unit;

    ram_scan_object(scan);
    while (ram_scan_entry(scan, &unit)) {
        double ratios[RAM_N_FORMS];
        scan->kind = "curve";
        scan->name = unit;
        scan->number = all->n + 1;
        if (all->n == RAM_MAX_ENTRIES)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %zu units", RAM_MAX_ENTRIES);
        for (size_t i = 0; i < RAM_N_FORMS; i++)
            ratios[i] = NAN;
        if (ram_scan_by_form(scan, ratios))
            scan->status = ram_unit_figures_add(all, unit, ratios, scan->err);
    }
    scan->kind = scan->name = NULL;
    return ram_scan_good(scan);
}

/* into: the record. */
static bool scan_curve_settings(struct ram_scan *scan, void *into)
{
    struct ram_sensitivity_record *const r = into;
    const struct ram_field fields[] = {
        {"sequences", ram_field_count, &r->curves.sequences, false},
        {"length", ram_field_count, &r->curves.length, false},
        {"damp", ram_field_figure, &r->curves.damp, false},
    };

    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: the record. */
static bool scan_curves(struct ram_scan *scan, void *into)
{
    struct ram_sensitivity_record *const r = into;
    const struct ram_field fields[] = {
        {"encoder", ram_field_text, &r->curves.encoder, true},
        {"settings", scan_curve_settings, r, false},
        {"units", scan_ratios, &r->curves.units, true},
    };

    return ram_scan_null(scan) || ram_scan_fields(scan, fields, COUNT(fields));
}

static bool finish(struct ram_scan *scan, struct reader *reader)
{
    struct ram_sensitivity_record *const r = reader->record;
    struct ram_unit_figures *const all[] = {&r->coarse.units, &r->fine.units, &r->curves.units};

    if (reader->fine.group == NONE)
        reader->fine.group = reader->coarse.group;
    scan->kind = "probe";
    scan->number = 1;
    ram_scan_form(scan, reader->coarse.id, reader->coarse.bits, reader->coarse.group,
                  &r->coarse.form);
    scan->number = 2;
    if (reader->has_fine)
        ram_scan_form(scan, reader->fine.id, reader->fine.bits, reader->fine.group, &r->fine.form);
    scan->kind = NULL;
    for (size_t i = 0; ram_scan_good(scan) && i < COUNT(all); i++)
        scan->status = ram_unit_figures_index(all[i], scan->where, scan->err);
    return ram_scan_good(scan);
}

bool ram_sensitivity_scan(struct ram_scan *scan, void *into)
{
    struct ram_sensitivity_record **const out = into;
    struct reader reader = {.coarse = {NONE, NONE, NULL}, .fine = {NONE, NONE, NULL}};

    if (ram_scan_null(scan))
        return true;
    scan->status = scan->status ? scan->status : ram_sensitivity_new(out, scan->err);
    if (!ram_scan_good(scan))
        return false;
    reader.record = *out;
    const struct ram_field fields[] = {
        {"tier", ram_field_text, &reader.record->tier, true},
        {"settings", scan_settings, &reader, true},
        {"joint", ram_field_figure, &reader.record->coarse.joint, false},
        {"units", scan_nats, &reader.record->coarse.units, true},
        {"fine", scan_fine, &reader, false},
        {"curves", scan_curves, reader.record, false},
    };
    return ram_scan_fields(scan, fields, COUNT(fields)) && finish(scan, &reader);
}
