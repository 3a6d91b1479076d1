/* candidates.c - see candidates.h. */
#include "allocate/candidates.h"

#include "allocate/allocate.h"
#include "allocate/rival.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From most to fewest bytes, as a ladder to measure methods by. */
static const char *const ladder[] = {"16",   "8g64", "8g128", "6g64", "6g128", "5g64", "5g128",
                                     "4g32", "4g64", "4g128", "3g64", "3g128", "2g32", "2g64"};

void ram_candidates_release(struct ram_candidates *candidates)
{
    for (size_t i = 0; i < candidates->n; i++)
        ram_plan_free(candidates->items[i].plan);
    free(candidates->items);
}

static int add(struct ram_candidates *candidates, const struct ram_manifest *manifest,
               const struct ram_allocate_opts *opts, const char *label, bool uniform,
               struct ram_err *err)
{
    int status = ram_grow(&candidates->items, sizeof *candidates->items, candidates->n,
                          &candidates->cap, err);
    if (status)
        return status;
    struct ram_candidate *const c = &candidates->items[candidates->n];
    *c = (struct ram_candidate){.uniform = uniform};
    snprintf(c->label, sizeof c->label, "%s", label);
    status = ram_allocate_unsigned(manifest, opts, &c->plan, err);
    if (status)
        return status;
    candidates->n++;
    const char *const rule = json_string_value(json_object_get(c->plan->settings, "rule"));
    if (rule && strcmp(rule, label) != 0)
        snprintf(c->label, sizeof c->label, "%s (%s)", label, rule);
    return RAM_OK;
}

/* The options that a method has, of all that were given: a comparison gives each its own. */
static struct ram_allocate_opts own_options(const struct ram_method *method,
                                            const struct ram_allocate_opts *opts)
{
    struct ram_allocate_opts own = *opts;

    own.method = method->name;
    if (!method->uniform) {
        own.bits = own.group = 0;
        own.keep_embeddings = false;
    }
    if (!method->budget) {
        own.size = own.fit = own.context = own.bytes_per_token = 0;
        own.bpw = 0;
    }
    if (method->uniform || method->budget) {
        own.t2 = own.t8 = own.t16 = 0;
        own.search = false;
    }
    if (method->budget) {
        own.expert_rule = NULL;
        memset(own.weights, 0, sizeof own.weights);
    }
    return own;
}

/* The methods that go by what was measured, if anything was. */
static int add_methods(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                       const struct ram_allocate_opts *opts, struct ram_err *err)
{
    bool measured = false;
    size_t n;

    for (size_t i = 0; !measured && i < manifest->n_entries; i++)
        measured = ram_entry_scored(&manifest->entries[i]);
    const struct ram_method *const methods = ram_methods(&n);
    for (size_t i = 0; measured && i < n; i++) {
        const struct ram_allocate_opts own = own_options(&methods[i], opts);
        const int status =
            methods[i].uniform ? RAM_OK : add(candidates, manifest, &own, own.method, false, err);
        if (status == RAM_EBUDGET) /* it does not fit: the others may be compared all the same */
            *err = (struct ram_err){0};
        else if (status)
            return status;
    }
    return RAM_OK;
}

static int add_ladder(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                      const struct ram_allocate_opts *opts, struct ram_err *err)
{
    struct ram_allocate_opts own = own_options(ram_method_find("uniform"), opts);

    for (size_t i = 0; i < sizeof ladder / sizeof *ladder; i++) {
        const struct ram_form *const form = ram_form_find(ladder[i]);
        own.bits = form->bits;
        own.group = form->group;
        own.keep_embeddings = opts->keep_embeddings;
        int status = add(candidates, manifest, &own, form->label, true, err);
        /* The published baseline twice: the methods keep embeddings at 16 bits, and much of what
         * they gain over plain uniform comes from that. */
        if (!status && own.bits == 4 && own.group == 128 && !own.keep_embeddings) {
            own.keep_embeddings = true;
            status = add(candidates, manifest, &own, "4-bit g128, embed 16", true, err);
        }
        if (status)
            return status;
    }
    return RAM_OK;
}

static struct ram_rival figures_of(const struct ram_plan *plan)
{
    return (struct ram_rival){.bytes = plan->totals.bytes,
                              .divergence = ram_plan_predicted(plan, "kld"),
                              .error = ram_plan_predicted(plan, "relative_error")};
}

/* To each plan of a method the best uniform one of no more bytes. */
static int set_rivals(struct ram_candidates *candidates, struct ram_err *err)
{
    struct ram_rival *const rivals = ram_calloc(candidates->n, sizeof *rivals, err);
    size_t *const places = ram_calloc(candidates->n, sizeof *places, err);
    size_t n = 0;

    for (size_t i = 0; rivals && places && i < candidates->n; i++) {
        if (!candidates->items[i].uniform)
            continue;
        rivals[n] = figures_of(candidates->items[i].plan);
        places[n++] = i;
    }
    for (size_t i = 0; rivals && places && i < candidates->n; i++) {
        struct ram_candidate *const c = &candidates->items[i];
        const size_t best = c->uniform ? n : ram_rival_best(rivals, n, c->plan->totals.bytes);
        c->rival = best < n ? &candidates->items[places[best]] : NULL;
    }
    free(rivals);
    free(places);
    return rivals && places ? RAM_OK : RAM_ENOMEM;
}

int ram_candidates_methods(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                           const struct ram_allocate_opts *opts, struct ram_err *err)
{
    struct ram_allocate_opts own = opts ? *opts : (struct ram_allocate_opts){0};

    /* Divergences can only be compared if all are predicted for the same encoder. */
    if (!own.encoder)
        own.encoder = ram_allocate_encoder(manifest);
    int status = add_methods(candidates, manifest, &own, err);
    if (!status)
        status = add_ladder(candidates, manifest, &own, err);
    return status ? status : set_rivals(candidates, err);
}

int ram_candidates_sizes(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                         struct ram_err *err)
{
    static const struct ram_allocate_opts defaults;

    /* What is coded already has the size it has. */
    if (manifest->coded)
        return RAM_OK;
    int status = add_ladder(candidates, manifest, &defaults, err);
    if (!status)
        status = add_methods(candidates, manifest, &defaults, err);
    if (status != RAM_EFORMAT)
        return status;
    *err = (struct ram_err){0}; /* measured in part: no reason not to look at it */
    return RAM_OK;
}

int ram_candidates_family(struct ram_candidates *candidates, const struct ram_manifest *manifest,
                          const struct ram_allocate_opts *opts, struct ram_err *err)
{
    enum { QUARTERS = 4, LAST = 9 * QUARTERS };
    struct ram_allocate_opts own = opts ? *opts : (struct ram_allocate_opts){0};
    char label[32];
    int status = RAM_OK;

    own.method = "budget";
    own.size = own.fit = own.context = own.bytes_per_token = 0;
    for (int step = 2 * QUARTERS; step <= LAST + 1 && !status; step++) {
        own.bpw = step <= LAST ? (double)step / QUARTERS : 17;
        snprintf(label, sizeof label, step <= LAST ? "%.2f" : "16", own.bpw);
        status = add(candidates, manifest, &own, label, false, err);
        if (status == RAM_EBUDGET && step <= LAST) { /* the family begins higher up */
            *err = (struct ram_err){0};
            status = RAM_OK;
        }
    }
    return status;
}
