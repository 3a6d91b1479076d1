/* decide.h - from a composite score to a form: the first rule that applies decides. */
#ifndef RAM_ALLOCATE_DECIDE_H
#define RAM_ALLOCATE_DECIDE_H

#include "allocate/problem.h"

/* At or beyond. -INFINITY or INFINITY: never. */
struct ram_thresholds {
    double t2, t8, t16;
};

struct ram_verdict {
    const struct ram_form *form;
    const char *reason;
};

/* low: what must be at most t2 for 2 bits; the composite, or a more careful one. */
struct ram_verdict ram_decide(const struct ram_thresholds *thresholds, const struct ram_case *c,
                              double composite, double low);

#endif
