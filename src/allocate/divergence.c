/* divergence.c - see divergence.h. */
#include "allocate/divergence.h"

#include <math.h>

/* Measured divergences are limited to this range, in nats per token, so that a hostile or damaged
 * manifest cannot make their squares overflow, and so that they have a logarithm. */
static const double least = 1e-9, most = 20;

/* The measured divergence of a unit, rounded to a power 2^(k/8), so that differences in the last
 * bits of different processors' arithmetic do not change a plan; NAN if the unit was not probed. */
static double probed(const struct ram_probe_record *probe, const char *name)
{
    const double *const figure = ram_unit_figures_find(&probe->units, name);

    if (!figure || isnan(*figure))
        return NAN;
    const double nats = fmin(fmax(*figure, least), most);
    return exp2(round(8 * log2(nats)) / 8);
}

/* Solves coarse = q + f and fine = q e + f sqrt(e), where e is the error of the fine probe relative
 * to the coarse one. Noise can make the solution negative; then the nearest f with q, f >= 0 and
 * q + f = coarse is taken. */
static struct ram_unit_cost from_probes(double coarse, double fine, double e)
{
    const double excess = (fine - e * coarse) / (sqrt(e) - e);
    const double f = fmin(fmax(excess, 0), coarse);

    return (struct ram_unit_cost){coarse - f, f * f};
}

struct ram_unit_cost ram_unit_cost(const struct ram_problem *problem, size_t unit)
{
    const struct ram_sensitivity_record *all = problem->manifest->sensitivities;
    const char *name = problem->plan->units[unit].name;

    if (!all)
        return (struct ram_unit_cost){(double)problem->plan->units[unit].parameters, 0};
    const double coarse = probed(&all->coarse, name), fine = probed(&all->fine, name);
    if (isnan(fine))
        return (struct ram_unit_cost){coarse, 0};
    const double e = ram_unit_error(problem, unit, ram_case_error(problem, unit, all->fine.form));
    return !(e > 0 && e < 1) ? (struct ram_unit_cost){coarse, 0} : from_probes(coarse, fine, e);
}

double ram_unit_error(const struct ram_problem *problem, size_t unit, double squares)
{
    const struct ram_sensitivity_record *all = problem->manifest->sensitivities;
    const double one =
        all ? ram_case_error(problem, unit, all->coarse.form) : ram_case_energy(problem, unit);

    return one > 0 || isnan(one) ? squares / one : 0;
}

double ram_divergence(struct ram_divergence sums)
{
    return sums.smooth + sqrt(fmax(sums.flips, 0));
}

double ram_divergence_slope(struct ram_unit_cost cost, double flips)
{
    return cost.smooth + (flips > 0 ? cost.flips / (2 * sqrt(flips)) : 0);
}
