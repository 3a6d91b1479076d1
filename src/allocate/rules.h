/* rules.h - rules that depend on a tensor's name or role: protected, sensitive, set by the user. */
#ifndef RAM_ALLOCATE_RULES_H
#define RAM_ALLOCATE_RULES_H

#include "record/plan.h"

struct ram_rules;

/* RAM_EUSAGE names the expression and its mistake. */
int ram_rules_new(struct ram_rules **out, const struct ram_allocate_opts *opts,
                  struct ram_err *err);
void ram_rules_free(struct ram_rules *rules);

struct ram_case;

/* Fills in the members of a case that depend on names and roles. */
int ram_rules_apply(struct ram_rules *rules, const char *model_type, struct ram_case *c,
                    struct ram_err *err);

/* RAM_EUSAGE if one of the user's --set rules was never applied, which is probably a typing
 * mistake. */
int ram_rules_check_used(const struct ram_rules *rules, struct ram_err *err);

/* The lists as the plan's settings record them. */
json_t *ram_rules_json(const struct ram_rules *rules, const char *which);

/*
 * What stock mlx_lm.convert does with a router when everything else becomes uniform: a form of its
 * own (qwen3_moe: 8g64), or 16 bits where the router is a plain array that has no quantised form
 * (GLM). NULL: it is a matrix like others.
 */
const struct ram_form *ram_router_form(const char *model_type);

#endif
