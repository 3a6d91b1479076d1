/* The methods: which thresholds they have, what uniform does, what auto finds, what a search may
 * do, and what options do not go together. */
#include "golden/inventory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct ram_plan *decide(const struct ram_manifest *m, struct ram_allocate_opts opts)
{
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    if (ram_allocate(m, &opts, &plan, &err))
        print_error("%s\n", err.message);
    assert_non_null(plan);
    return plan;
}

static struct ram_manifest *dense(void)
{
    json_t *const config = inventory_moe_config(6, 0);
    json_object_set_new(config, "model_type", json_string("qwen3"));
    json_object_del(config, "num_experts");
    struct ram_manifest *m = inventory_of(config);
    inventory_measure(m);
    return m;
}

static struct ram_manifest *moe(void)
{
    struct ram_manifest *m = inventory_of(inventory_moe_config(4, 8));
    inventory_measure(m);
    return m;
}

static const struct ram_unit *unit(const struct ram_plan *plan, const char *name)
{
    const struct ram_unit *const u = ram_plan_find(plan, name);
    if (!u)
        print_error("no unit %s\n", name);
    assert_non_null(u);
    return u;
}

static void is(const struct ram_plan *plan, const char *name, int bits, int group,
               const char *reason)
{
    const struct ram_unit *const u = unit(plan, name);
    assert_int_equal(u->form->bits, bits);
    assert_int_equal(u->form->group, group);
    assert_string_equal(u->reason, reason);
}

/* ---- uniform ----------------------------------------------------------------------------------
 */

static void uniform_takes_every_matrix(void **state)
{
    struct ram_manifest *m = dense();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "uniform"});
    (void)state;
    for (size_t i = 0; i < plan->n_units; i++) {
        const bool vector = !strcmp(plan->units[i].role, "norm");
        assert_int_equal(plan->units[i].form->bits, vector ? 16 : 4);
        assert_int_equal(plan->units[i].form->group, vector ? 0 : 128);
        assert_string_equal(plan->units[i].reason, vector ? "1d" : "default");
        assert_false(plan->units[i].scored);
    }
    assert_true(isnan(plan->span));
    assert_false(plan->has_expert_shares);
    ram_plan_free(plan);

    plan = decide(m, (struct ram_allocate_opts){
                         .method = "uniform", .bits = 3, .group = 64, .keep_embeddings = true});
    is(plan, "model.embed_tokens.weight", 16, 0, "protected");
    is(plan, "lm_head.weight", 16, 0, "protected");
    is(plan, "model.layers.0.mlp.up_proj.weight", 3, 64, "default");
    ram_plan_free(plan);

    plan = decide(m, (struct ram_allocate_opts){.method = "uniform", .bits = 16});
    assert_int_equal(plan->totals.bytes, plan->totals.parameters * 2);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* As stock mlx_lm.convert -q: qwen3_moe's routers at 8 bits in groups of 64 whatever the rest is;
 * GLM's are plain arrays, which nothing quantises. A tiny router is quantised like a large one. */
static void uniform_treats_routers_as_stock_converters_do(void **state)
{
    static const char router[] = "model.layers.0.mlp.gate.weight";
    struct ram_manifest *m = moe();
    (void)state;
    for (int bits = 2; bits <= 8; bits += 2) {
        struct ram_plan *plan =
            decide(m, (struct ram_allocate_opts){.method = "uniform", .bits = bits});
        is(plan, router, 8, 64, "router");
        is(plan, "model.layers.0.mlp.experts.*.up_proj.weight", bits, 128, "default");
        ram_plan_free(plan);
    }
    for (size_t i = 0; i < m->n_entries; i++)
        if (!strcmp(m->entries[i].role, "router"))
            m->entries[i].skip = RAM_SKIP_TINY;
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "uniform"});
    is(plan, router, 8, 64, "router");
    ram_plan_free(plan);
    plan = decide(m, (struct ram_allocate_opts){.method = "v1"});
    is(plan, router, 16, 0, "tiny");
    ram_plan_free(plan);
    ram_manifest_free(m);

    static const char *const glm[] = {"glm4_moe", "glm4_moe_lite"};
    static const char *const nothing[] = {"(?!)"};
    for (size_t i = 0; i < 2; i++) {
        m = moe();
        m->model_type = glm[i];
        plan = decide(m, (struct ram_allocate_opts){.method = "uniform"});
        is(plan, router, 16, 0, "protected");
        ram_plan_free(plan);
        /* Even if the user protects nothing: no loader could read it. */
        plan = decide(
            m, (struct ram_allocate_opts){.method = "v1", .protect = nothing, .n_protect = 1});
        is(plan, router, 16, 0, "protected");
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

static void rows_that_hold_no_group(void **state)
{
    struct ram_manifest *m = inventory_new();
    (void)state;
    inventory_add(m, "kv_b", 0, 64, 192, "a.weight");
    inventory_add(m, "other", 0, 64, 48, "b.weight");
    /* Two matrices, of which one can be quantised: it is. */
    struct ram_entry *const e = inventory_add(m, "kv_b", 0, 64, 192, "c.weight");
    e->n_stored = 2;
    e->stored[0] = (struct ram_stored){128, 48};
    e->stored[1] = (struct ram_stored){48, 128};
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "uniform"});
    is(plan, "a.weight", 4, 128, "default");
    assert_int_equal(unit(plan, "a.weight")->bytes, 64 * (96 + 3 * 4)); /* groups of 64 */
    is(plan, "b.weight", 16, 0, "row-size");
    assert_int_equal(unit(plan, "b.weight")->bytes, 64 * 48 * 2);
    is(plan, "c.weight", 4, 128, "default");
    assert_int_equal(unit(plan, "c.weight")->bytes, 128 * 48 * 2 + 48 * (64 + 4));
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* What the output drops is not in the plan, and does not vote. */
static void dropped_tensors_are_not_planned(void **state)
{
    struct ram_manifest *m = dense();
    (void)state;
    struct ram_entry *const head = &m->entries[m->n_entries - 1];
    assert_string_equal(head->name, "lm_head.weight");
    head->n_stored = 0;
    head->skip = RAM_SKIP_NOT_WEIGHT;
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v2"});
    assert_null(ram_plan_find(plan, "lm_head.weight"));
    assert_int_equal(plan->totals.parameters, m->parameters - head->parameters);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* ---- thresholds and methods ---------------------------------------------------------------------
 */

static double threshold(const struct ram_plan *plan, const char *key)
{
    const json_t *const t = json_object_get(json_object_get(plan->settings, "thresholds"), key);
    return json_is_null(t) ? -1 : json_number_value(t);
}

static void thresholds_of_the_methods(void **state)
{
    static const struct {
        const char *method;
        bool moe;
        double t2, t8, t16;
        const char *norm;
    } methods[] = {
        {"v1", false, 0.10, 0.65, 0.90, "fixed"},
        {"v1", true, 0.10, 0.65, 0.90, "fixed"},
        {"v2", false, 0.10, 0.65, 0.90, "adaptive"},
        {"v2", true, 0.10, 0.65, 0.90, "adaptive"},
        {"v3", false, 0.10, 0.65, 0.90, "hybrid"},
        {"v3", true, 0.10, 0.65, 0.90, "hybrid"},
        {"v2-opt", false, -1, 0.75, 0.95, "adaptive"},
        {"v2-opt", true, 0.20, 0.75, 0.95, "adaptive"},
        {"v3-opt", false, -1, 0.75, 0.95, "hybrid"},
        {"v3-opt", true, 0.20, 0.75, 0.95, "hybrid"},
        {"auto", false, -1, 0.75, 0.95, "hybrid"},
        {"auto", true, 0.10, 0.65, 0.90, "adaptive"},
        {NULL, true, 0.10, 0.65, 0.90, "adaptive"},
    };
    struct ram_manifest *models[] = {dense(), moe()};
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct ram_plan *plan =
            decide(models[methods[i].moe], (struct ram_allocate_opts){.method = methods[i].method});
        assert_true(threshold(plan, "t2") == methods[i].t2);
        assert_true(threshold(plan, "t8") == methods[i].t8);
        assert_true(threshold(plan, "t16") == methods[i].t16);
        assert_string_equal(json_string_value(json_object_get(plan->settings, "norm")),
                            methods[i].norm);
        assert_string_equal(plan->method, methods[i].method ? methods[i].method : "auto");
        assert_int_equal(strlen(plan->manifest_sha256), 64);
        ram_plan_free(plan);
    }
    ram_manifest_free(models[0]);
    ram_manifest_free(models[1]);
}

static void thresholds_of_the_user(void **state)
{
    struct ram_manifest *m = dense();
    struct ram_plan *plan = decide(
        m, (struct ram_allocate_opts){
               .method = "v1", .t2 = 0.3, .t8 = RAM_THRESHOLD_OFF, .t16 = RAM_THRESHOLD_OFF});
    (void)state;
    assert_true(threshold(plan, "t2") == 0.3 && threshold(plan, "t8") == -1);
    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_unit *const u = &plan->units[i];
        if (u->form->bits < 16)
            assert_int_equal(u->form->bits, u->scores.composite <= 0.3 ? 2 : 4);
        else
            assert_true(!strcmp(u->reason, "protected") || !strcmp(u->reason, "1d"));
    }
    assert_true(plan->shares[2].parameters && plan->shares[4].parameters);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static const char *detected(const struct ram_plan *plan)
{
    return json_string_value(json_object_get(plan->settings, "detected"));
}

static void auto_says_what_it_found(void **state)
{
    static const char *const keys[] = {"num_experts", "num_local_experts", "n_routed_experts"};
    struct ram_manifest *m = dense();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){0});
    (void)state;
    assert_string_equal(detected(plan), "dense, so v3-opt: neither config nor tensors know of "
                                        "experts");
    ram_plan_free(plan);
    for (size_t i = 0; i < 3; i++) {
        json_object_clear(m->config);
        json_object_set_new(m->config, keys[i], json_integer(1)); /* one expert is none */
        plan = decide(m, (struct ram_allocate_opts){0});
        assert_non_null(strstr(detected(plan), "dense"));
        ram_plan_free(plan);
        json_object_set_new(m->config, keys[i], json_integer(8));
        plan = decide(m, (struct ram_allocate_opts){0});
        assert_non_null(strstr(detected(plan), "mixture of experts, so v2: config has"));
        assert_non_null(strstr(detected(plan), keys[i]));
        ram_plan_free(plan);
    }
    json_object_clear(m->config);
    json_object_set_new(m->config, "text_config", json_pack("{si}", "num_experts", 4));
    plan = decide(m, (struct ram_allocate_opts){0});
    assert_non_null(strstr(detected(plan), "num_experts = 4"));
    ram_plan_free(plan);
    json_object_clear(m->config);
    m->entries[5].expert = 0;
    plan = decide(m, (struct ram_allocate_opts){0});
    assert_non_null(strstr(detected(plan), "there are tensors of experts"));
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static void options_that_make_no_sense(void **state)
{
    static const struct {
        struct ram_allocate_opts opts;
        const char *message;
    } cases[] = {
        {{.method = "v5"},
         "unknown method 'v5'; there are uniform, v1, v2, v3, v2-opt, v3-opt, auto"},
        {{.method = "v1", .bits = 4}, "--bits needs --method uniform"},
        {{.method = "v1", .keep_embeddings = true}, "--keep-embeddings needs --method uniform"},
        {{.method = "uniform", .t8 = 0.5}, "--t8 applies only to methods v1 to v3-opt"},
        {{.method = "uniform", .search = true}, "--search applies only to methods"},
        {{.method = "uniform", .bits = 7}, "--bits 7: use 2, 3, 4, 5, 6 or 8"},
        {{.method = "uniform", .bits = 4, .group = 16}, "--group 16: use 32, 64 or 128"},
        {{.method = "uniform", .bits = 16, .group = 64}, "--group 64: --bits 16 has no groups"},
        {{.size = 1, .bpw = 4}, "--size and --bpw exclude each other"},
        {{.size = 1, .fit = 4}, "--size and --fit exclude each other"},
        {{.bpw = 1, .fit = 4}, "--bpw and --fit exclude each other"},
        {{.bpw = 1, .context = 4}, "--context needs --fit"},
        {{.method = "v1", .bpw = 4}, "--bpw applies only to method budget, not to v1"},
        {{.method = "uniform", .expert_rule = "max"}, "--expert-rule applies only to methods"},
        {{.method = "budget", .weights = {1}}, "--weights applies only to methods"},
        {{.bpw = 4, .encoder = "magic"}, "unknown encoder"},
        {{.method = "v1", .t8 = 1.5}, "threshold t8 = 1.5 is not between 0 and 1"},
        {{.method = "v1", .t2 = -0.5}, "threshold t2 = -0.5 is not between"},
        {{.method = "v1", .t16 = NAN}, "threshold t16 = nan"},
    };
    struct ram_manifest *m = dense();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_plan *plan = NULL;
        struct ram_err err = {0};
        assert_int_equal(ram_allocate(m, &cases[i].opts, &plan, &err), RAM_EUSAGE);
        if (!strstr(err.message, cases[i].message))
            print_error("%s\n", err.message);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_null(plan);
    }
    ram_manifest_free(m);
}

/* ---- predictions and the search
 * ------------------------------------------------------------------ */

static double predicted(const struct ram_plan *plan, const char *key)
{
    return inventory_number(plan->predicted, key);
}

/* From the manifest's own figures, by hand. */
static void predicted_error_is_the_sum(void **state)
{
    struct ram_manifest *m = moe();
    struct ram_plan *plan =
        decide(m, (struct ram_allocate_opts){.method = "uniform", .bits = 5, .group = 64});
    double error = 0, energy = 0;
    (void)state;
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct ram_entry *const e = &m->entries[i];
        if (!e->measured)
            continue;
        const bool router = !strcmp(e->role, "router");
        error += e->errors[ram_form_index(ram_form_find(router ? "8g64" : "5g64"))];
        energy += e->stats.rms * e->stats.rms * (double)e->parameters;
    }
    assert_true(fabs(predicted(plan, "squared_error") / error - 1) < 1e-12);
    assert_true(fabs(predicted(plan, "relative_error") / sqrt(error / energy) - 1) < 1e-12);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static json_int_t integer(const json_t *line, const char *key)
{
    return json_integer_value(json_object_get(line, key));
}

static void a_search_never_loses(void **state)
{
    static const char *const methods[] = {"v1", "v2", "v3", "v2-opt", "v3-opt"};
    struct ram_manifest *models[] = {dense(), moe()};
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        const struct ram_manifest *const m = models[i % 2];
        struct ram_allocate_opts opts = {.method = methods[i / 2]};
        struct ram_plan *plain = decide(m, opts);
        opts.search = true;
        struct ram_plan *best = decide(m, opts);
        assert_true(best->totals.bytes <= plain->totals.bytes);
        assert_true(predicted(best, "squared_error") <= predicted(plain, "squared_error"));

        const json_t *const search = json_object_get(best->settings, "search");
        const json_t *const tried = json_object_get(search, "tried");
        assert_int_equal(json_array_size(tried), 150);
        assert_int_equal(integer(json_object_get(search, "from"), "bytes"), plain->totals.bytes);
        assert_int_equal(integer(json_object_get(search, "chosen"), "bytes"), best->totals.bytes);
        /* No line that fits is better, and every line is what those thresholds give. */
        for (size_t k = 0; k < 150; k++) {
            const json_t *const line = json_array_get(tried, k);
            if (integer(line, "bytes") <= (json_int_t)plain->totals.bytes)
                assert_true(inventory_number(line, "squared_error") >=
                            inventory_number(json_object_get(search, "chosen"), "squared_error"));
            if (k % 37)
                continue;
            const json_t *const t2 = json_object_get(line, "t2");
            struct ram_plan *again =
                decide(m, (struct ram_allocate_opts){.method = opts.method,
                                                     .t2 = json_is_null(t2) ? RAM_THRESHOLD_OFF
                                                                            : json_number_value(t2),
                                                     .t8 = inventory_number(line, "t8"),
                                                     .t16 = inventory_number(line, "t16")});
            assert_int_equal(again->totals.bytes, integer(line, "bytes"));
            ram_plan_free(again);
        }
        ram_plan_free(plain);
        ram_plan_free(best);
    }
    ram_manifest_free(models[0]);
    ram_manifest_free(models[1]);
}

static void a_search_needs_errors(void **state)
{
    struct ram_manifest *m = dense();
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    (void)state;
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        m->entries[1].errors[i] = NAN;
    const struct ram_allocate_opts opts = {.method = "v2", .search = true};
    assert_int_equal(ram_allocate(m, &opts, &plan, &err), RAM_EUSAGE);
    assert_non_null(strstr(err.message, "the manifest has none for model.layers.0."));
    /* Without a search such a manifest is good enough; it only foretells nothing. */
    plan = decide(m, (struct ram_allocate_opts){.method = "v2"});
    assert_null(json_object_get(plan->predicted, "squared_error"));
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* The order of entries decides the order of units and nothing else. */
static void order_does_not_matter(void **state)
{
    struct ram_manifest *m = moe(), *reversed = moe();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v2"});
    (void)state;
    for (size_t i = 0; i < m->n_entries; i++)
        reversed->entries[i] = m->entries[m->n_entries - 1 - i];
    struct ram_plan *other = decide(reversed, (struct ram_allocate_opts){.method = "v2"});
    assert_int_equal(plan->n_units, other->n_units);
    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_unit *const u = unit(other, plan->units[i].name);
        assert_int_equal(u->form->bits, plan->units[i].form->bits);
        assert_int_equal(u->bytes, plan->units[i].bytes);
    }
    assert_string_equal(plan->units[0].name, m->entries[0].unit);
    ram_plan_free(plan);
    ram_plan_free(other);
    ram_manifest_free(m);
    ram_manifest_free(reversed);
}

static void members_must_agree(void **state)
{
    struct ram_manifest *m = moe();
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    (void)state;
    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].expert == 3)
            m->entries[i].stored_size = 4;
    assert_int_equal(ram_allocate(m, NULL, &plan, &err), RAM_EFORMAT);
    assert_non_null(strstr(err.message, "is stored at 2 bytes a weight"));
    ram_manifest_free(m);
}

static void an_empty_manifest_has_an_empty_plan(void **state)
{
    struct ram_manifest *m = inventory_new();
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v2"});
    assert_int_equal(plan->n_units, 0);
    assert_int_equal(ram_plan_text(plan, &text, &err), RAM_OK);
    free(text);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_takes_every_matrix),
        cmocka_unit_test(uniform_treats_routers_as_stock_converters_do),
        cmocka_unit_test(rows_that_hold_no_group),
        cmocka_unit_test(dropped_tensors_are_not_planned),
        cmocka_unit_test(thresholds_of_the_methods),
        cmocka_unit_test(thresholds_of_the_user),
        cmocka_unit_test(auto_says_what_it_found),
        cmocka_unit_test(options_that_make_no_sense),
        cmocka_unit_test(predicted_error_is_the_sum),
        cmocka_unit_test(a_search_never_loses),
        cmocka_unit_test(a_search_needs_errors),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(members_must_agree),
        cmocka_unit_test(an_empty_manifest_has_an_empty_plan),
    };
    return cmocka_run_group_tests_name("allocate/methods", tests, NULL, NULL);
}
