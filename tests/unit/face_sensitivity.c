/*
 * What a unit costs the model, against the conversion itself: the divergence of a checkpoint that
 * was written with that unit alone at 3 bits in groups of 64, on the same tokens.
 */
#include "base/json.h"
#include "ckpt_make.h"
#include "infer/likelihood.h"
#include "probe/check.h"
#include "probe/curve.h"
#include "probe/sensitivity.h"
#include "ram.h"

#include <math.h>
#include <setjmp.h>

#include <cmocka.h>

enum { N = 2, LENGTH = 24, TOKENS = N * LENGTH };

struct subject {
    char dir[32];
    struct ram_ckpt *ckpt;
    struct ram_model *model;
    struct ram_exec exec;
    uint32_t tokens[TOKENS];
    struct ram_sequences on; /* these */
};

static const struct make_opts subjects[] = {{.arch = "llama"},
                                            {.arch = "qwen3", .tied = true},
                                            {.arch = "qwen3_moe", .experts = MAKE_FUSED},
                                            {.arch = "glm4_moe_lite"}};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static void open_subject(struct subject *s, const struct make_opts *opts)
{
    const struct ram_synthetic what = {.n = N, .length = LENGTH, .seed = 7};
    struct ram_err err = {0};

    strcpy(s->dir, "/tmp/ram-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    make_ckpt(s->dir, opts);
    ok(ram_ckpt_open(&s->ckpt, s->dir, &err), &err);
    ok(ram_model_open(&s->model, s->ckpt, &err), &err);
    ok(ram_exec_begin(&s->exec, &(struct ram_run){.threads = 2}, &err), &err);
    ok(ram_synthetic_tokens(s->model, &what, &s->exec, s->tokens, &err), &err);
    s->on = (struct ram_sequences){s->tokens, N, LENGTH};
}

static void close_subject(struct subject *s)
{
    ram_exec_end(&s->exec);
    ram_model_close(s->model);
    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
}

/* Mean divergence of the checkpoint in dir from the subject, over every position. */
static double divergence(const struct subject *s, const char *dir)
{
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &s->exec};
    struct ram_span spans[N];
    struct ram_query queries[TOKENS];
    struct ram_answer answers[TOKENS];
    struct ram_ckpt *ckpt = NULL;
    struct ram_model *model = NULL;
    struct ram_err err = {0};
    double sum = 0;

    for (size_t i = 0; i < N; i++)
        spans[i] = (struct ram_span){s->tokens + i * LENGTH, LENGTH, RAM_NO_PARENT};
    for (size_t i = 0; i < TOKENS; i++)
        queries[i] = (struct ram_query){i / LENGTH, i % LENGTH, 0};
    ok(ram_ckpt_open(&ckpt, dir, &err), &err);
    ok(ram_model_open(&model, ckpt, &err), &err);
    ok(ram_likelihood(model, s->model, spans, N, queries, TOKENS, &opts, answers, &err), &err);
    for (size_t i = 0; i < TOKENS; i++)
        sum += answers[i].kld / TOKENS;
    ram_model_close(model);
    ram_ckpt_close(ckpt);
    return sum;
}

/* Writes the subject with one unit (NULL: every one) at the probe's form, the others as they are.
 */
static void convert(const struct subject *s, const char *unit, const char *dir)
{
    char rule[160] = ".=3g64";
    const char *const rules[] = {rule};
    const struct ram_allocate_opts opts = {
        .method = "uniform", .bits = 16, .set = rules, .n_set = unit ? 1 : 0};
    const struct ram_allocate_opts all = {.method = "uniform", .bits = 3, .group = 64};
    const struct ram_convert_opts how = {.force = true};
    struct ram_manifest *manifest = NULL;
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};

    if (unit)
        snprintf(rule, sizeof rule, "^\\Q%s\\E$=3g64", unit);
    ok(ram_survey(s->ckpt, &manifest, &err), &err);
    ok(ram_allocate(manifest, unit ? &opts : &all, &plan, &err), &err);
    ok(ram_convert(s->ckpt, plan, dir, &how, NULL, RAM_TEXT, NULL, &err), &err);
    ram_plan_free(plan);
    ram_manifest_free(manifest);
}

static double converted(const struct subject *s, const char *unit)
{
    char dir[] = "/tmp/ram-test-XXXXXX";

    assert_non_null(mkdtemp(dir));
    convert(s, unit, dir);
    const double kld = divergence(s, dir);
    make_remove_dir(dir);
    return kld;
}

/* Some matrices are stored in another shape than they are multiplied in. */
static bool same_form(const char *unit)
{
    return !strstr(unit, "kv_b_proj");
}

static void agrees_with_conversion(void **state)
{
    struct ram_err err = {0};

    (void)state;
    for (size_t k = 0; k < sizeof subjects / sizeof *subjects; k++) {
        double alpha[64];
        struct subject s;
        open_subject(&s, &subjects[k]);
        struct ram_sensitivities found = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = alpha};
        assert_true(s.model->n_units <= 64);
        ok(ram_sensitivities(s.model, s.on, RAM_TIER_KL, &s.exec, &found, &err), &err);
        for (size_t u = 1; u < s.model->n_units; u++) {
            const char *unit = s.model->units[u].name;
            if (isnan(alpha[u])) {
                assert_non_null(strstr(unit, "mlp.gate."));
                continue;
            }
            const double kld = same_form(unit) ? converted(&s, unit) : alpha[u];
            if (fabs(alpha[u] - kld) > 1e-3 * kld + 1e-9)
                fail_msg("%s %s: %.9g, converted %.9g", subjects[k].arch, unit, alpha[u], kld);
            assert_true(alpha[u] >= 0);
        }
        close_subject(&s);
    }
}

static void joint_agrees_with_conversion(void **state)
{
    double alpha[64];
    struct subject s;
    struct ram_err err = {0};

    (void)state;
    open_subject(&s, &subjects[1]);
    struct ram_sensitivities kl = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = alpha};
    ok(ram_sensitivities(s.model, s.on, RAM_TIER_KL, &s.exec, &kl, &err), &err);
    const double kld = converted(&s, NULL);
    assert_true(fabs(kl.joint - kld) <= 1e-3 * kld);

    close_subject(&s);
}

static double mean_of(const double of[N])
{
    double sum = 0;

    for (size_t i = 0; i < N; i++)
        sum += of[i];
    return sum / N;
}

/* What is written and what is as if: both as measured one by one, and the first not moved by the
 * second. */
static void check_agrees(void **state)
{
    const struct ram_storage form = {.form = ram_form_of(3, 64)};

    (void)state;
    for (size_t k = 0; k < sizeof subjects / sizeof *subjects; k++) {
        char dir[] = "/tmp/ram-test-XXXXXX";
        double alpha[64], written[N], other[N] = {NAN}, alone[N], joint[N];
        struct ram_storage as_if[64] = {{0}};
        struct ram_ckpt *ckpt = NULL;
        struct ram_model *model = NULL;
        struct ram_err err = {0};
        struct subject s;
        open_subject(&s, &subjects[k]);
        struct ram_sensitivities kl = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = alpha};
        ok(ram_sensitivities(s.model, s.on, RAM_TIER_KL, &s.exec, &kl, &err), &err);
        for (size_t u = 1; u < s.model->n_units; u++)
            as_if[u] = isnan(alpha[u]) ? (struct ram_storage){0} : form;
        assert_non_null(mkdtemp(dir));
        convert(&s, NULL, dir);
        const double kld = divergence(&s, dir);
        ok(ram_ckpt_open(&ckpt, dir, &err), &err);
        ok(ram_model_open(&model, ckpt, &err), &err);
        assert_int_equal(s.on.n, N);
        ok(ram_check(s.model, model, as_if, s.on, &s.exec, written, joint, &err), &err);
        ok(ram_check(s.model, model, NULL, s.on, &s.exec, alone, other, &err), &err);
        assert_true(fabs(mean_of(written) - kld) <= 1e-9 * kld);
        assert_memory_equal(alone, written, sizeof alone);
        assert_true(isnan(other[0]));
        assert_true(fabs(mean_of(joint) - kl.joint) <= 1e-12 * kl.joint);
        ram_model_close(model);
        ram_ckpt_close(ckpt);
        make_remove_dir(dir);
        close_subject(&s);
    }
}

/* The local tier shares out the joint divergence: the head by what it is, the rest by distances. */
static void local_adds_up(void **state)
{
    struct ram_err err = {0};

    (void)state;
    for (size_t k = 0; k < sizeof subjects / sizeof *subjects; k++) {
        double alpha[64], exact[64], sum = 0;
        struct subject s;
        open_subject(&s, &subjects[k]);
        struct ram_sensitivities local = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = alpha},
                                 kl = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = exact};
        ok(ram_sensitivities(s.model, s.on, RAM_TIER_LOCAL, &s.exec, &local, &err), &err);
        ok(ram_sensitivities(s.model, s.on, RAM_TIER_KL, &s.exec, &kl, &err), &err);
        assert_true(local.joint == kl.joint);
        for (size_t u = 1; u < s.model->n_units; u++)
            sum += isnan(alpha[u]) ? 0 : alpha[u];
        assert_true(fabs(sum - local.joint) < 1e-9 + 1e-6 * sum);
        const unsigned head = s.model->head.unit;
        if (head != s.model->embed_unit)
            assert_true(alpha[head] == exact[head]);
        close_subject(&s);
    }
}

/* With sequences enough that some of the inputs are kept back, or with as few as the others have.
 */
static void measure_curves(const struct subject *s, size_t n, const struct ram_exec *exec,
                           struct ram_curve *curves)
{
    const struct ram_synthetic what = {.n = n, .length = LENGTH, .seed = 7};
    struct ram_hessians *hessians = NULL;
    struct ram_err err = {0};

    ok(ram_hessians_open(&hessians, s->model, &what, 0.05, RAM_HESSIAN_MEASURE, exec, &err), &err);
    ok(ram_error_curves(s->model, hessians, exec, curves, &err), &err);
    ram_hessians_close(hessians);
}

/* No width costs less than a wider one, the probe's own at most what rounding to nearest does, and
 * every unit has what its groups allow, from any number of threads. */
static void curves_fall(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2 * sizeof subjects / sizeof *subjects; k++) {
        const struct ram_exec alone = ram_exec_alone(NULL);
        struct ram_curve curves[64], again[64];
        struct subject s;
        open_subject(&s, &subjects[k / 2]);
        measure_curves(&s, k % 2 ? N : 4 * N, &s.exec, curves);
        measure_curves(&s, k % 2 ? N : 4 * N, &alone, again);
        for (size_t u = 1; u < s.model->n_units; u++) {
            const double *ratio = curves[u].ratio;
            double last = INFINITY;
            if (strstr(s.model->units[u].name, "mlp.gate."))
                continue;
            for (int b = 2; b < 16; b = ram_form_next_bits(b)) {
                const double now = ratio[ram_form_index(ram_form_of(b, 32))];
                assert_true(now > 0 && now < last);
                last = now;
            }
            const double probe = ratio[ram_form_index(ram_form_find(RAM_PROBE_FORM))];
            assert_true(isnan(probe) || probe <= 1);
            for (size_t i = 0; i < RAM_N_FORMS; i++) {
                const double x = ratio[i], y = again[u].ratio[i];
                assert_true(x == y || (isnan(x) && isnan(y)));
            }
        }
        close_subject(&s);
    }
}

static void threads_change_nothing(void **state)
{
    double one[64], three[64];
    struct subject s;
    const struct ram_run run = {.threads = 3, .max_memory = UINT64_C(256) << 20};
    struct ram_exec b;
    struct ram_err err = {0};

    (void)state;
    for (int tier = RAM_TIER_KL; tier <= RAM_TIER_LOCAL; tier++) {
        open_subject(&s, &subjects[2]);
        ok(ram_exec_begin(&b, &run, &err), &err);
        const struct ram_exec a = ram_exec_alone(NULL);
        struct ram_sensitivities first = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = one},
                                 second = {.form = ram_form_find(RAM_PROBE_FORM), .alpha = three};
        const enum ram_tier t = (enum ram_tier)tier;
        ok(ram_sensitivities(s.model, s.on, t, &a, &first, &err), &err);
        ok(ram_sensitivities(s.model, s.on, t, &b, &second, &err), &err);
        assert_memory_equal(one + 1, three + 1, (s.model->n_units - 1) * sizeof *one);
        ram_exec_end(&b);
        close_subject(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_conversion),
        cmocka_unit_test(joint_agrees_with_conversion),
        cmocka_unit_test(check_agrees),
        cmocka_unit_test(local_adds_up),
        cmocka_unit_test(curves_fall),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
