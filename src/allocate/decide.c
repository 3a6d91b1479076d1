/* decide.c - see decide.h. */
#include "allocate/decide.h"

struct ram_verdict ram_decide(const struct ram_thresholds *thresholds, const struct ram_case *c,
                              double composite, double low)
{
    if (c->user_form)
        return (struct ram_verdict){c->user_form, "user"};
    if (c->skip)
        return (struct ram_verdict){RAM_FORM_16, c->skip};
    if (c->is_protected || !c->quantizable)
        return (struct ram_verdict){RAM_FORM_16, "protected"};
    if (composite >= thresholds->t16)
        return (struct ram_verdict){RAM_FORM_16, "score>=t16"};
    if (c->is_sensitive)
        return (struct ram_verdict){ram_default_form(8), "sensitive"};
    if (composite >= thresholds->t8)
        return (struct ram_verdict){ram_default_form(8), "score>=t8"};
    if (low <= thresholds->t2)
        return (struct ram_verdict){ram_default_form(2), "score<=t2"};
    return (struct ram_verdict){ram_default_form(4), "default"};
}
