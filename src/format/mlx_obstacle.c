/*
 * mlx_obstacle.c - what mlx_lm's class of a family would compute otherwise, whatever config.json
 * says: such a model is not converted. What the class knows of, the rows of the family say
 * (arch/family.h: the loader).
 */
#include "arch/config_read.h"
#include "format/mlx.h"

#include "arch/family.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct search {
    const struct ram_config *config;
    const struct ram_family *family;
    const json_t *json;
    char found[512]; /* "": nothing yet; the first counts */
};

static void add(struct search *s, const char *fmt, ...) RAM_PRINTF(2, 3);

static void add(struct search *s, const char *fmt, ...)
{
    va_list args;

    if (*s->found)
        return;
    va_start(args, fmt);
    vsnprintf(s->found, sizeof s->found, fmt, args);
    va_end(args);
}

/* ---- keys --------------------------------------------------------------------------------- */

/* The value that the class computes as for. */
static double fixed_value(const struct search *s, const struct ram_param *p)
{
    const struct ram_config *c = s->config;

    if (p->loader_value != RAM_DERIVED)
        return p->loader_value;
    return c->n_heads ? (double)(c->hidden / c->n_heads) : 0;
}

static void check_act(struct search *s, const struct ram_param *p)
{
    if (s->config->act != RAM_ACT_SILU)
        add(s, "\"%s\" is \"%s\", and mlx_lm's class knows silu only", p->key,
            json_string_value(ram_config_value(s->json, p->key)));
}

/* Keys that the class does not read must say what it computes. */
static void check_fixed(struct search *s, const struct ram_param *p)
{
    const double fixed = fixed_value(s, p), value = ram_param_value(s->config, p);

    if (value == fixed)
        return;
    if (p->value == RAM_VALUE_FLAG)
        add(s, "\"%s\" is %s, and mlx_lm's class computes only as for %s", p->key,
            fixed != 0 ? "false" : "true", fixed != 0 ? "true" : "false");
    else
        add(s, "\"%s\" is %.15g, and mlx_lm's class computes only as for %.15g", p->key, value,
            fixed);
}

static void check_params(struct search *s, bool act)
{
    for (size_t i = 0; i < s->family->n_params; i++) {
        const struct ram_param *p = &s->family->params[i];
        if (p->loader != RAM_LOADER_FIXED || (p->value == RAM_VALUE_ACT) != act)
            continue;
        if (act)
            check_act(s, p);
        else
            check_fixed(s, p);
    }
}

/* ---- layers ------------------------------------------------------------------------------- */

/* The class knows no list of names, but what its two numbers say. */
static void check_experts(struct search *s)
{
    const struct ram_config *c = s->config;
    uint64_t first = 0;

    if (s->family->router == RAM_ROUTER_SIGMOID && !s->family->normalises && c->norm_topk &&
        c->n_experts && c->top_k == 1)
        add(s, "one expert is chosen and its share divided by itself (\"norm_topk_prob\"), and "
               "mlx_lm's class leaves the share of a single expert as it is");
    for (uint64_t i = 0; s->family->loader.sparse_only && i < c->n_layers; i++)
        if (c->dense[i])
            add(s, "layer %" PRIu64 " has no experts, and mlx_lm's class has some in every layer",
                i);
    if (s->family->layers != RAM_LAYERS_NAMED || !ram_config_value(s->json, "mlp_layer_types"))
        return;
    while (first < c->n_layers && c->dense[first])
        first++;
    for (uint64_t i = first; i < c->n_layers; i++)
        if (c->dense[i])
            add(s,
                "\"mlp_layer_types\" has a layer without experts behind one with experts (%" PRIu64
                "), which mlx_lm's class cannot be told",
                i);
}

/* The first layer with attention, counted from 1: the class knows this interval only. */
size_t ram_mlx_interval(const struct ram_config *config)
{
    size_t i = 0;

    while (i < config->n_layers && config->recurs[i])
        i++;
    return i + 1;
}

static void check_recurrent(struct search *s)
{
    const struct ram_config *c = s->config;
    const size_t every = ram_mlx_interval(c);

    if (!s->family->recurs)
        return;
    if (every > c->n_layers)
        add(s, "no layer has attention, and mlx_lm's class fails then");
    for (size_t i = 0; i < c->n_layers; i++)
        if (c->recurs[i] != ((i + 1) % every != 0))
            add(s, "\"layer_types\" gives attention to layers at no fixed interval, and mlx_lm's "
                   "class can be told an interval only");
}

static void check_windows(struct search *s)
{
    const enum ram_loader_windows windows = s->family->loader.windows;
    const bool needs_both = windows == RAM_LOADER_WINDOWS_BOTH ||
                            (windows == RAM_LOADER_WINDOWS_PATTERN && s->config->may_slide);

    if (needs_both && !ram_config_has_both_kinds(s->config))
        add(s, "mlx_lm's class needs layers with a window and layers without, and this model has "
               "layers of one kind only");
}

bool ram_mlx_slides(const struct ram_config *config)
{
    const struct ram_family *family = ram_family_of(config);

    return family->loader.windows != RAM_LOADER_WINDOWS_NONE && ram_config_has_both_kinds(config) &&
           (config->has_layer_types || family->windows >= RAM_WINDOW_FOURTH);
}

/* The classes slide only where layer_types says so, and only some of them. */
int ram_mlx_note(const struct ram_config *config, struct ram_notes *notes, struct ram_arena *arena,
                 struct ram_err *err)
{
    if (!config->sliding_window || ram_mlx_slides(config))
        return RAM_OK;
    return ram_notes_add(notes, arena, err,
                         "mlx_lm attends to all positions, this model to the last %" PRIu64
                         "; the results of mlx_lm differ for texts with more tokens",
                         config->sliding_window);
}

/* ---- rotary embedding --------------------------------------------------------------------- */

/* Kinds that mlx_lm has and we have not; what they need is passed on as it stands. */
static bool is_known(const char *name)
{
    static const char *const names[] = {"dynamic", "longrope"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

/* Does mlx_lm's range of corrected dimensions, always in whole numbers, equal ours? */
static bool is_whole(const struct ram_rope_config *rope, double dim)
{
    const double turn = 6.283185307179586476925;
    const double low = dim * log(rope->context / (rope->beta_fast * turn)) / (2 * log(rope->theta));
    const double high =
        dim * log(rope->context / (rope->beta_slow * turn)) / (2 * log(rope->theta));

    return fmax(low, 0) == fmax(floor(low), 0) && fmin(high, dim - 1) == fmin(ceil(high), dim - 1);
}

static void check_rope(struct search *s)
{
    const struct ram_config *c = s->config;
    const struct ram_rope_config *rope = &c->rope;
    const struct ram_loader_class *loader = &s->family->loader;
    const double dim = (double)(ram_family_is_latent(s->family) ? c->qk_rope : c->head_dim);

    if (rope->kind == RAM_ROPE_OTHER && !is_known(rope->name))
        add(s, "mlx_lm knows no rotary scaling \"%.40s\"", rope->name);
    else if (rope->kind != RAM_ROPE_DEFAULT && rope->kind != RAM_ROPE_ALPHA && !loader->scales_rope)
        add(s, "rotary scaling is \"%.40s\", and mlx_lm's class does not read \"rope_scaling\"",
            rope->name);
    else if (rope->kind == RAM_ROPE_YARN && !rope->truncate && !is_whole(rope, dim * rope->partial))
        add(s, "\"truncate\" of the rotary embedding is false, and mlx_lm's class computes only as "
               "for true");
    else if (rope->kind == RAM_ROPE_YARN && rope->factor <= 1 && rope->attention_factor != 1)
        add(s,
            "\"attention_factor\" of the rotary embedding is %g at a factor of %g, which mlx_lm's "
            "class cannot be told",
            rope->attention_factor, rope->factor);
    else if (rope->partial != 1 && !loader->partial)
        add(s, "\"partial_rotary_factor\" is %g, and mlx_lm's class computes only as for 1",
            rope->partial);
}

static void check_sliding_rope(struct search *s)
{
    const struct ram_rope_config *full = &s->config->rope, *sliding = &s->config->sliding_rope;

    if (sliding->kind != RAM_ROPE_DEFAULT)
        add(s,
            "rotary scaling of layers with a window is \"%.40s\", and mlx_lm's class computes only "
            "as for \"default\"",
            sliding->name);
    else if (sliding->theta != full->theta)
        add(s,
            "\"rope_theta\" is %g for layers with a window and %g for others, and mlx_lm's class "
            "knows one only",
            sliding->theta, full->theta);
}

/* ---- all ---------------------------------------------------------------------------------- */

/* What cannot be computed here cannot be converted either; but a rotary embedding of another kind
 * is passed on to mlx_lm, if that knows it. */
static void check_refusal(struct search *s)
{
    const struct ram_config *c = s->config;
    const struct ram_err *refusal = &c->refusal;

    if (c->strange_key)
        add(s, "\"%s\" changes what the model computes, and mlx_lm does not read it",
            c->strange_key);
    check_params(s, false);
    if (refusal->status && !c->rope_refused)
        add(s, "%s", refusal->message);
    if (refusal->status != RAM_EFORMAT && refusal->status != RAM_ERANGE) {
        check_rope(s);
        if (c->has_sliding_rope)
            check_sliding_rope(s);
    }
    if (refusal->status && c->rope.kind != RAM_ROPE_OTHER)
        add(s, "%s", refusal->message);
}

const char *ram_mlx_obstacle(const struct ram_config *config, const json_t *json,
                             struct ram_arena *arena, struct ram_err *err)
{
    struct search s = {.config = config, .family = ram_family_of(config), .json = json};

    check_params(&s, true);
    check_experts(&s);
    check_recurrent(&s);
    check_windows(&s);
    check_refusal(&s);
    return *s.found ? ram_arena_strdup(arena, s.found, err) : NULL;
}

const char *ram_mlx_lacks(const struct ram_config *config, const json_t *json)
{
    for (size_t i = 0; config->family && i < config->family->n_params; i++) {
        const struct ram_param *p = &config->family->params[i];
        if (p->loader == RAM_LOADER_NEEDS && !json_object_get(json, p->key))
            return p->key;
    }
    return NULL;
}
