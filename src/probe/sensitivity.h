/*
 * sensitivity.h - what it costs the model, in nats a token, when one unit alone is stored coarsely.
 *
 * For every unit: KL(P || P') averaged over synthetic tokens, where P' is the model with that unit
 * coded at 3 bits in groups of 64. All probes run in step, layer by layer, so the weights are read
 * once: a probe begins as a copy of the clean activations at its layer and is then one more
 * sequence for the layers behind it.
 */
#ifndef RAM_PROBE_SENSITIVITY_H
#define RAM_PROBE_SENSITIVITY_H

#include "probe/tokens.h"

enum { RAM_PROBE_BITS = 3, RAM_PROBE_GROUP = 64 };

/* alpha [model->n_units], alpha[0] unused; tokens [n, length]. */
int ram_sensitivities(const struct ram_model *model, const uint32_t *tokens, size_t n,
                      size_t length, const struct ram_probe_run *how, double *alpha,
                      struct ram_err *err);

#endif
