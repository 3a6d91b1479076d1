/*
 * family.c - finds families, and slots in them; see family.h.
 *
 * RAM_FAMILIES is the list of the files family_*.c, as CMakeLists.txt finds them: X(llama)
 * X(mistral) ..., in the order of their names.
 */
#include "arch/family.h"

#include "arch/family_rows.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define X(name) extern const struct ram_family ram_family_##name;
RAM_FAMILIES
#undef X

static const struct ram_family *const families[] = {
#define X(name) &ram_family_##name,
    RAM_FAMILIES
#undef X
};
/* clang-format on */

enum { N_FAMILIES = sizeof families / sizeof *families };

/* ---- what all or most of them have --------------------------------------------------------- */

const struct ram_slot ram_usual_embed =
    MATRIX(EMBED, "model.embed_tokens", VOCAB, HIDDEN, ALWAYS, NONE);
const struct ram_slot ram_usual_norm = NORM(FINAL, "model.norm", HIDDEN, ALWAYS);
const struct ram_slot ram_usual_gain = GAIN(FINAL, "model.norm", HIDDEN, ALWAYS);
const struct ram_slot ram_usual_head = MATRIX(HEAD, "lm_head", VOCAB, HIDDEN, ALWAYS, HEAD);

static const struct ram_param unknown[] = {
    COUNT("vocab_size", vocab, 0, 0, ABSENT, FREE, 0),
    COUNT("hidden_size", hidden, 0, 0, ABSENT, FREE, 0),
    COUNT("intermediate_size", intermediate, 0, 0, ABSENT, FREE, 0),
    {"num_hidden_layers", NULL, AT(n_layers), RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_LAYERS, 0,
     RAM_NULL_ABSENT, RAM_LOADER_FREE, 0},
    COUNT("num_attention_heads", n_heads, 0, 0, ABSENT, FREE, 0),
    POSITIONS(0, FREE, 0),
    COUNT("num_key_value_heads", n_kv_heads, 0, RAM_DERIVED, ABSENT, FREE, 0),
    COUNT("head_dim", head_dim, 0, RAM_DERIVED, ABSENT, FREE, 0),
    {"num_experts", "num_local_experts", AT(n_experts), RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_EXPERTS,
     0, RAM_NULL_ABSENT, RAM_LOADER_FREE, 0},
    {"n_routed_experts", NULL, AT(n_experts), RAM_VALUE_COUNT, 0, RAM_CONFIG_MAX_EXPERTS,
     RAM_DERIVED, RAM_NULL_ABSENT, RAM_LOADER_FREE, 0},
    COUNT("num_experts_per_tok", top_k, 0, 0, ABSENT, FREE, 0),
    COUNT("moe_intermediate_size", moe_intermediate, 0, 0, ABSENT, FREE, 0),
    COUNT("n_shared_experts", n_shared, 0, 0, ABSENT, FREE, 0),
    COUNT("q_lora_rank", q_lora, 0, 0, ABSENT, FREE, 0),
    COUNT("kv_lora_rank", kv_lora, 0, 0, ABSENT, FREE, 0),
    COUNT("qk_nope_head_dim", qk_nope, 0, 0, ABSENT, FREE, 0),
    COUNT("qk_rope_head_dim", qk_rope, 0, 0, ABSENT, FREE, 0),
    COUNT("v_head_dim", v_head, 0, 0, ABSENT, FREE, 0),
};

const struct ram_family ram_family_unknown = {
    .model_type = "", PARAMS(unknown), USUAL_ENDS, .layers = RAM_LAYERS_NAMED, .partial = 1};

/* ---- families ----------------------------------------------------------------------------- */

const struct ram_family *ram_family_at(size_t i)
{
    return i < N_FAMILIES ? families[i] : NULL;
}

const struct ram_family *ram_family_find(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (!strcmp(families[i]->model_type, model_type) ||
            (families[i]->also && !strcmp(families[i]->also, model_type)))
            return families[i];
    return NULL;
}

const struct ram_family *ram_family_of(const struct ram_config *config)
{
    return config->family ? config->family : &ram_family_unknown;
}

const char *ram_family_names(char out[RAM_FAMILY_NAMES])
{
    size_t n = 0;

    *out = '\0';
    for (size_t i = 0; i < N_FAMILIES && n < RAM_FAMILY_NAMES; i++)
        n += (size_t)snprintf(out + n, RAM_FAMILY_NAMES - n, "%s%s",
                              i == 0                ? ""
                              : i + 1 == N_FAMILIES ? " and "
                                                    : ", ",
                              families[i]->model_type);
    return out;
}

/* ---- their slots -------------------------------------------------------------------------- */

static const struct ram_slot *find(const struct ram_config *config, enum ram_role role,
                                   uint64_t layer, bool matrix)
{
    const struct ram_family *family = ram_family_of(config);

    for (size_t i = 0; i < family->n_slots; i++) {
        const struct ram_slot *slot = &family->slots[i];
        if (slot->role == role && ram_slot_is_matrix(slot) == matrix &&
            ram_slot_exists(config, slot, layer))
            return slot;
    }
    return NULL;
}

const struct ram_slot *ram_family_matrix(const struct ram_config *config, enum ram_role role,
                                         uint64_t layer)
{
    return find(config, role, layer, true);
}

const struct ram_slot *ram_family_vector(const struct ram_config *config, enum ram_role role,
                                         uint64_t layer)
{
    return find(config, role, layer, false);
}

bool ram_family_has(const struct ram_family *family, enum ram_role role)
{
    for (size_t i = 0; i < family->n_slots; i++)
        if (family->slots[i].role == role)
            return true;
    return false;
}

bool ram_family_is_latent(const struct ram_family *family)
{
    return ram_family_has(family, RAM_ROLE_KV_A);
}

bool ram_family_is_gated(const struct ram_family *family)
{
    for (size_t i = 0; i < family->n_slots; i++)
        if (family->slots[i].role == RAM_ROLE_Q && family->slots[i].rows == RAM_DIM_Q_GATED)
            return true;
    return false;
}

/* Is text, behind an expert's number where the module has a star, module.suffix? */
static bool is_named(const struct ram_slot *slot, const char *text)
{
    const char *star = strchr(slot->module, '*');
    const size_t n = star ? (size_t)(star - slot->module) : strlen(slot->module);

    if (strncmp(text, slot->module, n) != 0)
        return false;
    text += n;
    if (star) {
        const char *const behind = star + 1;
        const size_t digits = strspn(text, "0123456789"), m = strlen(behind);
        if (!digits || strncmp(text + digits, behind, m) != 0)
            return false;
        text += digits + m;
    }
    return *text == '.' && !strcmp(text + 1, slot->suffix);
}

const struct ram_slot *ram_family_slot(const struct ram_config *config, const char *name)
{
    const struct ram_family *family = ram_family_of(config);
    const struct ram_slot *const ends[] = {family->embed, family->norm, family->head};
    const size_t n = strlen(family->layer_prefix);

    if (!strncmp(name, family->layer_prefix, n)) {
        const size_t digits = strspn(name + n, "0123456789");
        for (size_t i = 0; digits && name[n + digits] == '.' && i < family->n_slots; i++)
            if (is_named(&family->slots[i], name + n + digits + 1))
                return &family->slots[i];
        return NULL;
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (is_named(ends[i], name))
            return ends[i];
    return NULL;
}

/* ---- checks ------------------------------------------------------------------------------- */

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
    [RAM_DIM_Q_GATED] = "num_attention_heads",
    [RAM_DIM_DELTA] = "linear_num_key_heads",
    [RAM_DIM_DELTA_ALL] = "linear_num_key_heads",
    [RAM_DIM_DELTA_V] = "linear_num_value_heads",
    [RAM_DIM_DELTA_HEAD] = "linear_value_head_dim",
    [RAM_DIM_DELTA_HEADS] = "linear_num_value_heads",
    [RAM_DIM_DELTA_HEADS_2] = "linear_num_value_heads",
    [RAM_DIM_DELTA_KERNEL] = "linear_conv_kernel_dim",
};

static int check_dim(const struct ram_config *config, enum ram_dim dim, const char *where,
                     struct ram_err *err)
{
    if (dim == RAM_DIM_NONE || ram_slot_dim(config, dim))
        return RAM_OK;
    return ram_fail(err, RAM_EFORMAT, "%s: model_type '%s' needs \"%s\", which is missing or 0",
                    where, config->model_type, dim_keys[dim]);
}

int ram_family_check(const struct ram_config *config, const char *where, struct ram_err *err)
{
    const struct ram_family *family = ram_family_of(config);

    if (!config->n_layers)
        return ram_fail(err, RAM_EFORMAT, "%s: \"num_hidden_layers\" is missing or 0", where);
    int status = check_dim(config, RAM_DIM_VOCAB, where, err);
    for (size_t i = 0; i < family->n_slots && !status; i++) {
        const struct ram_slot *slot = &family->slots[i];
        bool used = false;
        for (uint64_t layer = 0; layer < config->n_layers && !used; layer++)
            used = ram_slot_exists(config, slot, layer);
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

bool ram_family_router(const char *model_type, int *bits, int *group)
{
    const struct ram_family *family = ram_family_find(model_type);

    for (size_t i = 0; family && i < family->n_slots; i++) {
        const struct ram_slot *slot = &family->slots[i];
        if (slot->role != RAM_ROLE_ROUTER)
            continue;
        const bool plain = !ram_slot_is_quantizable(slot);
        *bits = plain ? 16 : family->router_bits;
        *group = plain ? 0 : family->router_group;
        return *bits != 0;
    }
    return false;
}
