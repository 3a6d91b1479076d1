/* Who is protected by name, what the user sets, and what is not a rule at all. */
#include "golden/inventory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct ram_entry *matrix(struct ram_manifest *m, const char *role, const char *name)
{
    struct ram_entry *const e = inventory_add(m, role, 0, 64, 128, name);
    e->measured = true;
    e->metrics = (struct ram_metrics){0.5, 3, 1, 0.1}; /* 0.535: 4 bits */
    e->stats = (struct ram_stats){0, 0.02, 0.02, -0.1, 0.1};
    return e;
}

static struct ram_plan *decide(const struct ram_manifest *m, struct ram_allocate_opts opts)
{
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    if (ram_allocate(m, &opts, &plan, &err))
        print_error("%s\n", err.message);
    assert_non_null(plan);
    return plan;
}

static void is(const struct ram_plan *plan, const char *unit, int bits, int group,
               const char *reason)
{
    const struct ram_unit *const u = ram_plan_find(plan, unit);
    assert_non_null(u);
    if (u->form->bits != bits || u->form->group != group || strcmp(u->reason, reason) != 0)
        print_error("%s: %d g%d %s, expected %d g%d %s\n", unit, u->form->bits, u->form->group,
                    u->reason, bits, group, reason);
    assert_int_equal(u->form->bits, bits);
    assert_int_equal(u->form->group, group);
    assert_string_equal(u->reason, reason);
}

static void protected_names(void **state)
{
    static const struct {
        const char *name;
        bool is_protected;
    } names[] = {
        {"model.embed_tokens.weight", true},
        {"MODEL.EMBED_TOKENS.WEIGHT", true},
        {"lm_head.weight", true},
        {"model.layers.0.some_norm.weight", true},
        {"model.layers.0.input_LayerNorm.weight", true},
        {"model.layers.0.mlp.gate.weight", true},
        {"model.layers.0.mlp.gate", true},
        {"model.layers.0.mlp.router.weight", true},
        {"model.layers.0.mlp.gate.e_score_correction_bias", true},
        {"vision_model.encoder.layers.0.mlp.fc1.weight", true},
        {"model.visual.blocks.0.mlp.linear_fc1.weight", true},
        {"multi_modal_projector.linear_1.weight", true},
        {"embeddings.position_embedding.weight", true},
        {"model.pos_embed", true},
        {"embeddings.class_embedding", true},
        {"embeddings.patch_embedding.weight", true},
        {"model.layers.0.mlp.gate_proj.weight", false},
        {"model.layers.0.mlp.gate_up_proj.weight", false},
        {"model.layers.0.mlp.up_proj.weight", false},
        {"model.layers.0.self_attn.q_proj.weight", false},
        {"model.layers.0.self_attn.kv_b_proj.weight", false},
        {"model.layers.0.mlp.shared_experts.down_proj.weight", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ram_manifest *m = inventory_new();
        matrix(m, "other", names[i].name);
        struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v1"});
        is(plan, names[i].name, names[i].is_protected ? 16 : 4, names[i].is_protected ? 0 : 128,
           names[i].is_protected ? "protected" : "default");
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

/* A name that we never saw, but a role that we know. */
static void roles_protect_too(void **state)
{
    static const char *const roles[] = {"embed", "head", "router", "norm"};
    (void)state;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        static const char *const other[] = {"something"};
        struct ram_manifest *m = inventory_new();
        matrix(m, roles[i], "transformer.w");
        struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v1"});
        is(plan, "transformer.w", 16, 0, "protected");
        ram_plan_free(plan);
        /* The user's list replaces ours whole. */
        plan =
            decide(m, (struct ram_allocate_opts){.method = "v1", .protect = other, .n_protect = 1});
        is(plan, "transformer.w", 4, 128, "default");
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

static struct ram_manifest *some(void)
{
    struct ram_manifest *m = inventory_new();
    matrix(m, "embed", "model.embed_tokens.weight");
    matrix(m, "q", "model.layers.0.q_proj.weight");
    matrix(m, "down", "model.layers.0.down_proj.weight");
    matrix(m, "up", "model.layers.1.up_proj.weight");
    matrix(m, "norm", "model.norm.weight")->skip = RAM_SKIP_1D;
    matrix(m, "other", "model.small.weight")->skip = RAM_SKIP_TINY;
    return m;
}

static void lists_are_the_users(void **state)
{
    static const char *const protect[] = {"q_proj", "^lm_head"};
    static const char *const sensitive[] = {"DOWN_PROJ"};
    struct ram_manifest *m = some();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v1",
                                                                 .protect = protect,
                                                                 .n_protect = 2,
                                                                 .sensitive = sensitive,
                                                                 .n_sensitive = 1});
    (void)state;
    is(plan, "model.embed_tokens.weight", 4, 128, "default");
    is(plan, "model.layers.0.q_proj.weight", 16, 0, "protected");
    is(plan, "model.layers.0.down_proj.weight", 8, 64, "sensitive");
    is(plan, "model.norm.weight", 16, 0, "1d");
    is(plan, "model.small.weight", 16, 0, "tiny");
    assert_int_equal(json_array_size(json_object_get(plan->settings, "protect")), 2);
    ram_plan_free(plan);
    /* t16 comes before sensitive, sensitive before t8. */
    plan = decide(
        m, (struct ram_allocate_opts){
               .method = "v1", .sensitive = sensitive, .n_sensitive = 1, .t8 = 0.4, .t16 = 0.5});
    is(plan, "model.layers.0.down_proj.weight", 16, 0, "score>=t16");
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static void what_the_user_sets_beats_every_rule(void **state)
{
    static const char *const set[] = {"embed_tokens=6", "layers\\.0\\.q_proj=3g64", "proj=2",
                                      "small=8"};
    struct ram_manifest *m = some();
    (void)state;
    for (int uniform = 0; uniform < 2; uniform++) {
        struct ram_plan *plan =
            decide(m, (struct ram_allocate_opts){
                          .method = uniform ? "uniform" : "v1", .set = set, .n_set = 4});
        is(plan, "model.embed_tokens.weight", 6, 128, "user");
        is(plan, "model.layers.0.q_proj.weight", 3, 64, "user");
        is(plan, "model.layers.0.down_proj.weight", 2, 32, "user");
        is(plan, "model.layers.1.up_proj.weight", 2, 32, "user");
        is(plan, "model.small.weight", 8, 64, "user");
        is(plan, "model.norm.weight", 16, 0, "1d");
        ram_plan_free(plan);
    }
    ram_manifest_free(m);
}

static void default_groups(void **state)
{
    static const struct {
        const char *set;
        int bits, group;
    } cases[] = {{"up=2", 2, 32},  {"up=3", 3, 128},     {"up=4", 4, 128},
                 {"up=5", 5, 128}, {"up=6", 6, 128},     {"up=8", 8, 64},
                 {"up=16", 16, 0}, {"up=8g128", 8, 128}, {"a|=|up=4g32", 4, 32}};
    struct ram_manifest *m = some();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_plan *plan =
            decide(m, (struct ram_allocate_opts){.method = "v1", .set = &cases[i].set, .n_set = 1});
        is(plan, "model.layers.1.up_proj.weight", cases[i].bits, cases[i].group, "user");
        ram_plan_free(plan);
    }
    ram_manifest_free(m);
}

static void what_is_not_a_rule(void **state)
{
    static const char *const sets[] = {"up",       "up=",       "=4",       "up=7",   "up=4g",
                                       "up=4g16",  "up=4g128x", "up=16g64", "up=-4",  "up= 4",
                                       "up=4 g32", "up=g32",    "up=9999",  "up=4g0", "up=0"};
    struct ram_manifest *m = some();
    struct ram_plan *plan = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct ram_err err = {0};
        struct ram_allocate_opts opts = {.method = "v1", .set = &sets[i], .n_set = 1};
        if (ram_allocate(m, &opts, &plan, &err) != RAM_EUSAGE)
            print_error("'%s' was taken\n", sets[i]);
        assert_null(plan);
        assert_non_null(strstr(err.message, "is not REGEX=BITS[gGROUP]"));
    }
    static const char *const broken[] = {"(=4", "nothing_has_this_name=4", "norm\\.weight=4"};
    static const char *const messages[] = {"regular expression '('", "applies to nothing",
                                           "applies to nothing"};
    for (size_t i = 0; i < 3; i++) {
        struct ram_err err = {0};
        struct ram_allocate_opts opts = {.method = "v1", .set = &broken[i], .n_set = 1};
        assert_int_equal(ram_allocate(m, &opts, &plan, &err), RAM_EUSAGE);
        assert_non_null(strstr(err.message, messages[i]));
    }
    struct ram_err err = {0};
    const char *const open = "[";
    struct ram_allocate_opts opts = {.method = "v1", .sensitive = &open, .n_sensitive = 1};
    assert_int_equal(ram_allocate(m, &opts, &plan, &err), RAM_EUSAGE);
    assert_non_null(strstr(err.message, "regular expression '['"));
    ram_manifest_free(m);
}

/* A stack is known by its unit's name and by its first expert's. */
static void stacks_match_by_unit_and_first_expert(void **state)
{
    static const char *const sets[] = {"experts\\.\\*\\.up=8", "experts\\.0\\.up=8"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ram_manifest *m = inventory_new();
        char name[64];
        for (int e = 0; e < 3; e++) {
            struct ram_entry *const entry =
                matrix(m, "up", INVENTORY_NAME(name, "mlp.experts.%d.up_proj.weight", e));
            entry->unit = "mlp.experts.*.up_proj.weight";
            entry->expert = e;
        }
        struct ram_plan *plan =
            decide(m, (struct ram_allocate_opts){.method = "v1", .set = &sets[i], .n_set = 1});
        is(plan, "mlp.experts.*.up_proj.weight", 8, 64, "user");
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protected_names),
        cmocka_unit_test(roles_protect_too),
        cmocka_unit_test(lists_are_the_users),
        cmocka_unit_test(what_the_user_sets_beats_every_rule),
        cmocka_unit_test(default_groups),
        cmocka_unit_test(what_is_not_a_rule),
        cmocka_unit_test(stacks_match_by_unit_and_first_expert),
    };
    return cmocka_run_group_tests_name("allocate/rules", tests, NULL, NULL);
}
