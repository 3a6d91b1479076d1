/* layers.c - what a configuration says of single layers: which have no experts, which see a window
 * of the last positions only, and which turn queries and keys by position. */
#include "arch/config_parts.h"
#include "arch/config_read.h"

#include <string.h>

/* A count that only says which layers are meant; absent or null: otherwise. */
static uint64_t count(struct ram_config_reader *r, const char *key, uint64_t min,
                      uint64_t otherwise)
{
    const json_t *value = ram_config_find(r, key);

    if (!value || json_is_null(value))
        return otherwise;
    if (!json_is_integer(value)) {
        ram_config_wrong(r, key, value, "an integer");
        return otherwise;
    }
    const json_int_t n = json_integer_value(value);
    if (n >= (json_int_t)min && n <= RAM_CONFIG_MAX_WIDTH)
        return (uint64_t)n;
    ram_fail(r->err, RAM_ERANGE, "%s: \"%s\" is %" JSON_INTEGER_FORMAT ", %d to %d is allowed",
             r->config->where, key, n, (int)min, (int)RAM_CONFIG_MAX_WIDTH);
    return otherwise;
}

/* A list with one of two words for each layer; NULL: not there, or reported. */
static const json_t *words(struct ram_config_reader *r, const char *key, const char *one,
                           const char *other)
{
    const json_t *list = ram_config_find(r, key), *item;
    size_t i;

    if (!list || json_is_null(list))
        return NULL;
    if (!json_is_array(list)) {
        ram_config_wrong(r, key, list, "a list of words");
        return NULL;
    }
    if (json_array_size(list) != r->config->n_layers) {
        ram_fail(r->err, RAM_EFORMAT, "%s: \"%s\" is of %zu layers, the model has %llu",
                 r->config->where, key, json_array_size(list),
                 (unsigned long long)r->config->n_layers);
        return NULL;
    }
    json_array_foreach(list, i, item)
    {
        const char *word = json_string_value(item);
        if (word && (!strcmp(word, one) || !strcmp(word, other)))
            continue;
        ram_fail(r->err, RAM_EUNSUPPORTED,
                 "%s: \"%s\" says \"%.40s\" of layer %zu; %s and %s are supported",
                 r->config->where, key, word ? word : "no word", i, one, other);
        return NULL;
    }
    return list;
}

static bool says(const json_t *list, size_t layer, const char *word)
{
    return !strcmp(json_string_value(json_array_get(list, layer)), word);
}

/* ---- experts ------------------------------------------------------------------------------ */

static void read_listed(struct ram_config_reader *r)
{
    struct ram_config *config = r->config;
    const uint64_t step = count(r, "decoder_sparse_step", 1, 1);
    const json_t *list = ram_config_find(r, "mlp_only_layers"), *item;
    size_t i;

    for (i = 0; i < config->n_layers; i++)
        config->dense[i] = (i + 1) % step != 0;
    if (list && !json_is_null(list) && !json_is_array(list))
        ram_config_wrong(r, "mlp_only_layers", list, "a list of layers");
    json_array_foreach(list, i, item)
    {
        const json_int_t layer = json_integer_value(item);
        if (!json_is_integer(item))
            ram_config_wrong(r, "mlp_only_layers", item, "a list of integers");
        else if (layer >= 0 && (uint64_t)layer < config->n_layers)
            config->dense[layer] = true;
    }
}

static void read_leading(struct ram_config_reader *r, bool named)
{
    struct ram_config *config = r->config;
    const json_t *types = named ? words(r, "mlp_layer_types", "dense", "sparse") : NULL;
    const uint64_t first = count(r, "first_k_dense_replace", 0, ram_family_of(config)->leading);
    const uint64_t every = named ? count(r, "moe_layer_freq", 1, 1) : 1;

    for (size_t i = 0; i < config->n_layers; i++)
        config->dense[i] = types ? says(types, i, "dense") : i < first || i % every != 0;
}

/* ---- windows ------------------------------------------------------------------------------ */

static bool is_switched_on(struct ram_config_reader *r)
{
    const json_t *value = ram_config_find(r, "use_sliding_window");

    if (value && !json_is_null(value) && !json_is_boolean(value))
        ram_config_wrong(r, "use_sliding_window", value, "true or false");
    return json_is_true(value);
}

/* How many layers make a turn of the pattern, of which the last has no window. */
static uint64_t pattern_length(struct ram_config_reader *r)
{
    static const char key[] = "sliding_window_pattern";
    const json_t *value = ram_config_find(r, key);

    if (value && !json_is_integer(value))
        ram_fail(r->err, RAM_EUNSUPPORTED,
                 "%s: \"%s\" is not an integer, and \"layer_types\" is missing", r->config->where,
                 key);
    return json_is_integer(value) ? count(r, key, 1, 4) : 4;
}

/* Classes in which layer_types says which layers see a window, and a rule if it is not there. */
static void read_typed_windows(struct ram_config_reader *r, enum ram_window_by by,
                               const json_t *types)
{
    struct ram_config *config = r->config;
    const json_t *window = ram_config_find(r, "sliding_window");
    const bool needs_number = by == RAM_WINDOW_UNTURNED; /* else 4096, if nothing is said */
    const bool given = needs_number ? json_is_number(window) : !json_is_null(window);
    const uint64_t size = given ? count(r, "sliding_window", 1, 4096) : 0;
    const bool switched = !types && by == RAM_WINDOW_UNTURNED && size && is_switched_on(r);
    const uint64_t every = types                              ? 0
                           : by == RAM_WINDOW_FOURTH          ? 4
                           : by == RAM_WINDOW_PATTERN && size ? pattern_length(r)
                                                              : 0;

    config->may_slide = size > 0;
    for (size_t i = 0; i < config->n_layers; i++) {
        config->slides[i] = types   ? says(types, i, "sliding_attention")
                            : every ? (i + 1) % every != 0
                                    : switched && !config->turns[i];
        if (config->slides[i] && !size)
            ram_fail(r->err, RAM_EFORMAT, "%s: layer %zu slides, but \"sliding_window\" is null",
                     config->where, i);
        if (config->slides[i])
            config->sliding_window = size;
    }
}

/* ---- delta rule ---------------------------------------------------------------------------- */

/* By layer_types, else all but every full_attention_interval-th. */
static void read_recurrent(struct ram_config_reader *r)
{
    struct ram_config *config = r->config;
    const json_t *types = words(r, "layer_types", "full_attention", "linear_attention");
    const uint64_t every = count(r, "full_attention_interval", 1, 4);

    for (size_t i = 0; i < config->n_layers; i++)
        config->recurs[i] = types ? says(types, i, "linear_attention") : (i + 1) % every != 0;
}

/* Every class checks layer_types, whether it has a use for them or not. */
static void read_windows(struct ram_config_reader *r, enum ram_window_by by)
{
    struct ram_config *config = r->config;
    const json_t *types = words(r, "layer_types", "full_attention", "sliding_attention");
    const json_t *window = ram_config_find(r, "sliding_window");

    config->has_layer_types = types != NULL;
    if (by >= RAM_WINDOW_FOURTH) {
        read_typed_windows(r, by, types);
        return;
    }
    const bool said = by == RAM_WINDOW_SAID;
    const bool on = by == RAM_WINDOW_ALWAYS || (said && window) ||
                    (by != RAM_WINDOW_NEVER && !said && is_switched_on(r));
    const bool by_types = types && by != RAM_WINDOW_SWITCHED && !said;
    if (!on || json_is_null(window))
        return;
    const uint64_t size = count(r, "sliding_window", 1, 4096);
    const bool counted = by == RAM_WINDOW_LAYERED || by == RAM_WINDOW_EVEN;
    const uint64_t edge = counted ? count(r, "max_window_layers", 0, 28) : 0;
    for (size_t i = 0; i < config->n_layers; i++) {
        config->slides[i] = by_types                ? says(types, i, "sliding_attention")
                            : by == RAM_WINDOW_EVEN ? i % 2 == 0 && i < edge
                                                    : i >= edge;
        if (config->slides[i])
            config->sliding_window = size;
    }
}

bool ram_config_has_both_kinds(const struct ram_config *config)
{
    bool some = false, all = true;

    for (size_t i = 0; i < config->n_layers; i++) {
        some = some || config->slides[i];
        all = all && config->slides[i];
    }
    return some && !all;
}

/* ---- rotation ----------------------------------------------------------------------------- */

static void read_turns(struct ram_config_reader *r)
{
    struct ram_config *config = r->config;
    const json_t *list = ram_config_find(r, "no_rope_layers");
    const uint64_t every = count(r, "no_rope_layer_interval", 1, 4);

    if (list && !json_is_null(list) &&
        (!json_is_array(list) || json_array_size(list) < config->n_layers)) {
        ram_config_wrong(r, "no_rope_layers", list, "a list with a number for each layer");
        return;
    }
    for (size_t i = 0; i < config->n_layers; i++) {
        const json_t *item = json_array_get(list, i);
        if (item && !json_is_integer(item))
            ram_config_wrong(r, "no_rope_layers", item, "a list of 0 and 1");
        config->turns[i] = item ? json_integer_value(item) != 0 : (i + 1) % every != 0;
    }
}

void ram_config_read_layers(struct ram_config_reader *r, const struct ram_family *family)
{
    struct ram_config *config = r->config;
    const size_t n = (size_t)config->n_layers;

    config->dense = ram_arena_alloc(r->arena, n + 1, r->err);
    config->slides = ram_arena_alloc(r->arena, n + 1, r->err);
    config->turns = ram_arena_alloc(r->arena, n + 1, r->err);
    config->recurs = ram_arena_alloc(r->arena, n + 1, r->err);
    if (!config->dense || !config->slides || !config->turns || !config->recurs)
        return;
    memset(config->turns, true, n);
    if (family->layers == RAM_LAYERS_LISTED)
        read_listed(r);
    else if (family->layers == RAM_LAYERS_LEADING || family->layers == RAM_LAYERS_NAMED)
        read_leading(r, family->layers == RAM_LAYERS_NAMED);
    for (size_t i = 0; i < n; i++)
        config->dense[i] = config->dense[i] || !config->n_experts;
    if (!config->family)
        return;
    if (family->recurs) {
        read_recurrent(r);
        return;
    }
    struct ram_err *const hard = r->err;
    r->err = &config->refusal; /* shapes do not depend on windows */
    if (family->turns == RAM_TURNS_LISTED)
        read_turns(r);
    read_windows(r, family->windows);
    for (size_t i = 0; i < n && family->turns == RAM_TURNS_SLIDING && config->may_slide; i++)
        config->turns[i] = config->slides[i];
    r->err = hard;
}
