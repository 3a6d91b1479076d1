/*
 * problem.h - the input and the output of a method.
 *
 * The units of the plan and the cases of the problem correspond to each other, in the same order: a
 * unit is the decision, a case is what is known. A method is a function that gives every unit its
 * form and reason, and reads only the problem.
 */
#ifndef RAM_ALLOCATE_PROBLEM_H
#define RAM_ALLOCATE_PROBLEM_H

#include "allocate/rules.h"

struct ram_problem {
    const struct ram_manifest *manifest;
    const struct ram_allocate_opts *opts;
    struct ram_rules *rules;
    struct ram_plan *plan;
    struct ram_case *cases;    /* plan->n_units of them */
    size_t *members;           /* entry numbers, case by case */
    bool moe;                  /* a mixture of experts, */
    const char *moe_why;       /* and how we know */
    uint64_t top_k, n_experts; /* experts of a token, and of a layer; 0: config does not say */
    bool has_head;             /* of its own: then an embedding is only looked up */
};

int ram_problem_init(struct ram_problem *problem, const struct ram_manifest *manifest,
                     const struct ram_allocate_opts *opts, struct ram_err *err);
/* The plan is not freed. */
void ram_problem_release(struct ram_problem *problem);

/* Sum of squared errors of a unit in a form, of the members that were measured, scaled to all by
 * parameters. 0 at 16 bits, NAN if the manifest does not say. */
double ram_case_error(const struct ram_problem *problem, size_t i, const struct ram_form *form);

/* Sum of squared weights of a unit, likewise. */
double ram_case_energy(const struct ram_problem *problem, size_t i);

/* The form that a unit can have: this one, if it or a fallback fits some rows of the unit, or else
 * RAM_FORM_16. */
const struct ram_form *ram_unit_fit(const struct ram_unit *unit, const struct ram_form *form);

/* Gives unit i its form. One that fits no row of the unit leaves it at 16 bits. */
void ram_decide_unit(struct ram_problem *problem, size_t i, const struct ram_form *form,
                     const char *reason);

#endif
