/* ram_items.c - ram.h: the entries of a manifest and the units of a plan, one by one. */
#include "record/plan.h"

#include <math.h>

bool ram_manifest_entry(const struct ram_manifest *manifest, size_t i, struct ram_entry_info *out)
{
    if (i >= manifest->n_entries)
        return false;
    const struct ram_entry *const e = &manifest->entries[i];
    *out = (struct ram_entry_info){
        .name = e->name,
        .dtype = e->dtype,
        .unit = e->unit,
        .role = e->role,
        .layer = e->layer,
        .expert = e->expert,
        .rows = 1,
        .cols = 1,
        .parameters = e->parameters,
        .decided = e->skip == RAM_SKIP_NONE,
        .svd = e->measured ? e->metrics.svd : NAN,
        .kurtosis = e->measured ? e->metrics.kurtosis : NAN,
        .output = e->measured ? e->metrics.output : NAN,
        .error = e->measured ? e->metrics.error : NAN,
        .sensitivity = ram_manifest_sensitivity(manifest, e->unit),
    };
    for (int k = 0; k < e->n_dims; k++)
        *(k == 0 && e->n_dims > 1 ? &out->rows : &out->cols) *= e->shape[k];
    return true;
}

bool ram_plan_unit(const struct ram_plan *plan, size_t i, struct ram_unit_info *out)
{
    if (i >= plan->n_units)
        return false;
    const struct ram_unit *const u = &plan->units[i];
    *out = (struct ram_unit_info){
        .name = u->name,
        .role = u->role,
        .reason = u->reason,
        .layer = u->layer,
        .form = u->form->id,
        .bits = u->form->bits,
        .group = u->form->group,
        .members = u->members,
        .parameters = u->parameters,
        .bytes = u->bytes,
        .score = u->scored ? u->scores.composite : NAN,
    };
    return true;
}
