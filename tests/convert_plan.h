/* convert_plan.h - plans for tests: every unit of a layout, with the width a test chooses. */
#ifndef TESTS_CONVERT_PLAN_H
#define TESTS_CONVERT_PLAN_H

#include "format/layout.h"
#include "record/plan.h"

#include <stdlib.h>
#include <string.h>

struct width {
    int bits, group;
};

static inline const struct ram_form *form_of_width(struct width w)
{
    return w.bits == 16 ? RAM_FORM_16 : ram_form_of(w.bits, w.group);
}

/* The width of a unit, from any of the targets it decides. */
typedef struct width choose_width(const struct ram_target *target, void *user);

static inline struct ram_unit *plan_unit(struct ram_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_units; i++)
        if (!strcmp(plan->units[i].name, name))
            return &plan->units[i];
    return NULL;
}

/* Bytes as the plan's own arithmetic has them, from the shapes of what is stored. */
static inline void plan_count(struct ram_plan *plan, struct ram_unit *unit,
                              const struct ram_target *target)
{
    struct ram_err err = {0};
    struct ram_matrices block = {.count = 1, .rows = 1};
    for (int k = 0; k < target->n_dims; k++)
        *(k + 1 < target->n_dims ? &block.rows : &block.cols) =
            k + 1 < target->n_dims ? block.rows * target->shape[k] : target->shape[k];
    struct ram_matrices *blocks =
        ram_arena_alloc(&plan->arena, (unit->n_blocks + 1) * sizeof *blocks, &err);
    if (unit->n_blocks)
        memcpy(blocks, unit->blocks, unit->n_blocks * sizeof *blocks);
    blocks[unit->n_blocks++] = block;
    unit->blocks = blocks;
    unit->parameters += block.rows * block.cols;
    unit->stored_size = ram_dtypes[target->dtype].bits / 8;
}

static inline struct ram_plan *plan_for(const struct ram_layout *layout, choose_width *choose,
                                        void *user)
{
    struct ram_err err = {0};
    struct ram_plan *plan = NULL;
    if (ram_plan_new(&plan, &err))
        return NULL;
    plan->method = "test";
    plan->model_name = "test";
    plan->model_type = ram_arena_strdup(&plan->arena, layout->model_type, &err);
    plan->units = calloc(layout->n_targets + 1, sizeof *plan->units);
    for (size_t i = 0; i < layout->n_targets; i++) {
        const struct ram_target *target = &layout->targets[i];
        struct ram_unit *unit = plan_unit(plan, target->unit);
        if (!unit) {
            const struct width w =
                target->quantizable ? choose(target, user) : (struct width){16, 0};
            unit = &plan->units[plan->n_units++];
            *unit = (struct ram_unit){.name = ram_arena_strdup(&plan->arena, target->unit, &err),
                                      .role = "other",
                                      .layer = -1,
                                      .members = 1,
                                      .form = form_of_width(w),
                                      .reason = "default"};
        }
        plan_count(plan, unit, target);
    }
    ram_plan_sum(plan);
    ram_plan_index(plan, "test", &err);
    return plan;
}

static inline struct width same_width(const struct ram_target *target, void *user)
{
    (void)target;
    return *(const struct width *)user;
}

#endif
