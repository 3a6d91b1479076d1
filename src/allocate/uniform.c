/*
 * uniform.c - every matrix at one width, embeddings and head included: the published baseline,
 * and what `mlx_lm.convert -q` writes, but that a row which the group does not divide falls to
 * the next smaller group where mlx_lm leaves it at 16 bits.
 */
#include "allocate/method.h"
#include "allocate/rules.h"
#include "arch/family.h"

#include <string.h>

static void decide_unit(struct ram_problem *problem, size_t i, const struct ram_form *form)
{
    const struct ram_case *const c = &problem->cases[i];

    if (c->user_form) {
        ram_decide_unit(problem, i, c->user_form, "user");
    } else if (!c->quantizable) {
        ram_decide_unit(problem, i, RAM_FORM_16, c->skip ? c->skip : "protected");
    } else if (c->is_untouchable || (c->is_embedding && problem->opts->keep_embeddings)) {
        ram_decide_unit(problem, i, RAM_FORM_16, "protected");
    } else {
        const struct ram_form *const own = form == RAM_FORM_16 || !ram_role_is_router(c->role)
                                               ? NULL
                                               : ram_router_form(problem->manifest->model_type);
        ram_decide_unit(problem, i, own ? own : form, own ? "router" : "default");
    }
}

static int find_form(const struct ram_allocate_opts *opts, const struct ram_form **out,
                     struct ram_err *err)
{
    const int bits = opts->bits ? opts->bits : 4;
    const int group = opts->group || bits == 16 ? opts->group : 128;
    char text[RAM_FORM_TEXT];

    *out = ram_form_of(bits, group);
    if (*out)
        return RAM_OK;
    if (bits == 16)
        return ram_fail(err, RAM_EUSAGE, "--group %d: --bits 16 has no groups", group);
    if (!ram_default_form(bits))
        return ram_fail(err, RAM_EUSAGE, "--bits %d: use %s (16 leaves the weights as they are)",
                        bits, ram_form_bits_text(text));
    return ram_fail(err, RAM_EUSAGE, "--group %d: use %s", group, ram_form_groups_text(text));
}

int ram_decide_uniform(struct ram_problem *problem, const struct ram_method *method,
                       struct ram_err *err)
{
    const struct ram_allocate_opts *const opts = problem->opts;
    json_t *const settings = problem->plan->settings;
    const struct ram_form *form = NULL;
    (void)method;

    int status = find_form(opts, &form, err);
    for (size_t i = 0; !status && i < problem->plan->n_units; i++)
        decide_unit(problem, i, form);
    if (!status)
        status = ram_json_put(settings, "bits", json_integer(form->bits), err);
    if (!status)
        status = ram_json_put(settings, "group", json_integer(form->group), err);
    if (!status)
        status =
            ram_json_put(settings, "keep_embeddings", json_boolean(opts->keep_embeddings), err);
    return status ? status : ram_predict_error(problem, err);
}
