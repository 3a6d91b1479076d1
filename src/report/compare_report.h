/* compare_report.h - several scores as one table, a row for each model. */
#ifndef RAM_REPORT_COMPARE_REPORT_H
#define RAM_REPORT_COMPARE_REPORT_H

#include "base/buf.h"
#include "record/score.h"

/* Scores, what to call them, and what each may be compared with: arrays of n. */
struct ram_comparison {
    const struct ram_score *const *scores;
    const char *const *names;
    const struct ram_pairing *pairings;
    size_t n;
};

/* Text, Markdown, CSV or JSON. */
int ram_report_comparison(const struct ram_comparison *all, enum ram_markup markup, char **out,
                          struct ram_err *err);

/* A member of a score's results; NAN: it has none. */
double ram_score_result(const struct ram_score *score, const char *key);

#endif
