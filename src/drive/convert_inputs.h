/*
 * convert_inputs.h - a conversion whose encoder may ask what flows into the matrices: the model is
 * run then, forward and backward, on tokens of its own or of a text.
 */
#ifndef RAM_DRIVE_CONVERT_INPUTS_H
#define RAM_DRIVE_CONVERT_INPUTS_H

#include "convert/convert.h"

/* ram_convert_run, with inputs of its own in the place of how->inputs. */
int ram_convert_with_inputs(const struct ram_ckpt *ckpt, const struct ram_plan *plan,
                            const char *dir, const struct ram_convert_how *how,
                            enum ram_markup markup, char **out, struct ram_err *err);

#endif
