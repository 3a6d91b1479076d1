/* methods.c - the table of methods, and the one that chooses among the others. */
#include "allocate/method.h"

#include <math.h>
#include <string.h>

static const struct ram_method methods[] = {
    {.name = "uniform",
     .what = "every matrix at one width, as stock converters do",
     .decide = ram_decide_uniform,
     .uniform = true},
    {.name = "v1",
     .what = "fixed norm",
     .decide = ram_decide_by_score,
     .norm = RAM_NORM_FIXED,
     .dense = {0.10, 0.65, 0.90},
     .moe = {0.10, 0.65, 0.90}},
    {.name = "v2",
     .what = "adaptive norm: percentiles of the model's own matrices",
     .decide = ram_decide_by_score,
     .norm = RAM_NORM_ADAPTIVE,
     .dense = {0.10, 0.65, 0.90},
     .moe = {0.10, 0.65, 0.90}},
    {.name = "v3",
     .what = "hybrid norm: adaptive where the model has spread",
     .decide = ram_decide_by_score,
     .norm = RAM_NORM_HYBRID,
     .dense = {0.10, 0.65, 0.90},
     .moe = {0.10, 0.65, 0.90}},
    {.name = "v2-opt",
     .what = "v2 with thresholds found by search",
     .decide = ram_decide_by_score,
     .norm = RAM_NORM_ADAPTIVE,
     .dense = {-INFINITY, 0.75, 0.95},
     .moe = {0.20, 0.75, 0.95}},
    {.name = "v3-opt",
     .what = "v3 with thresholds found by search",
     .decide = ram_decide_by_score,
     .norm = RAM_NORM_HYBRID,
     .dense = {-INFINITY, 0.75, 0.95},
     .moe = {0.20, 0.75, 0.95}},
    {.name = "auto",
     .what = "v4: v2 for a mixture of experts, v3-opt for a dense model",
     .decide = ram_decide_auto},
    {.name = "budget",
     .what = "least predicted divergence in a number of bytes",
     .decide = ram_decide_budget,
     .budget = true},
};

const struct ram_method *ram_methods(size_t *n)
{
    *n = sizeof methods / sizeof *methods;
    return methods;
}

const struct ram_method *ram_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(methods[i].name, name))
            return &methods[i];
    return NULL;
}

int ram_decide_auto(struct ram_problem *problem, const struct ram_method *method,
                    struct ram_err *err)
{
    const struct ram_method *const chosen = ram_method_find(problem->moe ? "v2" : "v3-opt");
    const char *const detected = ram_arena_printf(&problem->plan->arena, err, "%s, so %s: %s",
                                                  problem->moe ? "mixture of experts" : "dense",
                                                  chosen->name, problem->moe_why);
    (void)method;

    if (!detected)
        return RAM_ENOMEM;
    const int status =
        ram_json_put(problem->plan->settings, "detected", json_string(detected), err);
    return status ? status : chosen->decide(problem, chosen, err);
}
