/* pairing.h - which scores may be compared, and whether their difference is more than noise. */
#ifndef RAM_EVALUATE_PAIRING_H
#define RAM_EVALUATE_PAIRING_H

#include "record/score.h"

/* pairings [n]: of each score with the first that was run in the same way. */
int ram_scores_pair(const struct ram_score *const *scores, size_t n, struct ram_pairing *pairings,
                    struct ram_err *err);

#endif
