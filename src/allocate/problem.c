/* problem.c - a manifest's entries grouped into the units that a plan decides. See problem.h. */
#include "allocate/problem.h"

#include "arch/config_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- grouping ----------------------------------------------------------------------------- */

struct member {
    const struct ram_entry *entry;
    size_t index; /* in the manifest */
    size_t head;  /* index of the first member of its unit */
};

static int by_unit(const void *a, const void *b)
{
    const struct member *const x = a, *const y = b;

    const int order = strcmp(x->entry->unit, y->entry->unit);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int by_head(const void *a, const void *b)
{
    const struct member *const x = a, *const y = b;

    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Entries that the output stores, unit by unit, units in the order of their first entries. Sorted
 * rather than hashed: no choice of names makes it slow. */
static int group_entries(const struct ram_manifest *manifest, struct member **out, size_t *n_out,
                         struct ram_err *err)
{
    size_t n = 0;

    struct member *const members = ram_calloc(manifest->n_entries, sizeof *members, err);
    if (!members)
        return RAM_ENOMEM;
    for (size_t i = 0; i < manifest->n_entries; i++)
        if (manifest->entries[i].n_stored)
            members[n++] = (struct member){&manifest->entries[i], i, 0};
    qsort(members, n, sizeof *members, by_unit);
    for (size_t i = 0; i < n; i++) {
        const bool same = i && !strcmp(members[i - 1].entry->unit, members[i].entry->unit);
        members[i].head = same ? members[i - 1].head : members[i].index;
    }
    qsort(members, n, sizeof *members, by_head);
    *out = members;
    *n_out = n;
    return RAM_OK;
}

static int by_sides(const void *a, const void *b)
{
    const struct ram_matrices *const x = a, *const y = b;

    if (x->rows != y->rows)
        return x->rows < y->rows ? -1 : 1;
    return (x->cols > y->cols) - (x->cols < y->cols);
}

/* The matrices of a unit, equal ones counted together. */
static int collect_blocks(struct ram_problem *problem, size_t i, struct ram_err *err)
{
    const struct ram_case *const c = &problem->cases[i];
    struct ram_unit *const unit = &problem->plan->units[i];
    size_t n = 0;

    struct ram_matrices *const blocks =
        ram_arena_alloc(&problem->plan->arena, c->n_members * RAM_MAX_STORED * sizeof *blocks, err);
    if (!blocks)
        return RAM_ENOMEM;
    for (size_t m = 0; m < c->n_members; m++) {
        const struct ram_entry *const entry = &problem->manifest->entries[c->members[m]];
        for (int s = 0; s < entry->n_stored; s++)
            blocks[n++] = (struct ram_matrices){1, entry->stored[s].rows, entry->stored[s].cols};
    }
    qsort(blocks, n, sizeof *blocks, by_sides);
    for (size_t b = 0; b < n; b++) {
        struct ram_matrices *const last = unit->n_blocks ? &blocks[unit->n_blocks - 1] : NULL;
        if (last && !by_sides(last, &blocks[b]))
            last->count++;
        else
            blocks[unit->n_blocks++] = blocks[b];
    }
    unit->blocks = blocks;
    return RAM_OK;
}

/* What part of the unit a token needs. */
static void share_reading(const struct ram_problem *problem, const struct ram_case *c,
                          struct ram_unit *unit)
{
    const bool of_experts = c->first->expert >= 0;

    if (of_experts && problem->top_k && problem->top_k < problem->n_experts) {
        unit->read = problem->top_k;
        unit->parts = problem->n_experts;
    } else if (c->role == RAM_ROLE_EMBED && problem->has_head && c->first->n_stored) {
        unit->read = 1;
        unit->parts = c->first->stored[0].rows;
    }
}

/* What the members of one unit say together. */
static int fill_unit(struct ram_problem *problem, size_t i, struct ram_err *err)
{
    struct ram_case *const c = &problem->cases[i];
    struct ram_unit *const unit = &problem->plan->units[i];
    struct ram_arena *const arena = &problem->plan->arena;

    c->first = &problem->manifest->entries[c->members[0]];
    c->role = ram_role_find(c->first->role);
    c->quantizable = true;
    for (size_t m = 0; m < c->n_members; m++) {
        const struct ram_entry *const entry = &problem->manifest->entries[c->members[m]];
        if (entry->stored_size != c->first->stored_size)
            return ram_fail(err, RAM_EFORMAT,
                            "unit %s: %s is stored at %d bytes a weight, %s at %d", entry->unit,
                            c->first->name, c->first->stored_size, entry->name, entry->stored_size);
        unit->parameters += ram_entry_stored(entry);
        if (entry->skip && !c->skip)
            c->skip = ram_skip_name(entry->skip);
        if (entry->skip && entry->skip != RAM_SKIP_TINY)
            c->quantizable = false;
    }
    unit->name = ram_arena_strdup(arena, c->first->unit, err);
    unit->role = ram_arena_strdup(arena, c->first->role, err);
    unit->layer = c->first->layer;
    unit->members = c->n_members;
    unit->stored_size = c->first->stored_size;
    unit->form = RAM_FORM_16;
    share_reading(problem, c, unit);
    unit->reason = "default";
    if (!unit->name || !unit->role)
        return RAM_ENOMEM;
    const int status = ram_rules_apply(problem->rules, problem->manifest->model_type, c, err);
    return status ? status : collect_blocks(problem, i, err);
}

static int fill_units(struct ram_problem *problem, const struct member *members, size_t n,
                      struct ram_err *err)
{
    struct ram_plan *const plan = problem->plan;
    size_t n_units = 0;

    for (size_t i = 0; i < n; i++)
        n_units += !i || members[i].head != members[i - 1].head;
    plan->units = ram_calloc(n_units, sizeof *plan->units, err);
    problem->cases = ram_calloc(n_units, sizeof *problem->cases, err);
    problem->members = ram_calloc(n, sizeof *problem->members, err);
    if (!plan->units || !problem->cases || !problem->members)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        problem->members[i] = members[i].index;
        if (!i || members[i].head != members[i - 1].head)
            problem->cases[plan->n_units++].members = &problem->members[i];
        problem->cases[plan->n_units - 1].n_members++;
    }
    for (size_t i = 0; i < n; i++)
        problem->has_head =
            problem->has_head || ram_role_find(problem->manifest->entries[i].role) == RAM_ROLE_HEAD;
    for (size_t i = 0; i < n_units; i++) {
        const int status = fill_unit(problem, i, err);
        if (status)
            return status;
    }
    return RAM_OK;
}

/* ---- is it a mixture of experts? ---------------------------------------------------------- */

static int find_experts(struct ram_problem *problem, struct ram_err *err)
{
    const struct ram_manifest *const m = problem->manifest;
    struct ram_arena *const arena = &problem->plan->arena;
    struct ram_config config;
    struct ram_err ignored = {0}; /* then the tensors decide */

    problem->moe = true;
    ram_config_read(&config, m->config, "manifest", arena, &ignored);
    problem->n_experts = config.n_experts;
    problem->top_k = config.top_k;
    if (config.n_experts > 1) {
        problem->moe_why =
            ram_arena_printf(arena, err, "config has %s = %llu",
                             config.experts_key ? config.experts_key : "experts, by default",
                             (unsigned long long)config.n_experts);
        return problem->moe_why ? RAM_OK : RAM_ENOMEM;
    }
    for (size_t i = 0; i < m->n_entries; i++) {
        if (m->entries[i].expert < 0)
            continue;
        problem->moe_why =
            ram_arena_printf(arena, err, "there are tensors of experts: %s", m->entries[i].name);
        return problem->moe_why ? RAM_OK : RAM_ENOMEM;
    }
    problem->moe = false;
    problem->moe_why = "neither config nor tensors know of experts";
    return RAM_OK;
}

int ram_problem_init(struct ram_problem *problem, const struct ram_manifest *manifest,
                     const struct ram_allocate_opts *opts, struct ram_err *err)
{
    struct member *members = NULL;
    size_t n_members = 0;

    *problem = (struct ram_problem){.manifest = manifest, .opts = opts};
    int status = ram_rules_new(&problem->rules, opts, err);
    if (!status)
        status = ram_plan_new(&problem->plan, err);
    if (!status)
        status = find_experts(problem, err);
    if (!status)
        status = group_entries(manifest, &members, &n_members, err);
    if (!status)
        status = fill_units(problem, members, n_members, err);
    if (!status)
        status = ram_rules_check_used(problem->rules, err);
    free(members);
    if (status) {
        ram_plan_free(problem->plan);
        ram_problem_release(problem);
    }
    return status;
}

void ram_problem_release(struct ram_problem *problem)
{
    ram_rules_free(problem->rules);
    free(problem->cases);
    free(problem->members);
    *problem = (struct ram_problem){0};
}

/* ---- what a form costs in accuracy --------------------------------------------------------- */

/* What an entry would lose. An entry of a manifest from elsewhere may have no figure for a form
 * that does not fit its rows; then that of the form's fallback counts. */
static double entry_error(const struct ram_entry *entry, const struct ram_form *form)
{
    while (isnan(entry->errors[ram_form_index(form)]) && form->fallback &&
           form->fallback != RAM_FORM_16)
        form = form->fallback;
    return entry->errors[ram_form_index(form)];
}

/* Sums over the members that have a figure, scaled to the parameters of all. */
static double scaled(double sum, uint64_t parameters, uint64_t all)
{
    return parameters ? sum * ((double)all / (double)parameters) : NAN;
}

double ram_case_error(const struct ram_problem *problem, size_t i, const struct ram_form *form)
{
    const struct ram_case *const c = &problem->cases[i];
    uint64_t parameters = 0;
    double sum = 0;

    if (form == RAM_FORM_16)
        return 0;
    for (size_t m = 0; m < c->n_members; m++) {
        const struct ram_entry *const entry = &problem->manifest->entries[c->members[m]];
        const double error = entry->measured ? entry_error(entry, form) : NAN;
        if (isnan(error))
            continue;
        sum += error;
        parameters += entry->parameters;
    }
    return scaled(sum, parameters, problem->plan->units[i].parameters);
}

double ram_case_energy(const struct ram_problem *problem, size_t i)
{
    const struct ram_case *const c = &problem->cases[i];
    uint64_t parameters = 0;
    double sum = 0;

    for (size_t m = 0; m < c->n_members; m++) {
        const struct ram_entry *const entry = &problem->manifest->entries[c->members[m]];
        if (!entry->measured || isnan(entry->stats.rms))
            continue;
        sum += entry->stats.rms * entry->stats.rms * (double)entry->parameters;
        parameters += entry->parameters;
    }
    return scaled(sum, parameters, problem->plan->units[i].parameters);
}

const struct ram_form *ram_unit_fit(const struct ram_unit *unit, const struct ram_form *form)
{
    for (size_t b = 0; b < unit->n_blocks; b++)
        if (ram_form_fit(form, unit->blocks[b].cols) != RAM_FORM_16)
            return form;
    return RAM_FORM_16;
}

void ram_decide_unit(struct ram_problem *problem, size_t i, const struct ram_form *form,
                     const char *reason)
{
    struct ram_unit *const unit = &problem->plan->units[i];

    unit->form = ram_unit_fit(unit, form);
    unit->reason = unit->form == form ? reason : "row-size";
}
