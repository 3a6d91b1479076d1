/*
 * budget.c - the widths of least predicted divergence (divergence.h) within a number of bytes.
 *
 * The divergence is a sum over units, linear in their errors, except for the square root of the
 * router flips, which depends on all units together. The root is replaced by its tangent at the
 * plan of the previous round. Then the units are independent, and the choice is a knapsack problem
 * (knapsack.h). The tangent is nowhere below the root and touches it at the previous plan, so a
 * plan with a lower cost by the tangent also has a lower divergence. The rounds end when there is
 * none. Without routers, the first round is exact.
 *
 * docs/notebook.md, "The budget method", records what was measured.
 */
#include "allocate/asked_size.h"
#include "allocate/divergence.h"
#include "allocate/knapsack.h"
#include "allocate/method.h"
#include "allocate/rival.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ROUNDS = 16,
    READ_BISECTIONS = 26 /* of the log of a price: to 240 / 2^25 */
};

/* The relative squared error from which 2 bits are not used: 9 dB below the weights. Predictions
 * are made from probes at 3 bits, and for larger errors the divergence is no longer linear. */
static const double worst_2bit_error = 0.126;

/* Options with an error above this, relative to the probe's or to the weights, are dropped. Such
 * ratios come from matrices that their probe stores almost exactly, and from damaged manifests. */
#define WORST_ERROR 1e9

/* The encoders, by what they leave of the errors in the manifest, which are of rounding to nearest.
 * gptq: used only where the manifest has no error curves. An embedding is looked up, so that no H
 * of its inputs exists, and its error is taken to be that of search. */
enum encoder { RTN, SEARCH, GPTQ, N_ENCODERS };
static const char *const encoder_names[N_ENCODERS] = {"rtn", "search", "gptq"};

static double gain_of_encoder(enum encoder encoder, const struct ram_form *form)
{
    const double gain = encoder == SEARCH ? form->search_gain
                        : encoder == GPTQ ? form->gptq_gain
                                          : 1;
    return gain > 0 ? gain : 1;
}

struct budget {
    struct ram_problem *problem;
    enum encoder encoder;
    /* Measured errors of forms with this encoder, by unit; or NULL. */
    const struct ram_unit_figures *curves;
    uint64_t bytes;              /* the budget: of all weight files */
    uint64_t fixed;              /* bytes of headers and of units that have no choice */
    uint64_t read;               /* the second budget: bytes that a token reads; 0: no limit */
    uint64_t fixed_read;         /* of these, units that have no choice */
    struct ram_divergence given; /* predicted divergence of units whose width the user set */
    size_t n_items;              /* units that have a choice */
    size_t *unit_of;             /* [n_items] the unit of each item */
    struct ram_item *items;      /* [n_items] */
    struct ram_unit_cost *costs; /* [n_items] */
    /* [n_items, RAM_N_FORMS] */
    struct ram_option *options;
    double *errors;                /* e of each option, as in divergence.h */
    const struct ram_form **forms; /* of each option, in the order of the table */
};

/* ---- the options of a unit -------------------------------------------------------------- */

static double gain_of(const struct budget *b, size_t i, const struct ram_form *form)
{
    const bool looked_up = b->encoder == GPTQ && b->problem->cases[i].is_embedding;
    return gain_of_encoder(looked_up ? SEARCH : b->encoder, form);
}

/* The same for the error of the weights themselves, which the veto of 2 bits looks at. gptq lowers
 * the error of a layer's output, not that of its weights: there, search is the better estimate. */
static double weights_gain(const struct budget *b, const struct ram_form *form)
{
    return gain_of_encoder(b->encoder == GPTQ ? SEARCH : b->encoder, form);
}

/* The error e of unit i in a form: measured by the curves if there are any, otherwise from its sum
 * of squared errors. NAN if the form does not exist for this unit. */
static double error_of(const struct budget *b, size_t i, const struct ram_form *form,
                       double squares)
{
    const char *unit = b->problem->plan->units[i].name;
    const double *curve = b->curves ? ram_unit_figures_find(b->curves, unit) : NULL;
    const double ratio = curve && !isnan(squares) ? curve[ram_form_index(form)] : NAN;
    return isnan(ratio) ? ram_unit_error(b->problem, i, squares) : fmax(0, ratio);
}

/* The reason why unit i must not have so few bits, or NULL. error: sum of squares at these bits. */
static const char *floor_reason(const struct ram_problem *problem, size_t i, int bits, double error)
{
    if (problem->cases[i].is_embedding && bits < RAM_BUDGET_EMBEDDING_FLOOR)
        return "floor-embedding";
    if (problem->cases[i].is_sensitive && bits < 8)
        return "sensitive";
    if (bits == 2 && error > worst_2bit_error * ram_case_energy(problem, i))
        return "veto-2bit";
    return NULL;
}

/* The reason why unit i is not for the knapsack to decide, or NULL if it is. */
static const char *fixed_reason(const struct ram_problem *problem, size_t i)
{
    const struct ram_case *c = &problem->cases[i];

    if (c->user_form)
        return "user";
    if (!c->quantizable || c->skip)
        return c->skip ? c->skip : "protected";
    return c->is_untouchable || ram_role_is_router(c->role) ? "protected" : NULL;
}

static int add_options(struct budget *b, size_t i, struct ram_err *err)
{
    struct ram_problem *problem = b->problem;
    const struct ram_unit *unit = &problem->plan->units[i];
    const size_t first = b->n_items * RAM_N_FORMS;
    size_t n = 0;

    b->costs[b->n_items] = ram_unit_cost(problem, i);
    if (isnan(b->costs[b->n_items].smooth))
        return ram_fail(err, RAM_EFORMAT,
                        "unit %s was not measured: analyze the checkpoint with --probe first",
                        unit->name);
    for (const struct ram_form *form = ram_forms; form < RAM_FORM_16; form++) {
        const double nearest = ram_case_error(problem, i, form);
        const double error = error_of(b, i, form, nearest * gain_of(b, i, form));
        if (!(error < WORST_ERROR) ||
            floor_reason(problem, i, form->bits, nearest * weights_gain(b, form)))
            continue;
        b->options[first + n].bytes = ram_unit_bytes(unit, form);
        b->errors[first + n] = error;
        b->forms[first + n++] = form;
    }
    b->options[first + n].bytes = ram_unit_bytes(unit, RAM_FORM_16);
    b->forms[first + n++] = RAM_FORM_16;
    b->items[b->n_items] = (struct ram_item){b->options + first, n};
    b->unit_of[b->n_items++] = i;
    return RAM_OK;
}

static void add(struct ram_divergence *sums, struct ram_unit_cost cost, double error)
{
    sums->smooth += cost.smooth * error;
    sums->flips += cost.flips * error;
}

/* Adds the predicted divergence of a unit in the form that it has in the plan. False if that is
 * not known: the unit was not measured, or its error is out of range. */
static bool add_given(struct budget *b, size_t i)
{
    const struct ram_unit *unit = &b->problem->plan->units[i];
    const struct ram_unit_cost cost = ram_unit_cost(b->problem, i);

    if (unit->form == RAM_FORM_16)
        return true;
    if (isnan(cost.smooth))
        return false;
    const double squares = ram_case_error(b->problem, i, unit->form) * gain_of(b, i, unit->form);
    const double error = error_of(b, i, unit->form, squares);
    if (!(error < WORST_ERROR))
        return false;
    add(&b->given, cost, error);
    return true;
}

static int build(struct budget *b, struct ram_err *err)
{
    struct ram_problem *problem = b->problem;
    const size_t n = problem->plan->n_units;
    int status = RAM_OK;

    b->items = ram_calloc(n, sizeof *b->items, err);
    b->unit_of = ram_calloc(n, sizeof *b->unit_of, err);
    b->costs = ram_calloc(n, sizeof *b->costs, err);
    b->options = ram_calloc(n, RAM_N_FORMS * sizeof *b->options, err);
    b->errors = ram_calloc(n, RAM_N_FORMS * sizeof *b->errors, err);
    b->forms = ram_calloc(n, RAM_N_FORMS * sizeof(const struct ram_form *), err);
    if (!b->items || !b->unit_of || !b->costs || !b->options || !b->errors || !b->forms)
        return RAM_ENOMEM;
    for (size_t i = 0; !status && i < n; i++) {
        const struct ram_case *c = &problem->cases[i];
        const char *reason = fixed_reason(problem, i);
        if (!reason) {
            status = add_options(b, i, err);
            continue;
        }
        ram_decide_unit(problem, i, c->user_form ? c->user_form : RAM_FORM_16, reason);
        const struct ram_unit *unit = &problem->plan->units[i];
        b->fixed += ram_unit_bytes(unit, unit->form);
        b->fixed_read += ram_unit_read(unit, ram_unit_bytes(unit, unit->form));
        /* A form that the user set does not change the choice of the others, but it belongs to the
         * prediction, as far as the unit was measured. */
        (void)add_given(b, i);
    }
    return status;
}

/* ---- the choice ------------------------------------------------------------------------- */

static struct ram_divergence sums_of(const struct budget *b, const size_t *choice)
{
    struct ram_divergence sums = b->given;

    for (size_t k = 0; k < b->n_items; k++)
        add(&sums, b->costs[k], b->errors[k * RAM_N_FORMS + choice[k]]);
    return sums;
}

/* What a token reads of an item in its option. */
static uint64_t read_of(const struct budget *b, size_t item, size_t option)
{
    return ram_unit_read(&b->problem->plan->units[b->unit_of[item]],
                         b->items[item].options[option].bytes);
}

static uint64_t read_by(const struct budget *b, const size_t *choice)
{
    uint64_t bytes = b->fixed_read;

    for (size_t k = 0; k < b->n_items; k++)
        bytes += read_of(b, k, choice[k]);
    return bytes;
}

/* Sets the cost of every option for the knapsack, with the tangent of the root at `flips` and so
 * many nats for a byte that a token reads. */
static void price(struct budget *b, double flips, double toll)
{
    for (size_t k = 0; k < b->n_items; k++) {
        const double slope = ram_divergence_slope(b->costs[k], flips);
        for (size_t o = 0; o < b->items[k].n; o++)
            b->options[k * RAM_N_FORMS + o].cost = slope * b->errors[k * RAM_N_FORMS + o] +
                                                   (toll > 0 ? toll * (double)read_of(b, k, o) : 0);
    }
}

/* A price reaches the plans on the convex hull alone: what it leaves of the two budgets is spent on
 * the change of one item that lowers the cost most, as long as there is any. */
static void fill_both(const struct budget *b, uint64_t room, size_t *choice,
                      struct ram_choice *result)
{
    for (size_t step = 0; step < b->n_items * RAM_N_FORMS; step++) {
        const uint64_t read = read_by(b, choice);
        double best = 0;
        size_t item = 0, option = 0;
        for (size_t k = 0; k < b->n_items; k++) {
            const struct ram_option *now = &b->items[k].options[choice[k]];
            for (size_t o = 0; o < b->items[k].n; o++) {
                const struct ram_option *to = &b->items[k].options[o];
                if (now->cost - to->cost > best && result->bytes - now->bytes + to->bytes <= room &&
                    read - read_of(b, k, choice[k]) + read_of(b, k, o) <= b->read) {
                    best = now->cost - to->cost;
                    item = k;
                    option = o;
                }
            }
        }
        if (best <= 0)
            return;
        const struct ram_option *options = b->items[item].options;
        result->bytes += options[option].bytes - options[choice[item]].bytes;
        result->cost -= best;
        choice[item] = option;
    }
}

/* The knapsack within both budgets. Bytes that a token reads get a price, the lowest with which the
 * solution keeps to the second budget; without a price, that is the solution of the first alone. A
 * price makes `bound` one of all choices within both. */
static int solve_priced(struct budget *b, double flips, uint64_t room, size_t *choice,
                        struct ram_choice *result, struct ram_err *err)
{
    double low = -120, high = 120; /* log of the price, in nats a byte */

    price(b, flips, 0);
    int status = ram_knapsack_solve(b->items, b->n_items, room, choice, result, err);
    if (status || !b->read || read_by(b, choice) <= b->read)
        return status;
    for (int k = 0; !status && k < READ_BISECTIONS; k++) {
        const double at = k == READ_BISECTIONS - 1 ? high : (low + high) / 2;
        const double toll = exp(at);
        price(b, flips, toll);
        status = ram_knapsack_solve(b->items, b->n_items, room, choice, result, err);
        result->bound = fmax(0, result->bound - toll * (double)(b->read - b->fixed_read));
        result->cost -= toll * (double)(read_by(b, choice) - b->fixed_read);
        if (read_by(b, choice) > b->read)
            low = at;
        else
            high = at;
    }
    price(b, flips, 0);
    if (!status)
        fill_both(b, room, choice, result);
    return status;
}

/* Whether the second budget can be kept to at all: with everything at its smallest. */
static int check_read(const struct budget *b, struct ram_err *err)
{
    uint64_t least = b->fixed_read;

    for (size_t k = 0; b->read && k < b->n_items; k++) {
        uint64_t smallest = UINT64_MAX;
        for (size_t o = 0; o < b->items[k].n; o++)
            smallest = read_of(b, k, o) < smallest ? read_of(b, k, o) : smallest;
        least += smallest;
    }
    return !b->read || least <= b->read ? RAM_OK : ram_budget_reads_too_much(b->read, least, err);
}

/* The first tangent is taken where all units have the error of their probe. */
static double first_flips(const struct budget *b)
{
    double flips = b->given.flips;

    for (size_t k = 0; k < b->n_items; k++)
        flips += b->costs[k].flips;
    return flips;
}

/* choice [n_items] becomes the best plan that was found, and *result the solution of the knapsack
 * that gave it. A round that does not lower the divergence is discarded. */
static int choose(struct budget *b, size_t *choice, struct ram_choice *result, struct ram_err *err)
{
    size_t *next = ram_calloc(b->n_items, sizeof *next, err);
    const uint64_t room = b->bytes > b->fixed ? b->bytes - b->fixed : 0;
    double flips = first_flips(b), best = INFINITY;
    int status = next ? RAM_OK : RAM_ENOMEM;

    for (int round = 0; !status && round < MAX_ROUNDS; round++) {
        struct ram_choice found;
        status = solve_priced(b, flips, room, next, &found, err);
        if (status)
            *result = found;
        if (status)
            break;
        const struct ram_divergence sums = sums_of(b, next);
        if (round > 0 && ram_divergence(sums) >= best)
            break;
        memcpy(choice, next, b->n_items * sizeof *choice);
        *result = found;
        best = ram_divergence(sums);
        flips = sums.flips;
    }
    free(next);
    return status;
}

/* ---- the plan --------------------------------------------------------------------------- */

/* The reason for the choice of an item. If the unit has its lowest option, and a floor or the veto
 * removed the lower ones, then that is the reason; it is not known whether a lower one would have
 * been chosen. */
static const char *reason_of(const struct budget *b, size_t item, size_t chosen)
{
    const size_t i = b->unit_of[item];
    const int lowest = b->forms[item * RAM_N_FORMS]->bits;

    if (chosen > 0 || lowest == 16 || lowest == ram_forms->bits)
        return "budget";
    const double error = ram_case_error(b->problem, i, ram_forms);
    const char *reason = floor_reason(b->problem, i, lowest - 1, error);
    return reason ? reason : floor_reason(b->problem, i, 2, error) ? "veto-2bit" : "budget";
}

static void decide_items(struct budget *b, const size_t *choice)
{
    for (size_t k = 0; k < b->n_items; k++) {
        const struct ram_form *const form = b->forms[k * RAM_N_FORMS + choice[k]];
        ram_decide_unit(b->problem, b->unit_of[k], form, reason_of(b, k, choice[k]));
    }
}

/* The plan in which every item has this form, or where it does not have that option the next one.
 */
static struct ram_rival at_uniform(const struct budget *b, const struct ram_form *form,
                                   size_t *choice)
{
    uint64_t bytes = b->fixed;

    for (size_t k = 0; k < b->n_items; k++) {
        choice[k] = 0;
        while (choice[k] < b->items[k].n && b->forms[k * RAM_N_FORMS + choice[k]] < form)
            choice[k]++;
        bytes += b->items[k].options[choice[k]].bytes;
    }
    return (struct ram_rival){
        .bytes = bytes, .divergence = ram_divergence(sums_of(b, choice)), .error = NAN};
}

/* The divergence of the best uniform form that fits the budget, for comparison, and the form
 * itself. INFINITY: there is none. */
static double best_uniform(const struct budget *b, size_t *choice, const struct ram_form **out)
{
    struct ram_rival rivals[RAM_N_FORMS];

    for (size_t i = 0; i < RAM_N_FORMS; i++)
        rivals[i] = at_uniform(b, &ram_forms[i], choice);
    const size_t best = ram_rival_best(rivals, RAM_N_FORMS, b->bytes);
    if (best == RAM_N_FORMS || !isfinite(rivals[best].divergence))
        return INFINITY;
    *out = &ram_forms[best];
    return rivals[best].divergence;
}

static int describe(const struct budget *b, size_t *choice, const struct ram_choice *result,
                    struct ram_err *err)
{
    struct ram_plan *plan = b->problem->plan;
    const struct ram_sensitivity_record *probed = b->problem->manifest->sensitivities;
    const double gap = result->bound > 0 ? result->cost / result->bound - 1 : 0;
    const struct ram_divergence sums = sums_of(b, choice);
    const struct ram_form *best = NULL;
    const double uniform = best_uniform(b, choice, &best);
    const bool by_text = probed && probed->tokens && !strcmp(probed->tokens, "text");
    const char *tier = !probed   ? "weights only: relative squared error, not nats"
                       : by_text ? "probed: nats a token on a calibration text"
                                 : "probed: nats a token on synthetic tokens";

    int status =
        ram_json_put(plan->settings, "budget_bytes", json_integer((json_int_t)b->bytes), err);
    if (!status && b->read)
        status = ram_json_put(plan->settings, "budget_bytes_per_token",
                              json_integer((json_int_t)b->read), err);
    if (!status)
        status =
            ram_json_put(plan->settings, "encoder", json_string(encoder_names[b->encoder]), err);
    if (!status)
        status = ram_json_put(plan->settings, "tier", json_string(tier), err);
    if (!plan->predicted)
        plan->predicted = json_object();
    if (!status)
        status = ram_json_put(plan->predicted, probed ? "kld" : "cost",
                              ram_json_real(ram_divergence(sums)), err);
    if (!status && sums.flips > 0)
        status =
            ram_json_put(plan->predicted, "kld_router_flips", ram_json_real(sqrt(sums.flips)), err);
    if (!status && isfinite(uniform))
        status = ram_json_put(plan->predicted, probed ? "kld_uniform" : "cost_uniform",
                              ram_json_real(uniform), err);
    if (!status && best)
        status = ram_json_put(plan->predicted, "uniform", json_string(best->label), err);
    if (!status)
        status = ram_json_put(plan->predicted, "optimality_gap", ram_json_real(fmax(0, gap)), err);
    if (!status)
        status = ram_json_put(plan->predicted, "file_bytes",
                              json_integer((json_int_t)(result->bytes + b->fixed)), err);
    return status ? status : ram_predict_error(b->problem, err);
}

/* N_ENCODERS: there is none of that name. */
static enum encoder find_encoder(const char *name)
{
    enum encoder found = RTN;

    while (name && found < N_ENCODERS && strcmp(name, encoder_names[found]) != 0)
        found++;
    return found;
}

bool ram_budget_encoder_known(const char *name)
{
    return find_encoder(name) != N_ENCODERS;
}

static int solve(struct budget *b, struct ram_err *err)
{
    struct ram_choice result;
    size_t *choice = ram_calloc(b->n_items, sizeof *choice, err);

    if (!choice)
        return RAM_ENOMEM;
    int status = check_read(b, err);
    if (status) {
        free(choice);
        return status;
    }
    status = choose(b, choice, &result, err);
    if (status == RAM_EBUDGET) {
        *err = (struct ram_err){0};
        ram_budget_too_small(b->problem, b->bytes, result.bytes + b->fixed, err);
    }
    if (!status) {
        decide_items(b, choice);
        status = describe(b, choice, &result, err);
    }
    free(choice);
    return status;
}

/* The error curves in the manifest, if they were measured with the encoder of this plan. */
static const struct ram_unit_figures *find_curves(const struct ram_problem *problem)
{
    const struct ram_sensitivity_record *const all = problem->manifest->sensitivities;
    const char *const encoder = all ? all->curves.encoder : NULL;

    return encoder && problem->opts->encoder && !strcmp(encoder, problem->opts->encoder)
               ? &all->curves.units
               : NULL;
}

int ram_predict_divergence(struct ram_problem *problem, struct ram_err *err)
{
    struct budget b = {.problem = problem,
                       .encoder = find_encoder(problem->opts->encoder),
                       .curves = find_curves(problem)};

    /* Probes leave routers as they are, and what routers lose at 8 bits is small. */
    for (size_t i = 0; i < problem->plan->n_units; i++)
        if (!add_given(&b, i) && !ram_role_is_router(problem->cases[i].role))
            return RAM_OK;
    return ram_json_put(problem->plan->predicted, "kld", ram_json_real(ram_divergence(b.given)),
                        err);
}

int ram_decide_budget(struct ram_problem *problem, const struct ram_method *method,
                      struct ram_err *err)
{
    struct budget b = {.problem = problem,
                       .encoder = find_encoder(problem->opts->encoder),
                       .curves = find_curves(problem),
                       .read = problem->opts->bytes_per_token};
    (void)method;

    int status = ram_budget_bytes(problem, &b.bytes, err);
    if (!status) {
        b.fixed = ram_budget_headers(problem, b.bytes);
        status = build(&b, err);
    }
    if (!status)
        status = solve(&b, err);
    free(b.items);
    free(b.unit_of);
    free(b.costs);
    free(b.options);
    free(b.errors);
    free(b.forms);
    return status;
}
