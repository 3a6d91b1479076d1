/*
 * divergence.h - what a plan is predicted to cost the model, in nats a token.
 *
 * Let e be the error of a unit in parts of the error of its probe, 3 bits in groups of 64
 * (probe/sensitivity.h). Most of what a unit costs is smooth: q e, and the units' sums add up, by
 * the linearity theorem (Malinovskii et al., "Pushing the limits of large language model
 * quantization via the linearity theorem", 2024).
 *
 * A unit ahead of a router costs more than that. Experts that are nearly tied change places, and
 * how often grows with the size of the change at the router, not with its square: f sqrt(e). The
 * changes of independent units add up in squares before the root is taken, so that all of them cost
 *
 *     D = sum q_i e_i + sqrt(sum (f_i)^2 e_i)
 *
 * q and f of a unit follow from two probes of it alone, at 3 and at 5 bits. docs/notebook.md
 * shows how well D does. Without the second probe f is 0: no routers, or not measured.
 */
#ifndef RAM_ALLOCATE_DIVERGENCE_H
#define RAM_ALLOCATE_DIVERGENCE_H

#include "allocate/problem.h"

/* Of one unit, whose error is 1: that of its probe. */
struct ram_unit_cost {
    double smooth; /* q; NAN: the unit was not measured */
    double flips;  /* f squared */
};

/* Nats a token if sensitivities were measured. Otherwise smooth is the unit's parameters, whose
 * error is then taken relative to the weights themselves: comparable with each other, no nats. */
struct ram_unit_cost ram_unit_cost(const struct ram_problem *problem, size_t unit);

/* The error of unit i, given its sum of squares, in the measure of ram_unit_cost. */
double ram_unit_error(const struct ram_problem *problem, size_t unit, double squares);

/* Of several units: sums of q e and of f^2 e. */
struct ram_divergence {
    double smooth, flips;
};

double ram_divergence(struct ram_divergence sums);

/* What a unit adds to a divergence, if the others together have these flips: the tangent of the
 * root, which is nowhere below it. */
double ram_divergence_slope(struct ram_unit_cost cost, double flips);

#endif
