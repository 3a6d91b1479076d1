/* compare_report.h - several scores as one table, a row for each model. */
#ifndef RAM_REPORT_COMPARE_REPORT_H
#define RAM_REPORT_COMPARE_REPORT_H

#include "report/compare_layout.h"

/* Text, Markdown, CSV or JSON. */
int ram_report_comparison(const struct ram_comparison *all, enum ram_markup markup, char **out,
                          struct ram_err *err);

#endif
