/*
 * divergence.h - what a plan is predicted to cost the model, in nats a token.
 *
 * Let e be the squared error of a unit relative to that of its probe, in the form that the record
 * of sensitivities names (3g64 as a rule). Most of the divergence that a unit causes is smooth: it
 * is q e, and the shares of the units add up, by the linearity theorem (Malinovskii et al.,
 * "Pushing the limits of large language model quantization via the linearity theorem", 2024).
 *
 * A unit ahead of a router causes more than that. Experts with nearly equal scores change places
 * ("flips"). The probability of a flip grows with the size of the change of the router's logits,
 * which is proportional to sqrt(e), and the effect of a flip does not depend on how small its cause
 * was. So flips cost f sqrt(e). The changes that independent units cause in the logits add up in
 * squares, and the root is taken of their sum. The total is
 *
 *     D = sum q_i e_i + sqrt(sum (f_i)^2 e_i)
 *
 * q and f of a unit follow from two probes of the unit alone, a coarse and a fine one.
 * docs/notebook.md, "Routers", compares D with measurements. If there is no second probe, because
 * the model has no routers or was not probed so, f is 0.
 */
#ifndef RAM_ALLOCATE_DIVERGENCE_H
#define RAM_ALLOCATE_DIVERGENCE_H

#include "allocate/problem.h"

/* The divergence that one unit causes at the error of its probe, e = 1. */
struct ram_unit_cost {
    double smooth; /* q; NAN if the unit was not measured */
    double flips;  /* f squared, so that it adds up over units */
};

/* In nats per token if sensitivities were measured. Otherwise smooth is the number of the unit's
 * parameters, and errors are relative to the weights themselves: the costs of units can then be
 * compared with each other, but they are not nats. */
struct ram_unit_cost ram_unit_cost(const struct ram_problem *problem, size_t unit);

/* The error e of a unit, given its sum of squared errors, relative to the same as ram_unit_cost. */
double ram_unit_error(const struct ram_problem *problem, size_t unit, double squares);

/* Sums over units: of q e and of f^2 e. */
struct ram_divergence {
    double smooth, flips;
};

double ram_divergence(struct ram_divergence sums);

/* The derivative of D by the unit's e, where the flips of all units sum up to `flips`. The tangent
 * of the square root is nowhere below it. */
double ram_divergence_slope(struct ram_unit_cost cost, double flips);

#endif
