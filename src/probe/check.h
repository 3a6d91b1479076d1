/* check.h - the divergence of a conversion from the original, and that of the original with its
 * units stored in other forms. */
#ifndef RAM_PROBE_CHECK_H
#define RAM_PROBE_CHECK_H

#include "probe/tokens.h"

/* The tokens of a self-check, of a checkpoint of so many bytes: 2,048, so that their mean says
 * which of two conversions is the better one; fewer, in shorter sequences, of a large one, and an
 * eighth where sensitivities are local, since to sample and run them must not take longer than to
 * decide and convert. */
struct ram_synthetic ram_check_tokens(uint64_t bytes, enum ram_tier tier);

/*
 * Nats a token, a mean for each sequence, [on.n] each: written, of that model from the source;
 * as_if, of the source with its units as if they were stored in the forms as_if [source->n_units]
 * (NULL: not asked for). Both models run in step, layer by layer. RAM_EUSAGE if they are not of one
 * shape.
 */
int ram_check(const struct ram_model *source, const struct ram_model *written,
              const struct ram_storage *as_if, struct ram_sequences on, const struct ram_exec *exec,
              double *kld_written, double *kld_as_if, struct ram_err *err);

#endif
