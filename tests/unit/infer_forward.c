/*
 * The forward pass, on small random checkpoints of every architecture: whatever is only a way of
 * computing (threads, chunks, spilling, shared prefixes, kept keys, the spelling of config.json)
 * must not change what is computed.
 *
 * That the result is right is checked elsewhere, against transformers (tests/interop) and against
 * published figures of the reference models (tests/golden).
 */
#include "ckpt_make.h"
#include "infer/generate.h"
#include "infer/likelihood.h"

#include <setjmp.h>

#include <cmocka.h>

enum { LENGTH = 40, N_WINDOWS = 3, N_TOKENS = LENGTH * N_WINDOWS };

static const char *const architectures[] = {"llama",     "mistral",  "qwen2",        "qwen3",
                                            "qwen3_moe", "glm4_moe", "glm4_moe_lite"};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

struct subject {
    char dir[64];
    struct ram_ckpt *ckpt;
    struct ram_model *model;
};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static struct subject open_subject(const struct make_opts *opts)
{
    struct subject s = {.dir = "/tmp/ram-test-XXXXXX"};
    struct ram_err err = {0};

    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, opts);
    ok(ram_ckpt_open(&s.ckpt, s.dir, &err), &err);
    ok(ram_model_open(&s.model, s.ckpt, &err), &err);
    return s;
}

static void close_subject(struct subject *s)
{
    ram_model_close(s->model);
    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
}

static void make_tokens(uint32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)((i * i * 7 + i * 13 + 5) % MAKE_VOCAB);
}

/* Windows of LENGTH, every next token asked for. */
static void run_windows(const struct subject *s, const struct ram_likelihood_opts *opts,
                        struct ram_answer answers[N_WINDOWS * (LENGTH - 1)])
{
    uint32_t tokens[N_TOKENS];
    struct ram_span spans[N_WINDOWS];
    struct ram_query queries[N_WINDOWS * (LENGTH - 1)];
    struct ram_err err = {0};

    make_tokens(tokens, N_TOKENS);
    for (size_t w = 0; w < N_WINDOWS; w++) {
        spans[w] = (struct ram_span){tokens + w * LENGTH, LENGTH, RAM_NO_PARENT};
        for (size_t t = 0; t + 1 < LENGTH; t++)
            queries[w * (LENGTH - 1) + t] = (struct ram_query){w, t, tokens[w * LENGTH + t + 1]};
    }
    ok(ram_likelihood(s->model, NULL, spans, N_WINDOWS, queries, N_WINDOWS * (LENGTH - 1), opts,
                      answers, &err),
       &err);
}

static void assert_same(const struct ram_answer *a, const struct ram_answer *b, size_t n,
                        double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i].nll - b[i].nll) <= tolerance) || !isfinite(a[i].nll))
            fail_msg("%s: answer %zu is %.9g, expected %.9g", what, i, b[i].nll, a[i].nll);
}

static void threads_and_memory_change_nothing(void **state)
{
    static struct ram_answer expected[N_WINDOWS * (LENGTH - 1)], found[N_WINDOWS * (LENGTH - 1)];
    (void)state;

    for (size_t k = 0; k < N_ARCHITECTURES; k++) {
        struct subject s = open_subject(&(struct make_opts){.arch = architectures[k]});
        struct ram_likelihood_opts opts = {.f32 = true};
        run_windows(&s, &opts, expected);
        for (unsigned threads = 1; threads <= 7; threads += 3) {
            struct ram_err err = {0};
            ok(ram_pool_new(&opts.pool, threads, &err), &err);
            run_windows(&s, &opts, found);
            assert_memory_equal(expected, found, sizeof expected);
            ram_pool_free(opts.pool);
        }
        opts.pool = NULL;
        opts.f32 = false;
        run_windows(&s, &opts, found);
        assert_same(expected, found, N_WINDOWS * (LENGTH - 1), 0.2, "bf16");
        close_subject(&s);
    }
}

/* Many windows in so little memory that activations go to a file and chunks are small. */
static void spilled_activations_change_nothing(void **state)
{
    enum { N = 2500 };
    struct subject s = open_subject(&(struct make_opts){.arch = "qwen3_moe"});
    uint32_t *tokens = calloc(N * LENGTH, sizeof *tokens);
    struct ram_span *spans = calloc(N, sizeof *spans);
    struct ram_query *queries = calloc(N, sizeof *queries);
    struct ram_answer *expected = calloc(N, sizeof *expected), *found = calloc(N, sizeof *found);
    struct ram_likelihood_opts opts = {.f32 = true};
    struct ram_err err = {0};
    (void)state;

    assert_true(tokens && spans && queries && expected && found);
    make_tokens(tokens, N * LENGTH);
    for (size_t w = 0; w < N; w++) {
        spans[w] = (struct ram_span){tokens + w * LENGTH, LENGTH, RAM_NO_PARENT};
        queries[w] = (struct ram_query){w, LENGTH - 1, (uint32_t)w % MAKE_VOCAB};
    }
    ok(ram_likelihood(s.model, NULL, spans, N, queries, N, &opts, expected, &err), &err);
    opts.max_memory = 64 * 1024 * 1024; /* activations take 24 MiB, of which a quarter may stay */
    ok(ram_likelihood(s.model, NULL, spans, N, queries, N, &opts, found, &err), &err);
    assert_same(expected, found, N, 1e-5, "spilled");
    opts.max_memory = 8 * 1024 * 1024;
    assert_int_equal(ram_likelihood(s.model, NULL, spans, N, queries, N, &opts, found, &err),
                     RAM_ENOMEM);
    free(tokens);
    free(spans);
    free(queries);
    free(expected);
    free(found);
    close_subject(&s);
}

static void a_prefix_is_computed_once_for_all(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_ARCHITECTURES; k++) {
        struct subject s = open_subject(&(struct make_opts){.arch = architectures[k]});
        const struct ram_likelihood_opts opts = {.f32 = true};
        uint32_t tokens[LENGTH];
        struct ram_err err = {0};
        struct ram_answer whole[2], shared[4];
        make_tokens(tokens, LENGTH);
        /* The same continuation, 8 tokens long, as a whole and behind a prefix of 30. */
        const struct ram_span one = {tokens, 38, RAM_NO_PARENT};
        const struct ram_query of_one[2] = {{0, 29, tokens[30]}, {0, 36, tokens[37]}};
        const struct ram_span family[3] = {
            {tokens, 30, RAM_NO_PARENT}, {tokens + 4, 9, 0}, {tokens + 30, 8, 0}};
        const struct ram_query of_family[4] = {
            {0, 29, tokens[4]}, {0, 29, tokens[30]}, {1, 3, tokens[8]}, {2, 6, tokens[37]}};
        ok(ram_likelihood(s.model, NULL, &one, 1, of_one, 2, &opts, whole, &err), &err);
        ok(ram_likelihood(s.model, NULL, family, 3, of_family, 4, &opts, shared, &err), &err);
        if (fabs(whole[0].nll - shared[1].nll) > 1e-5 || fabs(whole[1].nll - shared[3].nll) > 1e-5)
            fail_msg("%s: %.9g and %.9g, expected %.9g and %.9g", architectures[k], shared[1].nll,
                     shared[3].nll, whole[0].nll, whole[1].nll);
        close_subject(&s);
    }
}

/* Greedy continuation with kept keys, and by reading everything again for each token. */
static void kept_keys_change_nothing(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_ARCHITECTURES; k++) {
        struct subject s = open_subject(&(struct make_opts){.arch = architectures[k]});
        const struct ram_generator_opts opts = {.f32 = true};
        uint32_t tokens[LENGTH], next, again;
        struct ram_generator *kept = NULL;
        struct ram_err err = {0};
        size_t read = 0;
        make_tokens(tokens, 10);
        ok(ram_generator_new(&kept, s.model, &opts, &err), &err);
        for (size_t n = 10; n < 20; n++) {
            struct ram_generator *fresh = NULL;
            ok(ram_generator_next(kept, tokens + read, n - read, &next, &err), &err);
            read = n;
            ok(ram_generator_new(&fresh, s.model, &opts, &err), &err);
            ok(ram_generator_next(fresh, tokens, n, &again, &err), &err);
            ram_generator_free(fresh);
            assert_int_equal(next, again);
            tokens[n] = next;
        }
        ram_generator_free(kept);
        close_subject(&s);
    }
}

/* The same weights in another form give the same answers. (Stacked experts and split latent
 * projections come from a conversion: tests/cli/evaluate.sh.) */
static void check_form(struct make_opts a, struct make_opts b, const char *what)
{
    static struct ram_answer expected[N_WINDOWS * (LENGTH - 1)], found[N_WINDOWS * (LENGTH - 1)];
    const struct ram_likelihood_opts opts = {.f32 = true};
    struct subject s = open_subject(&a), t = open_subject(&b);

    run_windows(&s, &opts, expected);
    run_windows(&t, &opts, found);
    assert_same(expected, found, N_WINDOWS * (LENGTH - 1), 1e-5, what);
    assert_int_equal(ram_model_parameters(s.model), ram_model_parameters(t.model));
    close_subject(&s);
    close_subject(&t);
}

static void spellings_and_shards_change_nothing(void **state)
{
    (void)state;
    check_form((struct make_opts){.arch = "qwen3"},
               (struct make_opts){.arch = "qwen3", .new_spelling = true, .shards = 3}, "spelling");
}

static void a_divergence_from_itself_is_zero(void **state)
{
    struct subject s = open_subject(&(struct make_opts){.arch = "qwen3"});
    struct subject t = open_subject(&(struct make_opts){.arch = "qwen3", .seed = 7});
    const struct ram_likelihood_opts opts = {.f32 = true};
    uint32_t tokens[LENGTH];
    const struct ram_span span = {tokens, LENGTH, RAM_NO_PARENT};
    const struct ram_query query = {0, LENGTH - 1, 3};
    struct ram_answer answer;
    struct ram_err err = {0};
    (void)state;

    make_tokens(tokens, LENGTH);
    ok(ram_likelihood(s.model, s.model, &span, 1, &query, 1, &opts, &answer, &err), &err);
    assert_true(answer.kld == 0 && answer.same_top && answer.nll == answer.nll_reference);
    ok(ram_likelihood(s.model, t.model, &span, 1, &query, 1, &opts, &answer, &err), &err);
    assert_true(answer.kld > 1e-4);
    close_subject(&s);
    close_subject(&t);
}

static void senseless_questions_are_refused(void **state)
{
    struct subject s = open_subject(&(struct make_opts){.arch = "llama"});
    const struct ram_likelihood_opts opts = {.f32 = true};
    uint32_t tokens[2] = {1, MAKE_VOCAB};
    const struct ram_span span = {tokens, 2, RAM_NO_PARENT};
    const struct ram_query inside = {0, 0, 3}, outside = {0, 2, 3};
    struct ram_answer answer;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_likelihood(s.model, NULL, &span, 1, &inside, 1, &opts, &answer, &err),
                     RAM_ERANGE); /* a token beyond the vocabulary */
    err = (struct ram_err){0};
    tokens[1] = 0;
    assert_int_equal(ram_likelihood(s.model, NULL, &span, 1, &outside, 1, &opts, &answer, &err),
                     RAM_ERANGE);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_memory_change_nothing),
        cmocka_unit_test(spilled_activations_change_nothing),
        cmocka_unit_test(a_prefix_is_computed_once_for_all),
        cmocka_unit_test(kept_keys_change_nothing),
        cmocka_unit_test(spellings_and_shards_change_nothing),
        cmocka_unit_test(a_divergence_from_itself_is_zero),
        cmocka_unit_test(senseless_questions_are_refused),
    };
    return cmocka_run_group_tests_name("infer/forward", tests, NULL, NULL);
}
