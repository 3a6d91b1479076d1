/* verify_expected.c - see expect.h. What an architecture consists of is told by ckpt/arch.c. */
#include "convert/verify_expected.h"

#include "arch/family.h"
#include "ckpt/arch.h"

#include <stdlib.h>
#include <string.h>

/* One tensor; the strings are in the arena already, or NULL if memory ran out. */
static int add(struct ram_expectation *e, const struct ram_expected *item, const char *suffix,
               struct ram_err *err)
{
    if (!item->module || !item->unit)
        return RAM_ENOMEM;
    const int status = ram_grow(&e->items, sizeof *e->items, e->n, &e->cap, err);
    if (status)
        return status;
    e->items[e->n] = *item;
    e->items[e->n].name =
        *suffix ? ram_arena_printf(&e->arena, err, "%s.%s", item->module, suffix) : item->module;
    return e->items[e->n++].name ? RAM_OK : RAM_ENOMEM;
}

/* "mlp.experts.*.up_proj" is stacked as "mlp.switch_mlp.up_proj". */
static const char *stacked_name(struct ram_expectation *e, const char *module, struct ram_err *err)
{
    static const char experts[] = "experts.*.";
    const char *at = strstr(module, experts);
    return at ? ram_arena_printf(&e->arena, err, "%.*sswitch_mlp.%s", (int)(at - module), module,
                                 at + strlen(experts))
              : module;
}

/* kv_b_proj [heads * (nope + v), r] becomes embed_q [heads, r, nope], unembed_out [heads, v, r]. */
static int add_kv_b(struct ram_expectation *e, const struct ram_config *c, const char *module,
                    const char *unit, struct ram_err *err)
{
    const size_t prefix = strlen(module) - strlen("kv_b_proj");
    const struct ram_expected embed = {
        .module = ram_arena_printf(&e->arena, err, "%.*sembed_q", (int)prefix, module),
        .unit = unit,
        .n_dims = 3,
        .shape = {c->n_heads, c->kv_lora, c->qk_nope},
        .quantizable = true};
    const struct ram_expected unembed = {
        .module = ram_arena_printf(&e->arena, err, "%.*sunembed_out", (int)prefix, module),
        .unit = unit,
        .n_dims = 3,
        .shape = {c->n_heads, c->v_head, c->kv_lora},
        .quantizable = true};
    const int status = add(e, &embed, "weight", err);
    return status ? status : add(e, &unembed, "weight", err);
}

/* prefix: "model.layers.3." or "". */
static int add_slot(struct ram_expectation *e, const struct ram_config *c,
                    const struct ram_slot *slot, const char *prefix, struct ram_err *err)
{
    const char *module = ram_arena_printf(&e->arena, err, "%s%s", prefix, slot->module);
    if (!module)
        return RAM_ENOMEM;
    const char *unit = ram_arena_printf(&e->arena, err, "%s.%s", module, slot->suffix);
    if (!unit)
        return RAM_ENOMEM;
    if (slot->form == RAM_FORM_KV_B)
        return add_kv_b(e, c, module, unit, err);

    struct ram_expected item = {.unit = unit,
                                .quantizable = slot->form == RAM_FORM_LINEAR ||
                                               slot->form == RAM_FORM_EXPERTS};
    if (slot->form == RAM_FORM_EXPERTS)
        item.shape[item.n_dims++] = c->n_experts;
    item.shape[item.n_dims++] = ram_arch_dim(c, slot->rows);
    if (slot->cols != RAM_DIM_NONE)
        item.shape[item.n_dims++] = ram_arch_dim(c, slot->cols);
    item.module = stacked_name(e, module, err);
    return add(e, &item, slot->suffix, err);
}

static int add_layers(struct ram_expectation *e, const struct ram_arch *arch,
                      const struct ram_config *c, struct ram_err *err)
{
    int status = RAM_OK;

    for (uint64_t layer = 0; layer < c->n_layers && !status; layer++) {
        const char *prefix =
            ram_arena_printf(&e->arena, err, "model.layers.%llu.", (unsigned long long)layer);
        if (!prefix)
            return RAM_ENOMEM;
        for (size_t i = 0; i < arch->n_layer && !status; i++)
            if (ram_arch_has(c, &arch->layer[i], layer))
                status = add_slot(e, c, &arch->layer[i], prefix, err);
    }
    return status;
}

int ram_expect_config(struct ram_expectation *out, const json_t *config, const char *where,
                      struct ram_err *err)
{
    struct ram_config c;
    *out = (struct ram_expectation){0};

    const char *type = json_string_value(json_object_get(config, "model_type"));
    const struct ram_arch *arch = type ? ram_arch_find(type) : NULL;
    if (!arch)
        return RAM_OK;
    out->known = true;
    int status = ram_config_read(&c, config, where, &out->arena, err);
    if (!status && ram_config_mlx_lacks(&c, config))
        status = ram_fail(err, RAM_EFORMAT, "%s: \"%s\" is missing, which mlx_lm needs", where,
                          ram_config_mlx_lacks(&c, config));
    if (!status)
        status = ram_arch_check(arch, &c, where, err);
    if (!status)
        status = add_slot(out, &c, &ram_arch_embed, "", err);
    if (!status)
        status = add_layers(out, arch, &c, err);
    if (!status)
        status = add_slot(out, &c, &ram_arch_norm, "", err);
    if (!status && (c.tied != RAM_TIED_YES || c.family->own_head)) {
        status = add_slot(out, &c, &ram_arch_head, "", err);
        if (!status)
            out->items[out->n - 1].optional = c.tied == RAM_TIED_UNSAID && !c.family->own_head;
    }
    if (status)
        ram_expect_release(out);
    return status;
}

int ram_expect_layout(struct ram_expectation *out, const struct ram_layout *layout,
                      struct ram_err *err)
{
    int status = RAM_OK;

    *out = (struct ram_expectation){.known = layout->known};
    for (size_t i = 0; i < layout->n_targets && !status; i++) {
        const struct ram_target *target = &layout->targets[i];
        struct ram_expected item = {.module = target->module,
                                    .unit = target->unit,
                                    .n_dims = target->n_dims,
                                    .quantizable = target->quantizable,
                                    .target = target};
        memcpy(item.shape, target->shape, sizeof item.shape);
        status = add(out, &item, target->suffix, err);
    }
    if (status)
        ram_expect_release(out);
    return status;
}

void ram_expect_release(struct ram_expectation *e)
{
    free(e->items);
    ram_arena_release(&e->arena);
    *e = (struct ram_expectation){0};
}
