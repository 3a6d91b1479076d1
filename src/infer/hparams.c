/*
 * hparams.c - see hparams.h.
 *
 * Rotary scaling: "llama3" (Meta's Llama 3.1 reference), "yarn" (Peng et al. 2023, as
 * transformers computes it, attention factor included) and "linear".
 */
#include "infer/hparams.h"

#include "arch/family.h"

#include <math.h>

/* ---- rotary embedding ------------------------------------------------------------------- */

static void scale_llama3(struct ram_rope *rope, const struct ram_rope_config *c)
{
    const double pi2 = 6.283185307179586476925;

    for (size_t j = 0; j < rope->n_pairs; j++) {
        const double f = rope->inv_freq[j];
        const double turns = c->context * f / pi2; /* of this pair over the original context */
        const double smooth = (turns - c->low) / (c->high - c->low);
        if (turns < c->low)
            rope->inv_freq[j] = (float)(f / c->factor);
        else if (turns <= c->high)
            rope->inv_freq[j] = (float)((1 - smooth) * f / c->factor + smooth * f);
    }
}

static void scale_yarn(struct ram_rope *rope, const struct ram_rope_config *c)
{
    const double pi2 = 6.283185307179586476925;
    const double dim = 2 * (double)rope->n_pairs;
    double low = dim * log(c->context / (c->beta_fast * pi2)) / (2 * log(c->theta));
    double high = dim * log(c->context / (c->beta_slow * pi2)) / (2 * log(c->theta));

    if (c->truncate) {
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
        rope->inv_freq[j] = (float)(f / c->factor * ramp + f * (1 - ramp));
    }
    rope->factor = c->attention_factor;
}

static int find_rope(struct ram_hparams *hp, const struct ram_config *config,
                     const struct ram_rope_config *c, struct ram_err *err)
{
    struct ram_rope *rope = &hp->ropes[hp->n_ropes++];
    const double dim = (double)(hp->mla ? hp->qk_dim - hp->nope_dim : hp->qk_dim);

    rope->interleaved = hp->mla ? config->rope_interleave : config->family->neighbours;
    rope->n_pairs = (size_t)(dim * c->partial) / 2;
    rope->factor = 1;
    if (rope->n_pairs > RAM_MAX_ROTARY)
        return ram_fail(err, RAM_ERANGE, "%s: rotary embedding of %zu dimensions, at most %d",
                        config->where, 2 * rope->n_pairs, 2 * RAM_MAX_ROTARY);
    const double theta =
        c->kind == RAM_ROPE_ALPHA ? c->theta * pow(c->alpha, dim / (dim - 2)) : c->theta;
    for (size_t j = 0; j < rope->n_pairs; j++) {
        const double exponent = (double)(2 * j) / (double)(2 * rope->n_pairs);
        rope->inv_freq[j] = (float)(1 / pow(theta, exponent));
    }
    if (c->kind == RAM_ROPE_LLAMA3)
        scale_llama3(rope, c);
    else if (c->kind == RAM_ROPE_YARN)
        scale_yarn(rope, c);
    for (size_t j = 0; c->kind == RAM_ROPE_LINEAR && j < rope->n_pairs; j++)
        rope->inv_freq[j] = (float)(rope->inv_freq[j] / c->factor);
    if (hp->mla && c->mscale_all != 0 && c->factor > 1) {
        const double m = 0.1 * c->mscale_all * log(c->factor) + 1;
        hp->attention_scale *= m * m;
    }
    return RAM_OK;
}

/* ---- families --------------------------------------------------------------------------- */

static void read_moe(struct ram_hparams *hp, const struct ram_config *config)
{
    struct ram_moe *moe = &hp->moe;

    *moe = (struct ram_moe){
        .n_experts = (size_t)config->n_experts,
        .top_k = (size_t)config->top_k,
        .hidden = (size_t)config->moe_intermediate,
        .shared = (size_t)ram_slot_dim(config, RAM_DIM_SHARED),
        .router = config->family->router,
        .normalise = config->norm_topk,
        .scale = config->routed_scale,
        .n_groups = (size_t)config->n_group,
        .top_groups = (size_t)config->topk_group,
    };
}

static void read_attention(struct ram_hparams *hp, const struct ram_config *config)
{
    hp->n_heads = (size_t)config->n_heads;
    hp->mla = ram_family_is_latent(config->family);
    if (hp->mla) {
        hp->q_rank = (size_t)config->q_lora;
        hp->kv_rank = (size_t)config->kv_lora;
        hp->nope_dim = (size_t)config->qk_nope;
        hp->v_dim = (size_t)config->v_head;
        hp->qk_dim = (size_t)(config->qk_nope + config->qk_rope);
        hp->n_kv_heads = hp->n_heads;
    } else {
        hp->qk_dim = hp->v_dim = (size_t)config->head_dim;
        hp->n_kv_heads = (size_t)config->n_kv_heads;
    }
    const struct ram_slot *q_norm = ram_family_vector(config, RAM_ROLE_NORM_Q, 0);
    hp->wide_qk_norm = q_norm && q_norm->rows != RAM_DIM_HEAD;
    hp->turns_first = config->family->turns_first;
    hp->gated = ram_family_is_gated(config->family);
    hp->attention_scale = 1 / sqrt((double)hp->qk_dim);
    hp->sliding_window = (size_t)config->sliding_window;
}

static int read_delta(struct ram_hparams *hp, const struct ram_config *config, struct ram_err *err)
{
    struct ram_delta_shape *delta = &hp->delta;

    *delta = (struct ram_delta_shape){
        .n_k_heads = (size_t)config->linear_k_heads,
        .n_v_heads = (size_t)config->linear_v_heads,
        .k_dim = (size_t)config->linear_k_dim,
        .v_dim = (size_t)config->linear_v_dim,
        .kernel = (size_t)config->conv_kernel,
    };
    if (delta->n_v_heads && delta->n_v_heads % delta->n_k_heads)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: %zu heads of values cannot share %zu heads of keys "
                        "(\"linear_num_value_heads\", \"linear_num_key_heads\")",
                        config->where, delta->n_v_heads, delta->n_k_heads);
    return RAM_OK;
}

int ram_hparams_read(struct ram_hparams *out, const struct ram_config *config, struct ram_err *err)
{
    struct ram_hparams *hp = out;
    char names[RAM_FAMILY_NAMES];

    *hp = (struct ram_hparams){0};
    if (!config->family)
        return ram_fail(err, RAM_EUNSUPPORTED, "%s: cannot run model_type \"%s\"; %s can be run",
                        config->where, config->model_type, ram_family_names(names));
    if (config->refusal.status)
        return ram_fail(err, config->refusal.status, "%s", config->refusal.message);
    if (config->act != RAM_ACT_SILU)
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s: \"hidden_act\" is not silu, which alone is computed", config->where);
    hp->model_type = config->model_type;
    hp->n_layers = (size_t)config->n_layers;
    hp->hidden = (size_t)config->hidden;
    hp->vocab = (size_t)config->vocab;
    hp->mlp_hidden = (size_t)config->intermediate;
    hp->max_positions = (size_t)config->max_positions;
    hp->norm_eps = config->norm_eps;
    hp->latent_norm_eps = 1e-6; /* transformers' default, whatever rms_norm_eps says */
    hp->tied = config->tied == RAM_TIED_YES;
    hp->act = config->act;
    hp->norms_after = ram_family_has(config->family, RAM_ROLE_NORM_AFTER_ATTENTION) ||
                      ram_family_has(config->family, RAM_ROLE_NORM_AFTER_MLP);
    read_attention(hp, config);
    for (size_t i = 0; i < hp->n_layers; i++)
        hp->layers[i] = (uint8_t)((config->dense[i] ? 0 : RAM_LAYER_SPARSE) |
                                  (config->slides[i] ? RAM_LAYER_SLIDES : 0) |
                                  (config->turns[i] ? RAM_LAYER_TURNS : 0) |
                                  (config->recurs[i] ? RAM_LAYER_RECURS : 0));
    if (read_delta(hp, config, err))
        return err->status;
    if (config->family->layers != RAM_LAYERS_PLAIN)
        read_moe(hp, config);
    if (hp->n_heads % hp->n_kv_heads)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: %zu heads cannot share %zu heads of keys and values "
                        "(\"num_key_value_heads\")",
                        config->where, hp->n_heads, hp->n_kv_heads);
    const int status = find_rope(hp, config, &config->rope, err);
    return status || !config->has_sliding_rope ? status
                                               : find_rope(hp, config, &config->sliding_rope, err);
}

enum ram_layer_rope ram_layer_rope(const struct ram_hparams *hp, size_t layer)
{
    if (!(hp->layers[layer] & RAM_LAYER_TURNS))
        return RAM_LAYER_NO_ROPE;
    return hp->n_ropes > 1 && hp->layers[layer] & RAM_LAYER_SLIDES ? RAM_LAYER_SLIDING_ROPE
                                                                   : RAM_LAYER_ROPE;
}

bool ram_layer_is_sparse(const struct ram_hparams *hp, size_t layer)
{
    return hp->layers[layer] & RAM_LAYER_SPARSE;
}

bool ram_layer_recurs(const struct ram_hparams *hp, size_t layer)
{
    return hp->layers[layer] & RAM_LAYER_RECURS;
}

size_t ram_widest_attended(const struct ram_hparams *hp)
{
    const size_t attention = hp->n_heads * hp->v_dim, delta = hp->delta.n_v_heads * hp->delta.v_dim;
    return attention > delta ? attention : delta;
}

size_t ram_delta_width(const struct ram_delta_shape *d)
{
    return 2 * d->n_k_heads * d->k_dim + d->n_v_heads * d->v_dim;
}

size_t ram_delta_state(const struct ram_delta_shape *d)
{
    return d->n_v_heads * d->k_dim * d->v_dim;
}

size_t ram_layer_window(const struct ram_hparams *hp, size_t layer)
{
    return hp->layers[layer] & RAM_LAYER_SLIDES ? hp->sliding_window : 0;
}
