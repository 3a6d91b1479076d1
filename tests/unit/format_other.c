/*
 * A second format, which exists in this test alone and agrees with the first in nothing: names by
 * role, norms and routers in F32, no head of its own, codes under other names, one file without
 * texts. Layout, outline and expectation make of it what it says, and name it where they refuse.
 */
#include "ckpt_make.h"
#include "convert_plan.h"

#include "base/file.h"
#include "format/expected.h"
#include "format/outline.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- the format --------------------------------------------------------------------------- */

static const char *const words[RAM_N_ROLES] = {
    [RAM_ROLE_EMBED] = "token_embd",
    [RAM_ROLE_Q_A] = "attn_q_a",
    [RAM_ROLE_Q_B] = "attn_q_b",
    [RAM_ROLE_KV_A] = "attn_kv_a",
    [RAM_ROLE_KV_B] = "attn_k_b",
    [RAM_ROLE_O] = "attn_output",
    [RAM_ROLE_GATE] = "ffn_gate",
    [RAM_ROLE_UP] = "ffn_up",
    [RAM_ROLE_DOWN] = "ffn_down",
    [RAM_ROLE_ROUTER] = "ffn_gate_inp",
    [RAM_ROLE_SHARED_GATE] = "ffn_gate_shexp",
    [RAM_ROLE_SHARED_UP] = "ffn_up_shexp",
    [RAM_ROLE_SHARED_DOWN] = "ffn_down_shexp",
    [RAM_ROLE_HEAD] = "output",
    [RAM_ROLE_NORM_BEFORE_ATTENTION] = "attn_norm",
    [RAM_ROLE_NORM_BEFORE_MLP] = "ffn_norm",
    [RAM_ROLE_NORM_Q_LATENT] = "attn_q_a_norm",
    [RAM_ROLE_NORM_KV_LATENT] = "attn_kv_a_norm",
    [RAM_ROLE_NORM_FINAL] = "output_norm",
    [RAM_ROLE_CORRECTION] = "exp_probs_b",
};

static void name(struct ram_placed *placed, const struct ram_config *config,
                 const struct ram_slot *slot, int layer, int half)
{
    const char *word = half ? "attn_v_b" : words[slot->role];
    const char *tail = slot->placement == RAM_PLACE_STACKED ? "_exps" : "";

    (void)config;
    assert_non_null(word);
    if (layer == RAM_NO_LAYER)
        snprintf(placed->module, sizeof placed->module, "%s%s", word, tail);
    else
        snprintf(placed->module, sizeof placed->module, "blk.%d.%s%s", layer, word, tail);
    placed->suffix = slot->role == RAM_ROLE_CORRECTION ? "bias" : "weight";
    placed->quantizable = slot->cols != RAM_DIM_NONE && slot->role != RAM_ROLE_ROUTER;
}

static const char *no_prefix(const struct ram_family *family)
{
    (void)family;
    return "";
}

static bool carries_nothing(char out[RAM_SLOT_NAME], const struct ram_config *config,
                            const char *of)
{
    (void)out;
    (void)config;
    (void)of;
    return false;
}

static bool has_own_head(const struct ram_family *family)
{
    (void)family;
    return false;
}

static enum ram_dtype dtype_of(const struct ram_config *config, const struct ram_slot *slot,
                               enum ram_dtype dtype)
{
    (void)config;
    return slot && (slot->cols == RAM_DIM_NONE || slot->role == RAM_ROLE_ROUTER) ? RAM_F32 : dtype;
}

static bool has_form(const struct ram_form *form)
{
    return form->bits != 8;
}

/* All planes as bytes. */
static struct ram_plane plane_of(const struct ram_storage *as, enum ram_dtype dtype, uint64_t cols,
                                 size_t k)
{
    static const char *const suffixes[] = {"q", "d", "m"};

    (void)dtype;
    return (struct ram_plane){suffixes[k], RAM_U8, ram_storage_row_size(as, k, (size_t)cols)};
}

static const char *no_obstacle(const struct ram_config *config, const json_t *json,
                               struct ram_arena *arena, struct ram_err *err)
{
    (void)config;
    (void)json;
    (void)arena;
    (void)err;
    return NULL;
}

static int no_note(const struct ram_config *config, struct ram_notes *notes,
                   struct ram_arena *arena, struct ram_err *err)
{
    (void)config;
    (void)notes;
    (void)arena;
    (void)err;
    return RAM_OK;
}

static const char *lacks_nothing(const struct ram_config *config, const json_t *json)
{
    (void)config;
    (void)json;
    return NULL;
}

/* One file in the order of modules, every tensor at a multiple of 32. */
static int lay_out(struct ram_outline *outline, struct ram_err *err)
{
    uint64_t at = 32;

    outline->files = ram_calloc(1, sizeof *outline->files, err);
    if (!outline->files)
        return RAM_ENOMEM;
    outline->n_files = 1;
    for (size_t i = 0; i < outline->n_tensors; i++) {
        outline->tensors[i].offset = at;
        at += (outline->tensors[i].size + 31) / 32 * 32;
    }
    outline->files[0] = (struct ram_out_file){.name = "model.other",
                                              .header = ram_strdup("OTHER", err),
                                              .header_size = 5,
                                              .size = at,
                                              .n_tensors = outline->n_tensors};
    return err->status;
}

static const struct ram_format other = {.id = "other",
                                        .loader = "other.cpp",
                                        .name = name,
                                        .prefix = no_prefix,
                                        .carry = carries_nothing,
                                        .has_own_head = has_own_head,
                                        .dtype = dtype_of,
                                        .has_form = has_form,
                                        .plane = plane_of,
                                        .obstacle = no_obstacle,
                                        .note = no_note,
                                        .lacks = lacks_nothing,
                                        .lay_out = lay_out};

/* ---- tests -------------------------------------------------------------------------------- */

struct opened {
    const char *dir;
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    struct ram_err err;
};

static void lay(struct opened *o)
{
    const struct make_opts glm = {.arch = "glm4_moe_lite", .tied = true};

    *o = (struct opened){.dir = make_temp_dir()};
    make_ckpt(o->dir, &glm);
    if (ram_ckpt_open(&o->ckpt, o->dir, &o->err) ||
        ram_layout_new(&o->layout, o->ckpt, &other, &o->err))
        fail_msg("%s", o->err.message);
    assert_null(o->layout->obstacle);
}

static void put_away(struct opened *o)
{
    ram_layout_free(o->layout);
    ram_ckpt_close(o->ckpt);
    make_remove_dir(o->dir);
}

static const struct ram_target *find(const struct ram_layout *layout, const char *module)
{
    for (size_t i = 0; i < layout->n_targets; i++)
        if (!strcmp(layout->targets[i].module, module))
            return &layout->targets[i];
    return NULL;
}

static void targets_are_those_of_the_format(void **state)
{
    static const struct {
        const char *module;
        bool quantizable;
        enum ram_dtype dtype;
        int n_dims;
        uint64_t shape[3];
    } expected[] = {
        {"token_embd", true, RAM_BF16, 2, {MAKE_VOCAB, MAKE_HIDDEN}},
        {"blk.0.attn_k_b", true, RAM_BF16, 3, {MAKE_HEADS, MAKE_KV_LORA, MAKE_NOPE}},
        {"blk.2.attn_v_b", true, RAM_BF16, 3, {MAKE_HEADS, MAKE_V, MAKE_KV_LORA}},
        {"blk.1.ffn_down_exps", true, RAM_BF16, 3, {MAKE_EXPERTS, MAKE_HIDDEN, MAKE_MOE}},
        {"blk.1.ffn_gate_inp", false, RAM_F32, 2, {MAKE_EXPERTS, MAKE_HIDDEN}},
        {"blk.1.exp_probs_b", false, RAM_F32, 1, {MAKE_EXPERTS}},
        {"output_norm", false, RAM_F32, 1, {MAKE_HIDDEN}},
    };
    struct opened o;
    (void)state;

    lay(&o);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct ram_target *t = find(o.layout, expected[i].module);
        if (!t || t->quantizable != expected[i].quantizable || t->dtype != expected[i].dtype ||
            t->n_dims != expected[i].n_dims ||
            memcmp(t->shape, expected[i].shape, sizeof expected[i].shape))
            fail_msg("%s is not there, or another", expected[i].module);
    }
    assert_null(find(o.layout, "output")); /* the first format stores the embedding twice here */
    for (size_t i = 0; i < o.layout->n_sources; i++)
        assert_true(o.layout->sources[i].role != RAM_ROLE_EMBED ||
                    o.layout->sources[i].n_stored == 1);
    put_away(&o);
}

static void outline_is_that_of_the_format(void **state)
{
    static const struct ram_convert_opts opts;
    struct width four = {4, 32};
    struct ram_outline *outline = NULL;
    struct opened o;
    (void)state;

    lay(&o);
    struct ram_plan *plan = plan_for(o.layout, same_width, &four);
    assert_int_equal(ram_outline_new(&outline, o.layout, plan, &opts, &o.err), RAM_EUNSUPPORTED);
    assert_string_equal(o.err.message, "the plan is for the format \"mlx\", not \"other\"");
    o.err = (struct ram_err){0};
    plan->format = "other";
    if (ram_outline_new(&outline, o.layout, plan, &opts, &o.err))
        fail_msg("%s", o.err.message);
    assert_string_equal(outline->files[0].name, "model.other");
    assert_string_equal(outline->tensors[0].name, "token_embd.q");
    assert_string_equal(outline->tensors[2].name, "token_embd.m");
    assert_int_equal(outline->tensors[0].dtype, RAM_U8);
    assert_int_equal(outline->tensors[0].shape[1], MAKE_HIDDEN / 2); /* 4 bits */
    assert_int_equal(outline->tensors[1].shape[1], MAKE_HIDDEN / 32 * 2);
    for (size_t i = 0; i < outline->n_tensors; i++)
        assert_int_equal(outline->tensors[i].offset % 32, 0);
    ram_outline_free(outline);

    struct ram_unit *embed = plan_unit(plan, "model.embed_tokens.weight");
    embed->form = ram_form_of(8, 32);
    assert_int_equal(ram_outline_new(&outline, o.layout, plan, &opts, &o.err), RAM_EUSAGE);
    assert_non_null(strstr(o.err.message, "form 8g32, which the format other does not have"));
    ram_plan_free(plan);
    put_away(&o);
}

/* What a verification looks for is what a conversion would write. */
static void expectation_is_the_targets(void **state)
{
    struct ram_expectation expectation;
    struct opened o;
    (void)state;

    lay(&o);
    assert_int_equal(ram_expect_config(&expectation, &other, o.ckpt->config, "config.json", &o.err),
                     RAM_OK);
    assert_int_equal(expectation.n, o.layout->n_targets);
    for (size_t i = 0; i < expectation.n; i++) {
        const struct ram_target *t = &o.layout->targets[i];
        assert_string_equal(expectation.items[i].module, t->module);
        assert_int_equal(expectation.items[i].quantizable, t->quantizable);
        assert_memory_equal(expectation.items[i].shape, t->shape, 3 * sizeof *t->shape);
    }
    ram_expect_release(&expectation);
    put_away(&o);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_those_of_the_format),
        cmocka_unit_test(outline_is_that_of_the_format),
        cmocka_unit_test(expectation_is_the_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
