/*
 * mlx_publish.c - config.json says what was computed, in the spelling that mlx_lm reads.
 *
 * A key that mlx_lm's class needs, or takes for something else when it is absent, is written with
 * the value that the family's table gave it (arch/family_*.c); one that contradicts what is
 * computed (rope_scaling in two places, "type" beside "rope_type") is set right. All other keys
 * stay.
 */
#include "format/mlx.h"
#include "format/outline.h"
#include "format/placed.h"

#include "arch/config_read.h"
#include "arch/family.h"

#include <math.h>
#include <string.h>

struct publisher {
    json_t *json; /* where the class reads its keys */
    json_t *top;  /* all of config.json */
    const struct ram_config *config;
    const struct ram_family *family;
    bool failed; /* memory ran out: a key may be missing */
};

static void set(struct publisher *pub, json_t *json, const char *key, json_t *value)
{
    pub->failed |= json_object_set_new(json, key, value) != 0;
}

/* Sets a key that is absent, or null, which is taken as absent. */
static void set_absent(struct publisher *pub, json_t *json, const char *key, json_t *value)
{
    const json_t *present = json_object_get(json, key);
    if (value && (!present || json_is_null(present)))
        set(pub, json, key, json_incref(value));
}

static void set_absent_new(struct publisher *pub, json_t *json, const char *key, json_t *value)
{
    pub->failed |= !value;
    set_absent(pub, json, key, value);
    json_decref(value);
}

/* Sets a number unless the same stands there, as an integer or a real. */
static void set_number(struct publisher *pub, json_t *json, const char *key, double value)
{
    const json_t *present = json_object_get(json, key);

    if (!json_is_number(present) || json_number_value(present) != value)
        set(pub, json, key, json_real(value));
}

static void set_integer(struct publisher *pub, json_t *json, const char *key, uint64_t value)
{
    const json_t *present = json_object_get(json, key);

    if (!json_is_integer(present) || json_integer_value(present) != (json_int_t)value)
        set(pub, json, key, json_integer((json_int_t)value));
}

static void set_string(struct publisher *pub, json_t *json, const char *key, const char *value)
{
    const char *present = json_string_value(json_object_get(json, key));

    if (!present || strcmp(present, value))
        set(pub, json, key, ram_json_string(value));
}

/* ---- the family's keys ---------------------------------------------------------------------- */

static json_t *value_of(const struct ram_param *p, double value)
{
    if (p->value == RAM_VALUE_REAL)
        return json_real(value);
    if (p->value == RAM_VALUE_FLAG)
        return json_boolean(value != 0);
    return value == 0 && p->null == RAM_NULL_ZERO ? json_null() : json_integer((json_int_t)value);
}

/* Does what stands there mean the value to mlx_lm? */
static bool means(const struct ram_param *p, const json_t *present, double value)
{
    if (p->value == RAM_VALUE_FLAG)
        return json_is_boolean(present) && json_is_true(present) == (value != 0);
    if (json_is_null(present))
        return value == 0 && p->null == RAM_NULL_ZERO;
    return json_is_number(present) && json_number_value(present) == value &&
           !(value == 0 && p->null == RAM_NULL_ZERO);
}

static double mlx_default(const struct publisher *pub, const struct ram_param *p)
{
    /* Only num_key_value_heads: as many as there are heads. */
    return p->loader_value == RAM_DERIVED ? (double)pub->config->n_heads : p->loader_value;
}

static void publish_param(struct publisher *pub, const struct ram_param *p)
{
    const json_t *present = json_object_get(pub->json, p->key);
    const double value =
        p->loader == RAM_LOADER_ALONE ? p->loader_value : ram_param_value(pub->config, p);
    bool write = false;

    if (p->loader == RAM_LOADER_NEEDS || p->loader == RAM_LOADER_WRITTEN)
        write = !present || !means(p, present, value);
    else if (p->loader == RAM_LOADER_DEFAULTS)
        write = present ? !means(p, present, value) : mlx_default(pub, p) != value;
    else if (p->loader == RAM_LOADER_ALONE)
        write = present && !means(p, present, value);
    if (write)
        set(pub, pub->json, p->key, value_of(p, value));
}

/* ---- rotary embedding ----------------------------------------------------------------------- */

static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

/* mlx_lm multiplies by mscale(factor, mscale) / mscale(factor, mscale_all_dim), and does not read
 * attention_factor: mscale is chosen so that it is ours. mscale_all_dim also scales the attention
 * of MLA, and stays there; elsewhere it counts for transformers only beside mscale. */
static void state_yarn_factor(struct publisher *pub, json_t *scaling)
{
    const struct ram_rope_config *rope = &pub->config->rope;
    const double all =
        ram_family_is_latent(pub->family) || rope->mscale != 0 ? rope->mscale_all : 0;
    const json_t *stands = json_object_get(scaling, "mscale");
    const double m = json_is_number(stands) ? json_number_value(stands) : 1;

    if (all != rope->mscale_all || json_is_null(json_object_get(scaling, "mscale_all_dim")))
        set(pub, scaling, "mscale_all_dim", json_real(all));
    const double found = mscale(rope->factor, m) / mscale(rope->factor, all);
    if (!json_is_null(stands) && fabs(found - rope->attention_factor) <= 1e-12)
        return;
    const double wanted = rope->attention_factor * mscale(rope->factor, all) - 1;
    set_number(pub, scaling, "mscale", rope->factor > 1 ? wanted / (0.1 * log(rope->factor)) : 1);
}

/* All that mlx_lm reads of a scaled embedding. */
static void state_scaling(struct publisher *pub, json_t *scaling)
{
    const struct ram_rope_config *rope = &pub->config->rope;

    const bool by_type = json_object_get(scaling, "type") != NULL;

    if (by_type)
        set_string(pub, scaling, "type", rope->name);
    if (rope->kind == RAM_ROPE_OTHER)
        return;
    if (json_object_get(scaling, "rope_type") || (!by_type && rope->kind != RAM_ROPE_DEFAULT))
        set_string(pub, scaling, "rope_type", rope->name);
    if (rope->kind == RAM_ROPE_DEFAULT)
        return;
    set_number(pub, scaling, "factor", rope->factor);
    if (rope->kind == RAM_ROPE_ALPHA) { /* mlx_lm asks for this spelling of the kind */
        set_string(pub, scaling, "type", rope->name);
        set_number(pub, scaling, "alpha", rope->alpha);
        return;
    }
    if (rope->kind == RAM_ROPE_LLAMA3) {
        set_number(pub, scaling, "low_freq_factor", rope->low);
        set_number(pub, scaling, "high_freq_factor", rope->high);
    } else if (rope->kind == RAM_ROPE_YARN) {
        if (json_object_get(scaling, "beta_fast") || rope->beta_fast != 32)
            set_number(pub, scaling, "beta_fast", rope->beta_fast);
        if (json_object_get(scaling, "beta_slow") || rope->beta_slow != 1)
            set_number(pub, scaling, "beta_slow", rope->beta_slow);
        state_yarn_factor(pub, scaling);
    }
    const json_t *context = json_object_get(scaling, "original_max_position_embeddings");
    if (rope->kind != RAM_ROPE_LINEAR &&
        (!json_is_number(context) || json_number_value(context) != rope->context))
        set(pub, scaling, "original_max_position_embeddings",
            rope->context == floor(rope->context) ? json_integer((json_int_t)rope->context)
                                                  : json_real(rope->context));
}

static bool holds_anything(const json_t *value)
{
    return json_is_object(value) && json_object_size(value);
}

/* The embedding of layers without a window is the one that scales; what stands for each kind of
 * layer is the truth and stays. */
static void publish_two_ropes(struct publisher *pub, json_t *parameters)
{
    const struct ram_rope_config *rope = &pub->config->rope;
    json_t *full = json_object_get(parameters, "full_attention");
    json_t *scaling = json_object_get(pub->json, "rope_scaling");

    set_number(pub, pub->json, "rope_theta", rope->theta);
    if (rope->kind == RAM_ROPE_DEFAULT) {
        set(pub, pub->json, "rope_scaling", json_null());
        return;
    }
    json_t *copy = json_is_object(full) ? json_deep_copy(full) : json_object();
    if (json_is_object(scaling))
        pub->failed |= json_object_update(copy, scaling) != 0;
    json_object_del(copy, "rope_theta");
    set(pub, pub->json, "rope_scaling", copy);
    state_scaling(pub, json_object_get(pub->json, "rope_scaling"));
}

/* rope_parameters {rope_theta, rope_type, partial_rotary_factor, ...} as rope_theta and
 * rope_scaling, which is null for the plain rotary embedding. */
static void publish_scaled_rope(struct publisher *pub)
{
    const struct ram_rope_config *rope = &pub->config->rope;
    json_t *const json = pub->json;
    json_t *parameters = json_object_get(json, "rope_parameters");
    json_t *scaling = json_object_get(json, "rope_scaling");
    json_t *from = holds_anything(scaling) ? scaling : parameters;

    if (pub->family->two_ropes && holds_anything(parameters)) {
        publish_two_ropes(pub, parameters);
        return;
    }
    if (pub->family->rope_alpha && rope->kind == RAM_ROPE_DEFAULT && holds_anything(scaling)) {
        set(pub, json, "rope_scaling", json_null());
        scaling = json_object_get(json, "rope_scaling");
        from = parameters;
    }
    if (!holds_anything(from))
        from = (json_t *)(uintptr_t)ram_config_value(json, "rope_scaling");
    if (!holds_anything(from))
        from = (json_t *)(uintptr_t)ram_config_value(json, "rope_parameters");
    if (holds_anything(from) && from != scaling && rope->kind != RAM_ROPE_DEFAULT) {
        json_t *copy = json_deep_copy(from);
        json_object_del(copy, "rope_theta");
        json_object_del(copy, "partial_rotary_factor");
        set(pub, json, "rope_scaling", copy);
        scaling = json_object_get(json, "rope_scaling");
    }
    set_absent(pub, json, "rope_theta", json_object_get(from, "rope_theta"));
    set_number(pub, json, "rope_theta", rope->theta);
    if (pub->family->loader.partial)
        set_number(pub, json, "partial_rotary_factor", rope->partial);
    if (holds_anything(scaling))
        state_scaling(pub, scaling);
    else if (!scaling)
        set(pub, json, "rope_scaling", json_null());
    if (!holds_anything(parameters))
        return;
    if (holds_anything(scaling))
        pub->failed |= json_object_update(parameters, scaling) != 0;
    else
        state_scaling(pub, parameters);
    if (json_object_get(parameters, "rope_theta"))
        set_number(pub, parameters, "rope_theta", rope->theta);
    if (pub->family->reads_partial && json_object_get(parameters, "partial_rotary_factor"))
        set_number(pub, parameters, "partial_rotary_factor", rope->partial);
}

/* Where the class knows rope_parameters only, it has them, with all that it reads. */
static void publish_rope(struct publisher *pub)
{
    const struct ram_rope_config *rope = &pub->config->rope;

    publish_scaled_rope(pub);
    if (!pub->family->loader.rope_parameters)
        return;
    if (!json_is_object(json_object_get(pub->json, "rope_parameters")))
        set(pub, pub->json, "rope_parameters", json_object());
    json_t *parameters = json_object_get(pub->json, "rope_parameters");
    const json_t *scaling = json_object_get(pub->json, "rope_scaling");
    if (json_is_object(scaling))
        pub->failed |= json_object_update_missing(parameters, (json_t *)(uintptr_t)scaling) != 0;
    if (!json_object_get(parameters, "type") && !json_object_get(parameters, "rope_type"))
        set_string(pub, parameters, "rope_type", rope->name);
    set_number(pub, parameters, "rope_theta", rope->theta);
    set_number(pub, parameters, "partial_rotary_factor", rope->partial);
}

/* ---- layers --------------------------------------------------------------------------------- */

static uint64_t leading_dense(const struct ram_config *config)
{
    uint64_t n = 0;
    while (n < config->n_layers && config->dense[n])
        n++;
    return n;
}

static void publish_experts(struct publisher *pub)
{
    json_t *const json = pub->json;
    const json_t *types = ram_config_value(json, "mlp_layer_types");
    static const char *const listed[] = {"mlp_only_layers", "decoder_sparse_step"};

    switch (pub->family->layers) {
    case RAM_LAYERS_PLAIN:
    case RAM_LAYERS_SPARSE:
        break;
    case RAM_LAYERS_LISTED:
        for (size_t i = 0; i < 2; i++)
            set_absent(pub, json, listed[i],
                       (json_t *)(uintptr_t)ram_config_value(json, listed[i]));
        set_absent_new(pub, json, "mlp_only_layers", json_array());
        set_absent_new(pub, json, "decoder_sparse_step", json_integer(1));
        break;
    case RAM_LAYERS_NAMED:
        if (json_is_array(types)) {
            set_integer(pub, json, "first_k_dense_replace", leading_dense(pub->config));
            if (json_object_get(json, "moe_layer_freq"))
                set_integer(pub, json, "moe_layer_freq", 1);
        }
        set_absent(pub, json, "moe_layer_freq",
                   (json_t *)(uintptr_t)ram_config_value(json, "moe_layer_freq"));
        __attribute__((fallthrough));
    case RAM_LAYERS_LEADING:
        set_absent(pub, json, "first_k_dense_replace",
                   (json_t *)(uintptr_t)ram_config_value(json, "first_k_dense_replace"));
        set_absent_new(pub, json, "first_k_dense_replace",
                       json_integer((json_int_t)leading_dense(pub->config)));
        break;
    }
}

/* layer_types of the layers; plain: as if none had a window. */
static json_t *types_of(const struct ram_config *config, bool plain)
{
    struct ram_made types = ram_made_array();

    for (uint64_t i = 0; i < config->n_layers; i++)
        ram_made_add(&types, json_string(!plain && config->slides[i] ? "sliding_attention"
                                                                     : "full_attention"));
    return ram_made_take(&types);
}

/* sliding_window_pattern with a letter for each layer, or null. */
static void publish_pattern(struct publisher *pub)
{
    const struct ram_config *config = pub->config;
    char letters[RAM_CONFIG_MAX_LAYERS + 1];
    size_t n = 0;

    for (; config->may_slide && n < config->n_layers; n++)
        letters[n] = config->slides[n] ? 'L' : 'G';
    letters[n] = '\0';
    set(pub, pub->json, "sliding_window_pattern", n ? json_string(letters) : json_null());
    if (config->may_slide)
        set_integer(pub, pub->json, "sliding_window", config->sliding_window);
    else
        set(pub, pub->json, "sliding_window", json_null());
}

/* mlx_lm's llama slides where layer_types says so, whatever the class of transformers does. */
static void publish_windows(struct publisher *pub)
{
    const struct ram_config *config = pub->config;
    const json_t *types = json_object_get(pub->json, "layer_types");

    if (pub->family->loader.windows == RAM_LOADER_WINDOWS_PATTERN) {
        publish_pattern(pub);
        return;
    }
    if (ram_mlx_slides(config)) {
        set_absent(pub, pub->json, "layer_types",
                   (json_t *)(uintptr_t)ram_config_value(pub->json, "layer_types"));
        set_absent_new(pub, pub->json, "layer_types", types_of(config, false));
        set_integer(pub, pub->json, "sliding_window", config->sliding_window);
        return;
    }
    if (pub->family->loader.windows == RAM_LOADER_WINDOWS_NONE || !json_is_array(types))
        return;
    json_t *plain = types_of(config, true);
    if (!json_equal(types, plain))
        set(pub, pub->json, "layer_types", json_incref(plain));
    json_decref(plain);
}

/* mlx_lm's class wants a number for each layer, and no more. */
static void publish_turns(struct publisher *pub)
{
    const struct ram_config *config = pub->config;
    const json_t *list = ram_config_value(pub->json, "no_rope_layers");

    if (pub->family->turns != RAM_TURNS_LISTED)
        return;
    set_absent(pub, pub->json, "no_rope_layer_interval",
               (json_t *)(uintptr_t)ram_config_value(pub->json, "no_rope_layer_interval"));
    if (!json_is_array(list))
        return;
    struct ram_made made = ram_made_array();
    for (uint64_t i = 0; i < config->n_layers; i++)
        ram_made_add(&made, json_integer(config->turns[i]));
    json_t *turns = ram_made_take(&made);
    if (!json_equal(json_object_get(pub->json, "no_rope_layers"), turns))
        set(pub, pub->json, "no_rope_layers", json_incref(turns));
    json_decref(turns);
}

/* ---- all ------------------------------------------------------------------------------------ */

static bool has_head(const struct ram_outline *outline)
{
    const struct ram_config *config = &outline->layout->config;
    struct ram_placed head[RAM_MAX_PLACED];

    ram_placed_find(head, outline->layout->format, config, config->family->head, RAM_NO_LAYER);
    for (size_t i = 0; i < outline->n_modules; i++)
        if (!strcmp(outline->modules[i].target->module, head[0].module))
            return true;
    return false;
}

/* The tensors say what is tied; a GLM class of mlx_lm has a head of its own in any case. */
static void publish_head(struct publisher *pub, const struct ram_outline *outline)
{
    const json_t *present = json_object_get(pub->json, "tie_word_embeddings");
    const bool tied = pub->family->loader.own_head
                          ? json_is_true(present) && pub->config->tied == RAM_TIED_YES
                          : !has_head(outline);

    if (!json_is_boolean(present) || json_is_true(present) != tied)
        set(pub, pub->json, "tie_word_embeddings", json_boolean(tied));
    if (pub->top != pub->json && json_object_get(pub->top, "tie_word_embeddings"))
        set(pub, pub->top, "tie_word_embeddings", json_boolean(tied));
}

int ram_mlx_publish(json_t *json, const struct ram_outline *outline, struct ram_err *err)
{
    const struct ram_config *config = &outline->layout->config;
    json_t *text = json_object_get(json, "text_config");
    struct publisher pub = {.json = json, .top = json, .config = config, .family = config->family};

    if (!config->family)
        return ram_fail(err, RAM_EINTERNAL, "model_type '%s' has no table", config->model_type);
    if (config->family->loader.prefix && json_is_object(text))
        pub.json = text;
    set_string(&pub, json, "model_type", config->family->model_type);
    set_absent(&pub, json, "torch_dtype", json_object_get(json, "dtype"));
    for (size_t i = 0; i < pub.family->n_params; i++)
        publish_param(&pub, &pub.family->params[i]);
    publish_rope(&pub);
    publish_experts(&pub);
    publish_windows(&pub);
    publish_turns(&pub);
    if (pub.family->recurs)
        set_integer(&pub, pub.json, "full_attention_interval", ram_mlx_interval(config));
    publish_head(&pub, outline);
    /* mlx_lm takes one method of choosing experts, which is the one that we compute; and code
     * beside the weights in place of its own class only if it is trusted. */
    if (json_object_get(json, "topk_method") && pub.family->router == RAM_ROUTER_SIGMOID)
        set_string(&pub, json, "topk_method", "noaux_tc");
    if (json_object_get(json, "scoring_func") && pub.family->router == RAM_ROUTER_SIGMOID)
        set_string(&pub, json, "scoring_func", "sigmoid");
    if (pub.family->rotary_dim)
        set_integer(&pub, pub.json, "rotary_dim",
                    (uint64_t)(config->rope.partial * (double)config->head_dim));
    json_object_del(json, "model_file");
    return pub.failed ? ram_fail(err, RAM_ENOMEM, "no memory for config.json") : RAM_OK;
}
