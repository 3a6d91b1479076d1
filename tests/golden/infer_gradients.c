/*
 * Gradients of every matrix of small checkpoints beside those of torch, in f32: a gradient is the
 * sum over rows of what the backward pass shows, derivative times input. Its norm and its product
 * with a matrix of random signs are compared; logits/make.py made the figures.
 */
#include "golden_model.h"
#include "infer/backward.h"

#define TOLERANCE 1e-4 /* of the gradient's norm */

struct sums {
    const struct golden *golden;
    double **of; /* [n_tensors]: gradient of a tensor, or NULL */
};

static double *sum_of(struct sums *sums, const struct ram_tensor *t)
{
    double **sum = &sums->of[t - sums->golden->ckpt->tensors];

    if (!*sum)
        *sum = calloc(t->n, sizeof **sum);
    assert_non_null(*sum);
    return *sum;
}

static void add_embedding(struct sums *sums, const struct ram_sight *sight)
{
    const struct request *r = &sums->golden->request;
    const size_t hidden = sums->golden->model->hp.hidden;
    double *sum = sum_of(sums, sums->golden->model->embed.view.tensor);

    for (size_t i = 0; i < sight->n; i++) {
        const size_t row = sight->first + i, length = r->spans[0].n;
        const uint32_t token = r->tokens[row / length][row % length];
        for (size_t j = 0; j < hidden; j++)
            sum[token * hidden + j] += (double)sight->dy[i * sight->dy_stride + j];
    }
}

static int see(void *ctx, const struct ram_sight *sight, struct ram_err *err)
{
    struct sums *sums = ctx;
    const struct ram_linear *linear = sight->linear;

    if (!linear) {
        add_embedding(sums, sight);
        return err->status;
    }
    double *sum = sum_of(sums, linear->weight.view.tensor) + linear->first * linear->in;
    assert_false(linear->transposed);
    for (size_t i = 0; i < sight->n; i++)
        for (size_t o = 0; o < linear->out; o++) {
            const double d = (double)sight->dy[i * sight->dy_stride + o];
            for (size_t j = 0; j < linear->in; j++)
                sum[o * linear->in + j] += d * (double)sight->x[i * linear->in + j];
        }
    return err->status;
}

static void compare(const struct golden *golden, const struct sums *sums)
{
    const json_t *row;
    double worst = 0;
    size_t i;

    json_array_foreach(json_object_get(golden->json, "gradients"), i, row)
    {
        const char *name = json_string_value(json_array_get(row, 0));
        const double norm = json_number_value(json_array_get(row, 1));
        const double along = json_number_value(json_array_get(row, 2));
        const struct ram_tensor *t = ram_ckpt_find(golden->ckpt, name);
        double squares = 0, found = 0;
        assert_non_null(t);
        const double *sum = sums->of[t - golden->ckpt->tensors];
        if (!sum)
            fail_msg("%s: %s was not seen", golden->name, name);
        for (size_t j = 0; j < t->n; j++) {
            squares += sum[j] * sum[j];
            found += random_of(name, j) >> 63 ? -sum[j] : sum[j];
        }
        const double apart = fmax(fabs(sqrt(squares) - norm), fabs(found - along)) / norm;
        if (!(apart <= TOLERANCE))
            fail_msg("%s: %s: norm %.7g and sum %.7g, torch has %.7g and %.7g", golden->name, name,
                     sqrt(squares), found, norm, along);
        worst = fmax(worst, apart);
    }
    assert_true(i >= 20);
    print_message("%s: %zu gradients, largest difference %.1e of the norm\n", golden->name, i,
                  worst);
}

static void next_tokens(const struct request *r, uint32_t *labels)
{
    for (size_t s = 0; s < r->n_spans; s++)
        for (size_t t = 0; t < r->spans[s].n; t++)
            *labels++ = r->tokens[s][(t + 1) % r->spans[s].n];
}

static void check(const struct golden *golden)
{
    const struct request *r = &golden->request;
    struct sums sums = {golden, calloc(golden->ckpt->n_tensors, sizeof(double *))};
    uint32_t labels[4 * 512];
    struct ram_exec exec;
    const struct ram_backward_opts opts = {
        .exec = &exec, .labels = labels, .see = see, .ctx = &sums};
    struct ram_err err = {0};

    next_tokens(r, labels);
    ok(ram_exec_begin(&exec, &(struct ram_run){.threads = 2}, &err), &err);
    ok(ram_backward(golden->model, r->spans, r->n_spans, &opts, &err), &err);
    compare(golden, &sums);
    for (size_t i = 0; i < golden->ckpt->n_tensors; i++)
        free(sums.of[i]);
    free(sums.of);
    ram_exec_end(&exec);
}

static void as_torch_computes(void **state)
{
    (void)state;
    golden_each(check);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_torch_computes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
