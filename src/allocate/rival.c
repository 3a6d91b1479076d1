/* rival.c - see rival.h. */
#include "allocate/rival.h"

#include "allocate/allocate.h"

#include <math.h>

bool ram_rival_loses_less(const struct ram_rival *a, const struct ram_rival *b)
{
    if (!isnan(a->divergence) && !isnan(b->divergence))
        return a->divergence < b->divergence;
    if (!isnan(a->error) && !isnan(b->error))
        return a->error < b->error;
    return a->bytes > b->bytes;
}

size_t ram_rival_best(const struct ram_rival *rivals, size_t n, uint64_t bytes)
{
    size_t best = n;

    for (size_t i = 0; i < n; i++)
        if (rivals[i].bytes <= bytes &&
            (best == n || ram_rival_loses_less(&rivals[i], &rivals[best])))
            best = i;
    return best;
}

static int allocate_uniform(const struct ram_manifest *manifest, const struct ram_form *form,
                            struct ram_plan **out, struct ram_err *err)
{
    const struct ram_allocate_opts opts = {
        .method = "uniform", .bits = form->bits, .group = form->group};

    return ram_allocate_unsigned(manifest, &opts, out, err);
}

int ram_rival_by_error(const struct ram_manifest *manifest, uint64_t bytes, struct ram_plan **out,
                       struct ram_err *err)
{
    const struct ram_form *forms[RAM_N_FORMS];
    struct ram_rival rivals[RAM_N_FORMS];
    size_t n = 0;

    *out = NULL;
    for (const struct ram_form *form = ram_forms; form < RAM_FORM_16; form++) {
        struct ram_plan *plan = NULL;
        const int status = allocate_uniform(manifest, form, &plan, err);
        if (status)
            return status;
        forms[n] = form;
        rivals[n] = (struct ram_rival){.bytes = plan->totals.bytes,
                                       .divergence = NAN,
                                       .error = ram_plan_predicted(plan, "squared_error")};
        n += !isnan(rivals[n].error);
        ram_plan_free(plan);
    }
    const size_t best = ram_rival_best(rivals, n, bytes);
    return best < n ? allocate_uniform(manifest, forms[best], out, err) : RAM_OK;
}
