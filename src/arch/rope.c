/*
 * rope.c - rotary embedding as config.json says it, in either spelling and with the precedence of
 * transformers 5: "rope_scaling", if it holds anything, hides "rope_parameters"; rope_theta and
 * partial_rotary_factor count inside before outside, original_max_position_embeddings outside
 * before inside; "rope_type" counts before "type".
 */
#include "arch/config_parts.h"

#include <math.h>
#include <string.h>

static const json_t *object_of(struct ram_config_reader *r, const char *key)
{
    const json_t *value = ram_config_find(r, key);

    if (!value || json_is_null(value))
        return NULL;
    if (json_is_object(value))
        return json_object_size(value) ? value : NULL;
    ram_config_wrong(r, key, value, "an object");
    return NULL;
}

/* A number of the object p; absent (or null, where that is allowed): otherwise. */
static double number(struct ram_config_reader *r, const json_t *p, const char *key, bool null,
                     double otherwise)
{
    const json_t *value = json_object_get(p, key);
    double out = otherwise;

    if (value && !(null && json_is_null(value)) && ram_config_number(r, key, value, &out) &&
        !isfinite(out))
        ram_fail(r->err, RAM_ERANGE, "%s: \"%s\" is not finite", r->config->where, key);
    return out;
}

/* The same for one that must be there. */
static double needed(struct ram_config_reader *r, const json_t *p, const char *name,
                     const char *key)
{
    const double value = number(r, p, key, false, NAN);

    if (isnan(value))
        ram_fail(r->err, RAM_EFORMAT, "%s: rotary embedding \"%s\" needs \"%s\"", r->config->where,
                 name, key);
    return value;
}

/* Inside p before outside. */
static double both(struct ram_config_reader *r, const json_t *p, const char *key, double otherwise)
{
    const json_t *value = json_object_get(p, key);

    if (!value)
        value = ram_config_find(r, key);
    double out = otherwise;
    if (value)
        ram_config_number(r, key, value, &out);
    return out;
}

static double context(struct ram_config_reader *r, const json_t *p)
{
    static const char key[] = "original_max_position_embeddings";
    const json_t *outside = ram_config_find(r, key);
    double out = number(r, p, key, false, (double)r->config->max_positions);

    if (outside)
        ram_config_number(r, key, outside, &out);
    if (!(out >= 1 && out <= 1e12))
        ram_fail(r->err, RAM_ERANGE, "%s: \"%s\" is %g", r->config->where, key, out);
    return out;
}

static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static void read_yarn(struct ram_config_reader *r, const json_t *p, struct ram_rope_config *rope)
{
    const json_t *truncate = json_object_get(p, "truncate");

    rope->context = context(r, p);
    if (!json_object_get(p, "factor"))
        needed(r, p, rope->name, "factor");
    rope->factor = number(r, p, "factor", true, (double)r->config->max_positions / rope->context);
    rope->beta_fast = number(r, p, "beta_fast", true, 32);
    rope->beta_slow = number(r, p, "beta_slow", true, 1);
    rope->beta_fast = rope->beta_fast != 0 ? rope->beta_fast : 32;
    rope->beta_slow = rope->beta_slow != 0 ? rope->beta_slow : 1;
    rope->mscale = number(r, p, "mscale", true, 0);
    rope->mscale_all = number(r, p, "mscale_all_dim", true, 0);
    rope->truncate = !truncate || json_is_true(truncate);
    const double usual =
        rope->mscale != 0 && rope->mscale_all != 0
            ? mscale(rope->factor, rope->mscale) / mscale(rope->factor, rope->mscale_all)
            : mscale(rope->factor, 1);
    rope->attention_factor = number(r, p, "attention_factor", true, usual);
}

static void read_kind(struct ram_config_reader *r, const json_t *p, struct ram_rope_config *rope)
{
    switch (rope->kind) {
    case RAM_ROPE_LINEAR:
        rope->factor = needed(r, p, rope->name, "factor");
        break;
    case RAM_ROPE_LLAMA3:
        rope->factor = needed(r, p, rope->name, "factor");
        rope->low = needed(r, p, rope->name, "low_freq_factor");
        rope->high = needed(r, p, rope->name, "high_freq_factor");
        rope->context = context(r, p);
        break;
    case RAM_ROPE_YARN:
        read_yarn(r, p, rope);
        break;
    case RAM_ROPE_ALPHA:
        rope->factor = needed(r, p, rope->name, "factor");
        rope->alpha = needed(r, p, rope->name, "alpha");
        if (!(rope->alpha > 0))
            ram_fail(r->err, RAM_ERANGE, "%s: rotary \"alpha\" is %g, expected more than 0",
                     r->config->where, rope->alpha);
        break;
    default:
        break;
    }
    if (rope->kind != RAM_ROPE_OTHER && !(rope->factor > 0))
        ram_fail(r->err, RAM_ERANGE, "%s: rotary \"factor\" is %g, expected more than 0",
                 r->config->where, rope->factor);
}

/* Transformers lets rope_parameters hold an object for each kind of layer; few classes do. */
static bool is_by_layer(struct ram_config_reader *r, const json_t *p)
{
    const char *key;
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)p, key, item)
    {
        if (!json_is_object(item))
            continue;
        ram_fail(r->err, RAM_EUNSUPPORTED,
                 "%s: a rotary embedding for each kind of layer (\"%.40s\") is not supported",
                 r->config->where, key);
        return true;
    }
    return false;
}

static enum ram_rope_kind find_kind(struct ram_config_reader *r, const struct ram_family *family,
                                    const json_t *p, const char **name)
{
    static const char *const names[] = {
        [RAM_ROPE_DEFAULT] = "default",
        [RAM_ROPE_LINEAR] = "linear",
        [RAM_ROPE_LLAMA3] = "llama3",
        [RAM_ROPE_YARN] = "yarn",
    };
    const char *key = json_object_get(p, "rope_type") ? "rope_type" : "type";
    const json_t *type = json_object_get(p, key);

    *name = "default";
    if (!type)
        return RAM_ROPE_DEFAULT;
    if (!json_is_string(type)) {
        ram_config_wrong(r, key, type, "the name of a rotary embedding");
        return RAM_ROPE_DEFAULT;
    }
    *name = json_string_value(type);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(*name, names[i]))
            return (enum ram_rope_kind)i;
    if (family->rope_alpha && !strcmp(*name, "dynamic") &&
        json_number_value(json_object_get(p, "alpha")) != 0)
        return RAM_ROPE_ALPHA;
    ram_fail(r->err, RAM_EUNSUPPORTED,
             "%s: rotary scaling \"%.40s\" is not supported (default, linear, llama3 and yarn are)",
             r->config->where, *name);
    return RAM_ROPE_OTHER;
}

/* One embedding. p: its object, or NULL; outside: rope_theta and the like may stand beside p. */
static void read_rope(struct ram_config_reader *r, const struct ram_family *family, const json_t *p,
                      bool outside, struct ram_rope_config *rope)
{
    const struct ram_config *config = r->config;
    const double dim = (double)(ram_family_is_latent(family) ? config->qk_rope : config->head_dim);
    const double theta = family->theta != 0 ? family->theta : 10000;

    *rope = (struct ram_rope_config){
        .name = "default", .partial = 1, .factor = 1, .attention_factor = 1, .truncate = true};
    rope->kind = is_by_layer(r, p) ? RAM_ROPE_DEFAULT : find_kind(r, family, p, &rope->name);
    rope->theta =
        outside ? both(r, p, "rope_theta", theta) : number(r, p, "rope_theta", false, theta);
    if (family->rotary_dim && json_is_number(ram_config_find(r, "rotary_dim"))) {
        rope->partial = json_number_value(ram_config_find(r, "rotary_dim")) / dim;
    } else if (family->reads_partial) {
        const bool said = json_object_get(p, "partial_rotary_factor") ||
                          ram_config_find(r, "partial_rotary_factor");
        rope->partial = said ? both(r, p, "partial_rotary_factor", 1) : family->partial;
    }
    read_kind(r, p, rope);
    const double rotated = dim * rope->partial;
    if (!(rope->theta > 1) || !isfinite(rope->theta))
        ram_fail(r->err, RAM_ERANGE, "%s: \"rope_theta\" is %g, expected a number above 1",
                 config->where, rope->theta);
    if (!(rope->partial > 0 && rope->partial <= 1) || rotated < 2)
        ram_fail(r->err, RAM_ERANGE,
                 "%s: \"partial_rotary_factor\" is %g, which is not possible for heads of %g",
                 config->where, rope->partial, dim);
}

/* "rope_parameters" has an object for layers without a window and one for those with; rope_scaling
 * changes the former. rope_theta beside them is the former's too, so that the latter have the
 * class's own if they do not say theirs. */
static void read_two_ropes(struct ram_config_reader *r, const struct ram_family *family,
                           const json_t *scaling, const json_t *parameters)
{
    struct ram_config *config = r->config;
    const json_t *own = json_object_get(parameters, "full_attention");
    const json_t *sliding = json_object_get(parameters, "sliding_attention");
    json_t *full = json_object();

    if ((json_is_object(own) && json_object_update(full, (json_t *)(uintptr_t)own)) ||
        (scaling && json_object_update(full, (json_t *)(uintptr_t)scaling)))
        ram_fail(r->err, RAM_ENOMEM, "%s: no memory for the rotary embedding", config->where);
    config->has_sliding_rope = true;
    read_rope(r, family, full, true, &config->rope);
    read_rope(r, family, json_is_object(sliding) ? sliding : NULL, false, &config->sliding_rope);
    json_decref(full);
}

void ram_config_read_rope(struct ram_config_reader *r, const struct ram_family *family)
{
    struct ram_config *config = r->config;
    struct ram_err *const hard = r->err;

    r->err = &config->refusal;
    const json_t *scaling = object_of(r, "rope_scaling");
    const json_t *parameters = object_of(r, "rope_parameters");
    if (family->two_ropes)
        read_two_ropes(r, family, scaling, parameters);
    else
        read_rope(r, family, scaling ? scaling : parameters, true, &config->rope);
    r->err = hard;
}
