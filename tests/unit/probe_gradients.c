/*
 * The moments of derivatives: those of a backward pass that this test sums itself, in blocks, in
 * memory or in a file, for any number of threads.
 */
#include "base/rng.h"
#include "ckpt_make.h"
#include "codec/gptq_coupled.h"
#include "infer/backward.h"
#include "probe/gradients.h"

#include <math.h>
#include <setjmp.h>

#include <cmocka.h>

enum { N = 3, LENGTH = 20, MAX_OUT = 128 };

struct subject {
    char dir[64];
    struct ram_ckpt *ckpt;
    struct ram_model *model;
    uint32_t tokens[N * LENGTH];
};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static struct subject open_subject(const char *arch, int layers)
{
    struct subject s = {.dir = "/tmp/ram-test-XXXXXX"};
    struct ram_err err = {0};

    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, &(struct make_opts){.arch = arch, .layers = layers});
    ok(ram_ckpt_open(&s.ckpt, s.dir, &err), &err);
    ok(ram_model_open(&s.model, s.ckpt, &err), &err);
    for (size_t i = 0; i < N * LENGTH; i++)
        s.tokens[i] = (uint32_t)(i * 37 % MAKE_VOCAB);
    return s;
}

static void close_subject(struct subject *s)
{
    ram_model_close(s->model);
    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
}

/* What the test sums itself of one unit. */
struct sums {
    const struct ram_model *model;
    const char *unit;
    size_t matrix; /* of the unit; of experts all, each token once */
    size_t out;
    double g[MAX_OUT * MAX_OUT];
    double ticket[N * LENGTH];
    float dy[N * LENGTH][MAX_OUT];
};

static void add_row(struct sums *s, const float *dy)
{
    for (size_t i = 0; i < s->out; i++)
        for (size_t j = 0; j < s->out; j++)
            s->g[i * s->out + j] += (double)dy[i] * (double)dy[j];
}

static int add(void *ctx, const struct ram_sight *sight, struct ram_err *err)
{
    struct sums *s = ctx;

    if (!sight->linear || strcmp(s->model->units[sight->linear->unit].name, s->unit) != 0)
        return err->status;
    const struct ram_model_unit *unit = &s->model->units[sight->linear->unit];
    size_t matrix = 0;
    while (matrix < unit->n && ram_unit_matrix(unit, matrix) != sight->linear)
        matrix++;
    if (sight->members ? matrix == unit->n : matrix != s->matrix)
        return RAM_OK;
    s->out = sight->linear->out;
    assert_true(s->out <= MAX_OUT);
    for (size_t row = 0; row < sight->n; row++) {
        const float *dy = sight->dy + row * sight->dy_stride;
        if (!sight->members) {
            add_row(s, dy);
            continue;
        }
        /* The expert with the highest number of those that the token meets. */
        const size_t token = sight->first + sight->members[row];
        const double ticket = ram_rng_uniform(ram_rng_for(42, "experts"),
                                              token * s->model->hp.moe.n_experts + matrix);
        if (s->ticket[token] == 0 || ticket > s->ticket[token]) {
            s->ticket[token] = ticket;
            memcpy(s->dy[token], dy, s->out * sizeof *dy);
        }
    }
    return RAM_OK;
}

static void sum_up(const struct subject *s, struct sums *sums)
{
    const struct ram_exec exec = ram_exec_alone(NULL);
    const struct ram_backward_opts opts = {.exec = &exec, .seed = 42, .see = add, .ctx = sums};
    struct ram_span spans[N];
    struct ram_err err = {0};

    for (size_t i = 0; i < N; i++)
        spans[i] = (struct ram_span){s->tokens + i * LENGTH, LENGTH, RAM_NO_PARENT};
    ok(ram_backward(s->model, spans, N, &opts, &err), &err);
    for (size_t token = 0; token < N * LENGTH; token++)
        if (sums->ticket[token] > 0)
            add_row(sums, sums->dy[token]);
}

static void assert_factor(struct ram_gradients *gradients, const struct sums *sums)
{
    const struct ram_gptq_factor *found;
    struct ram_gptq_factor *expected;
    struct ram_err err = {0};
    float g[MAX_OUT * MAX_OUT];

    for (size_t i = 0; i < sums->out * sums->out; i++)
        g[i] = (float)sums->g[i];
    ok(ram_gptq_coupling_new(&expected, "expected", g, sums->out, NULL, &err), &err);
    ok(ram_gradients_factor(gradients, sums->unit, sums->matrix, 0, sums->out, &found, &err), &err);
    assert_non_null(found);
    for (size_t i = 0; i < sums->out * sums->out; i++)
        if (fabs((double)found->r[i] - (double)expected->r[i]) > 1e-4)
            fail_msg("%s: %g at %zu, expected %g", sums->unit, (double)found->r[i], i,
                     (double)expected->r[i]);
    ram_gptq_factor_free(expected);
}

static void sums_of_a_backward_pass(void **state)
{
    static const char *const units[] = {
        "model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.v_proj.weight",
        "model.layers.2.self_attn.o_proj.weight", "model.layers.1.mlp.up_proj.weight",
        "model.layers.2.mlp.down_proj.weight"};
    struct subject s = open_subject("qwen3", 3);
    const struct ram_sequences on = {s.tokens, N, LENGTH};
    (void)state;

    for (int run = 0; run < 2; run++) {
        const struct ram_run how = {.threads = run ? 3 : 1};
        struct ram_gradients *gradients;
        struct ram_err err = {0};
        struct ram_exec exec;
        ok(ram_exec_begin(&exec, &how, &err), &err);
        ok(ram_gradients_open(&gradients, s.model, on, &exec, &err), &err);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            static struct sums sums;
            sums = (struct sums){.model = s.model, .unit = units[i]};
            sum_up(&s, &sums);
            assert_factor(gradients, &sums);
            ram_gradients_forget(gradients);
        }
        ram_gradients_close(gradients);
        ram_exec_end(&exec);
    }
    close_subject(&s);
}

/* A head of a latent projection has moments of its own, all experts of a stack share theirs. */
static void sums_of_heads_and_experts(void **state)
{
    static const struct {
        const char *unit;
        size_t matrix;
    } of[] = {{"model.layers.1.self_attn.kv_b_proj.weight", 0},
              {"model.layers.1.self_attn.kv_b_proj.weight", 1},
              {"model.layers.1.mlp.experts.*.up_proj.weight", 0},
              {"model.layers.1.mlp.experts.*.gate_proj.weight", 1},
              {"model.layers.2.mlp.experts.*.down_proj.weight", 2}};
    struct subject s = open_subject("glm4_moe_lite", 3);
    const struct ram_exec exec = ram_exec_alone(NULL);
    struct ram_gradients *gradients;
    struct ram_err err = {0};
    (void)state;

    ok(ram_gradients_open(&gradients, s.model, (struct ram_sequences){s.tokens, N, LENGTH}, &exec,
                          &err),
       &err);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        static struct sums sums;
        sums = (struct sums){.model = s.model, .unit = of[i].unit, .matrix = of[i].matrix};
        sum_up(&s, &sums);
        assert_factor(gradients, &sums);
    }
    ram_gradients_close(gradients);
    close_subject(&s);
}

static const struct ram_gptq_factor *factor(struct ram_gradients *gradients, const char *unit,
                                            size_t row, size_t n)
{
    const struct ram_gptq_factor *out;
    struct ram_err err = {0};

    ok(ram_gradients_factor(gradients, unit, 0, row, n, &out, &err), &err);
    return out;
}

/* Routers have none; nor have rows that are not a block, matrices that a unit does not have, and
 * the ends of the model. */
static void unknown_rows(void **state)
{
    static const char *const none[] = {"model.embed_tokens.weight", "lm_head.weight",
                                       "model.layers.1.mlp.gate.weight", "other"};
    struct subject s = open_subject("glm4_moe_lite", 3);
    const struct ram_exec exec = ram_exec_alone(NULL);
    struct ram_gradients *gradients;
    struct ram_err err = {0};
    (void)state;

    ok(ram_gradients_open(&gradients, s.model, (struct ram_sequences){s.tokens, N, LENGTH}, &exec,
                          &err),
       &err);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(factor(gradients, none[i], 0, MAKE_HIDDEN));
    const char *o = "model.layers.1.self_attn.o_proj.weight";
    assert_non_null(factor(gradients, o, 0, MAKE_HIDDEN));
    assert_null(factor(gradients, o, 0, MAKE_HIDDEN - 1));
    assert_null(factor(gradients, o, 1, MAKE_HIDDEN - 1));
    assert_null(factor(gradients, o, MAKE_HIDDEN, 0));
    const struct ram_gptq_factor *out;
    ok(ram_gradients_factor(gradients, o, 1, 0, MAKE_HIDDEN, &out, &err), &err);
    assert_null(out);
    ram_gradients_close(gradients);
    close_subject(&s);
}

/* 100 layers have 21 MB of moments: more than a quarter of the limit, so that they are in a file.
 * That changes nothing. */
static void a_file_changes_nothing(void **state)
{
    struct subject s = open_subject("llama", 100);
    const struct ram_sequences on = {s.tokens, N, LENGTH};
    const char *unit = "model.layers.1.mlp.gate_proj.weight";
    struct ram_gradients *usual, *filed;
    struct ram_err err = {0};
    struct ram_exec exec;
    (void)state;

    ok(ram_exec_begin(&exec, NULL, &err), &err);
    ok(ram_gradients_open(&usual, s.model, on, &exec, &err), &err);
    const struct ram_exec little = {.max_memory = 64 << 20};
    ok(ram_gradients_open(&filed, s.model, on, &little, &err), &err);
    const struct ram_gptq_factor *a = factor(usual, unit, 0, MAKE_INTER);
    const struct ram_gptq_factor *b = factor(filed, unit, 0, MAKE_INTER);
    assert_memory_equal(a->r, b->r, (size_t)MAKE_INTER * MAKE_INTER * sizeof *a->r);
    ram_gradients_close(usual);
    ram_gradients_close(filed);
    ram_exec_end(&exec);
    close_subject(&s);
}

/* With the least memory that the pass can do with, it takes one sequence at a time. */
static void little_memory_changes_no_expert(void **state)
{
    const char *unit = "model.layers.1.mlp.experts.*.down_proj.weight";
    struct subject s = open_subject("qwen3_moe", 2);
    const struct ram_sequences on = {s.tokens, N, LENGTH};
    const struct ram_exec exec = ram_exec_alone(NULL);
    struct ram_gradients *usual, *small = NULL;
    struct ram_err err = {0};
    (void)state;

    ok(ram_gradients_open(&usual, s.model, on, &exec, &err), &err);
    for (uint64_t memory = 1 << 20; !small; memory += memory / 32) {
        const struct ram_exec little = {.max_memory = memory};
        err = (struct ram_err){0};
        const int status = ram_gradients_open(&small, s.model, on, &little, &err);
        assert_true(!status || status == RAM_ENOMEM);
    }
    const struct ram_gptq_factor *a = factor(usual, unit, 0, MAKE_HIDDEN);
    const struct ram_gptq_factor *b = factor(small, unit, 0, MAKE_HIDDEN);
    assert_non_null(a);
    assert_int_equal(ram_gradients_drawn(small), N * LENGTH);
    assert_memory_equal(a->r, b->r, (size_t)MAKE_HIDDEN * MAKE_HIDDEN * sizeof *a->r);
    ram_gradients_close(usual);
    ram_gradients_close(small);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_a_backward_pass),
        cmocka_unit_test(sums_of_heads_and_experts),
        cmocka_unit_test(unknown_rows),
        cmocka_unit_test(a_file_changes_nothing),
        cmocka_unit_test(little_memory_changes_no_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
