/*
 * bounds.c - how small and how large plans can be, known from shapes before anything is measured.
 * So a budget that cannot be met is refused at once, and not after hours.
 *
 * The 2-bit veto and the scores need measurements, and are taken to allow everything: the smallest
 * is a bound from below.
 */
#include "allocate/allocate.h"
#include "allocate/asked_size.h"
#include "allocate/rules.h"

/* Bits below which no method takes a unit that the user leaves to it; 16: it is never quantised. */
static int least_bits(const struct ram_problem *problem, size_t i, bool budget)
{
    const struct ram_case *c = &problem->cases[i];

    if (!c->quantizable || c->skip || c->is_untouchable)
        return 16;
    if (budget ? ram_role_is_router(c->role) : c->is_protected)
        return 16;
    if (c->is_sensitive)
        return 8;
    return budget && c->is_embedding ? RAM_BUDGET_EMBEDDING_FLOOR : 2;
}

/* The smallest size of a unit in a form that it may have. */
static uint64_t least_bytes(const struct ram_problem *problem, size_t i, bool budget)
{
    const struct ram_unit *unit = &problem->plan->units[i];
    const struct ram_form *user = problem->cases[i].user_form;
    const int bits = least_bits(problem, i, budget);
    uint64_t least = ram_unit_bytes(unit, user ? user : RAM_FORM_16);

    for (size_t k = 0; !user && k < RAM_N_FORMS; k++) {
        const uint64_t bytes = ram_unit_bytes(unit, &ram_forms[k]);
        if (ram_forms[k].bits >= bits && bytes < least)
            least = bytes;
    }
    return least;
}

int ram_allocate_bounds(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                        struct ram_budget_bounds *out, struct ram_err *err)
{
    const struct ram_method *method = ram_method_find(opts->method ? opts->method : "auto");
    struct ram_problem problem;

    *out = (struct ram_budget_bounds){0};
    int status = ram_problem_init(&problem, manifest, opts, err);
    if (status)
        return status;
    const bool budget = method && method->budget;
    if (budget)
        status = ram_budget_bytes(&problem, &out->budget, err);
    out->smallest = out->largest = ram_budget_headers(&problem, out->budget);
    uint64_t read = 0;
    for (size_t i = 0; i < problem.plan->n_units; i++) {
        const uint64_t least = least_bytes(&problem, i, budget);
        out->smallest += least;
        read += ram_unit_read(&problem.plan->units[i], least);
        out->largest += ram_unit_bytes(&problem.plan->units[i], RAM_FORM_16);
    }
    if (!status && budget && out->budget < out->smallest)
        status = ram_budget_too_small(&problem, out->budget, out->smallest, err);
    if (!status && budget && opts->bytes_per_token && opts->bytes_per_token < read)
        status = ram_budget_reads_too_much(opts->bytes_per_token, read, err);
    ram_plan_free(problem.plan);
    ram_problem_release(&problem);
    return status;
}
