/* sparse_back.c - the derivative of a mixture of experts, through experts, shares and router. */
#include "infer/block_back.h"
#include "kern/nn.h"

#include <string.h>

/* Which of its experts this one is to a row. */
static size_t slot_of(const struct ram_scratch *s, size_t row, size_t top_k, size_t expert)
{
    size_t slot = 0;

    while (slot + 1 < top_k && s->chosen[row * top_k + slot] != expert)
        slot++;
    return slot;
}

static double dot(const float *x, const float *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* n members [from, from + n) of an expert: through it, and to the derivative by their shares. */
static int members_back(struct ram_back *b, const struct ram_layer *layer, size_t expert,
                        size_t from, size_t n, const float *dy, struct ram_err *err)
{
    struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden, top_k = b->block.model->hp.moe.top_k;
    const uint32_t *members = s->members + from;

    for (size_t i = 0; i < n; i++) {
        const float share = s->member_share[from + i];
        const float *d = dy + members[i] * hidden;
        memcpy(s->gathered + i * hidden, s->normed + members[i] * hidden,
               hidden * sizeof *s->gathered);
        s->gathered_unit[i] = 0;
        for (size_t j = 0; j < hidden; j++)
            b->dpart[i * hidden + j] = share * d[j];
    }
    int status = ram_mlp_back(b, &layer->experts[expert], s->gathered, n, b->dpart, b->first,
                              members, b->din, err);
    for (size_t i = 0; !status && i < n; i++) {
        const size_t slot = slot_of(s, members[i], top_k, expert);
        b->dshare[members[i] * top_k + slot] =
            (float)dot(s->part + i * hidden, dy + members[i] * hidden, hidden);
        ram_nn()->axpy(1, b->din + i * hidden, hidden, b->dnormed + members[i] * hidden);
    }
    return status;
}

/* The derivative by the router's logits. s->router holds the probabilities, of which the chosen are
 * divided by their sum where the model says so. */
static void route_back(const struct ram_moe *moe, const float *p, const uint32_t *chosen,
                       const float *dshare, float *dlogits)
{
    double sum = 0, along = 0, mean = 0;

    for (size_t i = 0; i < moe->top_k; i++) {
        sum += (double)p[chosen[i]];
        along += (double)p[chosen[i]] * (double)dshare[i];
    }
    memset(dlogits, 0, moe->n_experts * sizeof *dlogits);
    for (size_t i = 0; i < moe->top_k; i++) {
        const double d = (double)dshare[i];
        const double dp = moe->normalise ? (d - along / sum) / sum : d;
        dlogits[chosen[i]] = (float)(moe->scale * dp);
        mean += moe->scale * dp * (double)p[chosen[i]];
    }
    for (size_t e = 0; e < moe->n_experts; e++)
        dlogits[e] = moe->router == RAM_ROUTER_SOFTMAX ? p[e] * (dlogits[e] - (float)mean)
                                                       : p[e] * (1 - p[e]) * dlogits[e];
}

static int router_back(struct ram_back *b, const struct ram_layer *layer, size_t n,
                       struct ram_err *err)
{
    const struct ram_moe *moe = &b->block.model->hp.moe;
    const struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden;

    for (size_t i = 0; i < n; i++)
        route_back(moe, s->router + i * moe->n_experts, s->chosen + i * moe->top_k,
                   b->dshare + i * moe->top_k, b->drouter + i * moe->n_experts);
    const int status =
        ram_back_see(b, &layer->router, s->normed, n, b->drouter, moe->n_experts, err);
    return status ? status
                  : ram_linear_back(&b->block.compute, &layer->router, b->drouter, n,
                                    moe->n_experts, b->dnormed, hidden, true, err);
}

/* Rows x of the shared expert, which its router weighs: the derivative by the router's logit, to
 * dlogit [n] and through it to dx; b->dpart = what the expert is given of dy. */
static int shared_router_back(struct ram_back *b, const struct ram_layer *layer, size_t first,
                              size_t n, const float *dy, struct ram_err *err)
{
    struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden;
    const float *x = s->normed + first * hidden;
    float *share = s->shared_share;
    int status;

    if ((status = ram_mlp_apply(&b->block, &layer->shared, x, s->unit_of + first, n, err)) ||
        (status = ram_sparse_shared_share(&b->block, layer, x, n, share, err)))
        return status;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < hidden; j++)
            b->dpart[i * hidden + j] = share[i] * dy[i * hidden + j];
        const double along = dot(s->part + i * hidden, dy + i * hidden, hidden);
        share[i] = (float)(along * (double)share[i] * (1 - (double)share[i]));
    }
    struct ram_back at = *b; /* these rows begin further on */
    at.first += first;
    return ram_back_linear(&at, &layer->shared_router, x, n, share, 1, b->dnormed + first * hidden,
                           true, err);
}

static int shared_back(struct ram_back *b, const struct ram_layer *layer, size_t n, const float *dy,
                       struct ram_err *err)
{
    const struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden;
    int status = RAM_OK;

    for (size_t row = 0; !status && row < n; row += s->mlp_rows) {
        const size_t rows = n - row < s->mlp_rows ? n - row : s->mlp_rows;
        const float *given = dy + row * hidden;
        if (layer->shared_router.out) {
            status = shared_router_back(b, layer, row, rows, given, err);
            given = b->dpart;
        }
        if (!status)
            status = ram_mlp_back(b, &layer->shared, s->normed + row * hidden, rows, given,
                                  b->first + row, NULL, b->din, err);
        if (!status)
            status = ram_add_into(b->block.compute.pool, b->din, rows * hidden,
                                  b->dnormed + row * hidden, err);
    }
    return status;
}

int ram_sparse_back(struct ram_back *b, const struct ram_layer *layer, size_t n, const float *dy,
                    struct ram_err *err)
{
    struct ram_scratch *s = &b->block.scratch;
    const size_t hidden = b->block.model->hp.hidden;
    int status = ram_sparse_route(&b->block, layer, n, err);

    memset(b->dnormed, 0, n * hidden * sizeof *b->dnormed);
    for (size_t e = 0; !status && e < b->block.model->hp.moe.n_experts; e++) {
        const size_t n_members = ram_sparse_members(&b->block, e, n);
        for (size_t from = 0; !status && from < n_members; from += s->mlp_rows) {
            const size_t left = n_members - from;
            status =
                members_back(b, layer, e, from, left < s->mlp_rows ? left : s->mlp_rows, dy, err);
        }
    }
    if (!status && layer->has_shared)
        status = shared_back(b, layer, n, dy, err);
    return status ? status : router_back(b, layer, n, err);
}
