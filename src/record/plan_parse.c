/*
 * plan_parse.c - a plan from its JSON form. A person may have changed bits and group: they must
 * be those of a form, and everything that follows from it is computed anew.
 */
#include "record/emit.h"
#include "record/field.h"
#include "record/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct reader {
    struct ram_plan *plan;
    uint64_t parameters; /* of all units so far */
};

/* ---- a unit ------------------------------------------------------------------------------- */

/* into: the unit. */
static bool scan_scores(struct ram_scan *scan, void *into)
{
    struct ram_unit *const unit = into;
    struct ram_scores *const s = &unit->scores;
    const struct ram_field fields[] = {
        {"svd", ram_field_figure, &s->svd, true},
        {"kurtosis", ram_field_figure, &s->kurtosis, true},
        {"output", ram_field_figure, &s->output, true},
        {"error", ram_field_figure, &s->error, true},
        {"composite", ram_field_figure, &s->composite, true},
    };

    if (ram_scan_null(scan))
        return true;
    *s = (struct ram_scores){NAN, NAN, NAN, NAN, NAN};
    unit->scored = true;
    return ram_scan_fields(scan, fields, COUNT(fields));
}

struct blocks {
    struct ram_matrices *items;
    size_t n, cap;
};

/* into: struct blocks *. */
static bool scan_blocks(struct ram_scan *scan, void *into)
{
    struct blocks *const blocks = into;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        scan->status =
            ram_grow(&blocks->items, sizeof *blocks->items, blocks->n, &blocks->cap, scan->err);
        if (scan->status)
            return false;
        struct ram_matrices *const block = &blocks->items[blocks->n++];
        uint64_t *const sides[] = {&block->count, &block->rows, &block->cols};
        ram_scan_counts(scan, sides, COUNT(sides), "a stored matrix is not [count, rows, cols]");
    }
    return ram_scan_good(scan);
}

/* into: the unit. */
static bool scan_stored(struct ram_scan *scan, void *into)
{
    struct ram_unit *const unit = into;
    struct blocks blocks = {0};
    uint64_t bytes = 0;
    const struct ram_field fields[] = {{"bytes", ram_field_count, &bytes, true},
                                       {"matrices", scan_blocks, &blocks, true}};

    if (ram_scan_fields(scan, fields, COUNT(fields)) && (bytes < 1 || bytes > 16))
        ram_scan_fail(scan, RAM_EFORMAT, "stored at %llu bytes a weight, expected 1 to 16",
                      (unsigned long long)bytes);
    if (ram_scan_good(scan) && blocks.n) {
        const size_t size = blocks.n * sizeof *blocks.items;
        unit->stored_size = (int)bytes;
        unit->n_blocks = blocks.n;
        unit->blocks = ram_arena_alloc(scan->arena, size, scan->err);
        if (unit->blocks)
            memcpy(unit->blocks, blocks.items, size);
        else
            scan->status = RAM_ENOMEM;
    }
    free(blocks.items);
    return ram_scan_good(scan);
}

/* into: the unit. */
static bool scan_read(struct ram_scan *scan, void *into)
{
    struct ram_unit *const unit = into;
    uint64_t *const counts[] = {&unit->read, &unit->parts};

    if (ram_scan_counts(scan, counts, COUNT(counts), "what a token reads is not [read, parts]") &&
        (unit->read > unit->parts || unit->parts < 1 || unit->parts > UINT32_MAX))
        ram_scan_fail(scan, RAM_EFORMAT, "a token reads %llu of %llu parts",
                      (unsigned long long)unit->read, (unsigned long long)unit->parts);
    return ram_scan_good(scan);
}

/* Fields against each other. */
static bool check_unit(struct ram_scan *scan, struct reader *reader, const struct ram_unit *unit)
{
    uint64_t stored = 0;

    for (size_t i = 0; i < unit->n_blocks; i++) {
        const struct ram_matrices *const block = &unit->blocks[i];
        uint64_t one = 0;
        ram_scan_add_product(scan, block->rows, block->cols, &one, "stored matrices");
        ram_scan_add_product(scan, block->count, one, &stored, "stored matrices");
    }
    if (unit->n_blocks && stored != unit->parameters)
        return ram_scan_fail(scan, RAM_EFORMAT, "stored matrices of %llu elements, expected %llu",
                             (unsigned long long)stored, (unsigned long long)unit->parameters);
    if (unit->bytes / 16 > unit->parameters)
        return ram_scan_fail(scan, RAM_EFORMAT, "%llu bytes for %llu parameters",
                             (unsigned long long)unit->bytes, (unsigned long long)unit->parameters);
    return ram_scan_add_product(scan, unit->parameters, 1, &reader->parameters, "a plan");
}

static bool scan_unit(struct ram_scan *scan, struct reader *reader, struct ram_unit *unit)
{
    uint64_t bits = 0, group = 0;
    const char *id = NULL;
    const struct ram_field fields[] = {
        {"name", ram_field_name, &unit->name, true},
        {"role", ram_field_text, &unit->role, false},
        {"layer", ram_field_index, &unit->layer, false},
        {"members", ram_field_count, &unit->members, false},
        {"parameters", ram_field_count, &unit->parameters, true},
        {"bits", ram_field_count, &bits, true},
        {"group", ram_field_count, &group, true},
        {"form", ram_field_text, &id, false},
        {"scores", scan_scores, unit, false},
        {"reason", ram_field_text, &unit->reason, false},
        {"bytes", ram_field_count, &unit->bytes, true},
        {"stored", scan_stored, unit, false},
        {"read", scan_read, unit, false},
    };

    *unit = (struct ram_unit){.role = "other", .layer = -1, .members = 1, .reason = "user"};
    return ram_scan_fields(scan, fields, COUNT(fields)) &&
           ram_scan_form(scan, id, bits, group, &unit->form) && check_unit(scan, reader, unit);
}

/* into: the reader. */
static bool scan_units(struct ram_scan *scan, void *into)
{
    struct reader *const reader = into;
    struct ram_plan *const plan = reader->plan;
    size_t cap = 0;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        scan->kind = "unit";
        scan->number = plan->n_units + 1;
        scan->name = NULL;
        if (plan->n_units == RAM_MAX_ENTRIES)
            return ram_scan_fail(scan, RAM_EFORMAT, "more than %zu units", RAM_MAX_ENTRIES);
        scan->status = ram_grow(&plan->units, sizeof *plan->units, plan->n_units, &cap, scan->err);
        if (ram_scan_good(scan))
            scan_unit(scan, reader, &plan->units[plan->n_units++]);
    }
    scan->kind = scan->name = NULL;
    return ram_scan_good(scan);
}

/* ---- what cannot be computed from the units -------------------------------------------------- */

/* into: struct ram_share *. */
static bool scan_share(struct ram_scan *scan, void *into)
{
    struct ram_share *const share = into;
    const struct ram_field fields[] = {
        {"parameters", ram_field_count, &share->parameters, true},
        {"tensors", ram_field_count, &share->tensors, true},
    };

    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: the plan. */
static bool scan_expert_shares(struct ram_scan *scan, void *into)
{
    struct ram_plan *const plan = into;
    struct ram_field fields[RAM_MAX_BITS];
    char keys[RAM_MAX_BITS][4];
    size_t n = 0;

    if (ram_scan_null(scan))
        return true;
    for (int b = ram_form_next_bits(0); b; b = ram_form_next_bits(b), n++) {
        snprintf(keys[n], sizeof keys[n], "%d", b);
        fields[n] = (struct ram_field){keys[n], scan_share, &plan->expert_shares[b], false};
    }
    plan->has_expert_shares = true;
    return ram_scan_fields(scan, fields, n);
}

/* into: the plan. */
static bool scan_summary(struct ram_scan *scan, void *into)
{
    struct ram_plan *const plan = into;
    const struct ram_field fields[] = {
        {"span", ram_field_figure, &plan->span, false},
        {"per_expert_distribution", scan_expert_shares, plan, false},
        {"predicted", ram_field_object, &plan->predicted, false},
    };

    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* into: the plan. */
static bool scan_model(struct ram_scan *scan, void *into)
{
    struct ram_plan *const plan = into;
    const struct ram_field fields[] = {
        {"name", ram_field_text, &plan->model_name, false},
        {"model_type", ram_field_text, &plan->model_type, false},
    };

    return ram_scan_fields(scan, fields, COUNT(fields));
}

/* A unit whose bytes do not follow from its bits and group was edited by hand: its reason becomes
 * `user`, and the plan's prediction, which was made for another plan, is dropped. */
static void note_edits(struct ram_plan *plan)
{
    bool edited = false;

    for (size_t i = 0; i < plan->n_units; i++) {
        struct ram_unit *const unit = &plan->units[i];
        if (unit->n_blocks && unit->bytes != ram_unit_bytes(unit, unit->form)) {
            unit->reason = "user";
            edited = true;
        }
    }
    if (edited) {
        json_decref(plan->predicted);
        plan->predicted = NULL;
        plan->has_expert_shares = false;
    }
}

static int parse(struct ram_plan *plan, const char *text, size_t size, const char *where,
                 struct ram_err *err)
{
    char schema[] = "ram.plan/1";
    struct reader reader = {.plan = plan};
    struct ram_scan scan;
    const struct ram_field fields[] = {
        {"schema", ram_field_schema, schema, true},
        {"method", ram_field_text, &plan->method, true},
        {"model", scan_model, plan, false},
        {"settings", ram_field_object, &plan->settings, false},
        {"manifest", ram_field_text, &plan->manifest_sha256, false},
        {"format", ram_field_text, &plan->format, false},
        {"summary", scan_summary, plan, false},
        {"units", scan_units, &reader, true},
    };

    ram_scan_init(&scan, text, size, where, &plan->arena, err);
    ram_scan_fields(&scan, fields, COUNT(fields));
    ram_scan_end(&scan);
    const int status = scan.status ? scan.status : ram_plan_index(plan, where, err);
    if (status)
        return status;
    note_edits(plan);
    ram_plan_sum(plan);
    return RAM_OK;
}

int ram_plan_parse(struct ram_plan **out, const char *text, size_t size, const char *where,
                   struct ram_err *err)
{
    struct ram_plan *plan = NULL;
    struct ram_c_locale locale;

    *out = NULL;
    int status = ram_plan_new(&plan, err);
    if (status)
        return status;
    status = ram_c_locale_enter(&locale, err);
    if (!status) {
        status = parse(plan, text, size, where, err);
        ram_c_locale_leave(&locale);
    }
    if (status) {
        ram_plan_free(plan);
        return status;
    }
    *out = plan;
    return RAM_OK;
}
