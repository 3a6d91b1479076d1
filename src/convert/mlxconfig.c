/*
 * mlxconfig.c - config.json and the index of an MLX directory, as mlx_lm's load_model reads them.
 *
 * What a loader needs of a config was read from mlx_lm's ModelArgs (which keys have no default) and
 * from transformers' configuration classes (which value an absent key has there). A key that the
 * source has is never changed.
 */
#include "convert/directory.h"

#include "record/emit.h"

#include <stdlib.h>
#include <string.h>

/* ---- the published spelling ----------------------------------------------------------------- */

static const struct default_key {
    const char *key;
    const char *value;      /* JSON: what transformers takes an absent key for */
    const char *model_type; /* NULL: all */
} defaults[] = {
    {"rope_theta", "10000.0", NULL},
    {"rope_scaling", "null", NULL},
    {"norm_topk_prob", "false", "qwen3_moe"},
    {"decoder_sparse_step", "1", "qwen3_moe"},
    {"mlp_only_layers", "[]", "qwen3_moe"},
    {"norm_topk_prob", "true", "glm4_moe"},
    {"attention_bias", "false", "glm4_moe"},
    {"use_qk_norm", "false", "glm4_moe"},
    {"partial_rotary_factor", "0.5", "glm4_moe"},
    {"n_group", "1", "glm4_moe"},
    {"topk_group", "1", "glm4_moe"},
    {"n_shared_experts", "1", "glm4_moe"},
    {"routed_scaling_factor", "1.0", "glm4_moe"},
    {"first_k_dense_replace", "1", "glm4_moe"},
};

/* Sets a key that is absent, or null, which transformers takes as absent; value is not consumed. */
static void set_absent(json_t *config, const char *key, json_t *value)
{
    const json_t *present = json_object_get(config, key);
    if (value && (!present || json_is_null(present)))
        json_object_set(config, key, value);
}

static void set_absent_new(json_t *config, const char *key, json_t *value)
{
    set_absent(config, key, value);
    json_decref(value);
}

/* rope_parameters {rope_theta, rope_type, partial_rotary_factor, ...} as rope_theta and
 * rope_scaling, which is null for the plain rotary embedding. */
static void publish_rope(json_t *config)
{
    json_t *rope = json_object_get(config, "rope_parameters");
    if (!json_is_object(rope))
        return;
    set_absent(config, "rope_theta", json_object_get(rope, "rope_theta"));
    set_absent(config, "partial_rotary_factor", json_object_get(rope, "partial_rotary_factor"));
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    if (!type || !strcmp(type, "default"))
        return;
    json_t *scaling = json_deep_copy(rope);
    json_object_del(scaling, "rope_theta");
    json_object_del(scaling, "partial_rotary_factor");
    set_absent_new(config, "rope_scaling", scaling);
}

/* mlp_layer_types ["dense", "sparse", ...] as the number of leading dense layers (GLM) or the list
 * of dense ones (Qwen). */
static void publish_layer_types(json_t *config, const char *model_type)
{
    const json_t *types = json_object_get(config, "mlp_layer_types");
    json_t *dense = json_array();
    size_t leading = 0;

    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type || strcmp(type, "dense"))
            continue;
        leading += leading == i;
        json_array_append_new(dense, json_integer((json_int_t)i));
    }
    if (json_array_size(types) && !strcmp(model_type, "qwen3_moe"))
        set_absent(config, "mlp_only_layers", dense);
    else if (json_array_size(types))
        set_absent_new(config, "first_k_dense_replace", json_integer((json_int_t)leading));
    json_decref(dense);
}

static const struct ram_out_module *find_module(const struct ram_outline *outline,
                                                const char *ending)
{
    const size_t n = strlen(ending);
    for (size_t i = 0; i < outline->n_modules; i++) {
        const char *name = outline->modules[i].target->module;
        const size_t length = strlen(name);
        if (length >= n && !strcmp(name + length - n, ending))
            return &outline->modules[i];
    }
    return NULL;
}

static void publish(json_t *config, const struct ram_outline *outline)
{
    const char *model_type = outline->layout->model_type;
    const json_int_t heads = json_integer_value(json_object_get(config, "num_attention_heads"));
    const struct ram_out_module *q = find_module(outline, ".self_attn.q_proj");

    set_absent(config, "torch_dtype", json_object_get(config, "dtype"));
    publish_rope(config);
    publish_layer_types(config, model_type);
    if (!strcmp(model_type, "qwen3_moe"))
        set_absent(config, "num_experts", json_object_get(config, "num_local_experts"));
    if (!strncmp(model_type, "glm4_moe", 8))
        set_absent(config, "n_routed_experts", json_object_get(config, "num_local_experts"));
    /* The tensors say what the loader would otherwise guess. */
    set_absent_new(config, "tie_word_embeddings", json_boolean(!find_module(outline, "lm_head")));
    if (q && heads > 0 && strcmp(model_type, "glm4_moe_lite"))
        set_absent_new(config, "head_dim", json_integer((json_int_t)q->rows / heads));
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (!defaults[i].model_type || !strcmp(defaults[i].model_type, model_type))
            set_absent_new(config, defaults[i].key,
                           json_loads(defaults[i].value, JSON_DECODE_ANY, NULL));
}

/* ---- quantization -----------------------------------------------------------------------------
 */

static json_t *width(const struct ram_outline *outline, const struct ram_affine *affine)
{
    const int bits = affine ? affine->bits : outline->bits;
    const int group = affine ? affine->group : outline->group;
    return json_pack("{s:i, s:i, s:s}", "group_size", group, "bits", bits, "mode", "affine");
}

/* mlx_lm hands an entry's keys to the module's to_quantized: no other key may stand there. A module
 * that is not quantised has no entry; the absence of its scales says so. */
static json_t *quantization(const struct ram_outline *outline)
{
    json_t *block = width(outline, NULL);

    for (size_t i = 0; i < outline->n_modules && block; i++) {
        const struct ram_out_module *module = &outline->modules[i];
        if (module->quantized &&
            (module->affine.bits != outline->bits || module->affine.group != outline->group))
            json_object_set_new(block, module->target->module, width(outline, &module->affine));
    }
    return block;
}

/* ---- texts ------------------------------------------------------------------------------------
 */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The same members in byte order of their keys; what is inside them keeps its order. */
static json_t *sort_members(json_t *object, struct ram_err *err)
{
    const size_t n = json_object_size(object);
    const char **keys = ram_calloc(n, sizeof *keys, err);
    json_t *sorted = keys ? json_object() : NULL; /* keeps the order of insertion */
    const char *key;
    json_t *value;
    size_t i = 0;

    if (sorted) {
        json_object_foreach(object, key, value) keys[i++] = key;
        qsort(keys, n, sizeof *keys, compare_keys);
        for (i = 0; i < n; i++)
            json_object_set(sorted, keys[i], json_object_get(object, keys[i]));
    }
    free(keys);
    if (!sorted)
        ram_fail(err, RAM_ENOMEM, "no memory for config.json");
    return sorted;
}

int ram_mlx_text(json_t *value, char **out, struct ram_err *err)
{
    struct ram_buf text = {0};
    struct ram_c_locale locale;

    const int status = ram_c_locale_enter(&locale, err);
    if (status)
        return status;
    ram_emit_json(&text, value, 0);
    ram_c_locale_leave(&locale);
    ram_buf_puts(&text, "\n");
    return ram_buf_take(&text, out, err);
}

int ram_mlx_config(const struct ram_ckpt *ckpt, const struct ram_outline *outline, char **out,
                   struct ram_err *err)
{
    json_t *config = json_deep_copy(ckpt->config);
    json_t *sorted = NULL;
    int status = RAM_OK;

    if (!config) {
        status = ram_fail(err, RAM_ENOMEM, "no memory for config.json");
        goto done;
    }
    /* What the source was coded as (FP8); mlx_lm would believe it, here or in text_config. */
    json_object_del(config, "quantization_config");
    json_object_del(config, "compression_config");
    json_object_del(json_object_get(config, "text_config"), "quantization_config");
    publish(config, outline);
    if (outline->n_quantized) {
        json_t *block = quantization(outline);
        json_object_set_new(config, "quantization", block);
        json_object_set_new(config, "quantization_config", json_deep_copy(block));
    }
    sorted = sort_members(config, err);
    status = sorted ? ram_mlx_text(sorted, out, err) : RAM_ENOMEM;
done:
    json_decref(sorted);
    json_decref(config);
    return status;
}

static int compare_tensor_names(const void *a, const void *b)
{
    const struct ram_out_tensor *x = *(const struct ram_out_tensor *const *)a;
    const struct ram_out_tensor *y = *(const struct ram_out_tensor *const *)b;
    return strcmp(x->name, y->name);
}

int ram_mlx_index(const struct ram_outline *outline, char **out, struct ram_err *err)
{
    const struct ram_out_tensor **order =
        ram_calloc(outline->n_tensors, sizeof(const struct ram_out_tensor *), err);
    json_t *map = json_object();
    json_t *index = NULL;
    int status = RAM_ENOMEM;

    if (!order)
        goto done;
    for (size_t i = 0; i < outline->n_tensors; i++)
        order[i] = &outline->tensors[i];
    qsort(order, outline->n_tensors, sizeof(const struct ram_out_tensor *), compare_tensor_names);
    for (size_t i = 0; i < outline->n_tensors; i++)
        json_object_set_new(map, order[i]->name, json_string(outline->files[order[i]->file].name));
    index = json_pack("{s:{s:I, s:I}, s:O}", "metadata", "total_size", (json_int_t)outline->bytes,
                      "total_parameters", (json_int_t)outline->parameters, "weight_map", map);
    status = index ? ram_json_text(index, 4, false, out, err)
                   : ram_fail(err, RAM_ENOMEM, "no memory for the index");
done:
    json_decref(index);
    json_decref(map);
    free(order);
    return status;
}
