/*
 * sensitivity.h - what it costs the model, in nats a token, when a unit is stored coarsely: at 3
 * bits in groups of 64, rounded to nearest. Of mixtures also at 5 bits, because flips of routers do
 * not fall with the square of an error (allocate/divergence.h).
 *
 * RAM_TIER_KL measures KL(P || P') for every unit alone. All probes run in step, layer by layer, so
 * the weights are read once, and coded once: a probe begins as a copy of the clean activations at
 * its layer and is then one more sequence for the layers behind it.
 *
 * RAM_TIER_LOCAL sees only how far the output of the unit's own layer moves, relative to what flows
 * there: that costs some nine forward passes, whatever the model's depth. The figures
 * are scaled so that they sum to the divergence of the model with all units coarse at once, which
 * is measured; a head is measured itself.
 */
#ifndef RAM_PROBE_SENSITIVITY_H
#define RAM_PROBE_SENSITIVITY_H

#include "probe/tokens.h"

/* The forms of the two probes. */
#define RAM_PROBE_FORM      "3g64"
#define RAM_PROBE_FINE_FORM "5g64"

struct ram_sensitivities {
    const struct ram_form *form; /* that units are as if stored in */
    double *alpha; /* [model->n_units], [0] unused: nats a token; NAN: a router, which stays */
    double joint;  /* of all units at once: near their sum where nothing is routed */
};

/* form and alpha of out are the caller's. */
int ram_sensitivities(const struct ram_model *model, struct ram_sequences on, enum ram_tier tier,
                      const struct ram_exec *exec, struct ram_sensitivities *out,
                      struct ram_err *err);

#endif
