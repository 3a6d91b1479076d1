/*
 * Budgets against enumeration: four units whose costs, smooth and by flips of routers, are known.
 * What the plan says it costs is what the formula gives, and hardly any plan of no more bytes is
 * better.
 */
#include "golden/inventory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N = 4, WIDTHS = RAM_N_FORMS - 1, ROWS = 64, COLS = 128 };

static const char *const names[N] = {"a", "b", "c", "d"};

/* Nats a token where the error is the probe's: q, and f, which multiplies its root. All are powers
 * of 2^(1/8), as the allocator rounds them, where only one probe is given. */
struct truth {
    double smooth[N], flips[N];
};

/* Squares of round-to-nearest; c's weights are larger. */
static double squares(size_t unit, int bits, int group)
{
    const double steps = (1 << bits) - 1, scale = unit == 2 ? 9 : 1;
    return scale * (1 + 0.2 * log2(group / 32.0)) / (steps * steps);
}

static double error_of(size_t unit, int bits, int group)
{
    return bits == 16 ? 0 : squares(unit, bits, group) / squares(unit, 3, 64);
}

static void probe(const struct truth *t, const char *form, struct ram_probe_record *out)
{
    struct ram_err err = {0};

    out->form = ram_form_find(form);
    for (size_t i = 0; i < N; i++) {
        const double e = error_of(i, out->form->bits, out->form->group);
        const double nats = t->smooth[i] * e + t->flips[i] * sqrt(e);
        assert_int_equal(ram_unit_figures_add(&out->units, names[i], &nats, &err), RAM_OK);
    }
    assert_int_equal(ram_unit_figures_index(&out->units, "test", &err), RAM_OK);
}

static struct ram_manifest *measured_at(const struct truth *t, const char *coarse, bool fine)
{
    struct ram_manifest *m = inventory_new();
    struct ram_err err = {0};

    for (size_t i = 0; i < N; i++) {
        struct ram_entry *e = inventory_add(m, "other", 0, ROWS, COLS, names[i]);
        e->measured = true;
        e->stats = (struct ram_stats){0, 1, 1, -4, 4};
        for (size_t k = 0; k < WIDTHS; k++)
            e->errors[k] = squares(i, ram_forms[k].bits, ram_forms[k].group);
    }
    assert_int_equal(ram_sensitivity_new(&m->sensitivities, &err), RAM_OK);
    m->sensitivities->tier = "kl";
    probe(t, coarse, &m->sensitivities->coarse);
    if (fine)
        probe(t, "5g64", &m->sensitivities->fine);
    return m;
}

static struct ram_manifest *measured(const struct truth *t, bool fine)
{
    return measured_at(t, "3g64", fine);
}

static double divergence(const struct truth *t, const struct ram_plan *plan)
{
    double smooth = 0, flips = 0;

    for (size_t i = 0; i < N; i++) {
        const struct ram_unit *unit = ram_plan_find(plan, names[i]);
        const double e = error_of(i, unit->form->bits, unit->form->group);
        smooth += t->smooth[i] * e;
        flips += t->flips[i] * t->flips[i] * e;
    }
    return smooth + sqrt(flips);
}

/* Of unit i a token reads one part of so many: a and c are of experts in some tests. */
static const uint64_t parts_of[N] = {16, 1, 16, 1};

/* The least divergence of all plans of no more bytes of weights, of which a token reads no more
 * than `read`. */
static double least(const struct truth *t, uint64_t bytes, uint64_t read)
{
    double best = INFINITY;

    for (size_t plan = 0; plan < (size_t)WIDTHS * WIDTHS * WIDTHS * WIDTHS; plan++) {
        double smooth = 0, flips = 0;
        uint64_t sum = 0, seen = 0;
        for (size_t i = 0, rest = plan; i < N; i++, rest /= WIDTHS) {
            const int bits = ram_forms[rest % WIDTHS].bits;
            const int group = ram_forms[rest % WIDTHS].group;
            const double e = error_of(i, bits, group);
            const uint64_t unit = (uint64_t)(ROWS * COLS * bits / 8 + ROWS * COLS / group * 4);
            sum += unit;
            seen += unit / parts_of[i];
            smooth += t->smooth[i] * e;
            flips += t->flips[i] * t->flips[i] * e;
        }
        if (sum <= bytes && seen <= read)
            best = fmin(best, smooth + sqrt(flips));
    }
    return best;
}

static struct ram_plan *decide(const struct ram_manifest *m, double bpw)
{
    const struct ram_allocate_opts opts = {.method = "budget", .bpw = bpw};
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};

    if (ram_allocate(m, &opts, &plan, &err))
        fail_msg("%s", err.message);
    return plan;
}

static const struct truth routed = {{.002, .03, .004, .0005}, {.003, 0, .001, .004}};

static void near_the_best_of_all(void **state)
{
    struct ram_manifest *m = measured(&routed, true);

    (void)state;
    for (double bpw = 4; bpw <= 7; bpw += 0.75) {
        struct ram_plan *plan = decide(m, bpw);
        uint64_t bytes = 0;
        for (size_t i = 0; i < plan->n_units; i++)
            bytes += ram_unit_bytes(&plan->units[i], plan->units[i].form);
        const double mine = divergence(&routed, plan);
        /* What rounding the probes to 2^(k/8) leaves of the two terms. */
        assert_true(fabs(ram_plan_predicted(plan, "kld") / mine - 1) < 0.12);
        assert_true(mine <= 1.05 * least(&routed, bytes, UINT64_MAX));
        ram_plan_free(plan);
    }
    ram_manifest_free(m);
}

/* Units a and c become parts of stacks of 128 experts, of which a token meets 8. */
static struct ram_manifest *with_experts(void)
{
    struct ram_manifest *m = measured(&routed, true);
    char path[512];
    struct ram_err err = {0};

    json_decref(m->config);
    inventory_config(path, sizeof path, "Qwen--Qwen3-30B-A3B");
    assert_int_equal(ram_json_read(&m->config, path, 1 << 16, &err), RAM_OK);
    m->entries[0].expert = m->entries[2].expert = 0;
    return m;
}

/* What a token reads is told of every plan, and bounded beside the size if that is asked for. */
static void within_two_budgets(void **state)
{
    struct ram_manifest *m = with_experts();
    struct ram_allocate_opts opts = {.bpw = 5};
    struct ram_plan *one = NULL, *two = NULL;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_allocate(m, &opts, &one, &err), RAM_OK);
    assert_int_equal(one->units[0].read, 8);
    assert_int_equal(one->units[0].parts, 128);
    assert_int_equal(one->units[1].parts, 0);
    uint64_t read = 0;
    for (size_t i = 0; i < N; i++)
        read += ram_unit_bytes(&one->units[i], one->units[i].form) / parts_of[i];
    assert_int_equal(one->totals.bytes_per_token, read);
    for (unsigned percent = 99; percent >= 70; percent -= 7) {
        opts.bytes_per_token = read * percent / 100;
        assert_int_equal(ram_allocate(m, &opts, &two, &err), RAM_OK);
        assert_true(two->totals.bytes_per_token <= opts.bytes_per_token);
        assert_true(divergence(&routed, two) <=
                    1.05 * least(&routed, two->totals.bytes, opts.bytes_per_token));
        assert_true(divergence(&routed, two) >= divergence(&routed, one));
        ram_plan_free(two);
    }
    opts.bytes_per_token = 100;
    assert_int_equal(ram_allocate(m, &opts, &two, &err), RAM_EBUDGET);
    assert_non_null(strstr(err.message, "smallest plan reads 4896 bytes a token"));
    ram_plan_free(one);
    ram_manifest_free(m);
}

/* Flips have their share of the prediction, which is never above the whole. */
static void flips_are_told(void **state)
{
    struct ram_manifest *m = measured(&routed, true);
    struct ram_plan *plan = decide(m, 6);
    const double flips = ram_plan_predicted(plan, "kld_router_flips");

    (void)state;
    assert_true(flips > 0 && flips < ram_plan_predicted(plan, "kld"));
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* One probe: everything is smooth and exactly additive. */
static void one_probe_adds_up(void **state)
{
    const struct truth dense = {{0x1p-9, 0x1p-5, 0x1p-8, 0x1p-11}, {0}};
    struct ram_manifest *m = measured(&dense, false);
    struct ram_plan *plan = decide(m, 5);

    (void)state;
    assert_true(fabs(ram_plan_predicted(plan, "kld") / divergence(&dense, plan) - 1) < 1e-9);
    assert_true(isnan(ram_plan_predicted(plan, "kld_router_flips")));
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* The record says in which form units were probed: figures of another form are those of the same
 * model, up to the rounding of probes to 2^(k/8). */
static void the_form_of_a_probe_is_read(void **state)
{
    static const char *const forms[] = {"4g64", "3g128", "5g32"};
    const struct truth dense = {{0x1p-9, 0x1p-5, 0x1p-8, 0x1p-11}, {0}};
    (void)state;

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct ram_manifest *m = measured_at(&dense, forms[i], false);
        struct ram_plan *plan = decide(m, 5);
        assert_true(fabs(ram_plan_predicted(plan, "kld") / divergence(&dense, plan) - 1) < 0.05);
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_the_best_of_all), cmocka_unit_test(within_two_budgets),
        cmocka_unit_test(flips_are_told), cmocka_unit_test(the_form_of_a_probe_is_read),
        cmocka_unit_test(one_probe_adds_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
