/*
 * hparams.c - see hparams.h.
 *
 * Rotary scaling: "llama3" (Meta's Llama 3.1 reference), "yarn" (Peng et al. 2023, as
 * transformers computes it, attention factor included) and "linear".
 */
#include "infer/hparams.h"

#include <math.h>
#include <string.h>

enum {
    MAX_WIDTH = 1 << 20, /* any width: hidden, vocabulary, heads x dimensions */
    MAX_VOCAB = 1 << 24,
    MAX_POSITIONS = 1 << 28
};

/* ---- reading ---------------------------------------------------------------------------- */

struct reader {
    const json_t *config;
    const char *where;
    struct ram_err *err;
};

/* The first of the names (NULL-terminated) that is there and not null. */
static const json_t *find(const json_t *obj, const char *const *names)
{
    for (; *names; names++) {
        const json_t *value = json_object_get(obj, *names);
        if (value && !json_is_null(value))
            return value;
    }
    return NULL;
}

/* A count of at least min; absent (or null): otherwise, or an error if that is SIZE_MAX. */
static size_t count(struct reader *r, const char *const *names, size_t min, size_t max,
                    size_t otherwise)
{
    const json_t *value = find(r->config, names);
    if (!value && otherwise != SIZE_MAX)
        return otherwise;
    if (!json_is_integer(value)) {
        ram_fail(r->err, RAM_EFORMAT, "%s: \"%s\" is %s, expected an integer", r->where, names[0],
                 value ? "not one" : "absent");
        return min;
    }
    const json_int_t n = json_integer_value(value);
    if (n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
        ram_fail(r->err, RAM_ERANGE, "%s: \"%s\" is %lld, %zu to %zu is allowed", r->where,
                 names[0], (long long)n, min, max);
        return min;
    }
    return (size_t)n;
}

static double number(const json_t *obj, const char *key, double otherwise)
{
    const json_t *value = json_object_get(obj, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static bool flag(const json_t *obj, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(obj, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static bool is_word(const json_t *value, const char *word)
{
    return json_is_string(value) && !strcmp(json_string_value(value), word);
}

#define COUNT(r, min, max, otherwise, ...)                                                         \
    count(r, (const char *const[]){__VA_ARGS__, NULL}, min, max, otherwise)

/* ---- rotary embedding ------------------------------------------------------------------- */

static void scale_llama3(struct ram_rope *rope, const json_t *p, double context)
{
    const double factor = number(p, "factor", 8);
    const double low = number(p, "low_freq_factor", 1), high = number(p, "high_freq_factor", 4);
    const double pi2 = 6.283185307179586476925;

    for (size_t j = 0; j < rope->n_pairs; j++) {
        const double f = rope->inv_freq[j];
        const double turns = context * f / pi2; /* of this pair over the original context */
        const double smooth = (turns - low) / (high - low);
        if (turns < low)
            rope->inv_freq[j] = (float)(f / factor);
        else if (turns <= high)
            rope->inv_freq[j] = (float)((1 - smooth) * f / factor + smooth * f);
    }
}

static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static void scale_yarn(struct ram_rope *rope, const json_t *p, double base, double context,
                       double positions)
{
    const double pi2 = 6.283185307179586476925;
    const double factor = number(p, "factor", positions / context);
    const double beta_fast = number(p, "beta_fast", 32), beta_slow = number(p, "beta_slow", 1);
    const double m = number(p, "mscale", 0), m_all = number(p, "mscale_all_dim", 0);
    const double dim = 2 * (double)rope->n_pairs;
    double low = dim * log(context / (beta_fast * pi2)) / (2 * log(base));
    double high = dim * log(context / (beta_slow * pi2)) / (2 * log(base));

    if (flag(p, "truncate", true)) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high)
        high += 0.001;
    for (size_t j = 0; j < rope->n_pairs; j++) {
        const double ramp = fmin(fmax(((double)j - low) / (high - low), 0), 1);
        const double f = rope->inv_freq[j];
        rope->inv_freq[j] = (float)(f / factor * ramp + f * (1 - ramp));
    }
    const double otherwise =
        m != 0 && m_all != 0 ? mscale(factor, m) / mscale(factor, m_all) : mscale(factor, 1);
    rope->factor = number(p, "attention_factor", otherwise);
}

/* Both spellings: rope_theta beside rope_scaling, or all of it in rope_parameters. */
static int read_rope(struct reader *r, struct ram_hparams *hp, size_t dim)
{
    struct ram_rope *rope = &hp->rope;
    const json_t *p =
        find(r->config, (const char *const[]){"rope_parameters", "rope_scaling", NULL});
    const double base = number(p, "rope_theta", number(r->config, "rope_theta", 10000));
    const double usual = strcmp(hp->model_type, "glm4_moe") ? 1 : 0.5;
    const double partial =
        number(p, "partial_rotary_factor", number(r->config, "partial_rotary_factor", usual));
    const json_t *kind = find(p, (const char *const[]){"rope_type", "type", NULL});
    const char *type = json_is_string(kind) ? json_string_value(kind) : "default";

    const double rotated = (double)dim * partial;
    if (!(base > 1) || !isfinite(base) || !(partial > 0 && partial <= 1) || rotated < 2 ||
        rotated / 2 > RAM_MAX_ROTARY)
        return ram_fail(r->err, RAM_ERANGE,
                        "%s: rotary base %g over %g of %zu dimensions is not possible", r->where,
                        base, partial, dim);
    rope->n_pairs = (size_t)rotated / 2;
    rope->factor = 1;
    for (size_t j = 0; j < rope->n_pairs; j++) {
        const double exponent = (double)(2 * j) / (double)(2 * rope->n_pairs);
        rope->inv_freq[j] = (float)(1 / pow(base, exponent));
    }
    const double positions = (double)hp->max_positions;
    const double context = number(p, "original_max_position_embeddings", positions);
    if (!(context > 0))
        return ram_fail(r->err, RAM_ERANGE, "%s: original_max_position_embeddings is %g", r->where,
                        context);
    if (!strcmp(type, "llama3"))
        scale_llama3(rope, p, context);
    else if (!strcmp(type, "yarn"))
        scale_yarn(rope, p, base, context, positions);
    else if (!strcmp(type, "linear"))
        for (size_t j = 0; j < rope->n_pairs; j++)
            rope->inv_freq[j] = (float)(rope->inv_freq[j] / number(p, "factor", 1));
    else if (strcmp(type, "default"))
        return ram_fail(r->err, RAM_EUNSUPPORTED,
                        "%s: rotary scaling \"%s\" is not supported (default, linear, llama3 and "
                        "yarn are)",
                        r->where, type);
    if (hp->mla && strcmp(type, "default") && number(p, "mscale_all_dim", 0) != 0) {
        const double m = mscale(number(p, "factor", 1), number(p, "mscale_all_dim", 0));
        hp->attention_scale *= m * m;
    }
    return RAM_OK;
}

/* ---- families --------------------------------------------------------------------------- */

static void read_moe(struct reader *r, struct ram_hparams *hp, bool glm)
{
    struct ram_moe *moe = &hp->moe;

    moe->n_experts =
        COUNT(r, 1, MAX_WIDTH, SIZE_MAX, "n_routed_experts", "num_experts", "num_local_experts");
    moe->top_k = COUNT(r, 1, moe->n_experts, SIZE_MAX, "num_experts_per_tok");
    moe->hidden = COUNT(r, 1, MAX_WIDTH, SIZE_MAX, "moe_intermediate_size");
    moe->normalise = flag(r->config, "norm_topk_prob", glm);
    moe->scale = 1;
    moe->n_groups = moe->top_groups = 1;
    if (glm) {
        moe->router = RAM_ROUTER_SIGMOID;
        moe->n_shared = COUNT(r, 0, 4096, 1, "n_shared_experts");
        moe->scale = number(r->config, "routed_scaling_factor", 1);
        moe->n_groups = COUNT(r, 1, moe->n_experts, 1, "n_group");
        moe->top_groups = COUNT(r, 1, moe->n_groups, 1, "topk_group");
        if (moe->n_experts % moe->n_groups || moe->n_experts / moe->n_groups < 2)
            ram_fail(r->err, RAM_EFORMAT, "%s: %zu experts cannot form %zu groups", r->where,
                     moe->n_experts, moe->n_groups);
    } else {
        moe->router = RAM_ROUTER_SOFTMAX;
    }
}

/* Which layers have experts: by counting (GLM's leading layers are plain, of Qwen's every step-th
 * is not), by list, or by the words of transformers 5, which a count that is there outranks. */
static void mark_sparse(struct reader *r, struct ram_hparams *hp, bool glm)
{
    const json_t *types = json_object_get(r->config, "mlp_layer_types"), *value;
    const size_t usual = glm && !types ? 1 : 0;
    const size_t first = COUNT(r, 0, RAM_MAX_LAYERS, usual, "first_k_dense_replace");
    const size_t step = COUNT(r, 1, RAM_MAX_LAYERS, 1, "decoder_sparse_step");
    const size_t every = COUNT(r, 1, RAM_MAX_LAYERS, 1, "moe_layer_freq");
    const bool counted = find(
        r->config, (const char *const[]){"first_k_dense_replace", "decoder_sparse_step", NULL});
    size_t i;

    for (i = first; i < hp->n_layers; i++)
        if ((i + 1) % step == 0 && i % every == 0)
            hp->layers[i] |= RAM_LAYER_SPARSE;
    json_array_foreach(json_object_get(r->config, "mlp_only_layers"), i, value)
    {
        const json_int_t layer = json_integer_value(value);
        if (json_is_integer(value) && layer >= 0 && layer < (json_int_t)hp->n_layers)
            hp->layers[layer] &= (uint8_t)~RAM_LAYER_SPARSE;
    }
    for (i = 0; !counted && i < hp->n_layers; i++)
        if (is_word(json_array_get(types, i), "dense"))
            hp->layers[i] &= (uint8_t)~RAM_LAYER_SPARSE;
}

/* Which layers slide: all of mistral and qwen3_moe, those from max_window_layers on of qwen2 and
 * qwen3, or by the words of transformers 5. Llama and GLM never do. */
static void read_sliding(struct reader *r, struct ram_hparams *hp)
{
    const json_t *types = json_object_get(r->config, "layer_types");
    const json_t *window = json_object_get(r->config, "sliding_window");
    const bool mistral = !strcmp(hp->model_type, "mistral");
    const bool by_layer = !strcmp(hp->model_type, "qwen2") || !strcmp(hp->model_type, "qwen3");

    if ((!mistral && strncmp(hp->model_type, "qwen", 4)) || json_is_null(window) ||
        !flag(r->config, "use_sliding_window", mistral))
        return;
    hp->sliding_window = COUNT(r, 1, MAX_POSITIONS, 4096, "sliding_window");
    const size_t first = by_layer ? COUNT(r, 0, RAM_MAX_LAYERS, 28, "max_window_layers") : 0;
    for (size_t i = 0; i < hp->n_layers; i++)
        if (by_layer && json_is_array(types)
                ? is_word(json_array_get(types, i), "sliding_attention")
                : i >= first)
            hp->layers[i] |= RAM_LAYER_SLIDES;
}

static void read_mla(struct reader *r, struct ram_hparams *hp)
{
    const size_t rope_dim = COUNT(r, 2, MAX_WIDTH, SIZE_MAX, "qk_rope_head_dim");

    hp->mla = true;
    hp->q_rank = COUNT(r, 0, MAX_WIDTH, 0, "q_lora_rank");
    hp->kv_rank = COUNT(r, 1, MAX_WIDTH, SIZE_MAX, "kv_lora_rank");
    hp->nope_dim = COUNT(r, 1, MAX_WIDTH, SIZE_MAX, "qk_nope_head_dim");
    hp->v_dim = COUNT(r, 1, MAX_WIDTH, SIZE_MAX, "v_head_dim");
    hp->qk_dim = hp->nope_dim + rope_dim;
    hp->n_kv_heads = hp->n_heads;
    hp->rope.interleaved = flag(r->config, "rope_interleave", true);
}

int ram_hparams_read(struct ram_hparams *out, const json_t *config, const char *where,
                     struct ram_err *err)
{
    static const char *const known[] = {"llama",     "mistral",  "qwen2",        "qwen3",
                                        "qwen3_moe", "glm4_moe", "glm4_moe_lite"};
    const json_t *text = json_object_get(config, "text_config");
    struct reader r = {.config = json_is_object(text) ? text : config, .where = where, .err = err};
    struct ram_hparams *hp = out;
    const char *type = NULL;
    size_t k = 0;

    *hp = (struct ram_hparams){0};
    if (ram_json_get_string(config, "model_type", &type, where, err))
        return err->status;
    while (k < sizeof known / sizeof *known && strcmp(type, known[k]))
        k++;
    if (k == sizeof known / sizeof *known)
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s: cannot run model_type \"%s\"; llama, mistral, qwen2, qwen3, "
                        "qwen3_moe, glm4_moe and glm4_moe_lite can be run",
                        where, type);
    hp->model_type = type;
    hp->n_layers = COUNT(&r, 1, RAM_MAX_LAYERS, SIZE_MAX, "num_hidden_layers");
    hp->hidden = COUNT(&r, 1, MAX_WIDTH, SIZE_MAX, "hidden_size");
    hp->vocab = COUNT(&r, 1, MAX_VOCAB, SIZE_MAX, "vocab_size");
    hp->mlp_hidden = COUNT(&r, 1, MAX_WIDTH, SIZE_MAX, "intermediate_size");
    hp->n_heads = COUNT(&r, 1, 65536, SIZE_MAX, "num_attention_heads");
    hp->n_kv_heads = COUNT(&r, 1, hp->n_heads, hp->n_heads, "num_key_value_heads");
    hp->max_positions = COUNT(&r, 1, MAX_POSITIONS, 2048, "max_position_embeddings");
    read_sliding(&r, hp);
    hp->norm_eps = number(r.config, "rms_norm_eps", 1e-6);
    hp->latent_norm_eps = 1e-6; /* transformers' default, whatever rms_norm_eps says */
    hp->tied = flag(r.config, "tie_word_embeddings", false);

    size_t rotary_dim;
    if (!strcmp(type, "glm4_moe_lite")) {
        read_mla(&r, hp);
        rotary_dim = hp->qk_dim - hp->nope_dim;
    } else {
        hp->qk_dim =
            COUNT(&r, 2, MAX_WIDTH, hp->hidden / (hp->n_heads ? hp->n_heads : 1), "head_dim");
        hp->v_dim = hp->qk_dim;
        rotary_dim = hp->qk_dim;
    }
    if (!strcmp(type, "qwen3_moe") || !strncmp(type, "glm4_moe", 8)) {
        read_moe(&r, hp, *type == 'g');
        mark_sparse(&r, hp, *type == 'g');
    }
    if (err->status)
        return err->status;
    if (hp->n_heads % hp->n_kv_heads)
        return ram_fail(err, RAM_EFORMAT, "%s: %zu heads cannot share %zu key-value heads", where,
                        hp->n_heads, hp->n_kv_heads);
    hp->attention_scale = 1 / sqrt((double)hp->qk_dim);
    return read_rope(&r, hp, rotary_dim);
}

bool ram_layer_is_sparse(const struct ram_hparams *hp, size_t layer)
{
    return hp->layers[layer] & RAM_LAYER_SPARSE;
}

size_t ram_layer_window(const struct ram_hparams *hp, size_t layer)
{
    return hp->layers[layer] & RAM_LAYER_SLIDES ? hp->sliding_window : 0;
}
