/* rx.h - regular expressions (PCRE2, UTF and Unicode properties on), with bounded matching. */
#ifndef RAM_BASE_RX_H
#define RAM_BASE_RX_H

#include "base/err.h"

struct ram_rx;

/* RAM_EUSAGE with the position of the mistake, RAM_ENOMEM. */
int ram_rx_new(struct ram_rx **out, const char *pattern, bool ignore_case, struct ram_err *err);
void ram_rx_free(struct ram_rx *rx);

/* *found: whether the pattern matches anywhere in text. If the match limit is exceeded, it does
 * not. RAM_ENOMEM. */
int ram_rx_search(const struct ram_rx *rx, const char *text, bool *found, struct ram_err *err);

#endif
