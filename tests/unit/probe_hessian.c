/*
 * The inputs of a model's matrices: those of the first layer computed by hand, the others against
 * what must hold whatever they are: shared where they are one, the same in any order of questions
 * and for any number of threads, an average for experts that no token chose.
 */
#include "ckpt_make.h"
#include "codec/float.h"
#include "infer/linear.h"
#include "probe/hessian.h"

#include <math.h>
#include <setjmp.h>

#include <cmocka.h>

struct subject {
    char dir[64];
    struct ram_ckpt *ckpt;
    struct ram_model *model;
    struct ram_exec exec;
    struct ram_hessians *hessians;
};

enum { MOST_TOKENS = 40 * 24 };

static const struct ram_synthetic usual = {.n = 2, .length = 24, .seed = 42};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static struct subject open_for(const struct make_opts *opts, const struct ram_synthetic *what,
                               enum ram_hessian_use use, unsigned threads, uint64_t max_memory)
{
    struct subject s = {.dir = "/tmp/ram-test-XXXXXX"};
    struct ram_err err = {0};

    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, opts);
    ok(ram_ckpt_open(&s.ckpt, s.dir, &err), &err);
    ok(ram_model_open(&s.model, s.ckpt, &err), &err);
    const struct ram_run run = {.threads = threads, .max_memory = max_memory};
    ok(ram_exec_begin(&s.exec, &run, &err), &err);
    ok(ram_hessians_open(&s.hessians, s.model, what, 0.05, use, &s.exec, &err), &err);
    return s;
}

static struct subject open_subject(const struct make_opts *opts, const struct ram_synthetic *what,
                                   unsigned threads, uint64_t max_memory)
{
    return open_for(opts, what, RAM_HESSIAN_ENCODE, threads, max_memory);
}

static void close_subject(struct subject *s)
{
    ram_hessians_close(s->hessians);
    ram_exec_end(&s->exec);
    ram_model_close(s->model);
    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
}

static const struct ram_gptq_factor *factor(const struct subject *s, const char *unit,
                                            size_t expert)
{
    const struct ram_gptq_factor *out;
    struct ram_err err = {0};

    ok(ram_hessians_factor(s->hessians, unit, expert, false, &out, &err), &err);
    return out;
}

static bool same(const struct ram_gptq_factor *a, const struct ram_gptq_factor *b)
{
    return a->cols == b->cols &&
           !memcmp(a->importance, b->importance, a->cols * sizeof *a->importance) &&
           !memcmp(a->h, b->h, a->cols * a->cols * sizeof *a->h) &&
           !memcmp(a->turned, b->turned, a->cols * a->cols * sizeof *a->turned) &&
           !memcmp(a->r, b->r, a->cols * a->cols * sizeof *a->r);
}

/* What was added to the diagonal, whose mean was 1. */
static double damp_of(const struct ram_gptq_factor *f)
{
    double sum = 0;

    for (size_t i = 0; i < f->cols; i++)
        sum += (double)f->squares[i * RAM_GPTQ_BLOCK + i % RAM_GPTQ_BLOCK];
    return sum / (double)f->cols - 1;
}

/* The first norm's outputs, from the tokens, the embedding and the norm alone. */
static void first_inputs(const struct subject *s, const struct ram_synthetic *what,
                         double y[MOST_TOKENS][MAKE_HIDDEN])
{
    uint32_t tokens[MOST_TOKENS];
    struct ram_err err = {0};

    assert_true(what->n * what->length <= MOST_TOKENS);
    ok(ram_synthetic_tokens(s->model, what, &s->exec, tokens, &err), &err);
    for (size_t t = 0; t < what->n * what->length; t++) {
        float x[MAKE_HIDDEN];
        double squares = 0;
        ok(ram_weight_read(&s->model->embed, tokens[t], 1, x, &err), &err);
        for (size_t j = 0; j < MAKE_HIDDEN; j++)
            squares += (double)x[j] * (double)x[j];
        for (size_t j = 0; j < MAKE_HIDDEN; j++)
            y[t][j] = (double)x[j] * (double)s->model->layers[0].before_attention[j] /
                      sqrt(squares / MAKE_HIDDEN + s->model->hp.norm_eps);
    }
}

/* The last n_unseen inputs are kept back. */
static void check_first_layer(const struct ram_synthetic *what, enum ram_hessian_use use,
                              size_t n_unseen, double damp)
{
    static const char unit[] = "model.layers.0.self_attn.q_proj.weight";
    const struct make_opts opts = {.arch = "qwen3"};
    struct subject s = open_for(&opts, what, use, 2, 0);
    static double h[MAKE_HIDDEN][MAKE_HIDDEN], y[MOST_TOKENS][MAKE_HIDDEN];
    const size_t n_seen = what->n * what->length - n_unseen;
    double mean = 0;

    first_inputs(&s, what, y);
    memset(h, 0, sizeof h);
    for (size_t t = 0; t < n_seen; t++)
        for (size_t i = 0; i < MAKE_HIDDEN; i++)
            for (size_t j = 0; j < MAKE_HIDDEN; j++)
                h[i][j] += y[t][i] * y[t][j];
    for (size_t j = 0; j < MAKE_HIDDEN; j++)
        mean += h[j][j] / MAKE_HIDDEN;
    const struct ram_gptq_factor *f = factor(&s, unit, 0);
    const struct ram_unseen unseen = ram_hessians_unseen(s.hessians, unit, 0);
    assert_int_equal(f->cols, MAKE_HIDDEN);
    assert_int_equal(unseen.n, n_unseen);
    for (size_t t = 0; t < n_unseen; t++)
        for (size_t j = 0; j < MAKE_HIDDEN; j++)
            assert_true(fabs((double)unseen.x[t * unseen.cols + j] - y[n_seen + t][j]) < 1e-4);
    for (size_t i = 0; i < MAKE_HIDDEN; i++)
        for (size_t j = 0; j < MAKE_HIDDEN; j++) {
            const double expected = h[i][j] / mean + (i == j ? damp : 0);
            float h_seen, r_seen;
            double product = 0;
            for (size_t k = 0; k < MAKE_HIDDEN; k++)
                product += (double)f->r[i * MAKE_HIDDEN + k] * (double)f->r[j * MAKE_HIDDEN + k];
            assert_true(fabs(product - expected) < 1e-4);
            ram_float_widen(RAM_FLOAT_BF16, &f->h[i * MAKE_HIDDEN + j], 1, &h_seen);
            assert_true(fabs((double)h_seen - expected) < 0x1p-8 * fabs(expected) + 1e-4);
            ram_float_widen(RAM_FLOAT_BF16, &f->turned[j * MAKE_HIDDEN + i], 1, &r_seen);
            const double r = (double)f->r[i * MAKE_HIDDEN + j];
            assert_true(fabs((double)r_seen - r) <= 0x1p-8 * fabs(r));
            if (i / RAM_GPTQ_BLOCK == j / RAM_GPTQ_BLOCK) {
                const size_t at = i * RAM_GPTQ_BLOCK + j % RAM_GPTQ_BLOCK;
                assert_true(fabs((double)f->squares[at] - expected) < 1e-4);
            }
        }
    close_subject(&s);
}

static void first_layer_by_hand(void **state)
{
    const struct ram_synthetic some = {.n = 10, .length = 24, .seed = 42};
    const struct ram_synthetic many = {.n = 40, .length = 24, .seed = 42};

    (void)state;
    check_first_layer(&usual, RAM_HESSIAN_ENCODE, 0, 0.5 * MAKE_HIDDEN / 48);
    check_first_layer(&many, RAM_HESSIAN_ENCODE, 0, 0.05);
    check_first_layer(&some, RAM_HESSIAN_MEASURE, 30, 0.5 * MAKE_HIDDEN / 210);
    check_first_layer(&many, RAM_HESSIAN_MEASURE, 0, 0.05);
}

static void shared_and_unknown(void **state)
{
    const struct make_opts opts = {.arch = "qwen3", .tied = true};
    struct subject s = open_subject(&opts, &usual, 1, 0);
    const struct ram_gptq_factor *q, *gate;

    (void)state;
    assert_non_null(factor(&s, "model.embed_tokens.weight", 0));
    q = factor(&s, "model.layers.1.self_attn.q_proj.weight", 0);
    assert_ptr_equal(q, factor(&s, "model.layers.1.self_attn.k_proj.weight", 0));
    assert_ptr_equal(q, factor(&s, "model.layers.1.self_attn.v_proj.weight", 0));
    assert_ptr_not_equal(q, factor(&s, "model.layers.1.self_attn.o_proj.weight", 0));
    gate = factor(&s, "model.layers.1.mlp.gate_proj.weight", 0);
    assert_ptr_not_equal(q, gate);
    assert_ptr_equal(gate, factor(&s, "model.layers.1.mlp.up_proj.weight", 0));
    assert_int_equal(factor(&s, "model.layers.1.mlp.down_proj.weight", 0)->cols, MAKE_INTER);
    ram_hessians_forget(s.hessians);
    assert_ptr_equal(q, factor(&s, "model.layers.1.self_attn.k_proj.weight", 0));
    assert_null(factor(&s, "model.norm.weight", 0));
    assert_null(factor(&s, "no.such.unit", 0));
    close_subject(&s);

    const struct make_opts untied = {.arch = "qwen3"};
    s = open_subject(&untied, &usual, 1, 0);
    assert_null(factor(&s, "model.embed_tokens.weight", 0));
    assert_int_equal(factor(&s, "lm_head.weight", 0)->cols, MAKE_HIDDEN);
    close_subject(&s);
}

/* Back and forth with two threads, straight on with one. */
static void order_and_threads(void **state)
{
    static const char *const units[] = {"model.layers.0.self_attn.o_proj.weight",
                                        "model.layers.2.mlp.experts.*.down_proj.weight",
                                        "lm_head.weight"};
    static const size_t there[] = {2, 1, 0};
    const struct make_opts opts = {.arch = "qwen3_moe"};
    struct subject a = open_subject(&opts, &usual, 1, 0), b = open_subject(&opts, &usual, 2, 0);
    const struct ram_gptq_factor *of_a[3], *of_b[3];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        of_a[i] = factor(&a, units[i], 1);
        of_b[there[i]] = factor(&b, units[there[i]], 1);
    }
    for (size_t i = 0; i < 3; i++)
        assert_true(same(of_a[i], of_b[i]));
    ram_hessians_forget(a.hessians);
    close_subject(&a);
    close_subject(&b);
}

/* One token, two of four experts: the other two know the average and nothing else, and are damped
 * as one token asks for; those that saw it borrow an eighth of the columns of it. */
static void experts_without_tokens(void **state)
{
    const struct make_opts opts = {.arch = "qwen3_moe"};
    const struct ram_synthetic one = {.n = 1, .length = 1, .seed = 42};
    struct subject s = open_subject(&opts, &one, 1, 0);
    static const char *const units[] = {"model.layers.1.mlp.experts.*.gate_proj.weight",
                                        "model.layers.1.mlp.experts.*.down_proj.weight"};
    struct ram_err err = {0};
    const struct ram_gptq_factor *out;

    (void)state;
    const size_t expected = MAKE_EXPERTS - s.model->hp.moe.top_k;
    assert_true(expected >= 2);
    for (size_t u = 0; u < 2; u++) {
        const double kappa = (double)factor(&s, units[u], 0)->cols / 8;
        const double all = u == 0 ? 1 : (double)s.model->hp.moe.top_k;
        const double some = (1 + kappa) * (1 + kappa) / (1 + kappa * kappa / all);
        size_t alike = 0, unseen = 0;
        for (size_t e = 0; e < MAKE_EXPERTS; e++) {
            const struct ram_gptq_factor *f = factor(&s, units[u], e);
            size_t n = 0;
            assert_non_null(f);
            for (size_t other = 0; other < MAKE_EXPERTS; other++)
                n += same(f, factor(&s, units[u], other));
            alike += n >= expected;
            const double tokens = 4 * kappa / damp_of(f);
            unseen += fabs(tokens - all) < 1e-3;
            assert_true(fabs(tokens - all) < 1e-3 || fabs(tokens - some) < 1e-3);
        }
        assert_true(alike >= expected);
        assert_int_equal(unseen, expected);
    }
    assert_int_equal(ram_hessians_factor(s.hessians, units[0], MAKE_EXPERTS, false, &out, &err),
                     RAM_EINTERNAL);
    close_subject(&s);
}

static void latent_attention(void **state)
{
    const struct make_opts opts = {.arch = "glm4_moe_lite"};
    struct subject s = open_subject(&opts, &usual, 1, 0);
    const char *const kv_b = "model.layers.1.self_attn.kv_b_proj.weight";
    const struct ram_gptq_factor *out;
    struct ram_err err = {0};

    (void)state;
    ok(ram_hessians_factor(s.hessians, kv_b, 0, true, &out, &err), &err);
    assert_null(out);
    assert_int_equal(factor(&s, kv_b, 1)->cols, MAKE_KV_LORA);
    assert_int_equal(factor(&s, "model.layers.1.self_attn.q_b_proj.weight", 0)->cols, MAKE_Q_LORA);
    assert_ptr_equal(factor(&s, "model.layers.1.self_attn.q_a_proj.weight", 0),
                     factor(&s, "model.layers.1.self_attn.kv_a_proj_with_mqa.weight", 0));
    assert_int_equal(factor(&s, "model.layers.1.self_attn.o_proj.weight", 0)->cols,
                     MAKE_HEADS * MAKE_V);
    assert_non_null(factor(&s, "model.layers.1.mlp.shared_experts.down_proj.weight", 0));
    assert_non_null(factor(&s, "model.layers.1.mlp.experts.*.up_proj.weight", 3));
    assert_non_null(factor(&s, "model.layers.0.mlp.down_proj.weight", 0));
    close_subject(&s);
}

/* Inputs of a layer that do not fit: fewer sequences, and it is told. */
static void fewer_tokens(void **state)
{
    const struct make_opts opts = {.arch = "qwen3"};
    const struct ram_synthetic many = {.n = 4096, .length = 32, .seed = 1};
    struct subject s = open_subject(&opts, &many, 1, UINT64_C(256) << 20);

    (void)state;
    const struct ram_synthetic *used = ram_hessians_tokens(s.hessians);
    assert_true(used->n < many.n && used->n >= 64);
    assert_int_equal(used->length, many.length);
    close_subject(&s);
}

/* What an expert of the first layer is given: squares of its inputs, and of those of all tokens. */
struct given {
    const struct ram_layer *layer;
    double own[MAKE_HIDDEN], all[MAKE_HIDDEN], weight;
    size_t n, n_all;
};

static int see_expert(void *ctx, const struct ram_linear *linear, const float *x,
                      const float *shares, size_t n, struct ram_err *err)
{
    struct given *g = ctx;
    const bool is_router = linear == &g->layer->router;

    if (!is_router && linear != &g->layer->experts[1].gate)
        return err->status;
    assert_true(is_router == !shares);
    for (size_t i = 0; i < n; i++) {
        const double w = is_router ? 1 : (double)shares[i] * (double)shares[i];
        for (size_t j = 0; j < MAKE_HIDDEN; j++) {
            const double square = (double)x[i * MAKE_HIDDEN + j] * (double)x[i * MAKE_HIDDEN + j];
            *(is_router ? &g->all[j] : &g->own[j]) += w * square;
        }
        g->weight += is_router ? 0 : w;
        *(is_router ? &g->n_all : &g->n) += 1;
    }
    return RAM_OK;
}

/* A token counts by the square of the share that the router gave it, and on average once. */
static void tokens_of_experts_by_their_shares(void **state)
{
    const struct make_opts opts = {.arch = "qwen3_moe"};
    struct subject s = open_subject(&opts, &usual, 2, 0);
    struct given g = {.layer = &s.model->layers[0]};
    const struct ram_observer observer = {&g, see_expert};
    uint32_t tokens[MOST_TOKENS];
    struct ram_forward *forward;
    struct ram_err err = {0};
    double h[MAKE_HIDDEN], sum = 0, found = 0;
    (void)state;

    ok(ram_synthetic_tokens(s.model, &usual, &s.exec, tokens, &err), &err);
    const struct ram_sequences on = {tokens, usual.n, usual.length};
    ok(ram_probe_forward(&forward, s.model, on, 1, &s.exec, &err), &err);
    ram_forward_observe(forward, &observer);
    ok(ram_forward_layer(forward, 0, &err), &err);
    ram_forward_free(forward);
    assert_true(g.n > 0 && g.n_all == usual.n * usual.length);
    const struct ram_gptq_factor *f =
        factor(&s, "model.layers.0.mlp.experts.*.gate_proj.weight", 1);
    for (size_t j = 0; j < MAKE_HIDDEN; j++) {
        h[j] = g.own[j] * (double)g.n / g.weight + MAKE_HIDDEN / 8 * g.all[j] / (double)g.n_all;
        sum += h[j];
        found += (double)f->importance[j];
    }
    for (size_t j = 0; j < MAKE_HIDDEN; j++)
        assert_true(fabs((double)f->importance[j] / found - h[j] / sum) < 1e-4 * h[j] / sum);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_layer_by_hand),
        cmocka_unit_test(shared_and_unknown),
        cmocka_unit_test(order_and_threads),
        cmocka_unit_test(experts_without_tokens),
        cmocka_unit_test(tokens_of_experts_by_their_shares),
        cmocka_unit_test(latent_attention),
        cmocka_unit_test(fewer_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
