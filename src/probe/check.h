/* check.h - the divergence of a conversion from the original, and that of the original with its
 * units stored in other forms. */
#ifndef RAM_PROBE_CHECK_H
#define RAM_PROBE_CHECK_H

#include "probe/tokens.h"

/*
 * Nats a token on the sequences: written, of that model from the source; as_if, of the
 * source with its units as if they were stored in the forms as_if [source->n_units] (NULL: not
 * asked for). Both models run in step, layer by layer. RAM_EUSAGE if they are not of one shape.
 */
int ram_check(const struct ram_model *source, const struct ram_model *written,
              const struct ram_storage *as_if, struct ram_sequences on, const struct ram_exec *exec,
              double *kld_written, double *kld_as_if, struct ram_err *err);

#endif
