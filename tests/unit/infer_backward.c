/*
 * The backward pass: whatever is only a way of computing (threads, chunks, spilling) must not
 * change a bit of it, and drawn labels are those of the seed. That it is right is checked beside
 * torch's gradients (tests/golden/infer_gradients.c).
 */
#include "ckpt_make.h"
#include "infer/backward.h"

#include <setjmp.h>

#include <cmocka.h>

enum { LENGTH = 24 };

static const char *const architectures[] = {"llama", "qwen3", "qwen3_moe", "glm4_moe_lite"};

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

/* A number for every unit and row: a sum that tells derivatives apart. */
struct marks {
    const struct ram_model *model;
    size_t n_rows;
    float *of; /* [n_units, n_rows] */
    size_t steps;
};

static int see(void *ctx, const struct ram_sight *sight, struct ram_err *err)
{
    struct marks *marks = ctx;
    const unsigned unit = sight->linear ? sight->linear->unit : marks->model->embed_unit;
    const size_t out = sight->linear ? sight->linear->out : marks->model->hp.hidden;

    for (size_t i = 0; i < sight->n; i++) {
        const size_t row = sight->first + (sight->members ? sight->members[i] : i);
        assert_true(row < marks->n_rows);
        for (size_t j = 0; j < out; j++)
            marks->of[unit * marks->n_rows + row] +=
                sight->dy[i * sight->dy_stride + j] * (float)(1 + j % 7);
    }
    return err->status;
}

static int count_step(void *ctx, size_t done, size_t total, struct ram_err *err)
{
    struct marks *marks = ctx;

    assert_int_equal(done, ++marks->steps);
    assert_true(done <= total);
    return err->status;
}

struct subject {
    const char *dir;
    struct ram_ckpt *ckpt;
    struct ram_model *model;
    uint32_t *tokens;
    struct ram_span *spans;
    size_t n;
};

static void open_subject(struct subject *s, const char *arch, size_t n)
{
    struct ram_err err = {0};

    *s = (struct subject){.dir = make_temp_dir(), .n = n};
    make_ckpt(s->dir, &(struct make_opts){.arch = arch});
    ok(ram_ckpt_open(&s->ckpt, s->dir, &err), &err);
    ok(ram_model_open(&s->model, s->ckpt, &err), &err);
    s->tokens = calloc(n * LENGTH, sizeof *s->tokens);
    s->spans = calloc(n, sizeof *s->spans);
    assert_true(s->tokens && s->spans);
    for (size_t i = 0; i < n * LENGTH; i++)
        s->tokens[i] = (uint32_t)((i * i * 7 + i * 13 + 5) % MAKE_VOCAB);
    /* Sequences of different lengths. */
    for (size_t i = 0; i < n; i++)
        s->spans[i] = (struct ram_span){s->tokens + i * LENGTH, LENGTH - i % 5, RAM_NO_PARENT};
}

static void close_subject(struct subject *s)
{
    free(s->tokens);
    free(s->spans);
    ram_model_close(s->model);
    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
}

static float *run(const struct subject *s, unsigned threads, uint64_t max_memory, uint64_t seed,
                  size_t *size)
{
    struct marks marks = {.model = s->model, .n_rows = s->n * LENGTH};
    const struct ram_run how = {.threads = threads, .max_memory = max_memory};
    struct ram_exec exec;
    const struct ram_backward_opts opts = {
        .exec = &exec, .seed = seed, .see = see, .step = count_step, .ctx = &marks};
    struct ram_err err = {0};

    *size = s->model->n_units * marks.n_rows * sizeof(float);
    marks.of = calloc(1, *size);
    assert_non_null(marks.of);
    ok(ram_exec_begin(&exec, &how, &err), &err);
    ok(ram_backward(s->model, s->spans, s->n, &opts, &err), &err);
    assert_int_equal(marks.steps, 2 * s->model->hp.n_layers + 1);
    ram_exec_end(&exec);
    return marks.of;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof architectures / sizeof *architectures; k++) {
        struct subject s;
        size_t size;
        open_subject(&s, architectures[k], 7);
        float *one = run(&s, 1, 0, 3, &size), *three = run(&s, 3, 0, 3, &size);
        float *other = run(&s, 2, 0, 4, &size);
        if (memcmp(one, three, size))
            fail_msg("%s: three threads give other derivatives", architectures[k]);
        assert_true(memcmp(one, other, size)); /* other labels were drawn */
        free(one);
        free(three);
        free(other);
        close_subject(&s);
    }
}

/* So little memory that chunks are small and the inputs of layers lie in a file. */
static void spilling_changes_nothing(void **state)
{
    struct subject s;
    size_t size;
    (void)state;

    open_subject(&s, "qwen3_moe", 1200);
    float *much = run(&s, 1, 0, 3, &size);
    float *little = run(&s, 1, (uint64_t)100 << 20, 3, &size);
    assert_memory_equal(much, little, size);
    free(much);
    free(little);
    close_subject(&s);
}

static void senseless_questions_are_refused(void **state)
{
    const uint32_t labels[LENGTH] = {MAKE_VOCAB};
    struct marks marks = {0};
    struct ram_exec exec = ram_exec_alone(NULL);
    const struct ram_backward_opts opts = {
        .exec = &exec, .labels = labels, .see = see, .ctx = &marks};
    struct subject s;
    struct ram_err err = {0};
    (void)state;

    open_subject(&s, "llama", 1);
    assert_int_equal(ram_backward(s.model, s.spans, 1, &opts, &err), RAM_ERANGE);
    err = (struct ram_err){0};
    assert_int_equal(ram_backward(s.model, s.spans, 0, &opts, &err), RAM_EUSAGE);
    err = (struct ram_err){0};
    s.spans[0].n = 0;
    assert_int_equal(ram_backward(s.model, s.spans, 1, &opts, &err), RAM_EUSAGE);
    err = (struct ram_err){0};
    s.spans[0].n = LENGTH;
    exec.max_memory = 1 << 20;
    assert_int_equal(ram_backward(s.model, s.spans, 1, &opts, &err), RAM_ENOMEM);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(spilling_changes_nothing),
        cmocka_unit_test(senseless_questions_are_refused),
    };
    return cmocka_run_group_tests_name("infer/backward", tests, NULL, NULL);
}
