/* config_read.c - see config_read.h. What the keys of a family are, family.c says; rope.c and
 * layers.c read what is more than one value. */
#include "arch/config_read.h"

#include "arch/config_parts.h"

#include <math.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------------------- */

static bool is_said(const json_t *value)
{
    return value && !json_is_null(value);
}

const json_t *ram_config_value(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    return is_said(value) ? value : json_object_get(json_object_get(json, "text_config"), key);
}

const json_t *ram_config_find(const struct ram_config_reader *r, const char *key)
{
    const json_t *top = json_object_get(r->top, key);
    const json_t *inner = json_object_get(r->text, key);
    return is_said(top) ? top : inner ? inner : top;
}

int ram_config_wrong(struct ram_config_reader *r, const char *key, const json_t *value,
                     const char *expected)
{
    return ram_json_unexpected(value, key, expected, r->config->where, r->err);
}

bool ram_config_number(struct ram_config_reader *r, const char *key, const json_t *value,
                       double *out)
{
    if (json_is_number(value)) {
        *out = json_number_value(value);
        return true;
    }
    ram_config_wrong(r, key, value, "a number");
    return false;
}

static bool in_range(struct ram_config_reader *r, const struct ram_param *p, const char *key,
                     double value)
{
    if (value >= p->min && value <= p->max)
        return true;
    ram_fail(r->err, RAM_ERANGE, "%s: \"%s\" is %.15g, %.15g to %.15g is allowed", r->config->where,
             key, value, p->min, p->max);
    return false;
}

static const struct {
    const char *name;
    enum ram_act act;
} acts[] = {
    {"silu", RAM_ACT_SILU},
    {"swish", RAM_ACT_SILU},
    {"relu", RAM_ACT_RELU},
    {"relu2", RAM_ACT_RELU2},
    {"gelu", RAM_ACT_GELU},
    {"gelu_python", RAM_ACT_GELU},
    {"gelu_new", RAM_ACT_GELU_TANH},
    {"gelu_pytorch_tanh", RAM_ACT_GELU_TANH},
    {"gelu_python_tanh", RAM_ACT_GELU_TANH},
};

static void read_act(struct ram_config_reader *r, const char *key, const json_t *value,
                     enum ram_act *out)
{
    const char *name = json_string_value(value);

    for (size_t i = 0; name && i < sizeof acts / sizeof *acts; i++)
        if (!strcmp(acts[i].name, name)) {
            *out = acts[i].act;
            return;
        }
    if (!name)
        ram_config_wrong(r, key, value, "the name of an activation");
    else
        ram_fail(r->err, RAM_EUNSUPPORTED,
                 "%s: \"%s\" is \"%.40s\", which is not supported (silu, relu, relu2, gelu and "
                 "gelu_pytorch_tanh are)",
                 r->config->where, key, name);
}

/* A key's value, which is not null, to its field. */
static void store(struct ram_config_reader *r, const struct ram_param *p, const char *key,
                  const json_t *value)
{
    char *const field = (char *)r->config + p->offset;
    double number = 0;

    switch (p->value) {
    case RAM_VALUE_COUNT:
        if (!json_is_integer(value))
            ram_config_wrong(r, key, value, "an integer");
        else if (in_range(r, p, key, (double)json_integer_value(value)))
            *(uint64_t *)(void *)field = (uint64_t)json_integer_value(value);
        break;
    case RAM_VALUE_REAL:
        if (ram_config_number(r, key, value, &number) && in_range(r, p, key, number))
            *(double *)(void *)field = number;
        break;
    case RAM_VALUE_FLAG:
        if (json_is_boolean(value))
            *(bool *)field = json_is_true(value);
        else
            ram_config_wrong(r, key, value, "true or false");
        break;
    case RAM_VALUE_ACT:
        read_act(r, key, value, (enum ram_act *)(void *)field);
        break;
    }
}

double ram_param_value(const struct ram_config *config, const struct ram_param *p)
{
    const char *const field = (const char *)config + p->offset;

    switch (p->value) {
    case RAM_VALUE_COUNT:
        return (double)*(const uint64_t *)(const void *)field;
    case RAM_VALUE_REAL:
        return *(const double *)(const void *)field;
    case RAM_VALUE_FLAG:
        return *(const bool *)field;
    case RAM_VALUE_ACT:
        return *(const enum ram_act *)(const void *)field;
    }
    return 0;
}

static void store_number(struct ram_config *config, const struct ram_param *p, double value)
{
    char *const field = (char *)config + p->offset;

    if (p->value == RAM_VALUE_COUNT)
        *(uint64_t *)(void *)field = (uint64_t)value;
    else if (p->value == RAM_VALUE_REAL)
        *(double *)(void *)field = value;
    else if (p->value == RAM_VALUE_FLAG)
        *(bool *)field = value != 0;
    else
        *(enum ram_act *)(void *)field = (enum ram_act)value;
}

/* What follows from other keys stays 0 until they are known. */
static void read_param(struct ram_config_reader *r, const struct ram_param *p, size_t row)
{
    const char *key = p->key;
    const json_t *value = ram_config_find(r, key);
    const bool shape = p->value == RAM_VALUE_COUNT || p->value == RAM_VALUE_FLAG;
    struct ram_err *const hard = r->err;

    if (!is_said(value) && p->also && ram_config_find(r, p->also)) {
        key = p->also;
        value = ram_config_find(r, key);
    }
    /* A model whose shapes are known can be inspected, whatever else is wrong. */
    r->err = shape ? hard : &r->config->refusal;
    if (is_said(value))
        store(r, p, key, value);
    else if (value && p->null == RAM_NULL_REFUSED)
        ram_config_wrong(r, key, value, "a value");
    else if (p->absent != RAM_DERIVED && (!value || p->null == RAM_NULL_ABSENT))
        store_number(r->config, p, p->absent);
    r->err = hard;
    if (!value)
        r->config->unsaid |= (uint64_t)1 << row;
    if (p->offset == offsetof(struct ram_config, n_kv_heads))
        r->config->kv_heads_unsaid = !value;
    if (p->offset == offsetof(struct ram_config, n_experts) && is_said(value))
        r->config->experts_key = key;
}

const char *ram_config_unsaid(const struct ram_config *config, char text[RAM_UNSAID_TEXT])
{
    size_t n = 0;

    *text = '\0';
    for (size_t i = 0; config->family && i < config->family->n_params; i++) {
        const struct ram_param *p = &config->family->params[i];
        if (config->unsaid >> i & 1 && p->value == RAM_VALUE_COUNT && p->absent != RAM_DERIVED &&
            n < RAM_UNSAID_TEXT - 100)
            n += (size_t)snprintf(text + n, RAM_UNSAID_TEXT - n, "%s\"%s\" %.15g",
                                  n ? ", " : " (not said, so taken as usual: ", p->key, p->absent);
    }
    if (n)
        snprintf(text + n, RAM_UNSAID_TEXT - n, ")");
    return text;
}

static void derive(struct ram_config *config)
{
    if (!config->n_kv_heads)
        config->n_kv_heads = config->n_heads;
    if (!config->head_dim && config->n_heads)
        config->head_dim = config->hidden / config->n_heads;
}

/* ---- keys of every family ----------------------------------------------------------------- */

/*
 * As mlx_lm.convert reads it: torch_dtype, else the dtype of text_config, and no cast if that is no
 * type it knows; a "dtype" at the top level it does not read.
 */
static enum ram_cast read_cast(const struct ram_config_reader *r)
{
    static const struct {
        const char *name;
        enum ram_cast cast;
    } known[] = {{"float16", RAM_CAST_F16}, {"bfloat16", RAM_CAST_BF16}, {"float32", RAM_CAST_F32}};
    const json_t *value = json_object_get(r->top, "torch_dtype");

    if (!is_said(value))
        value = json_object_get(r->text, "dtype");
    for (size_t i = 0; json_is_string(value) && i < sizeof known / sizeof *known; i++)
        if (!strcmp(json_string_value(value), known[i].name))
            return known[i].cast;
    return RAM_CAST_NONE;
}

static enum ram_tied read_tied(struct ram_config_reader *r)
{
    static const char key[] = "tie_word_embeddings";
    const json_t *value = ram_config_find(r, key);

    if (!is_said(value))
        return ram_family_of(r->config)->ties ? RAM_TIED_YES : RAM_TIED_UNSAID;
    if (!json_is_boolean(value))
        ram_config_wrong(r, key, value, "true or false");
    return json_is_true(value) ? RAM_TIED_YES : RAM_TIED_NO;
}

static uint64_t read_mtp(const struct ram_config_reader *r)
{
    static const char *const keys[] = {"num_nextn_predict_layers", "num_mtp_layers"};

    for (size_t i = 0; i < 2; i++) {
        const json_t *value = ram_config_find(r, keys[i]);
        if (json_is_integer(value) && json_integer_value(value) >= 0 &&
            json_integer_value(value) <= RAM_CONFIG_MAX_LAYERS)
            return (uint64_t)json_integer_value(value);
    }
    return 0;
}

/* Keys that the base class of all configurations reads in transformers 5, that change what is
 * computed, and that we do not know. */
static void refuse_unknown(struct ram_config_reader *r)
{
    const json_t *causal = json_object_get(r->top, "is_causal");
    const json_t *layers = json_object_get(r->top, "per_layer_config");
    const char *key = NULL;

    if (is_said(causal) && !json_is_true(causal))
        key = "is_causal";
    else if (is_said(layers) && (!json_is_object(layers) || json_object_size(layers)))
        key = "per_layer_config";
    r->config->strange_key = key;
    if (key)
        ram_fail(&r->config->refusal, RAM_EUNSUPPORTED,
                 "%s: \"%s\" changes what the model computes, and is not supported",
                 r->config->where, key);
}

/* Numbers that are senseless together. */
static void check_together(struct ram_config *c, const struct ram_family *family)
{
    struct ram_err *err = &c->refusal;
    const unsigned long long experts = c->n_experts, groups = c->n_group, top = c->topk_group;

    if (family->layers == RAM_LAYERS_PLAIN)
        return;
    if (c->top_k > c->n_experts)
        ram_fail(err, RAM_ERANGE, "%s: \"num_experts_per_tok\" is %llu, but there are %llu experts",
                 c->where, (unsigned long long)c->top_k, experts);
    if (c->topk_group > c->n_group)
        ram_fail(err, RAM_ERANGE, "%s: \"topk_group\" is %llu, but \"n_group\" is %llu", c->where,
                 top, groups);
    if (c->n_group > 1 && (experts % groups || experts / groups < 2))
        ram_fail(err, RAM_EFORMAT, "%s: %llu experts cannot form %llu groups (\"n_group\")",
                 c->where, experts, groups);
}

static const char *string_or(const json_t *value, const char *otherwise)
{
    return json_is_string(value) && !ram_json_token(value) ? json_string_value(value) : otherwise;
}

int ram_config_read(struct ram_config *config, const json_t *json, const char *where,
                    struct ram_arena *arena, struct ram_err *err)
{
    const json_t *text = json_object_get(json, "text_config");
    struct ram_config_reader r = {.top = json,
                                  .text = json_is_object(text) ? text : NULL,
                                  .config = config,
                                  .arena = arena,
                                  .err = err};
    const json_t *quantization = ram_config_value(json, "quantization_config");

    *config = (struct ram_config){
        .where = where,
        .model_type = string_or(ram_config_value(json, "model_type"), ""),
        .architecture = string_or(json_array_get(ram_config_value(json, "architectures"), 0), ""),
        .quant_method = string_or(json_object_get(quantization, "quant_method"), NULL),
        .n_mtp = read_mtp(&r),
        .cast = read_cast(&r),
        .n_group = 1,
        .topk_group = 1,
        .routed_scale = 1,
        .norm_eps = 1e-6,
        .rope_interleave = true,
    };
    config->family = ram_family_find(config->model_type);
    const struct ram_family *family = config->family ? config->family : &ram_family_unknown;
    config->norm_topk = family->normalises;
    for (size_t i = 0; i < family->n_params; i++)
        if (family->params[i].loader != RAM_LOADER_ALONE)
            read_param(&r, &family->params[i], i);
    config->tied = read_tied(&r);
    derive(config);
    ram_config_read_layers(&r, family);
    if (!config->family)
        return err->status;
    if (!err->status)
        check_together(config, family);
    refuse_unknown(&r);
    const bool refused = config->refusal.status != RAM_OK;
    ram_config_read_rope(&r, family);
    config->rope_refused = !refused && config->refusal.status;
    return err->status;
}

/* ---- for records and for texts ------------------------------------------------------------- */

const char *const ram_config_survey[] = {"architectures",
                                         "model_type",
                                         "torch_dtype",
                                         "dtype",
                                         "hidden_size",
                                         "intermediate_size",
                                         "moe_intermediate_size",
                                         "num_hidden_layers",
                                         "num_attention_heads",
                                         "num_key_value_heads",
                                         "head_dim",
                                         "vocab_size",
                                         "tie_word_embeddings",
                                         "max_position_embeddings",
                                         "num_experts",
                                         "num_local_experts",
                                         "n_routed_experts",
                                         "n_shared_experts",
                                         "num_experts_per_tok",
                                         "first_k_dense_replace",
                                         "decoder_sparse_step",
                                         "mlp_only_layers",
                                         "moe_layer_freq",
                                         "num_nextn_predict_layers",
                                         "q_lora_rank",
                                         "kv_lora_rank",
                                         "qk_nope_head_dim",
                                         "qk_rope_head_dim",
                                         "v_head_dim",
                                         "quantization_config",
                                         "quantization",
                                         NULL};

static bool nth_token(const json_t *value, size_t n, uint64_t *token)
{
    const json_t *item = json_is_array(value) ? json_array_get(value, n) : n ? NULL : value;

    if (!json_is_integer(item))
        return false;
    *token = (uint64_t)json_integer_value(item);
    return true;
}

bool ram_config_is_marker(const json_t *json, uint64_t token)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};

    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const json_t *value = ram_config_value(json, keys[k]);
        const size_t n = json_is_array(value) ? json_array_size(value) : 1;
        uint64_t item;
        for (size_t i = 0; i < n; i++)
            if (nth_token(value, i, &item) && item == token)
                return true;
    }
    return false;
}

bool ram_config_end_token(const json_t *json, size_t n, uint64_t *token)
{
    const json_t *value = ram_config_value(json, "eos_token_id");
    return nth_token(value, n, token);
}
