/*
 * sparse.c - a mixture of experts over the rows of a chunk: route all rows, then expert by expert
 * gather its rows, run them, and add them back by their shares.
 *
 * Contributions are added in the order of expert numbers, the shared expert last, whatever the
 * number of threads. The router runs in f32 always: a near tie must not be decided by rounding.
 */
#include "infer/block.h"
#include "kern/nn.h"

#include <math.h>
#include <string.h>

enum { ROWS_A_TASK = 32 };

/* The k best of n values, best first; of equal ones the lower index. */
static void top_k(const float *values, size_t n, size_t k, uint32_t *best)
{
    size_t have = 0;

    for (size_t i = 0; i < n; i++) {
        size_t at = have;
        while (at > 0 && values[i] > values[best[at - 1]])
            at--;
        if (at >= k)
            continue;
        const size_t last = have < k ? have++ : k - 1;
        memmove(best + at + 1, best + at, (last - at) * sizeof *best);
        best[at] = (uint32_t)i;
    }
}

/* Experts outside the best groups (by the sum of a group's two best) are put out of reach. */
static void mask_groups(const struct ram_moe *moe, float *choice)
{
    const size_t size = moe->n_experts / moe->n_groups;
    uint32_t two[2], kept[256] = {0};
    float score[256] = {0};

    for (size_t g = 0; g < moe->n_groups; g++) {
        top_k(choice + g * size, size, 2, two);
        score[g] = choice[g * size + two[0]] + choice[g * size + two[1]];
    }
    top_k(score, moe->n_groups, moe->top_groups, kept);
    for (size_t g = 0; g < moe->n_groups; g++) {
        bool is_kept = false;
        for (size_t i = 0; i < moe->top_groups; i++)
            is_kept = is_kept || kept[i] == g;
        for (size_t e = 0; !is_kept && e < size; e++)
            choice[g * size + e] = -INFINITY;
    }
}

/* logits [n_experts], used up; choice is scratch of the same size. */
static void route(const struct ram_moe *moe, const float *bias, float *logits, float *choice,
                  uint32_t *chosen, float *share)
{
    const size_t n = moe->n_experts;
    float sum = 0;

    if (moe->router == RAM_ROUTER_SOFTMAX)
        ram_nn()->softmax(logits, n, 1);
    else
        for (size_t e = 0; e < n; e++)
            logits[e] = 1 / (1 + expf(-logits[e]));
    for (size_t e = 0; e < n; e++)
        choice[e] = logits[e] + (bias ? bias[e] : 0);
    if (moe->n_groups > 1)
        mask_groups(moe, choice);
    top_k(choice, n, moe->top_k, chosen);
    for (size_t i = 0; i < moe->top_k; i++) {
        share[i] = logits[chosen[i]];
        sum += share[i];
    }
    const float factor = (float)moe->scale / (moe->normalise ? sum + 1e-20f : 1);
    for (size_t i = 0; i < moe->top_k; i++)
        share[i] *= factor;
}

int ram_sparse_route(struct ram_block *b, const struct ram_layer *layer, size_t n,
                     struct ram_err *err)
{
    const struct ram_moe *moe = &b->model->hp.moe;
    struct ram_scratch *s = &b->scratch;
    struct ram_compute exact = b->compute;

    exact.mode = RAM_GEMM_F32;
    const int status =
        ram_linear_apply(&exact, &layer->router, s->normed, n, s->router, moe->n_experts, err);
    for (size_t i = 0; !status && i < n; i++)
        route(moe, layer->router_bias, s->router + i * moe->n_experts,
              s->router + n * moe->n_experts, s->chosen + i * moe->top_k,
              s->share + i * moe->top_k);
    return status;
}

size_t ram_sparse_members(const struct ram_block *b, size_t expert, size_t n)
{
    const struct ram_scratch *s = &b->scratch;
    const size_t k = b->model->hp.moe.top_k;
    size_t n_members = 0;

    for (size_t i = 0; i < n * k; i++)
        if (s->chosen[i] == expert) {
            s->members[n_members] = (uint32_t)(i / k);
            s->member_share[n_members++] = s->share[i];
        }
    return n_members;
}

/* Members [first, first + n) of an expert: their rows together, and what came of them back. A row
 * is a member once, so tasks do not meet. */
struct member_job {
    const struct ram_scratch *s;
    size_t hidden, first, n;
};

static int gather_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct member_job *job = ctx;
    const struct ram_scratch *s = job->s;
    const size_t last = (i + 1) * ROWS_A_TASK < job->n ? (i + 1) * ROWS_A_TASK : job->n;

    (void)worker;
    (void)err;
    for (size_t row = i * ROWS_A_TASK; row < last; row++) {
        memcpy(s->gathered + row * job->hidden,
               s->normed + s->members[job->first + row] * job->hidden,
               job->hidden * sizeof *s->gathered);
        s->gathered_unit[row] = s->unit_of[s->members[job->first + row]];
    }
    return RAM_OK;
}

static int scatter_task(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct member_job *job = ctx;
    const struct ram_scratch *s = job->s;
    const size_t last = (i + 1) * ROWS_A_TASK < job->n ? (i + 1) * ROWS_A_TASK : job->n;

    (void)worker;
    (void)err;
    for (size_t row = i * ROWS_A_TASK; row < last; row++)
        ram_nn()->axpy(s->member_share[job->first + row], s->part + row * job->hidden, job->hidden,
                       s->sum + s->members[job->first + row] * job->hidden);
    return RAM_OK;
}

static int run_expert(struct ram_block *b, const struct ram_mlp *expert, size_t n_members,
                      struct ram_err *err)
{
    const struct ram_scratch *s = &b->scratch;
    struct member_job job = {.s = s, .hidden = b->model->hp.hidden};
    int status = RAM_OK;

    for (; !status && job.first < n_members; job.first += s->mlp_rows) {
        const size_t left = n_members - job.first;
        job.n = left < s->mlp_rows ? left : s->mlp_rows;
        const size_t n_tasks = (job.n + ROWS_A_TASK - 1) / ROWS_A_TASK;
        status = ram_pool_for(b->compute.pool, n_tasks, gather_task, &job, err);
        b->compute.shares = s->member_share + job.first;
        if (!status)
            status = ram_mlp_apply(b, expert, s->gathered, s->gathered_unit, job.n, err);
        b->compute.shares = NULL;
        if (!status)
            status = ram_pool_for(b->compute.pool, n_tasks, scatter_task, &job, err);
    }
    return status;
}

/* The shared expert's output in scratch.part, weighed row by row as its router says. */
static int weigh_shared(struct ram_block *b, const struct ram_layer *layer, const float *x,
                        size_t n, struct ram_err *err)
{
    struct ram_scratch *s = &b->scratch;
    const size_t hidden = b->model->hp.hidden;
    const int status = ram_sparse_shared_share(b, layer, x, n, s->shared_share, err);

    for (size_t i = 0; !status && i < n; i++)
        for (size_t j = 0; j < hidden; j++)
            s->part[i * hidden + j] *= s->shared_share[i];
    return status;
}

int ram_sparse_shared_share(struct ram_block *b, const struct ram_layer *layer, const float *x,
                            size_t n, float *share, struct ram_err *err)
{
    struct ram_compute exact = b->compute;

    exact.mode = RAM_GEMM_F32;
    const int status = ram_linear_apply(&exact, &layer->shared_router, x, n, share, 1, err);
    for (size_t i = 0; !status && i < n; i++)
        share[i] = 1 / (1 + ram_nn_exp(-share[i]));
    return status;
}

int ram_sparse_apply(struct ram_block *b, const struct ram_layer *layer, size_t n,
                     struct ram_err *err)
{
    struct ram_scratch *s = &b->scratch;
    const size_t hidden = b->model->hp.hidden;
    int status = ram_sparse_route(b, layer, n, err);

    memset(s->sum, 0, n * hidden * sizeof *s->sum);
    for (size_t e = 0; !status && e < b->model->hp.moe.n_experts; e++)
        status = run_expert(b, &layer->experts[e], ram_sparse_members(b, e, n), err);
    for (size_t row = 0; layer->has_shared && !status && row < n; row += s->mlp_rows) {
        const size_t rows = n - row < s->mlp_rows ? n - row : s->mlp_rows;
        status =
            ram_mlp_apply(b, &layer->shared, s->normed + row * hidden, s->unit_of + row, rows, err);
        if (!status && layer->shared_router.out)
            status = weigh_shared(b, layer, s->normed + row * hidden, rows, err);
        if (!status)
            status =
                ram_add_into(b->compute.pool, s->part, rows * hidden, s->sum + row * hidden, err);
    }
    return status;
}
