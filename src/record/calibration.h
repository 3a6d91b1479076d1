/*
 * calibration.h - a text that is used instead of tokens that the model makes itself: which one it
 * was, for the records.
 */
#ifndef RAM_RECORD_CALIBRATION_H
#define RAM_RECORD_CALIBRATION_H

#include "base/json.h"

enum { RAM_MAX_CALIBRATION = 1 << 30 }; /* bytes of the file */

/* {"file", "bytes", "sha256"}. RAM_EIO if it cannot be read, RAM_EFORMAT if it is empty or no text,
 * RAM_EUSAGE if it is not a file: it is read more than once. */
int ram_calibration_identify(const char *path, json_t **out, struct ram_err *err);

#endif
