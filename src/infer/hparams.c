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
    MAX_LAYERS = 4096,
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
    moe->step = 1;
    if (glm) {
        moe->router = RAM_ROUTER_SIGMOID;
        moe->n_shared = COUNT(r, 0, 4096, 1, "n_shared_experts");
        moe->scale = number(r->config, "routed_scaling_factor", 1);
        moe->n_groups = COUNT(r, 1, moe->n_experts, 1, "n_group");
        moe->top_groups = COUNT(r, 1, moe->n_groups, 1, "topk_group");
        moe->first_layer = COUNT(r, 0, MAX_LAYERS, 1, "first_k_dense_replace");
        if (moe->n_experts % moe->n_groups || moe->n_experts / moe->n_groups < 2)
            ram_fail(r->err, RAM_EFORMAT, "%s: %zu experts cannot form %zu groups", r->where,
                     moe->n_experts, moe->n_groups);
    } else {
        moe->router = RAM_ROUTER_SOFTMAX;
        moe->step = COUNT(r, 1, MAX_LAYERS, 1, "decoder_sparse_step");
        if (json_array_size(json_object_get(r->config, "mlp_only_layers")))
            ram_fail(r->err, RAM_EUNSUPPORTED, "%s: \"mlp_only_layers\" is not supported",
                     r->where);
    }
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
    hp->n_layers = COUNT(&r, 1, MAX_LAYERS, SIZE_MAX, "num_hidden_layers");
    hp->hidden = COUNT(&r, 1, MAX_WIDTH, SIZE_MAX, "hidden_size");
    hp->vocab = COUNT(&r, 1, MAX_VOCAB, SIZE_MAX, "vocab_size");
    hp->mlp_hidden = COUNT(&r, 1, MAX_WIDTH, SIZE_MAX, "intermediate_size");
    hp->n_heads = COUNT(&r, 1, 65536, SIZE_MAX, "num_attention_heads");
    hp->n_kv_heads = COUNT(&r, 1, hp->n_heads, hp->n_heads, "num_key_value_heads");
    hp->max_positions = COUNT(&r, 1, MAX_POSITIONS, 2048, "max_position_embeddings");
    if (flag(r.config, "use_sliding_window", !strcmp(type, "mistral")))
        hp->sliding_window = COUNT(&r, 0, MAX_POSITIONS, 0, "sliding_window");
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
    if (!strcmp(type, "qwen3_moe") || !strncmp(type, "glm4_moe", 8))
        read_moe(&r, hp, *type == 'g');
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
    const struct ram_moe *moe = &hp->moe;
    return moe->n_experts && layer >= moe->first_layer && (layer + 1) % moe->step == 0;
}
