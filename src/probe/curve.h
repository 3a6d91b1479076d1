/*
 * curve.h - what a form costs under the encoder gptq: for every unit and every form the error of
 * what its matrices give, over that of the form that sensitivities are probed with.
 *
 * Measured on some rows of some matrices of each unit, coded by the encoder itself: rows do not
 * depend on each other. Where nothing is known of a matrix's inputs (an embedding of its own) the
 * encoder is the search, and the error that of the weights.
 */
#ifndef RAM_PROBE_CURVE_H
#define RAM_PROBE_CURVE_H

#include "probe/hessian.h"
#include "record/manifest.h"

struct ram_curve {
    double ratio[RAM_N_FORMS]; /* NAN: the form does not fit, or was not measured */
};

/* curves [model->n_units], [0] unused. */
int ram_error_curves(const struct ram_model *model, struct ram_hessians *hessians,
                     const struct ram_exec *exec, struct ram_curve *curves, struct ram_err *err);

#endif
