/* plan.c - the life and the sums of a plan. See plan.h. */
#include "record/plan.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int ram_plan_new(struct ram_plan **out, struct ram_err *err)
{
    struct ram_plan *plan = ram_calloc(1, sizeof *plan, err);
    if (!plan)
        return RAM_ENOMEM;
    plan->method = plan->manifest_sha256 = plan->model_name = plan->model_type = "";
    plan->format = "mlx";
    plan->span = NAN;
    plan->settings = json_object();
    if (!plan->settings) {
        ram_plan_free(plan);
        return ram_fail(err, RAM_ENOMEM, "no memory for a plan");
    }
    *out = plan;
    return RAM_OK;
}

void ram_plan_free(struct ram_plan *plan)
{
    if (!plan)
        return;
    json_decref(plan->settings);
    json_decref(plan->predicted);
    free(plan->units);
    free(plan->by_name);
    ram_arena_release(&plan->arena);
    free(plan);
}

uint64_t ram_unit_bytes(const struct ram_unit *unit, const struct ram_form *form)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < unit->n_blocks; i++) {
        const struct ram_matrices *const block = &unit->blocks[i];
        bytes += block->count *
                 ram_form_bytes(form, block->rows, block->cols, (size_t)unit->stored_size);
    }
    return bytes;
}

/* read and parts are below 2^32: of a record, or checked when they were read. */
uint64_t ram_unit_read(const struct ram_unit *unit, uint64_t bytes)
{
    if (!unit->parts)
        return bytes;
    return bytes / unit->parts * unit->read + bytes % unit->parts * unit->read / unit->parts;
}

void ram_plan_sum(struct ram_plan *plan)
{
    struct ram_totals *const totals = &plan->totals;
    double bits = 0;

    *totals = (struct ram_totals){0};
    memset(plan->shares, 0, sizeof plan->shares);
    for (size_t i = 0; i < plan->n_units; i++) {
        struct ram_unit *const unit = &plan->units[i];
        struct ram_share *const share = &plan->shares[unit->form->bits];
        if (unit->n_blocks)
            unit->bytes = ram_unit_bytes(unit, unit->form);
        totals->parameters += unit->parameters;
        totals->bytes += unit->bytes;
        totals->bytes_per_token += ram_unit_read(unit, unit->bytes);
        share->parameters += unit->parameters;
        share->tensors += unit->members;
        bits += (double)unit->parameters * unit->form->bits;
    }
    if (totals->parameters) {
        totals->nominal_bits = bits / (double)totals->parameters;
        totals->effective_bits = (double)totals->bytes * 8 / (double)totals->parameters;
    }
    if (totals->bytes)
        totals->compression = (double)totals->parameters * 2 / (double)totals->bytes;
}

void ram_plan_totals(const struct ram_plan *plan, struct ram_totals *out)
{
    *out = plan->totals;
    out->predicted_kld = ram_plan_predicted(plan, "kld");
}

/* hex: SHA-256 of a line "name bits group" for each unit, or "name form". */
static int digest_units(const struct ram_plan *plan, char hex[RAM_SHA256_HEX], struct ram_err *err)
{
    struct ram_buf text = {0};

    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_form *const form = plan->units[i].form;
        if (ram_form_is_plain(form))
            ram_buf_printf(&text, "%s %d %d\n", plan->units[i].name, form->bits, form->group);
        else
            ram_buf_printf(&text, "%s %s\n", plan->units[i].name, form->id);
    }
    const int status =
        text.failed ? ram_fail(err, RAM_ENOMEM, "no memory for a plan's digest") : RAM_OK;
    if (!status)
        ram_sha256(text.data ? text.data : "", text.size, hex);
    ram_buf_release(&text);
    return status;
}

int ram_plan_seal(struct ram_plan *plan, struct ram_err *err)
{
    char hex[RAM_SHA256_HEX];

    const int status = digest_units(plan, hex, err);
    if (!status && json_object_set_new(plan->settings, "decided", json_string(hex)))
        return ram_fail(err, RAM_ENOMEM, "no memory for a plan's digest");
    return status;
}

int ram_plan_origin(const struct ram_plan *plan, enum ram_plan_origin *out, struct ram_err *err)
{
    const char *decided = json_string_value(json_object_get(plan->settings, "decided"));
    char hex[RAM_SHA256_HEX];

    *out = RAM_PLAN_UNSEALED;
    if (!decided)
        return RAM_OK;
    const int status = digest_units(plan, hex, err);
    *out = !status && !strcmp(hex, decided) ? RAM_PLAN_AS_DECIDED : RAM_PLAN_EDITED;
    return status;
}

const char *ram_plan_encoder(const struct ram_plan *plan)
{
    return json_string_value(json_object_get(plan->settings, "encoder"));
}

double ram_plan_predicted(const struct ram_plan *plan, const char *key)
{
    const json_t *value = json_object_get(plan->predicted, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

struct named {
    const char *name;
    size_t index;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

int ram_plan_index(struct ram_plan *plan, const char *where, struct ram_err *err)
{
    int status = RAM_OK;

    free(plan->by_name);
    plan->by_name = ram_calloc(plan->n_units, sizeof *plan->by_name, err);
    struct named *const names = ram_calloc(plan->n_units, sizeof *names, err);
    if (!plan->by_name || !names) {
        free(names);
        return RAM_ENOMEM;
    }
    for (size_t i = 0; i < plan->n_units; i++)
        names[i] = (struct named){plan->units[i].name, i};
    qsort(names, plan->n_units, sizeof *names, by_name);
    for (size_t i = 0; i < plan->n_units; i++) {
        plan->by_name[i] = names[i].index;
        if (!status && i && !by_name(&names[i - 1], &names[i]))
            status =
                ram_fail(err, RAM_EFORMAT, "%s: unit %s stands in it twice", where, names[i].name);
    }
    free(names);
    return status;
}

const struct ram_unit *ram_plan_find(const struct ram_plan *plan, const char *unit)
{
    size_t low = 0, high = plan->n_units;

    for (size_t i = 0; !plan->by_name && i < plan->n_units; i++)
        if (!strcmp(plan->units[i].name, unit))
            return &plan->units[i];
    while (plan->by_name && low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct ram_unit *const found = &plan->units[plan->by_name[middle]];
        const int order = strcmp(unit, found->name);
        if (!order)
            return found;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

int ram_plan_read(struct ram_plan **out, const char *path, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    *out = NULL;
    int status = ram_file_read(path, RAM_MAX_RECORD, &text, &size, err);
    if (!status)
        status = ram_plan_parse(out, text, size, path, err);
    free(text);
    return status;
}

int ram_plan_write(const struct ram_plan *plan, const char *path, bool force, struct ram_err *err)
{
    char *text = NULL;

    int status = ram_plan_text(plan, &text, err);
    if (!status)
        status = ram_file_write(path, text, strlen(text), force, err);
    free(text);
    return status;
}
