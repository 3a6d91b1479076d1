/* score_report.h - scores as text, Markdown or JSON. */
#ifndef RAM_REPORT_SCORE_REPORT_H
#define RAM_REPORT_SCORE_REPORT_H

#include "base/buf.h"
#include "record/score.h"

/* pairings [n]: what each may be compared with (evaluate/pairing.h). */
int ram_report_scores(const struct ram_score *const *scores, const char *const *names,
                      const struct ram_pairing *pairings, size_t n, enum ram_markup markup,
                      char **out, struct ram_err *err);

#endif
