/*
 * rules.h - what is known of a unit by its name and role: protected, sensitive, set by the user;
 * and the forms that go with a width or a router.
 */
#ifndef RAM_ALLOCATE_RULES_H
#define RAM_ALLOCATE_RULES_H

#include "arch/role.h"
#include "record/plan.h"

/* What is known of a unit before it is decided. */
struct ram_case {
    const size_t *members; /* numbers of its entries in the manifest */
    size_t n_members;
    const struct ram_entry *first;
    enum ram_role role;  /* as the first says */
    const char *skip;    /* the reason it is never scored: "1d", "tiny", ...; or NULL */
    bool quantizable;    /* the output format has a quantised form for it */
    bool is_embedding;   /* token embedding or head */
    bool is_protected;   /* 16 bits in the scored methods, */
    bool is_untouchable; /* and even in uniform: norms, vision towers, ... */
    bool is_sensitive;   /* 8 bits at least */
    const struct ram_form *user_form; /* --set; NULL: none */
};

struct ram_rules;

/* RAM_EUSAGE names the expression and its mistake. */
int ram_rules_new(struct ram_rules **out, const struct ram_allocate_opts *opts,
                  struct ram_err *err);
void ram_rules_free(struct ram_rules *rules);

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

/* The form that goes with a width of codes unless a group is asked for. NULL: no form has it. */
const struct ram_form *ram_default_form(int bits);

#endif
