/* Scores: the fixed formulas by hand, percentiles and span by numpy, experts by their rule. */
#include "golden/inventory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const nothing[] = {"(?!)"};

static struct ram_entry *matrix(struct ram_manifest *m, const char *name, double svd,
                                double kurtosis, double output, double error)
{
    struct ram_entry *const e = inventory_add(m, "up", 0, 64, 128, name);
    e->measured = true;
    e->metrics = (struct ram_metrics){svd, kurtosis, output, error};
    e->stats = (struct ram_stats){0, 0.02, 0.02, -0.1, 0.1};
    return e;
}

/* The 60 matrices of which numpy made the figures below. */
static struct ram_manifest *sixty(void)
{
    struct ram_manifest *m = inventory_new();
    char name[32];
    for (int i = 0; i < 60; i++)
        matrix(m, INVENTORY_NAME(name, "w%02d", i), 0.12 + i * 37 % 101 / 400.0, i * 53 % 97 / 9.0,
               0.05 + i * 29 % 89 / 40.0, 0.1 + i * 17 % 83 / 2000.0);
    return m;
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

static void near(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-12))
        print_error("%.17g, expected %.17g\n", found, expected);
    assert_true(fabs(found - expected) <= 1e-12);
}

static void fixed_scores_by_hand(void **state)
{
    struct ram_manifest *m = inventory_new();
    (void)state;
    matrix(m, "middle", 0.5, 5, 0.1, 0.0275);
    matrix(m, "below", 0.05, -1, 0.001, 0.001);
    matrix(m, "above", 1, 50, 20, 0.2);
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v1"});
    const struct ram_scores *s = &plan->units[0].scores;
    near(s->svd, 0.5);
    near(s->kurtosis, 0.5);
    near(s->output, 1 / 3.0);
    near(s->error, 0.5);
    near(s->composite, 0.2 * 0.5 + 0.45 * 0.5 + 0.15 / 3 + 0.2 * 0.5);
    near(plan->units[1].scores.composite, 0);
    near(plan->units[2].scores.composite, 1);
    /* Clipped to [-0.2, 1.2] instead: svd -.0625, kurtosis -.1, output 0, error -4/45; all 1.2
     * but output, which reaches 1.1003. */
    near(plan->span, 0.2 * (1.125 + 0.0625) + 0.45 * (1.2 + 0.1) +
                         0.15 * ((log10(20) + 2) / 3 - 0) + 0.2 * (1.2 + 4 / 45.0));
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static double setting(const struct ram_plan *plan, const char *metric, const char *key)
{
    const json_t *const axes = json_object_get(plan->settings, "axes");
    return inventory_number(json_object_get(axes, metric), key);
}

static void percentiles_are_numpys(void **state)
{
    struct ram_manifest *m = sixty();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v2"});
    (void)state;
    near(setting(plan, "svd", "p5"), 0.13225);
    near(setting(plan, "svd", "p95"), 0.35524999999999995);
    near(setting(plan, "kurtosis", "p5"), 0.3277777777777778);
    near(setting(plan, "kurtosis", "p95"), 10.005555555555555);
    near(setting(plan, "output", "p5"), -0.7642683530976174);
    near(setting(plan, "output", "p95"), 0.3377074322672336);
    near(setting(plan, "error", "p5"), 0.10147500000000001);
    near(setting(plan, "error", "p95"), 0.13805);
    near(plan->units[0].scores.composite, 0);
    near(plan->units[7].scores.svd, 0.5840807174887891);
    near(plan->units[7].scores.kurtosis, 0.8846153846153847);
    near(plan->units[7].scores.output, 0.538643529024658);
    near(plan->units[7].scores.error, 0.45181134654818866);
    near(plan->units[7].scores.composite, 0.6860518652380174);
    near(plan->units[33].scores.composite, 0.3098974170872817);
    near(plan->span, 0.9150828278823468);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static void few_matrices_have_fixed_scores(void **state)
{
    (void)state;
    for (size_t n = 19; n <= 20; n++) {
        struct ram_manifest *m = sixty();
        m->n_entries = n;
        struct ram_plan *fixed = decide(m, (struct ram_allocate_opts){.method = "v1"});
        struct ram_plan *adaptive = decide(m, (struct ram_allocate_opts){.method = "v2"});
        bool same = true;
        for (size_t i = 0; i < n; i++)
            same &= !memcmp(&fixed->units[i].scores, &adaptive->units[i].scores,
                            sizeof fixed->units[i].scores);
        assert_true(same == (n < 20));
        ram_plan_free(fixed);
        ram_plan_free(adaptive);
        ram_manifest_free(m);
    }
}

/* Protected matrices have no vote, tiny ones and vectors neither. */
static void only_scored_matrices_vote(void **state)
{
    struct ram_manifest *m = sixty();
    (void)state;
    matrix(m, "model.embed_tokens.weight", 0.99, 1000, 30, 0.5);
    matrix(m, "tiny", 0.99, 1000, 30, 0.5)->skip = RAM_SKIP_TINY;
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v2"});
    near(setting(plan, "kurtosis", "p95"), 10.005555555555555);
    assert_int_equal(json_integer_value(json_object_get(plan->settings, "votes")), 60);
    near(plan->span, 0.9150828278823468);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static bool adaptive(const struct ram_plan *plan, const char *metric)
{
    const json_t *const axes = json_object_get(plan->settings, "axes");
    return json_is_true(json_object_get(json_object_get(axes, metric), "adaptive"));
}

static void hybrid_adapts_where_there_is_spread(void **state)
{
    struct ram_manifest *m = sixty();
    (void)state;
    for (size_t i = 0; i < m->n_entries; i++) {
        m->entries[i].metrics.error = 0.1 + 1e-6 * (double)i; /* range 5.3e-5 of 0.045 */
        m->entries[i].metrics.svd = 0.3;                      /* no range at all */
    }
    struct ram_plan *v2 = decide(m, (struct ram_allocate_opts){.method = "v2"});
    struct ram_plan *v3 = decide(m, (struct ram_allocate_opts){.method = "v3"});
    assert_true(adaptive(v2, "error") && adaptive(v2, "kurtosis") && !adaptive(v2, "svd"));
    assert_true(!adaptive(v3, "error") && adaptive(v3, "kurtosis") && adaptive(v3, "output"));
    near(v3->units[5].scores.error, 1); /* fixed: saturated */
    near(v3->units[5].scores.svd, 0.25);
    near(v3->units[5].scores.kurtosis, v2->units[5].scores.kurtosis);
    ram_plan_free(v2);
    ram_plan_free(v3);
    ram_manifest_free(m);
}

/* w00 is least sensitive of the sixty, 0 in v2; its fixed composite is well above 0.10. */
static void hybrid_needs_the_fixed_composite_for_2_bits(void **state)
{
    struct ram_manifest *m = sixty();
    struct ram_plan *v2 = decide(m, (struct ram_allocate_opts){.method = "v2"});
    struct ram_plan *v3 = decide(m, (struct ram_allocate_opts){.method = "v3"});
    (void)state;
    assert_int_equal(v2->units[0].form->bits, 2);
    assert_string_equal(v2->units[0].reason, "score<=t2");
    near(v3->units[0].scores.composite, 0);
    assert_int_equal(v3->units[0].form->bits, 4);
    /* Fixed: svd .025, kurtosis 0, output (log10(.05) + 2)/3, error 1. */
    const double fixed = 0.2 * 0.025 + 0.15 * (log10(0.05) + 2) / 3 + 0.2;
    ram_plan_free(v3);
    v3 = decide(m, (struct ram_allocate_opts){.method = "v3", .t2 = fixed - 1e-9});
    assert_int_equal(v3->units[0].form->bits, 4);
    ram_plan_free(v3);
    v3 = decide(m, (struct ram_allocate_opts){.method = "v3", .t2 = fixed + 1e-9});
    assert_int_equal(v3->units[0].form->bits, 2);
    ram_plan_free(v2);
    ram_plan_free(v3);
    ram_manifest_free(m);
}

static void matrices_of_one_value_score_nothing(void **state)
{
    struct ram_manifest *m = inventory_new();
    (void)state;
    struct ram_entry *const e = matrix(m, "zero", 1, 50, 0, 0.2);
    e->stats = (struct ram_stats){0, 0, 0, 0, 0};
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v1"});
    near(plan->units[0].scores.composite, 0);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static void weights_are_the_users(void **state)
{
    struct ram_manifest *m = inventory_new();
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    (void)state;
    matrix(m, "w", 0.5, 2, 0.1, 0.0275);
    plan = decide(m, (struct ram_allocate_opts){.method = "v1", .weights = {0, 1, 0, 0}});
    near(plan->units[0].scores.composite, 0.2);
    ram_plan_free(plan);
    static const struct {
        double weights[4];
        const char *message;
    } bad[] = {{{0.2, 0.4, 0.1, 0.2}, "the weights sum to 0.9, expected 1"},
               {{-0.5, 0.5, 0.5, 0.5}, "weight svd=-0.5 is not between 0 and 1"},
               {{1, NAN, 0, 0}, "weight kurtosis=nan"},
               {{2, 0, 0, 0}, "weight svd=2"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ram_allocate_opts opts = {.method = "v1"};
        memcpy(opts.weights, bad[i].weights, sizeof opts.weights);
        err = (struct ram_err){0};
        assert_int_equal(ram_allocate(m, &opts, &plan, &err), RAM_EUSAGE);
        assert_non_null(strstr(err.message, bad[i].message));
        assert_null(plan);
    }
    ram_manifest_free(m);
}

/* Five experts of one stack, whose fixed composites under weight 1 for kurtosis are 0.1, 0.2,
 * 0.3, 0.4 and 0.9; the last has twice the rows. */
static struct ram_manifest *stack(void)
{
    static const double kurtosis[] = {1, 2, 3, 4, 9};
    struct ram_manifest *m = inventory_new();
    char name[64];
    for (int i = 0; i < 5; i++) {
        struct ram_entry *const e =
            matrix(m, INVENTORY_NAME(name, "model.layers.0.mlp.experts.%d.up_proj.weight", i), 0.5,
                   kurtosis[i], 1, 0.1);
        e->expert = i;
        e->unit = "model.layers.0.mlp.experts.*.up_proj.weight";
        if (i == 4) {
            e->stored[0].rows = e->shape[0] = 128;
            e->parameters *= 2;
        }
    }
    return m;
}

static void experts_are_decided_together(void **state)
{
    static const struct {
        const char *rule;
        double score;
        int bits;
    } rules[] = {{NULL, (0.1 + 0.2 + 0.3 + 0.4 + 2 * 0.9) / 6, 4},
                 {"mean", (0.1 + 0.2 + 0.3 + 0.4 + 2 * 0.9) / 6, 4},
                 {"max", 0.9, 16},
                 {"p90", 0.7, 8}}; /* numpy.percentile(..., 90) */
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct ram_manifest *m = stack();
        struct ram_plan *plan =
            decide(m, (struct ram_allocate_opts){
                          .method = "v1", .weights = {0, 1, 0, 0}, .expert_rule = rules[i].rule});
        assert_int_equal(plan->n_units, 1);
        assert_int_equal(plan->units[0].members, 5);
        assert_int_equal(plan->units[0].parameters, 6 * 64 * 128);
        near(plan->units[0].scores.composite, rules[i].score);
        near(plan->units[0].scores.kurtosis, rules[i].score);
        assert_int_equal(plan->units[0].form->bits, rules[i].bits);
        /* What each would have got alone does not depend on the rule: 2, 4, 4, 4, 16. */
        assert_true(plan->has_expert_shares);
        assert_int_equal(plan->expert_shares[2].tensors, 1);
        assert_int_equal(plan->expert_shares[4].tensors, 3);
        assert_int_equal(plan->expert_shares[16].tensors, 1);
        assert_int_equal(plan->expert_shares[16].parameters, 2 * 64 * 128);
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

/* expert_sample: the stack is decided by the experts that were measured. */
static void unmeasured_experts_follow_the_others(void **state)
{
    struct ram_manifest *m = stack();
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    (void)state;
    m->entries[1].measured = m->entries[2].measured = m->entries[4].measured = false;
    struct ram_allocate_opts opts = {.method = "v1", .weights = {0, 1, 0, 0}};
    plan = decide(m, opts);
    near(plan->units[0].scores.composite, (0.1 + 0.4) / 2);
    assert_int_equal(plan->expert_shares[2].tensors, 1);
    assert_int_equal(plan->expert_shares[4].tensors, 4);
    ram_plan_free(plan);
    opts.expert_rule = "median";
    assert_int_equal(ram_allocate(m, &opts, &plan, &err), RAM_EUSAGE);
    assert_string_equal(err.message, "unknown expert rule 'median': mean, max or p90");
    ram_manifest_free(m);
}

static void without_measures_there_are_no_scores(void **state)
{
    struct ram_manifest *m = sixty();
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    (void)state;
    m->entries[3].measured = m->entries[9].measured = false;
    assert_int_equal(ram_allocate(m, &(struct ram_allocate_opts){.method = "v2"}, &plan, &err),
                     RAM_EFORMAT);
    assert_non_null(strstr(err.message, "2 of 60 matrices were not (w03): analyze"));
    assert_null(plan);
    /* What the user sets needs no score. */
    static const char *const set[] = {"w03|w09=4"};
    plan = decide(m, (struct ram_allocate_opts){.method = "v2", .set = set, .n_set = 1});
    assert_int_equal(json_integer_value(json_object_get(plan->settings, "votes")), 58);
    ram_plan_free(plan);
    plan = decide(m, (struct ram_allocate_opts){.method = "uniform"});
    ram_plan_free(plan);
    plan = decide(
        m, (struct ram_allocate_opts){.method = "uniform", .protect = nothing, .n_protect = 1});
    ram_plan_free(plan);
    ram_manifest_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_scores_by_hand),
        cmocka_unit_test(percentiles_are_numpys),
        cmocka_unit_test(few_matrices_have_fixed_scores),
        cmocka_unit_test(only_scored_matrices_vote),
        cmocka_unit_test(hybrid_adapts_where_there_is_spread),
        cmocka_unit_test(hybrid_needs_the_fixed_composite_for_2_bits),
        cmocka_unit_test(matrices_of_one_value_score_nothing),
        cmocka_unit_test(weights_are_the_users),
        cmocka_unit_test(experts_are_decided_together),
        cmocka_unit_test(unmeasured_experts_follow_the_others),
        cmocka_unit_test(without_measures_there_are_no_scores),
    };
    return cmocka_run_group_tests_name("allocate/scores", tests, NULL, NULL);
}
