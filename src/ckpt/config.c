/* config.c - see config.h. */
#include "ckpt/config.h"

#include <string.h>

enum { MAX_DIM = INT32_MAX };

struct reader {
    const json_t *top, *text; /* text: "text_config", or NULL */
    const char *where;
    struct ram_err *err;
};

/* The object that holds key with a value other than null: the top level first. NULL: nowhere. */
static const json_t *holder(const struct reader *r, const char *key)
{
    const json_t *const places[] = {r->top, r->text};

    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(places[i], key);
        if (value && !json_is_null(value))
            return places[i];
    }
    return NULL;
}

static const json_t *value_of(const struct reader *r, const char *key)
{
    return json_object_get(holder(r, key), key);
}

/* The first of two spellings that is there; 0 if neither is. */
static uint64_t read_uint(const struct reader *r, const char *key, const char *other, uint64_t max)
{
    uint64_t value = 0;
    const char *const keys[] = {key, other};

    for (size_t i = 0; i < 2 && keys[i]; i++)
        if (holder(r, keys[i])) {
            ram_json_get_uint(holder(r, keys[i]), keys[i], max, &value, r->where, r->err);
            return value;
        }
    return 0;
}

static bool read_bool(const struct reader *r, const char *key, bool otherwise)
{
    const json_t *value = value_of(r, key);

    if (!value)
        return otherwise;
    if (!json_is_boolean(value))
        ram_fail(r->err, RAM_EFORMAT, "%s: \"%s\" is neither true nor false", r->where, key);
    return json_is_true(value);
}

static const char *string_or(const json_t *value, const char *otherwise)
{
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

/*
 * mlx_lm.convert casts to config["torch_dtype"], else to text_config["dtype"], and not at all if
 * that is no type it knows; a "dtype" at the top level it does not read. load() has no say in it.
 */
static void read_dtype(const struct reader *r, struct ram_config *config)
{
    static const struct {
        const char *name;
        enum ram_dtype dtype;
    } known[] = {{"float16", RAM_F16}, {"bfloat16", RAM_BF16}, {"float32", RAM_F32}};
    const json_t *value = json_object_get(r->top, "torch_dtype");

    if (!value || json_is_null(value))
        value = json_object_get(r->text, "dtype");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(string_or(value, ""), known[i].name)) {
            config->has_dtype = true;
            config->dtype = known[i].dtype;
        }
}

static void read_sizes(const struct reader *r, struct ram_config *config)
{
    config->hidden = read_uint(r, "hidden_size", NULL, MAX_DIM);
    config->intermediate = read_uint(r, "intermediate_size", NULL, MAX_DIM);
    config->vocab = read_uint(r, "vocab_size", NULL, MAX_DIM);
    config->n_layers = read_uint(r, "num_hidden_layers", NULL, RAM_CONFIG_MAX_LAYERS);
    config->n_heads = read_uint(r, "num_attention_heads", NULL, MAX_DIM);
    config->n_kv_heads = read_uint(r, "num_key_value_heads", NULL, MAX_DIM);
    config->head_dim = read_uint(r, "head_dim", NULL, MAX_DIM);
    config->n_experts = read_uint(r, "num_experts", "num_local_experts", RAM_CONFIG_MAX_EXPERTS);
    if (!config->n_experts)
        config->n_experts = read_uint(r, "n_routed_experts", NULL, RAM_CONFIG_MAX_EXPERTS);
    config->moe_intermediate = read_uint(r, "moe_intermediate_size", NULL, MAX_DIM);
    config->n_shared = read_uint(r, "n_shared_experts", NULL, RAM_CONFIG_MAX_EXPERTS);
    config->n_mtp =
        read_uint(r, "num_nextn_predict_layers", "num_mtp_layers", RAM_CONFIG_MAX_LAYERS);
    config->q_lora = read_uint(r, "q_lora_rank", NULL, MAX_DIM);
    config->kv_lora = read_uint(r, "kv_lora_rank", NULL, MAX_DIM);
    config->qk_nope = read_uint(r, "qk_nope_head_dim", NULL, MAX_DIM);
    config->qk_rope = read_uint(r, "qk_rope_head_dim", NULL, MAX_DIM);
    config->v_head = read_uint(r, "v_head_dim", NULL, MAX_DIM);
    if (!config->n_kv_heads)
        config->n_kv_heads = config->n_heads;
    if (!config->head_dim && config->n_heads)
        config->head_dim = config->hidden / config->n_heads;
}

/* Layers by the index list mlp_only_layers (qwen3_moe), else by the words of mlp_layer_types. */
static void mark_listed(const struct reader *r, struct ram_config *config)
{
    const json_t *only = value_of(r, "mlp_only_layers"), *value;
    const json_t *types = value_of(r, "mlp_layer_types");
    size_t i;

    json_array_foreach(only, i, value)
    {
        const json_int_t layer = json_integer_value(value);
        if (json_is_integer(value) && layer >= 0 && (uint64_t)layer < config->n_layers)
            config->dense[layer] = true;
    }
    if (value_of(r, "first_k_dense_replace") || value_of(r, "decoder_sparse_step"))
        return;
    json_array_foreach(types, i, value)
    {
        if (i < config->n_layers && !strcmp(string_or(value, ""), "dense"))
            config->dense[i] = true;
    }
}

/* Which layers have a plain MLP although the model has experts. */
static void read_dense(const struct reader *r, struct ram_config *config, struct ram_arena *arena)
{
    uint64_t first = read_uint(r, "first_k_dense_replace", NULL, MAX_DIM);
    const uint64_t step = read_uint(r, "decoder_sparse_step", NULL, MAX_DIM);
    const uint64_t freq = read_uint(r, "moe_layer_freq", NULL, MAX_DIM);

    /* What both transformers and mlx_lm assume of GLM if nothing is said. */
    if (!strncmp(config->model_type, "glm4_moe", 8) && !value_of(r, "first_k_dense_replace") &&
        !value_of(r, "mlp_layer_types"))
        first = 1;
    config->dense = ram_arena_alloc(arena, (size_t)config->n_layers + 1, r->err);
    if (!config->dense)
        return;
    for (uint64_t i = 0; i < config->n_layers; i++)
        config->dense[i] =
            config->n_experts == 0 || i < first || (step && (i + 1) % step) || (freq && i % freq);
    mark_listed(r, config);
}

int ram_config_parse(struct ram_config *config, const json_t *json, const char *where,
                     struct ram_arena *arena, struct ram_err *err)
{
    const json_t *text = json_object_get(json, "text_config");
    const struct reader r = {json, json_is_object(text) ? text : NULL, where, err};
    const json_t *quantization = value_of(&r, "quantization_config");

    *config = (struct ram_config){
        .model_type = string_or(value_of(&r, "model_type"), ""),
        .architecture = string_or(json_array_get(value_of(&r, "architectures"), 0), ""),
        .attention_bias = read_bool(&r, "attention_bias", false),
        .mlp_bias = read_bool(&r, "mlp_bias", false),
        .qk_norm = read_bool(&r, "use_qk_norm", false),
        .has_mlx_quantization = json_is_object(value_of(&r, "quantization")),
        .quant_method = string_or(json_object_get(quantization, "quant_method"), NULL),
    };
    if (value_of(&r, "tie_word_embeddings"))
        config->tied = read_bool(&r, "tie_word_embeddings", false) ? RAM_TIED_YES : RAM_TIED_NO;
    read_dtype(&r, config);
    read_sizes(&r, config);
    read_dense(&r, config, arena);
    return err->status;
}
