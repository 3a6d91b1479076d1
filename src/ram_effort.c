/* ram_effort.c - ram.h: how much time a budget is given, and whether it was worth it. */
#include "allocate/allocate.h"
#include "infer/likelihood.h"
#include "probe/effort.h"
#include "probe/sensitivity.h"

#include <math.h>
#include <stdlib.h>

enum { HELD_OUT = 1000 }; /* added to the seed of the tokens that decided */

int ram_efforts(const struct ram_manifest *manifest, const struct ram_run *run,
                struct ram_effort efforts[RAM_N_EFFORTS], enum ram_effort_level *usual,
                struct ram_err *err)
{
    struct ram_pool *pool = NULL;

    int status = ram_pool_new(&pool, run ? run->threads : 0, err);
    if (!status)
        status = ram_efforts_plan(manifest, pool, efforts, usual, err);
    ram_pool_free(pool);
    return status;
}

/* ---- the best uniform width ------------------------------------------------------------- */

/* Of no more bytes than the plan: the one of least predicted error. *out NULL: there is none. */
static int best_uniform(const struct ram_manifest *manifest, uint64_t bytes, struct ram_plan **out,
                        struct ram_err *err)
{
    double least = INFINITY;
    int status = RAM_OK;

    *out = NULL;
    for (size_t i = 0; i < (size_t)RAM_N_BITS * RAM_N_GROUPS && !status; i++) {
        const struct ram_allocate_opts opts = {.method = "uniform",
                                               .bits = ram_bits_grid[i / RAM_N_GROUPS],
                                               .group = ram_group_grid[i % RAM_N_GROUPS]};
        struct ram_plan *plan = NULL;
        struct ram_plan_totals totals;
        status = ram_allocate_unsigned(manifest, &opts, &plan, err);
        if (status)
            break;
        ram_plan_totals(plan, &totals);
        const double error = ram_plan_predicted(plan, "squared_error");
        if (totals.bytes <= bytes && error < least) {
            least = error;
            ram_plan_free(*out);
            *out = plan;
        } else {
            ram_plan_free(plan);
        }
    }
    return status;
}

static void forms_of(const struct ram_plan *plan, const struct ram_model *model,
                     struct ram_affine *as_if)
{
    for (size_t u = 1; u < model->n_units; u++) {
        const struct ram_unit *unit = ram_plan_find(plan, model->units[u].name);
        if (unit && unit->bits < 16)
            as_if[u] = (struct ram_affine){.bits = unit->bits,
                                           .group = unit->group,
                                           .profile = RAM_PROFILE_GPU,
                                           .scale_type = RAM_SCALE_BF16};
    }
}

/* ---- the check -------------------------------------------------------------------------- */

struct check {
    struct ram_model *model; /* the source */
    struct ram_synthetic what;
    struct ram_probe_run how;
    uint32_t *tokens;
};

static int check_uniform(const struct check *c, const struct ram_manifest *manifest, uint64_t bytes,
                         struct ram_self_check *out, struct ram_err *err)
{
    struct ram_affine *as_if = ram_calloc(c->model->n_units, sizeof *as_if, err);
    struct ram_plan *plan = NULL;

    int status = as_if ? best_uniform(manifest, bytes, &plan, err) : RAM_ENOMEM;
    if (!status && plan) {
        forms_of(plan, c->model, as_if);
        out->uniform_bits = (int)json_integer_value(json_object_get(plan->settings, "bits"));
        out->uniform_group = (int)json_integer_value(json_object_get(plan->settings, "group"));
        status = ram_divergence_as_if(c->model, c->tokens, c->what.n, c->what.length, as_if,
                                      &c->how, &out->kld_uniform, err);
    }
    ram_plan_free(plan);
    free(as_if);
    return status;
}

static int check_directory(const struct check *c, const char *dir, struct ram_self_check *out,
                           struct ram_err *err)
{
    const struct ram_likelihood_opts opts = {.f32 = !c->how.coarse,
                                             .pool = c->how.pool,
                                             .max_memory = c->how.max_memory,
                                             .run = c->how.run};
    const size_t n = c->what.n, length = c->what.length;
    struct ram_span *spans = ram_calloc(n, sizeof *spans, err);
    struct ram_query *queries = ram_calloc(n * length, sizeof *queries, err);
    struct ram_answer *answers = ram_calloc(n * length, sizeof *answers, err);
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    double sum = 0;

    int status = spans && queries && answers ? ram_ckpt_open(&ckpt, dir, err) : RAM_ENOMEM;
    if (!status)
        status = ram_model_open(&model, ckpt, err);
    for (size_t i = 0; !status && i < n; i++)
        spans[i] = (struct ram_span){c->tokens + i * length, length, RAM_NO_PARENT};
    for (size_t i = 0; !status && i < n * length; i++)
        queries[i] = (struct ram_query){i / length, i % length, 0};
    if (!status)
        status =
            ram_likelihood(model, c->model, spans, n, queries, n * length, &opts, answers, err);
    for (size_t i = 0; !status && i < n * length; i++)
        sum += answers[i].kld;
    out->tokens = n * length;
    out->kld = sum / (double)(n * length);
    ram_model_close(model);
    ram_ckpt_close(ckpt);
    free(spans);
    free(queries);
    free(answers);
    return status;
}

int ram_self_check(const char *dir, const struct ram_ckpt *source,
                   const struct ram_manifest *manifest, const struct ram_plan *plan,
                   const struct ram_probe_opts *opts, const struct ram_run *run,
                   struct ram_self_check *out, struct ram_err *err)
{
    struct check c = {
        .how = {.max_memory = run ? run->max_memory : 0, .run = run, .coarse = opts->coarse}};
    struct ram_plan_totals totals;

    *out = (struct ram_self_check){.kld_uniform = NAN};
    ram_plan_totals(plan, &totals);
    int status = ram_model_open(&c.model, source, err);
    if (!status)
        status = ram_pool_new(&c.how.pool, run ? run->threads : 0, err);
    if (!status) {
        c.what = ram_probe_tokens(opts, c.model->hp.moe.n_experts > 0);
        c.what.seed += HELD_OUT;
        c.what.text = NULL;
        c.tokens = ram_calloc(c.what.n * c.what.length, sizeof *c.tokens, err);
        status =
            c.tokens ? ram_synthetic_tokens(c.model, &c.what, &c.how, c.tokens, err) : RAM_ENOMEM;
    }
    if (!status)
        status = check_directory(&c, dir, out, err);
    if (!status)
        status = check_uniform(&c, manifest, totals.bytes, out, err);
    free(c.tokens);
    ram_pool_free(c.how.pool);
    ram_model_close(c.model);
    return status;
}
