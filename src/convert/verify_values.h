/*
 * verify_values.h - one pass over the values of a directory: are they finite, what is their
 * checksum, how far are they from the source's.
 */
#ifndef RAM_CONVERT_VERIFY_VALUES_H
#define RAM_CONVERT_VERIFY_VALUES_H

#include "format/modules.h"

/*
 * Fills the results of every module in list. source: NULL, or the checkpoint whose layout the
 * modules' expectations come from (expected->target); it must then fit in shape. Values that are
 * not finite go to findings. RAM_EFORMAT if a weight of the source is not finite.
 */
int ram_compare(struct ram_found_list *list, const struct ram_ckpt *ckpt,
                const struct ram_ckpt *source, const struct ram_exec *exec,
                struct ram_findings *findings, struct ram_err *err);

#endif
