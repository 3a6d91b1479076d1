/* eta.c - see eta.h. */
#include "eta.h"

#include <math.h>

/* The speed of a stage counts once so much of it was done. */
static const double least_share = 0.02;

/* The running stage by its own speed; NAN: too little of it was done in this run. */
static double by_speed(double share, double resumed, double elapsed)
{
    const double done = share - resumed;

    return done >= least_share && elapsed > 0 ? elapsed / done * (1 - share) : NAN;
}

double eta_left(const struct eta_stage *stages, size_t n, size_t at, double share, double resumed,
                double elapsed)
{
    const double own = by_speed(share, resumed, elapsed);
    double expected = 0, took = 0, later = 0;

    for (size_t i = 0; i < at; i++) {
        /* Work of an earlier run says nothing about the speed of this one. */
        if (!(stages[i].took > 0) || !(stages[i].expected > 0))
            continue;
        expected += stages[i].expected;
        took += stages[i].took;
    }
    if (stages[at].expected > 0 && !isnan(own)) {
        expected += stages[at].expected * (share - resumed);
        took += elapsed;
    }
    const double factor = expected > 0 ? took / expected : 1;
    for (size_t i = at + 1; i < n; i++) {
        if (!(stages[i].expected > 0))
            return NAN;
        later += factor * stages[i].expected;
    }
    if (!isnan(own)) {
        /* At first the estimate counts too: the parts of a stage are not equally fast. */
        const double guess = factor * stages[at].expected * (1 - share);
        return later + (stages[at].expected > 0 ? share * own + (1 - share) * guess : own);
    }
    return stages[at].expected > 0 ? later + factor * stages[at].expected * (1 - share) : NAN;
}
