/*
 * uniform.c - every matrix at one width, embeddings and head included: the published baseline,
 * and what `mlx_lm.convert -q` writes, but that a row which the group does not divide falls to
 * the next smaller group where mlx_lm leaves it at 16 bits.
 */
#include "allocate/method.h"
#include "allocate/rules.h"
#include "arch/family.h"

#include <string.h>

static void decide_unit(struct ram_problem *problem, size_t i, int bits, int group)
{
    const struct ram_case *const c = &problem->cases[i];

    if (c->user_bits) {
        ram_decide_unit(problem, i, c->user_bits, c->user_group, "user");
    } else if (!c->quantizable) {
        ram_decide_unit(problem, i, 16, 0, c->skip ? c->skip : "protected");
    } else if (c->is_untouchable || (c->is_embedding && problem->opts->keep_embeddings)) {
        ram_decide_unit(problem, i, 16, 0, "protected");
    } else {
        const char *reason = "default";
        if (bits < 16 && c->role == RAM_ROLE_ROUTER &&
            ram_family_router(problem->manifest->model_type, &bits, &group))
            reason = "router";
        ram_decide_unit(problem, i, bits, group, reason);
    }
}

int ram_decide_uniform(struct ram_problem *problem, const struct ram_method *method,
                       struct ram_err *err)
{
    const struct ram_allocate_opts *const opts = problem->opts;
    json_t *const settings = problem->plan->settings;
    const int bits = opts->bits ? opts->bits : 4;
    const int group = bits == 16 ? 0 : opts->group ? opts->group : 128;
    (void)method;

    if (!ram_width_valid(bits, group) || (bits == 16 && opts->group))
        return bits != 16 && ram_bits_index(bits) < 0
                   ? ram_fail(err, RAM_EUSAGE,
                              "--bits %d: use 2, 3, 4, 5, 6 or 8 (16 leaves the "
                              "weights as they are)",
                              bits)
               : bits == 16
                   ? ram_fail(err, RAM_EUSAGE, "--group %d: --bits 16 has no groups", opts->group)
                   : ram_fail(err, RAM_EUSAGE, "--group %d: use 32, 64 or 128", group);
    for (size_t i = 0; i < problem->plan->n_units; i++)
        decide_unit(problem, i, bits, group);
    int status = ram_json_put(settings, "bits", json_integer(bits), err);
    if (!status)
        status = ram_json_put(settings, "group", json_integer(group), err);
    if (!status)
        status =
            ram_json_put(settings, "keep_embeddings", json_boolean(opts->keep_embeddings), err);
    return status ? status : ram_predict_error(problem, err);
}
