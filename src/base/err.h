/* err.h - how every function of the library fails: a status, and one line that says why. */
#ifndef RAM_BASE_ERR_H
#define RAM_BASE_ERR_H

#include "ram.h"

#if defined(__GNUC__)
#define RAM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RAM_PRINTF(fmt, args)
#endif

/* Records the first failure in *err (later ones keep it) and returns status. */
int ram_fail(struct ram_err *err, int status, const char *fmt, ...) RAM_PRINTF(3, 4);

/* The same with ": " and the text of errno at the end. ENOMEM becomes RAM_ENOMEM. */
int ram_fail_errno(struct ram_err *err, const char *fmt, ...) RAM_PRINTF(2, 3);

/*
 * JSON is built from many small allocations, and neither jansson nor its callers look at each. A
 * thread remembers those that failed until one of the functions above reports RAM_ENOMEM, and gives
 * out no text that is built from them (ram_buf_take). ram_losses tells how many are not reported.
 */
void ram_note_loss(void);
unsigned ram_losses(void);

#endif
