/* rules.c - see rules.h. */
#include "allocate/rules.h"

#include "arch/family.h"
#include "arch/name_guess.h"
#include "base/rx.h"

#include <stdlib.h>
#include <string.h>

struct pattern {
    const char *text;
    struct ram_rx *rx;
};

struct list {
    struct pattern *items;
    size_t n;
};

struct setting {
    const char *text; /* as the user wrote it */
    struct ram_rx *rx;
    const struct ram_form *form;
    bool used;
};

struct ram_rules {
    struct list scored_only, always, sensitive;
    bool defaults; /* the protected names are ours, and roles count too */
    struct setting *set;
    size_t n_set;
};

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

static int compile(struct list *list, const char *const *patterns, size_t n, struct ram_err *err)
{
    list->items = ram_calloc(n, sizeof *list->items, err);
    if (!list->items)
        return RAM_ENOMEM;
    for (; list->n < n; list->n++) {
        struct pattern *const item = &list->items[list->n];
        item->text = patterns[list->n];
        const int status = ram_rx_new(&item->rx, item->text, true, err);
        if (status)
            return status;
    }
    return RAM_OK;
}

static void release(struct list *list)
{
    for (size_t i = 0; i < list->n; i++)
        ram_rx_free(list->items[i].rx);
    free(list->items);
}

/* A stack of experts is known by the unit's name and by that of its first tensor. */
static int matches(const struct ram_rx *rx, const struct ram_case *c, bool *found,
                   struct ram_err *err)
{
    const int status = ram_rx_search(rx, c->first->unit, found, err);
    return status || *found ? status : ram_rx_search(rx, c->first->name, found, err);
}

static int listed(const struct list *list, const struct ram_case *c, bool *found,
                  struct ram_err *err)
{
    int status = RAM_OK;

    *found = false;
    for (size_t i = 0; i < list->n && !*found && !status; i++)
        status = matches(list->items[i].rx, c, found, err);
    return status;
}

/* The id of a form, "4g64", or a width of codes, "4". */
static const struct ram_form *parse_form(const char *text)
{
    const struct ram_form *const form = ram_form_find(text);
    char *end;

    if (form || !strchr("0123456789", *text))
        return form;
    const long bits = strtol(text, &end, 10);
    return *end || bits > RAM_MAX_BITS ? NULL : ram_default_form((int)bits);
}

/* 'REGEX=BITS[gGROUP]'; the last '=' counts, since an expression may hold one. */
static int parse_setting(struct setting *set, const char *text, struct ram_err *err)
{
    const char *const equals = strrchr(text, '=');
    char widths[RAM_FORM_TEXT], groups[RAM_FORM_TEXT];

    set->form = equals ? parse_form(equals + 1) : NULL;
    if (!set->form || equals == text)
        return ram_fail(err, RAM_EUSAGE,
                        "'%s' is not REGEX=BITS[gGROUP] with bits %s and group %s, or bits 16",
                        text, ram_form_bits_text(widths), ram_form_groups_text(groups));
    char *const pattern = strndup(text, (size_t)(equals - text));
    if (!pattern)
        return ram_fail(err, RAM_ENOMEM, "no memory for a rule");
    set->text = text;
    const int status = ram_rx_new(&set->rx, pattern, true, err);
    free(pattern);
    return status;
}

int ram_rules_new(struct ram_rules **out, const struct ram_allocate_opts *opts, struct ram_err *err)
{
    int status;

    struct ram_rules *rules = ram_calloc(1, sizeof *rules, err);
    if (!rules)
        return RAM_ENOMEM;
    rules->defaults = !opts->n_protect;
    if (rules->defaults) {
        status =
            compile(&rules->scored_only, ram_names_scored_only, count(ram_names_scored_only), err);
        if (!status)
            status = compile(&rules->always, ram_names_always, count(ram_names_always), err);
    } else {
        status = compile(&rules->always, opts->protect, opts->n_protect, err);
    }
    if (!status)
        status = compile(&rules->sensitive, opts->sensitive, opts->n_sensitive, err);
    if (!status) {
        rules->set = ram_calloc(opts->n_set, sizeof *rules->set, err);
        if (!rules->set)
            status = RAM_ENOMEM;
    }
    while (!status && rules->n_set < opts->n_set) {
        status = parse_setting(&rules->set[rules->n_set], opts->set[rules->n_set], err);
        rules->n_set++;
    }
    if (status) {
        ram_rules_free(rules);
        return status;
    }
    *out = rules;
    return RAM_OK;
}

void ram_rules_free(struct ram_rules *rules)
{
    if (!rules)
        return;
    release(&rules->scored_only);
    release(&rules->always);
    release(&rules->sensitive);
    for (size_t i = 0; i < rules->n_set; i++)
        ram_rx_free(rules->set[i].rx);
    free(rules->set);
    free(rules);
}

const struct ram_form *ram_router_form(const char *model_type)
{
    int bits = 0, group = 0;

    return ram_family_router(model_type, &bits, &group) ? ram_form_of(bits, group) : NULL;
}

/* The first of the user's settings that matches a unit counts. */
static int apply_setting(struct ram_rules *rules, struct ram_case *c, struct ram_err *err)
{
    for (size_t i = 0; i < rules->n_set; i++) {
        struct setting *const set = &rules->set[i];
        bool found;
        if (matches(set->rx, c, &found, err))
            return RAM_ENOMEM;
        if (!found)
            continue;
        set->used = true;
        c->user_form = set->form;
        break;
    }
    return RAM_OK;
}

int ram_rules_apply(struct ram_rules *rules, const char *model_type, struct ram_case *c,
                    struct ram_err *err)
{
    const bool router = ram_role_is_router(c->role);
    bool untouchable, scored;

    if (listed(&rules->always, c, &untouchable, err) ||
        listed(&rules->scored_only, c, &scored, err) ||
        listed(&rules->sensitive, c, &c->is_sensitive, err))
        return RAM_ENOMEM;
    c->is_embedding = c->role == RAM_ROLE_EMBED || c->role == RAM_ROLE_HEAD;
    c->is_untouchable = untouchable || (rules->defaults && c->role == RAM_ROLE_NORM);
    c->is_protected =
        c->is_untouchable || scored || (rules->defaults && (c->is_embedding || router));
    if (router && ram_router_form(model_type) == RAM_FORM_16) {
        c->quantizable = false;
        c->is_protected = c->is_untouchable = true;
    }
    return c->quantizable ? apply_setting(rules, c, err) : RAM_OK;
}

int ram_rules_check_used(const struct ram_rules *rules, struct ram_err *err)
{
    for (size_t i = 0; i < rules->n_set; i++)
        if (!rules->set[i].used)
            return ram_fail(err, RAM_EUSAGE,
                            "'%s' applies to nothing: no tensor that can be quantised matches it, "
                            "or an earlier rule matches them all",
                            rules->set[i].text);
    return RAM_OK;
}

static int append(json_t *array, const struct list *list)
{
    int failed = 0;

    for (size_t i = 0; i < list->n; i++)
        failed |= json_array_append_new(array, json_string(list->items[i].text));
    return failed;
}

json_t *ram_rules_json(const struct ram_rules *rules, const char *which)
{
    json_t *const array = json_array();
    int failed = !array;

    if (!strcmp(which, "protect"))
        failed |= append(array, &rules->scored_only) || append(array, &rules->always);
    else if (!strcmp(which, "sensitive"))
        failed |= append(array, &rules->sensitive);
    else
        for (size_t i = 0; i < rules->n_set; i++)
            failed |= json_array_append_new(array, json_string(rules->set[i].text));
    if (!failed)
        return array;
    json_decref(array);
    return NULL;
}

const struct ram_form *ram_default_form(int bits)
{
    /* The published choices for 2, 4, 8; for the widths that the publications lack, the group that
     * costs least, since more bits do more than smaller groups (docs/notebook.md). */
    const int group = bits == 2 ? 32 : bits == 8 ? 64 : bits == 16 ? 0 : 128;

    return ram_form_of(bits, group);
}
