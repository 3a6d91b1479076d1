/*
 * The forward pass, on small random checkpoints of every architecture: whatever is only a way of
 * computing (threads, chunks, spilling, shared prefixes, kept keys, the spelling of config.json)
 * must not change what is computed.
 *
 * That the result is right is checked elsewhere, against transformers (tests/interop) and against
 * published figures of the reference models (tests/golden).
 */
#include "base/rng.h"
#include "ckpt_make.h"
#include "infer/generate.h"
#include "infer/likelihood.h"
#include "infer/sample.h"
#include "kern/nn.h"

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

static struct ram_exec alone;

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
        struct ram_likelihood_opts opts = {.f32 = true, .exec = &alone};
        run_windows(&s, &opts, expected);
        for (unsigned threads = 1; threads <= 7; threads += 3) {
            struct ram_err err = {0};
            struct ram_exec many;
            ok(ram_exec_begin(&many, &(struct ram_run){.threads = threads}, &err), &err);
            opts.exec = &many;
            run_windows(&s, &opts, found);
            assert_memory_equal(expected, found, sizeof expected);
            ram_exec_end(&many);
        }
        opts.exec = &alone;
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
    struct ram_exec exec = ram_exec_alone(NULL);
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &exec};
    struct ram_err err = {0};
    (void)state;

    assert_true(tokens && spans && queries && expected && found);
    make_tokens(tokens, N * LENGTH);
    for (size_t w = 0; w < N; w++) {
        spans[w] = (struct ram_span){tokens + w * LENGTH, LENGTH, RAM_NO_PARENT};
        queries[w] = (struct ram_query){w, LENGTH - 1, (uint32_t)w % MAKE_VOCAB};
    }
    ok(ram_likelihood(s.model, NULL, spans, N, queries, N, &opts, expected, &err), &err);
    exec.max_memory = 64 * 1024 * 1024; /* activations take 24 MiB, of which a quarter may stay */
    ok(ram_likelihood(s.model, NULL, spans, N, queries, N, &opts, found, &err), &err);
    assert_same(expected, found, N, 1e-5, "spilled");
    exec.max_memory = 8 * 1024 * 1024;
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
        const struct ram_likelihood_opts opts = {.f32 = true, .exec = &alone};
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
        const struct ram_generator_opts opts = {.f32 = true, .exec = &alone};
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

/* What sampling together must give: every sequence by itself, each token from a forward pass over
 * all before it. */
static void sample_slowly(const struct ram_model *model, const struct ram_sample_opts *opts,
                          uint32_t *tokens)
{
    const struct ram_rng rng = ram_rng_for(opts->seed, "sample");
    const struct ram_forward_opts how = {.f32 = true, .exec = &alone};
    float logits[MAKE_VOCAB];
    struct ram_err err = {0};

    for (size_t i = 0; i < opts->n; i++) {
        uint32_t *to = tokens + i * opts->length;
        memcpy(to, opts->starts[i].tokens, opts->starts[i].n * sizeof *to);
        for (size_t n = opts->starts[i].n; n < opts->length; n++) {
            const struct ram_span span = {to, n, RAM_NO_PARENT};
            const size_t row = n - 1;
            struct ram_forward *forward = NULL;
            ok(ram_forward_new(&forward, model, &span, 1, &how, &err), &err);
            for (size_t l = 0; l < model->hp.n_layers; l++)
                ok(ram_forward_layer(forward, l, &err), &err);
            ok(ram_forward_logits(forward, &row, 1, NULL, logits, &err), &err);
            ram_forward_free(forward);
            ram_nn()->softmax(logits, MAKE_VOCAB, 1);
            to[n] = (uint32_t)ram_rng_draw(logits, MAKE_VOCAB,
                                           ram_rng_uniform(rng, i * opts->length + n));
        }
    }
}

static int count_tokens(void *ctx, size_t done, struct ram_err *err)
{
    size_t *last = ctx;

    assert_true(done > *last);
    *last = done;
    return err->status;
}

/* Starts of different lengths, one of which is a whole sequence; all at once, and two at a time. */
static void sampling_together_is_sampling_one_by_one(void **state)
{
    enum { N = 5, N_SAMPLED = 24 };
    static const size_t lengths[N] = {1, 3, N_SAMPLED, 2, N_SAMPLED - 1};
    (void)state;

    for (size_t k = 0; k < N_ARCHITECTURES; k++) {
        struct subject s = open_subject(&(struct make_opts){.arch = architectures[k]});
        uint32_t first[N_SAMPLED], expected[N * N_SAMPLED], found[N * N_SAMPLED];
        struct ram_span starts[N];
        struct ram_err err = {0};
        size_t done = 0;
        struct ram_exec exec;
        struct ram_sample_opts opts = {.n = N,
                                       .exec = &exec,
                                       .length = N_SAMPLED,
                                       .starts = starts,
                                       .seed = 5,
                                       .step = count_tokens,
                                       .ctx = &done};
        make_tokens(first, N_SAMPLED);
        for (size_t i = 0; i < N; i++)
            starts[i] = (struct ram_span){first, lengths[i], RAM_NO_PARENT};
        sample_slowly(s.model, &opts, expected);
        for (int run = 0; run < 3; run++) {
            opts.at_once = run < 2 ? 0 : 2;
            ok(ram_exec_begin(&exec, &(struct ram_run){.threads = run ? 3 : 1}, &err), &err);
            memset(found, 0, sizeof found);
            done = 0;
            ok(ram_sample(s.model, &opts, found, &err), &err);
            assert_int_equal(done, N * N_SAMPLED);
            if (memcmp(found, expected, sizeof found))
                fail_msg("%s, run %d: other tokens", architectures[k], run);
            ram_exec_end(&exec);
        }
        close_subject(&s);
    }
}

/* The same weights in another form give the same answers. (Stacked experts and split latent
 * projections come from a conversion: tests/cli/evaluate.sh.) */
static void check_form(struct make_opts a, struct make_opts b, const char *what)
{
    static struct ram_answer expected[N_WINDOWS * (LENGTH - 1)], found[N_WINDOWS * (LENGTH - 1)];
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &alone};
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
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &alone};
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
    const struct ram_likelihood_opts opts = {.f32 = true, .exec = &alone};
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

/* ---- what a checkpoint may do wrong -------------------------------------------------------- */

/* Opens a sound checkpoint whose config.json was given another number; the message. */
static int open_with(const char *arch, const char *key, json_int_t value, struct ram_err *err)
{
    struct subject s = {.dir = "/tmp/ram-test-XXXXXX"};
    char path[128];
    json_t *config = NULL;

    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, &(struct make_opts){.arch = arch});
    snprintf(path, sizeof path, "%s/config.json", s.dir);
    ok(ram_json_read(&config, path, 1 << 20, err), err);
    if (!json_object_get(config, key))
        fail_msg("%s has no %s", arch, key);
    json_object_set_new(config, key, json_integer(value));
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    ok(ram_ckpt_open(&s.ckpt, s.dir, err), err);
    const int status = ram_model_open(&s.model, s.ckpt, err);
    if (!status)
        ram_model_close(s.model);
    ram_ckpt_close(s.ckpt);
    make_remove_dir(s.dir);
    return status;
}

/* Refused before anything is computed, with the tensor, its shape and the one it should have. */
static void lies_about_shapes_are_refused(void **state)
{
    static const struct {
        const char *arch, *key;
        json_int_t value;
        const char *says;
    } lies[] = {
        {"llama", "vocab_size", MAKE_VOCAB + 1, "model.embed_tokens.weight"},
        {"llama", "hidden_size", 2 * MAKE_HIDDEN, "model.embed_tokens.weight"},
        {"llama", "intermediate_size", MAKE_INTER - 1, "model.layers.0.mlp.gate_proj.weight"},
        {"mistral", "num_attention_heads", 2 * MAKE_HEADS,
         "model.layers.0.self_attn.q_proj.weight"},
        {"qwen2", "num_key_value_heads", MAKE_HEADS, "model.layers.0.self_attn.k_proj.weight"},
        {"qwen3", "head_dim", 2 * MAKE_HEAD, "model.layers.0.self_attn.q_proj.weight"},
        {"qwen3", "num_hidden_layers", 4, "model.layers.3.input_layernorm.weight"},
        {"qwen3_moe", "num_experts", MAKE_EXPERTS - 1, "mlp.gate.weight"},
        {"qwen3_moe", "moe_intermediate_size", MAKE_MOE + 1, "mlp.experts.0.gate_proj.weight"},
        {"glm4_moe", "n_shared_experts", 2, "mlp.shared_experts.gate_proj.weight"},
        {"glm4_moe", "first_k_dense_replace", 2, "model.layers.1.mlp.gate_proj"},
        {"glm4_moe_lite", "q_lora_rank", MAKE_Q_LORA + 1, "self_attn.q_a_proj.weight"},
        {"glm4_moe_lite", "kv_lora_rank", MAKE_KV_LORA + 1, "self_attn.kv_a_proj_with_mqa.weight"},
        {"glm4_moe_lite", "v_head_dim", MAKE_V + 1, "self_attn.kv_b_proj.weight"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct ram_err err = {0};
        const int status = open_with(lies[i].arch, lies[i].key, lies[i].value, &err);
        const bool absent = strstr(err.message, "no tensor") != NULL;
        const char *found = strstr(err.message, " is [");
        const char *expected = found ? strstr(found, "config.json says [") : NULL;
        if (status != RAM_EFORMAT || !strstr(err.message, lies[i].says) || !(expected || absent))
            fail_msg("%s with %s %lld: status %d, \"%s\"", lies[i].arch, lies[i].key,
                     (long long)lies[i].value, status, err.message);
    }
}

/* "model.layers.0._orig_mod.input_layernorm.weight", as torch.compile leaves it. */
static void a_missing_tensor_comes_with_one_that_is_there(void **state)
{
    static const struct make_opts opts = {.arch = "qwen3", .wrapper = "_orig_mod."};
    struct subject s;
    struct ram_err err = {0};
    (void)state;

    snprintf(s.dir, sizeof s.dir, "%.60s", make_temp_dir());
    make_ckpt(s.dir, &opts);
    ok(ram_ckpt_open(&s.ckpt, s.dir, &err), &err);
    assert_int_equal(ram_model_open(&s.model, s.ckpt, &err), RAM_EFORMAT);
    if (!strstr(err.message, "no tensor \"model.layers.0.input_layernorm.weight\"") ||
        !strstr(err.message, "there is 'model.layers.0._orig_mod.input_layernorm.weight'"))
        fail_msg("%s", err.message);
    ram_ckpt_close(s.ckpt);
    make_remove_dir(s.dir);
}

/* A checkpoint in which one weight of a tensor is not a number. */
static struct subject open_spoilt(const char *name)
{
    const unsigned char nan[2] = {0xc0, 0x7f};
    struct subject s = open_subject(&(struct make_opts){.arch = "qwen3"});
    const struct ram_tensor *tensor = ram_ckpt_find(s.ckpt, name);
    struct ram_err err = {0};
    char path[128];

    assert_non_null(tensor);
    snprintf(path, sizeof path, "%s/%s", s.dir, s.ckpt->files[tensor->file].name);
    const long offset = (long)tensor->offset;
    ram_model_close(s.model);
    ram_ckpt_close(s.ckpt);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(nan, 1, 2, file), 2);
    assert_int_equal(fclose(file), 0);
    ok(ram_ckpt_open(&s.ckpt, s.dir, &err), &err);
    ok(ram_model_open(&s.model, s.ckpt, &err), &err);
    return s;
}

static void what_is_not_a_number_stops_the_run(void **state)
{
    static const struct {
        const char *tensor, *says;
    } cases[] = {
        {"model.layers.1.mlp.down_proj.weight", "layer 1 gives a value that is not finite "
                                                "(sequence 0, token 0)"},
        {"model.norm.weight", "logits are not finite: sequence 1, token 1"},
    };
    uint32_t tokens[] = {1, 2, 3, 4};
    const struct ram_span spans[] = {{tokens, 2, RAM_NO_PARENT}, {tokens + 2, 2, RAM_NO_PARENT}};
    const struct ram_query query = {1, 1, 3};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int f32 = 0; f32 < 2; f32++) {
            const struct ram_likelihood_opts opts = {.f32 = f32, .exec = &alone};
            struct subject s = open_spoilt(cases[i].tensor);
            struct ram_answer answer;
            struct ram_err err = {0};
            const int status =
                ram_likelihood(s.model, NULL, spans, 2, &query, 1, &opts, &answer, &err);
            if (status != RAM_EFORMAT || !strstr(err.message, cases[i].says))
                fail_msg("%s: status %d, \"%s\"", cases[i].tensor, status, err.message);
            close_subject(&s);
        }
    }
}

/* Code x scale has more digits than BF16, in which transformers and conversions keep it. */
static void fp8_is_read_as_it_would_be_stored(void **state)
{
    enum { N = MAKE_HIDDEN * MAKE_INTER };
    static float exact[N], read[N];
    struct subject s = open_subject(
        &(struct make_opts){.arch = "qwen3", .seed = 6, .dtype = "F8_E4M3", .fp8_block = {32, 48}});
    struct ram_err err = {0};
    (void)state;

    for (size_t l = 0; l < 3; l++) {
        const struct ram_weight *w = &s.model->layers[l].mlp.down.weight;
        size_t n_rounded = 0;
        assert_int_equal(w->rows * w->cols, N);
        ok(ram_view_read(&w->view, 0, w->rows, exact, &err), &err);
        ok(ram_weight_read(w, 0, w->rows, read, &err), &err);
        for (size_t i = 0; i < N; i++) {
            uint32_t bits;
            memcpy(&bits, &exact[i], 4);
            bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
            assert_memory_equal(&read[i], &bits, 4);
            n_rounded += read[i] != exact[i];
        }
        assert_true(n_rounded > N / 4);
    }
    close_subject(&s);
}

int main(void)
{
    alone = ram_exec_alone(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_memory_change_nothing),
        cmocka_unit_test(spilled_activations_change_nothing),
        cmocka_unit_test(a_prefix_is_computed_once_for_all),
        cmocka_unit_test(kept_keys_change_nothing),
        cmocka_unit_test(sampling_together_is_sampling_one_by_one),
        cmocka_unit_test(spellings_and_shards_change_nothing),
        cmocka_unit_test(a_divergence_from_itself_is_zero),
        cmocka_unit_test(senseless_questions_are_refused),
        cmocka_unit_test(fp8_is_read_as_it_would_be_stored),
        cmocka_unit_test(lies_about_shapes_are_refused),
        cmocka_unit_test(a_missing_tensor_comes_with_one_that_is_there),
        cmocka_unit_test(what_is_not_a_number_stops_the_run),
    };
    return cmocka_run_group_tests_name("infer/forward", tests, NULL, NULL);
}
