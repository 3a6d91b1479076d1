/* divergence.c - see divergence.h. */
#include "allocate/divergence.h"

#include <math.h>

enum { COARSE_BITS = 3, FINE_BITS = 5, GROUP = 64 };

/* Nobody is sure of an uncertainty of e^20, and squares of it stay numbers. */
static const double least = 1e-9, most = 20;

/* Rounded to 2^(k/8), so that the last bits of a processor's arithmetic do not decide; NAN if the
 * unit was not probed. */
static double probed(const json_t *units, const char *name)
{
    const json_t *value = json_object_get(units, name);

    if (!json_is_number(value))
        return NAN;
    const double nats = fmin(fmax(json_number_value(value), least), most);
    return exp2(round(8 * log2(nats)) / 8);
}

/* Two equations: coarse = q + f and fine = q e + f sqrt(e), neither q nor f below 0. */
static struct ram_unit_cost from_probes(double coarse, double fine, double e)
{
    const double excess = (fine - e * coarse) / (sqrt(e) - e);
    const double f = fmin(fmax(excess, 0), coarse);

    return (struct ram_unit_cost){coarse - f, f * f};
}

struct ram_unit_cost ram_unit_cost(const struct ram_problem *problem, size_t unit)
{
    const json_t *all = problem->manifest->sensitivities;
    const char *name = problem->plan->units[unit].name;

    if (!all)
        return (struct ram_unit_cost){(double)problem->plan->units[unit].parameters, 0};
    const double coarse = probed(json_object_get(all, "units"), name);
    const double fine = probed(json_object_get(json_object_get(all, "fine"), "units"), name);
    const double e = ram_unit_error(problem, unit, ram_case_error(problem, unit, FINE_BITS, GROUP));
    return isnan(fine) || !(e > 0 && e < 1) ? (struct ram_unit_cost){coarse, 0}
                                            : from_probes(coarse, fine, e);
}

double ram_unit_error(const struct ram_problem *problem, size_t unit, double squares)
{
    const double one = problem->manifest->sensitivities
                           ? ram_case_error(problem, unit, COARSE_BITS, GROUP)
                           : ram_case_energy(problem, unit);

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
