/* pairing.h - is a difference between two scores more than noise? */
#ifndef RAM_EVALUATE_PAIRING_H
#define RAM_EVALUATE_PAIRING_H

#include "record/score.h"

/* score against other; only where both used the same windows, or the same documents. */
int ram_scores_pair(const struct ram_score *score, const struct ram_score *other,
                    struct ram_pairing *out, struct ram_err *err);

#endif
