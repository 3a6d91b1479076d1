/*
 * model.c - see model.h.
 *
 * A matrix is looked for under its Hugging Face name and under the one mlx_lm gives it: experts
 * one by one, fused as gate_up_proj, or stacked as switch_mlp; kv_b_proj whole, or split into
 * embed_q (transposed) and unembed_out.
 */
#include "infer/model.h"

#include "ckpt/arch.h"
#include "ckpt/build.h"
#include "ckpt/fp8.h"
#include "ckpt/prefix.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_MAX_SIZE = 256 };

struct finder {
    struct ram_model *model;
    struct ram_err *err;
    char prefix[NAME_MAX_SIZE]; /* "model.layers.3." */
    size_t layer;               /* SIZE_MAX outside of layers */
};

/* ---- finding ---------------------------------------------------------------------------- */

static int module_name(const struct finder *f, const char *name, char out[NAME_MAX_SIZE])
{
    const int n = snprintf(out, NAME_MAX_SIZE, "%s%s", f->prefix, name);
    return n < 0 || n >= NAME_MAX_SIZE ? ram_fail(f->err, RAM_EINTERNAL, "%s: too long", name)
                                       : RAM_OK;
}

/* A new unit "<prefix><name>.weight"; its number to *out. */
static int add_unit(struct finder *f, const char *name, unsigned *out)
{
    struct ram_model *model = f->model;

    if (model->n_units == 0)
        model->n_units = 1; /* 0 means none */
    if (ram_grow(&model->units, sizeof *model->units, model->n_units, &model->unit_room, f->err))
        return RAM_ENOMEM;
    const char *full = ram_arena_printf(&model->arena, f->err, "%s%s.weight", f->prefix, name);
    if (!full)
        return RAM_ENOMEM;
    model->units[model->n_units] = (struct ram_model_unit){full, f->layer};
    *out = (unsigned)model->n_units++;
    return RAM_OK;
}

/* name: of the tensor. */
static int missing(const struct finder *f, const char *name)
{
    char there[RAM_PREFIX_TEXT];

    return ram_fail(f->err, RAM_EFORMAT, "%s: no tensor \"%s\", which a %s model needs%s",
                    f->model->ckpt->name, name, f->model->hp.model_type,
                    ram_prefix_describe(f->model->ckpt, name, there));
}

static int missing_weight(const struct finder *f, const char *module)
{
    char name[NAME_MAX_SIZE];
    const int n = snprintf(name, sizeof name, "%s.weight", module);

    return n < 0 || n >= NAME_MAX_SIZE ? ram_fail(f->err, RAM_EINTERNAL, "%s: too long", module)
                                       : missing(f, name);
}

static bool is_present(const struct ram_weight *weight)
{
    return weight->rows > 0;
}

/* A vector as f32, or NULL in *out if it is absent and that is allowed. */
static int find_vector(struct finder *f, const char *name, size_t n, bool needed, const float **out)
{
    char full[NAME_MAX_SIZE];
    int status = module_name(f, name, full);
    if (status)
        return status;
    const struct ram_tensor *tensor = ram_ckpt_find(f->model->ckpt, full);
    *out = NULL;
    if (!tensor)
        return needed ? missing(f, full) : RAM_OK;
    if (tensor->n_dims != 1 || tensor->n != n || !ram_dtypes[tensor->dtype].is_weight)
        return ram_fail(f->err, RAM_EFORMAT,
                        "%s: \"%s\" has %zu elements in %d dimensions, expected %zu in 1",
                        f->model->ckpt->name, full, tensor->n, tensor->n_dims, n);
    float *values = ram_arena_alloc(&f->model->arena, n * sizeof *values, f->err);
    if (!values)
        return RAM_ENOMEM;
    const struct ram_view view = ram_view_whole(tensor);
    *out = values;
    return ram_view_read(&view, 0, view.rows, values, f->err);
}

static int find_weight(struct finder *f, const char *name, struct ram_weight *out)
{
    char full[NAME_MAX_SIZE];
    int status = module_name(f, name, full);
    if (!status)
        status = ram_weight_find(out, f->model->ckpt, full, f->err);
    if (!status && out->view.tensor && ram_is_fp8(out->view.tensor->dtype))
        out->rounded = ram_build_dtype(&f->model->config, out->view.tensor->dtype);
    return status;
}

static int expect_shape(const struct finder *f, const char *name, const struct ram_weight *w,
                        size_t blocks, size_t rows, size_t cols)
{
    char unsaid[RAM_UNSAID_TEXT];

    if (w->blocks == blocks && w->rows == rows && w->cols == cols)
        return RAM_OK;
    if (w->blocks == 1 && blocks == 1)
        return ram_fail(f->err, RAM_EFORMAT,
                        "%s: \"%s%s.weight\" is [%zu, %zu], config.json says [%zu, %zu]%s",
                        f->model->ckpt->name, f->prefix, name, w->rows, w->cols, rows, cols,
                        ram_config_unsaid(&f->model->config, unsaid));
    return ram_fail(f->err, RAM_EFORMAT,
                    "%s: \"%s%s.weight\" is [%zu, %zu, %zu], config.json says [%zu, %zu, %zu]%s",
                    f->model->ckpt->name, f->prefix, name, w->blocks, w->rows, w->cols, blocks,
                    rows, cols, ram_config_unsaid(&f->model->config, unsaid));
}

/* Its bias, if the class of this family has one there. A bias that is stored without being asked
 * for is passed over, as transformers passes over it, and counted. */
static int find_bias(struct finder *f, const char *name, size_t out, struct ram_linear *linear)
{
    struct ram_model *model = f->model;
    const bool wanted =
        f->layer != SIZE_MAX && ram_arch_wants(&model->config, name, "bias", f->layer);
    char bias[NAME_MAX_SIZE], full[NAME_MAX_SIZE];

    snprintf(bias, sizeof bias, "%s.bias", name);
    if (wanted)
        return find_vector(f, bias, out, true, &linear->bias);
    const int status = module_name(f, bias, full);
    const struct ram_tensor *stored = status ? NULL : ram_ckpt_find(model->ckpt, full);
    if (stored && !model->n_unread++)
        model->unread = stored->name;
    return status;
}

/* A linear layer [out, in], with its bias if it has one, as part of a unit. */
static int find_member(struct finder *f, const char *name, size_t out, size_t in,
                       struct ram_linear *linear)
{
    *linear = (struct ram_linear){.out = out, .in = in};
    int status = find_weight(f, name, &linear->weight);
    if (!status && !is_present(&linear->weight)) {
        char full[NAME_MAX_SIZE];
        status = module_name(f, name, full);
        return status ? status : missing_weight(f, full);
    }
    if (!status)
        status = expect_shape(f, name, &linear->weight, 1, out, in);
    return status ? status : find_bias(f, name, out, linear);
}

/* A linear layer that is a unit of its own. */
static int find_linear(struct finder *f, const char *name, size_t out, size_t in,
                       struct ram_linear *linear)
{
    const int status = find_member(f, name, out, in, linear);
    return status ? status : add_unit(f, name, &linear->unit);
}

typedef int find_fn(struct finder *f, const char *name, size_t out, size_t in,
                    struct ram_linear *linear);

/* find: find_linear, or find_member for one expert of many. */
static int find_mlp(struct finder *f, const char *name, size_t width, find_fn *find,
                    struct ram_mlp *mlp)
{
    const size_t hidden = f->model->hp.hidden;
    char path[NAME_MAX_SIZE];
    int status;

    snprintf(path, sizeof path, "%s.gate_proj", name);
    status = find(f, path, width, hidden, &mlp->gate);
    if (status)
        return status;
    snprintf(path, sizeof path, "%s.up_proj", name);
    status = find(f, path, width, hidden, &mlp->up);
    if (status)
        return status;
    snprintf(path, sizeof path, "%s.down_proj", name);
    return find(f, path, hidden, width, &mlp->down);
}

/* ---- experts ---------------------------------------------------------------------------- */

static struct ram_linear slab(const struct ram_weight *weight, size_t first, size_t out, size_t in)
{
    return (struct ram_linear){.weight = *weight, .first = first, .out = out, .in = in};
}

/* switch_mlp: three stacks [n_experts, out, in], as MLX stores them. */
static int find_stacked(struct finder *f, struct ram_layer *layer)
{
    const struct ram_moe *moe = &f->model->hp.moe;
    const size_t n = moe->n_experts, width = moe->hidden, hidden = f->model->hp.hidden;
    struct ram_weight gate, up, down;
    int status;

    if ((status = find_weight(f, "mlp.switch_mlp.gate_proj", &gate)) ||
        (status = find_weight(f, "mlp.switch_mlp.up_proj", &up)) ||
        (status = find_weight(f, "mlp.switch_mlp.down_proj", &down)) ||
        (status = expect_shape(f, "mlp.switch_mlp.gate_proj", &gate, n, width, hidden)) ||
        (status = expect_shape(f, "mlp.switch_mlp.up_proj", &up, n, width, hidden)) ||
        (status = expect_shape(f, "mlp.switch_mlp.down_proj", &down, n, hidden, width)))
        return status;
    for (size_t e = 0; e < n; e++) {
        layer->experts[e].gate = slab(&gate, e * width, width, hidden);
        layer->experts[e].up = slab(&up, e * width, width, hidden);
        layer->experts[e].down = slab(&down, e * hidden, hidden, width);
    }
    return RAM_OK;
}

/* experts.gate_up_proj [n, 2 x width, hidden] and experts.down_proj [n, hidden, width]: the fused
 * form of transformers 5, without ".weight". */
static int find_fused(struct finder *f, const struct ram_tensor *gate_up, struct ram_layer *layer)
{
    const struct ram_moe *moe = &f->model->hp.moe;
    const size_t n = moe->n_experts, width = moe->hidden, hidden = f->model->hp.hidden;
    char name[NAME_MAX_SIZE];
    int status = module_name(f, "mlp.experts.down_proj", name);
    if (status)
        return status;
    const struct ram_tensor *down = ram_ckpt_find(f->model->ckpt, name);
    if (!down || gate_up->n_dims != 3 || down->n_dims != 3 || gate_up->shape[0] != n ||
        gate_up->shape[1] != 2 * width || gate_up->shape[2] != hidden || down->shape[0] != n ||
        down->shape[1] != hidden || down->shape[2] != width)
        return ram_fail(f->err, RAM_EFORMAT,
                        "%s: \"%s\" and \"%s\" should be [%zu, %zu, %zu] and [%zu, %zu, %zu]",
                        f->model->ckpt->name, gate_up->name, name, n, 2 * width, hidden, n, hidden,
                        width);
    const struct ram_weight gu = {
        .blocks = n, .rows = 2 * width, .cols = hidden, .view = ram_view_whole(gate_up)};
    const struct ram_weight d = {
        .blocks = n, .rows = hidden, .cols = width, .view = ram_view_whole(down)};
    for (size_t e = 0; e < n; e++) {
        layer->experts[e].gate = slab(&gu, e * 2 * width, width, hidden);
        layer->experts[e].up = slab(&gu, (e * 2 + 1) * width, width, hidden);
        layer->experts[e].down = slab(&d, e * hidden, hidden, width);
    }
    return RAM_OK;
}

/* In whatever form they are stored, the experts of a projection are one unit. */
static int name_experts(struct finder *f, struct ram_layer *layer)
{
    unsigned gate, up, down;
    int status;

    if ((status = add_unit(f, "mlp.experts.*.gate_proj", &gate)) ||
        (status = add_unit(f, "mlp.experts.*.up_proj", &up)) ||
        (status = add_unit(f, "mlp.experts.*.down_proj", &down)))
        return status;
    for (size_t e = 0; e < f->model->hp.moe.n_experts; e++) {
        layer->experts[e].gate.unit = gate;
        layer->experts[e].up.unit = up;
        layer->experts[e].down.unit = down;
    }
    return RAM_OK;
}

static int find_experts(struct finder *f, struct ram_layer *layer)
{
    const struct ram_moe *moe = &f->model->hp.moe;
    char name[NAME_MAX_SIZE];
    int status = module_name(f, "mlp.switch_mlp.gate_proj.weight", name);

    if (status)
        return status;
    layer->experts =
        ram_arena_alloc(&f->model->arena, moe->n_experts * sizeof *layer->experts, f->err);
    if (!layer->experts)
        return RAM_ENOMEM;
    if (ram_ckpt_find(f->model->ckpt, name))
        return find_stacked(f, layer);
    module_name(f, "mlp.experts.gate_up_proj", name);
    const struct ram_tensor *fused = ram_ckpt_find(f->model->ckpt, name);
    if (fused)
        return find_fused(f, fused, layer);
    for (size_t e = 0; !status && e < moe->n_experts; e++) {
        snprintf(name, sizeof name, "mlp.experts.%zu", e);
        status = find_mlp(f, name, moe->hidden, find_member, &layer->experts[e]);
    }
    return status;
}

static int find_sparse(struct finder *f, struct ram_layer *layer)
{
    const struct ram_moe *moe = &f->model->hp.moe;
    int status;

    if ((status =
             find_linear(f, "mlp.gate", moe->n_experts, f->model->hp.hidden, &layer->router)) ||
        (status = find_vector(f, "mlp.gate.e_score_correction_bias", moe->n_experts, false,
                              &layer->router_bias)) ||
        (status = find_experts(f, layer)) || (status = name_experts(f, layer)))
        return status;
    layer->has_shared = moe->n_shared > 0;
    return layer->has_shared ? find_mlp(f, "mlp.shared_experts", moe->n_shared * moe->hidden,
                                        find_linear, &layer->shared)
                             : RAM_OK;
}

/* ---- attention -------------------------------------------------------------------------- */

static int find_latent_heads(struct finder *f, struct ram_attention_weights *a)
{
    const struct ram_hparams *hp = &f->model->hp;
    const size_t n = hp->n_heads, rank = hp->kv_rank, nope = hp->nope_dim, v_dim = hp->v_dim;
    struct ram_weight kv_b, embed_q, unembed;
    int status;

    a->k_heads = ram_arena_alloc(&f->model->arena, n * sizeof *a->k_heads, f->err);
    a->v_heads = ram_arena_alloc(&f->model->arena, n * sizeof *a->v_heads, f->err);
    if (!a->k_heads || !a->v_heads)
        return RAM_ENOMEM;
    status = find_weight(f, "self_attn.kv_b_proj", &kv_b);
    if (status)
        return status;
    if (is_present(&kv_b)) {
        unsigned unit;
        status = expect_shape(f, "self_attn.kv_b_proj", &kv_b, 1, n * (nope + v_dim), rank);
        if (!status)
            status = add_unit(f, "self_attn.kv_b_proj", &unit);
        for (size_t h = 0; !status && h < n; h++) {
            a->k_heads[h] = slab(&kv_b, h * (nope + v_dim), nope, rank);
            a->v_heads[h] = slab(&kv_b, h * (nope + v_dim) + nope, v_dim, rank);
            a->k_heads[h].unit = a->v_heads[h].unit = unit;
        }
        return status;
    }
    if ((status = find_weight(f, "self_attn.embed_q", &embed_q)) ||
        (status = find_weight(f, "self_attn.unembed_out", &unembed)) ||
        (status = expect_shape(f, "self_attn.embed_q", &embed_q, n, rank, nope)) ||
        (status = expect_shape(f, "self_attn.unembed_out", &unembed, n, v_dim, rank)))
        return status;
    for (size_t h = 0; h < n; h++) {
        a->k_heads[h] = slab(&embed_q, h * rank, nope, rank);
        a->k_heads[h].transposed = true;
        a->v_heads[h] = slab(&unembed, h * v_dim, v_dim, rank);
    }
    return RAM_OK;
}

static int find_latent_attention(struct finder *f, struct ram_attention_weights *a)
{
    const struct ram_hparams *hp = &f->model->hp;
    const size_t rope_dim = hp->qk_dim - hp->nope_dim;
    int status;

    if (hp->q_rank) {
        if ((status = find_linear(f, "self_attn.q_a_proj", hp->q_rank, hp->hidden, &a->q_a)) ||
            (status = find_vector(f, "self_attn.q_a_layernorm.weight", hp->q_rank, true,
                                  &a->q_a_norm)) ||
            (status =
                 find_linear(f, "self_attn.q_b_proj", hp->n_heads * hp->qk_dim, hp->q_rank, &a->q)))
            return status;
    } else if ((status = find_linear(f, "self_attn.q_proj", hp->n_heads * hp->qk_dim, hp->hidden,
                                     &a->q))) {
        return status;
    }
    if ((status = find_linear(f, "self_attn.kv_a_proj_with_mqa", hp->kv_rank + rope_dim, hp->hidden,
                              &a->kv_a)) ||
        (status =
             find_vector(f, "self_attn.kv_a_layernorm.weight", hp->kv_rank, true, &a->kv_a_norm)) ||
        (status = find_latent_heads(f, a)))
        return status;
    return find_linear(f, "self_attn.o_proj", hp->hidden, hp->n_heads * hp->v_dim, &a->o);
}

static int find_attention(struct finder *f, struct ram_attention_weights *a)
{
    const struct ram_hparams *hp = &f->model->hp;
    int status;

    if (hp->mla)
        return find_latent_attention(f, a);
    if ((status =
             find_linear(f, "self_attn.q_proj", hp->n_heads * hp->qk_dim, hp->hidden, &a->q)) ||
        (status =
             find_linear(f, "self_attn.k_proj", hp->n_kv_heads * hp->qk_dim, hp->hidden, &a->k)) ||
        (status =
             find_linear(f, "self_attn.v_proj", hp->n_kv_heads * hp->v_dim, hp->hidden, &a->v)) ||
        (status = find_linear(f, "self_attn.o_proj", hp->hidden, hp->n_heads * hp->v_dim, &a->o)))
        return status;
    if (!ram_arch_wants(&f->model->config, "self_attn.q_norm", "weight", f->layer))
        return RAM_OK;
    status = find_vector(f, "self_attn.q_norm.weight", hp->qk_dim, true, &a->q_norm);
    return status ? status
                  : find_vector(f, "self_attn.k_norm.weight", hp->qk_dim, true, &a->k_norm);
}

static int find_layer(struct finder *f, size_t index)
{
    const struct ram_hparams *hp = &f->model->hp;
    struct ram_layer *layer = &f->model->layers[index];
    int status;

    snprintf(f->prefix, sizeof f->prefix, "model.layers.%zu.", index);
    f->layer = index;
    layer->window = ram_layer_window(hp, index);
    if ((status = find_vector(f, "input_layernorm.weight", hp->hidden, true, &layer->norm1)) ||
        (status =
             find_vector(f, "post_attention_layernorm.weight", hp->hidden, true, &layer->norm2)) ||
        (status = find_attention(f, &layer->attention)))
        return status;
    return ram_layer_is_sparse(hp, index)
               ? find_sparse(f, layer)
               : find_mlp(f, "mlp", hp->mlp_hidden, find_linear, &layer->mlp);
}

/* ---- the whole -------------------------------------------------------------------------- */

static int find_ends(struct finder *f)
{
    struct ram_model *model = f->model;
    const struct ram_hparams *hp = &model->hp;
    int status = find_weight(f, "model.embed_tokens", &model->embed);

    if (!status && !is_present(&model->embed))
        status = missing(f, "model.embed_tokens.weight");
    if (!status)
        status = expect_shape(f, "model.embed_tokens", &model->embed, 1, hp->vocab, hp->hidden);
    if (!status)
        status = find_vector(f, "model.norm.weight", hp->hidden, true, &model->norm);
    if (status)
        return status;
    status = add_unit(f, "model.embed_tokens", &model->embed_unit);
    if (status)
        return status;
    if (hp->tied) {
        model->head = slab(&model->embed, 0, hp->vocab, hp->hidden);
        model->head.unit = model->embed_unit;
        return RAM_OK;
    }
    return find_linear(f, "lm_head", hp->vocab, hp->hidden, &model->head);
}

/* Numbers of an unknown family may mean anything: that it is unknown is what is then said. */
static int settle(struct ram_model *model, struct ram_err *err)
{
    struct ram_err found = {0};
    const int status =
        ram_config_settle(&model->config, model->ckpt, &model->arena, &model->notes, &found);
    return status && (model->config.family || status == RAM_ENOMEM)
               ? ram_fail(err, status, "%s", found.message)
               : RAM_OK;
}

int ram_model_open(struct ram_model **out, const struct ram_ckpt *ckpt, struct ram_err *err)
{
    struct ram_model *model = ram_calloc(1, sizeof *model, err);
    if (!model)
        return RAM_ENOMEM;
    struct finder f = {.model = model, .err = err, .layer = SIZE_MAX};

    model->ckpt = ckpt;
    int status = ram_ckpt_check_coding(ckpt, err);
    if (!status)
        status = settle(model, err);
    if (!status)
        status = ram_hparams_read(&model->hp, &model->config, err);
    if (!status) {
        model->layers =
            ram_arena_alloc(&model->arena, model->hp.n_layers * sizeof *model->layers, err);
        status = model->layers ? find_ends(&f) : RAM_ENOMEM;
    }
    for (size_t i = 0; !status && i < model->hp.n_layers; i++)
        status = find_layer(&f, i);
    if (!status && model->n_unread)
        status = ram_notes_add(
            &model->notes, &model->arena, err,
            "%zu tensors such as '%s' are left out: config.json does not announce them, so "
            "the class of %s in transformers does not read them",
            model->n_unread, model->unread, model->hp.model_type);
    if (status) {
        ram_model_close(model);
        return status;
    }
    *out = model;
    return RAM_OK;
}

void ram_model_close(struct ram_model *model)
{
    if (!model)
        return;
    ram_arena_release(&model->arena);
    free(model->units);
    free(model);
}

static uint64_t linear_parameters(const struct ram_linear *linear)
{
    return (uint64_t)linear->out * linear->in + (linear->bias ? linear->out : 0);
}

static uint64_t mlp_parameters(const struct ram_mlp *mlp)
{
    return linear_parameters(&mlp->gate) + linear_parameters(&mlp->up) +
           linear_parameters(&mlp->down);
}

static uint64_t attention_parameters(const struct ram_hparams *hp,
                                     const struct ram_attention_weights *a)
{
    uint64_t n = linear_parameters(&a->q) + linear_parameters(&a->k) + linear_parameters(&a->v) +
                 linear_parameters(&a->o) + linear_parameters(&a->q_a) +
                 linear_parameters(&a->kv_a);

    n += (a->q_norm ? hp->qk_dim : 0) + (a->k_norm ? hp->qk_dim : 0);
    n += (a->q_a_norm ? hp->q_rank : 0) + (a->kv_a_norm ? hp->kv_rank : 0);
    for (size_t h = 0; a->k_heads && h < hp->n_heads; h++)
        n += linear_parameters(&a->k_heads[h]) + linear_parameters(&a->v_heads[h]);
    return n;
}

uint64_t ram_model_parameters(const struct ram_model *model)
{
    const struct ram_hparams *hp = &model->hp;
    uint64_t n = (uint64_t)hp->vocab * hp->hidden + hp->hidden;

    if (!hp->tied)
        n += linear_parameters(&model->head);
    for (size_t i = 0; i < hp->n_layers; i++) {
        const struct ram_layer *layer = &model->layers[i];
        n += 2 * (uint64_t)hp->hidden + attention_parameters(hp, &layer->attention) +
             mlp_parameters(&layer->mlp) + mlp_parameters(&layer->shared) +
             linear_parameters(&layer->router) + (layer->router_bias ? hp->moe.n_experts : 0);
        for (size_t e = 0; layer->experts && e < hp->moe.n_experts; e++)
            n += mlp_parameters(&layer->experts[e]);
    }
    return n;
}

uint64_t ram_model_bytes(const struct ram_model *model)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < model->ckpt->n_files; i++)
        bytes += model->ckpt->files[i].map.size;
    return bytes;
}
