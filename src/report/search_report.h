/* search_report.h - thresholds, and what a search for them tried. */
#ifndef RAM_REPORT_SEARCH_REPORT_H
#define RAM_REPORT_SEARCH_REPORT_H

#include "record/plan.h"
#include "report/numbers.h"

/* "0.75", or "never", of a plan's settings. */
struct ram_text ram_threshold_text(const json_t *thresholds, const char *key);

/* A section, if the plan's thresholds were searched for: where the search began, what it chose,
 * and the best it tried, of those with one outcome the first. */
int ram_report_search(const struct ram_plan *plan, enum ram_markup markup, struct ram_buf *out,
                      struct ram_err *err);

#endif
