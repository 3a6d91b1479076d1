/* arch.c - the table; see arch.h. */
#include "ckpt/arch.h"

#include <string.h>

#define LINEAR(module, rows, cols, when)                                                           \
    {                                                                                              \
        module, "weight", RAM_DIM_##rows, RAM_DIM_##cols, RAM_##when, RAM_FORM_LINEAR              \
    }
#define EXPERTS(name, rows, cols)                                                                  \
    {                                                                                              \
        "mlp.experts.*." name, "weight", RAM_DIM_##rows, RAM_DIM_##cols, RAM_IF_MOE,               \
            RAM_FORM_EXPERTS                                                                       \
    }
#define VECTOR(module, suffix, n, when)                                                            \
    {                                                                                              \
        module, suffix, RAM_DIM_##n, RAM_DIM_NONE, RAM_##when, RAM_FORM_PLAIN                      \
    }

/* The norms stand before or after the MLP, as mlx_lm's module creates them. */
#define NORMS                                                                                      \
    VECTOR("input_layernorm", "weight", HIDDEN, ALWAYS),                                           \
        VECTOR("post_attention_layernorm", "weight", HIDDEN, ALWAYS)
#define MLP_GATE_DOWN_UP(when)                                                                     \
    LINEAR("mlp.gate_proj", INTERMEDIATE, HIDDEN, when),                                           \
        LINEAR("mlp.down_proj", HIDDEN, INTERMEDIATE, when),                                       \
        LINEAR("mlp.up_proj", INTERMEDIATE, HIDDEN, when)
#define SWITCH_MLP                                                                                 \
    EXPERTS("gate_proj", MOE, HIDDEN), EXPERTS("up_proj", MOE, HIDDEN),                            \
        EXPERTS("down_proj", HIDDEN, MOE)

/* mlx_lm loads mistral as llama. */
static const struct ram_slot llama[] = {
    LINEAR("self_attn.q_proj", Q, HIDDEN, ALWAYS),
    VECTOR("self_attn.q_proj", "bias", Q, IF_ATTENTION_BIAS),
    LINEAR("self_attn.k_proj", KV, HIDDEN, ALWAYS),
    VECTOR("self_attn.k_proj", "bias", KV, IF_ATTENTION_BIAS),
    LINEAR("self_attn.v_proj", KV, HIDDEN, ALWAYS),
    VECTOR("self_attn.v_proj", "bias", KV, IF_ATTENTION_BIAS),
    LINEAR("self_attn.o_proj", HIDDEN, Q, ALWAYS),
    VECTOR("self_attn.o_proj", "bias", HIDDEN, IF_ATTENTION_BIAS),
    LINEAR("mlp.gate_proj", INTERMEDIATE, HIDDEN, ALWAYS),
    VECTOR("mlp.gate_proj", "bias", INTERMEDIATE, IF_MLP_BIAS),
    LINEAR("mlp.down_proj", HIDDEN, INTERMEDIATE, ALWAYS),
    VECTOR("mlp.down_proj", "bias", HIDDEN, IF_MLP_BIAS),
    LINEAR("mlp.up_proj", INTERMEDIATE, HIDDEN, ALWAYS),
    VECTOR("mlp.up_proj", "bias", INTERMEDIATE, IF_MLP_BIAS),
    NORMS,
};

static const struct ram_slot qwen2[] = {
    LINEAR("self_attn.q_proj", Q, HIDDEN, ALWAYS),
    VECTOR("self_attn.q_proj", "bias", Q, ALWAYS),
    LINEAR("self_attn.k_proj", KV, HIDDEN, ALWAYS),
    VECTOR("self_attn.k_proj", "bias", KV, ALWAYS),
    LINEAR("self_attn.v_proj", KV, HIDDEN, ALWAYS),
    VECTOR("self_attn.v_proj", "bias", KV, ALWAYS),
    LINEAR("self_attn.o_proj", HIDDEN, Q, ALWAYS),
    MLP_GATE_DOWN_UP(ALWAYS),
    NORMS,
};

/* mlx_lm's classes have no biases here, so a model with any can be run but not converted. */
#define QWEN3_ATTENTION                                                                            \
    LINEAR("self_attn.q_proj", Q, HIDDEN, ALWAYS),                                                 \
        VECTOR("self_attn.q_proj", "bias", Q, IF_ATTENTION_BIAS),                                  \
        LINEAR("self_attn.k_proj", KV, HIDDEN, ALWAYS),                                            \
        VECTOR("self_attn.k_proj", "bias", KV, IF_ATTENTION_BIAS),                                 \
        LINEAR("self_attn.v_proj", KV, HIDDEN, ALWAYS),                                            \
        VECTOR("self_attn.v_proj", "bias", KV, IF_ATTENTION_BIAS),                                 \
        LINEAR("self_attn.o_proj", HIDDEN, Q, ALWAYS),                                             \
        VECTOR("self_attn.o_proj", "bias", HIDDEN, IF_ATTENTION_BIAS),                             \
        VECTOR("self_attn.q_norm", "weight", HEAD, ALWAYS),                                        \
        VECTOR("self_attn.k_norm", "weight", HEAD, ALWAYS)

static const struct ram_slot qwen3[] = {QWEN3_ATTENTION, MLP_GATE_DOWN_UP(ALWAYS), NORMS};

static const struct ram_slot qwen3_moe[] = {
    QWEN3_ATTENTION, NORMS, MLP_GATE_DOWN_UP(IF_DENSE), LINEAR("mlp.gate", EXPERTS, HIDDEN, IF_MOE),
    SWITCH_MLP,
};

/* The routers of GLM are raw arrays in mlx_lm, and their bias keeps its type. */
#define GLM_MLP                                                                                    \
    LINEAR("mlp.gate_proj", INTERMEDIATE, HIDDEN, IF_DENSE),                                       \
        LINEAR("mlp.up_proj", INTERMEDIATE, HIDDEN, IF_DENSE),                                     \
        LINEAR("mlp.down_proj", HIDDEN, INTERMEDIATE, IF_DENSE), SWITCH_MLP,                       \
        {"mlp.gate", "weight", RAM_DIM_EXPERTS, RAM_DIM_HIDDEN, RAM_IF_MOE, RAM_FORM_PLAIN},       \
        {"mlp.gate",    "e_score_correction_bias", RAM_DIM_EXPERTS, RAM_DIM_NONE, RAM_IF_MOE,      \
         RAM_FORM_EXACT},                                                                          \
        LINEAR("mlp.shared_experts.gate_proj", SHARED, HIDDEN, IF_SHARED),                         \
        LINEAR("mlp.shared_experts.up_proj", SHARED, HIDDEN, IF_SHARED),                           \
        LINEAR("mlp.shared_experts.down_proj", HIDDEN, SHARED, IF_SHARED)

static const struct ram_slot glm4_moe[] = {
    LINEAR("self_attn.q_proj", Q, HIDDEN, ALWAYS),
    VECTOR("self_attn.q_proj", "bias", Q, IF_ATTENTION_BIAS),
    LINEAR("self_attn.k_proj", KV, HIDDEN, ALWAYS),
    VECTOR("self_attn.k_proj", "bias", KV, IF_ATTENTION_BIAS),
    LINEAR("self_attn.v_proj", KV, HIDDEN, ALWAYS),
    VECTOR("self_attn.v_proj", "bias", KV, IF_ATTENTION_BIAS),
    LINEAR("self_attn.o_proj", HIDDEN, Q, ALWAYS),
    VECTOR("self_attn.q_norm", "weight", HEAD, IF_QK_NORM),
    VECTOR("self_attn.k_norm", "weight", HEAD, IF_QK_NORM),
    GLM_MLP,
    NORMS,
};

static const struct ram_slot glm4_moe_lite[] = {
    LINEAR("self_attn.q_proj", QK, HIDDEN, IF_Q_FULL),
    LINEAR("self_attn.q_a_proj", Q_LORA, HIDDEN, IF_Q_LORA),
    VECTOR("self_attn.q_a_proj", "bias", Q_LORA, IF_Q_LORA_BIAS),
    VECTOR("self_attn.q_a_layernorm", "weight", Q_LORA, IF_Q_LORA),
    LINEAR("self_attn.q_b_proj", QK, Q_LORA, IF_Q_LORA),
    LINEAR("self_attn.kv_a_proj_with_mqa", KV_A, HIDDEN, ALWAYS),
    VECTOR("self_attn.kv_a_proj_with_mqa", "bias", KV_A, IF_ATTENTION_BIAS),
    VECTOR("self_attn.kv_a_layernorm", "weight", KV_LORA, ALWAYS),
    {"self_attn.kv_b_proj", "weight", RAM_DIM_KV_B, RAM_DIM_KV_LORA, RAM_ALWAYS, RAM_FORM_KV_B},
    LINEAR("self_attn.o_proj", HIDDEN, V, ALWAYS),
    VECTOR("self_attn.o_proj", "bias", HIDDEN, IF_ATTENTION_BIAS),
    GLM_MLP,
    NORMS,
};

const struct ram_slot ram_arch_embed = LINEAR("model.embed_tokens", VOCAB, HIDDEN, ALWAYS);
const struct ram_slot ram_arch_norm = VECTOR("model.norm", "weight", HIDDEN, ALWAYS);
const struct ram_slot ram_arch_head = LINEAR("lm_head", VOCAB, HIDDEN, ALWAYS);

#define LAYER(table) (table), sizeof(table) / sizeof *(table)

static const struct ram_arch archs[] = {
    {"llama", LAYER(llama)},
    {"mistral", LAYER(llama)},
    {"qwen2", LAYER(qwen2)},
    {"qwen3", LAYER(qwen3)},
    {"qwen3_moe", LAYER(qwen3_moe)},
    {"glm4_moe", LAYER(glm4_moe)},
    {"glm4_moe_lite", LAYER(glm4_moe_lite)},
};

const struct ram_arch *ram_arch_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (!strcmp(archs[i].model_type, model_type))
            return &archs[i];
    return NULL;
}

uint64_t ram_arch_dim(const struct ram_config *c, enum ram_dim dim)
{
    switch (dim) {
    case RAM_DIM_NONE:
        return 0;
    case RAM_DIM_HIDDEN:
        return c->hidden;
    case RAM_DIM_INTERMEDIATE:
        return c->intermediate;
    case RAM_DIM_MOE:
        return c->moe_intermediate;
    case RAM_DIM_SHARED:
        return c->moe_intermediate * c->n_shared;
    case RAM_DIM_VOCAB:
        return c->vocab;
    case RAM_DIM_EXPERTS:
        return c->n_experts;
    case RAM_DIM_HEAD:
        return c->head_dim;
    case RAM_DIM_Q:
        return c->n_heads * c->head_dim;
    case RAM_DIM_KV:
        return c->n_kv_heads * c->head_dim;
    case RAM_DIM_Q_LORA:
        return c->q_lora;
    case RAM_DIM_QK:
        return c->n_heads * (c->qk_nope + c->qk_rope);
    case RAM_DIM_KV_LORA:
        return c->kv_lora;
    case RAM_DIM_KV_A:
        return c->kv_lora + c->qk_rope;
    case RAM_DIM_KV_B:
        return c->n_heads * (c->qk_nope + c->v_head);
    case RAM_DIM_V:
        return c->n_heads * c->v_head;
    }
    return 0;
}

bool ram_arch_has(const struct ram_config *c, const struct ram_slot *slot, uint64_t layer)
{
    /* Layers beyond the counted ones predict several tokens; they are built like the last. */
    const bool moe = c->n_experts > 0 && (layer >= c->n_layers || !c->dense[layer]);

    switch (slot->when) {
    case RAM_ALWAYS:
        return true;
    case RAM_IF_DENSE:
        return !moe;
    case RAM_IF_MOE:
        return moe;
    case RAM_IF_SHARED:
        return moe && c->n_shared > 0;
    case RAM_IF_ATTENTION_BIAS:
        return c->attention_bias;
    case RAM_IF_MLP_BIAS:
        return c->mlp_bias;
    case RAM_IF_QK_NORM:
        return c->qk_norm;
    case RAM_IF_Q_LORA:
        return c->q_lora > 0;
    case RAM_IF_Q_FULL:
        return c->q_lora == 0;
    case RAM_IF_Q_LORA_BIAS:
        return c->q_lora > 0 && c->attention_bias;
    }
    return false;
}

static const struct ram_slot *find_slot(const struct ram_arch *arch, const char *module,
                                        const char *suffix)
{
    for (size_t i = 0; arch && i < arch->n_layer; i++)
        if (!strcmp(arch->layer[i].module, module) && !strcmp(arch->layer[i].suffix, suffix))
            return &arch->layer[i];
    return NULL;
}

bool ram_arch_wants(const struct ram_config *config, const char *module, const char *suffix,
                    uint64_t layer)
{
    const struct ram_slot *slot = find_slot(ram_arch_find(config->model_type), module, suffix);
    return slot && ram_arch_has(config, slot, layer);
}

bool ram_arch_knows(const struct ram_arch *arch, const char *module, const char *suffix)
{
    return find_slot(arch, module, suffix) != NULL;
}

static const char *const dim_keys[] = {
    [RAM_DIM_HIDDEN] = "hidden_size",
    [RAM_DIM_INTERMEDIATE] = "intermediate_size",
    [RAM_DIM_MOE] = "moe_intermediate_size",
    [RAM_DIM_SHARED] = "moe_intermediate_size",
    [RAM_DIM_VOCAB] = "vocab_size",
    [RAM_DIM_EXPERTS] = "num_experts",
    [RAM_DIM_HEAD] = "head_dim",
    [RAM_DIM_Q] = "num_attention_heads",
    [RAM_DIM_KV] = "num_key_value_heads",
    [RAM_DIM_Q_LORA] = "q_lora_rank",
    [RAM_DIM_QK] = "qk_nope_head_dim",
    [RAM_DIM_KV_LORA] = "kv_lora_rank",
    [RAM_DIM_KV_A] = "kv_lora_rank",
    [RAM_DIM_KV_B] = "v_head_dim",
    [RAM_DIM_V] = "v_head_dim",
};

static int check_dim(const struct ram_config *config, enum ram_dim dim, const char *where,
                     struct ram_err *err)
{
    if (dim == RAM_DIM_NONE || ram_arch_dim(config, dim))
        return RAM_OK;
    return ram_fail(err, RAM_EFORMAT, "%s: model_type '%s' needs \"%s\", which is missing or 0",
                    where, config->model_type, dim_keys[dim]);
}

int ram_arch_check(const struct ram_arch *arch, const struct ram_config *config, const char *where,
                   struct ram_err *err)
{
    if (!config->n_layers)
        return ram_fail(err, RAM_EFORMAT, "%s: \"num_hidden_layers\" is missing or 0", where);
    int status = check_dim(config, RAM_DIM_VOCAB, where, err);
    for (size_t i = 0; i < arch->n_layer && !status; i++) {
        const struct ram_slot *slot = &arch->layer[i];
        bool used = false;
        for (uint64_t layer = 0; layer < config->n_layers && !used; layer++)
            used = ram_arch_has(config, slot, layer);
        if (used)
            status = check_dim(config, slot->rows, where, err);
        if (used && !status)
            status = check_dim(config, slot->cols, where, err);
    }
    /* Each half of kv_b_proj is a matrix of its own. */
    if (!status && config->kv_lora && (!config->qk_nope || !config->v_head))
        status =
            ram_fail(err, RAM_EFORMAT,
                     "%s: \"qk_nope_head_dim\" and \"v_head_dim\" must both be above 0", where);
    return status;
}
