/* logits.c - see logits.h. */
#include "probe/logits.h"

#include "base/mem.h"
#include "kern/nn.h"

#include <math.h>
#include <stdlib.h>

uint64_t ram_logits_memory(const struct ram_exec *exec)
{
    return exec->max_memory - exec->max_memory / RAM_LOGIT_SHARE;
}

int ram_logits_new(struct ram_logits *l, const struct ram_model *model, const struct ram_exec *exec,
                   struct ram_err *err)
{
    const size_t vocab = model->hp.vocab;
    const uint64_t row = 2 * vocab * sizeof(float);
    const uint64_t fits = exec->max_memory / RAM_LOGIT_SHARE / row;

    *l = (struct ram_logits){.exec = exec, .name = model->ckpt->name, .vocab = vocab};
    l->block = fits < 1 ? 1 : fits < RAM_LOGIT_ROWS ? (size_t)fits : RAM_LOGIT_ROWS;
    l->clean = ram_calloc(l->block * vocab, sizeof *l->clean, err);
    l->probed = ram_calloc(l->block * vocab, sizeof *l->probed, err);
    return l->clean && l->probed ? RAM_OK : RAM_ENOMEM;
}

void ram_logits_release(struct ram_logits *l)
{
    free(l->clean);
    free(l->probed);
}

static int compute(const struct ram_logits *l, struct ram_forward *forward, size_t first,
                   const struct ram_storage *as_if, float *out, struct ram_err *err)
{
    size_t rows[RAM_LOGIT_ROWS];

    for (size_t i = 0; i < l->n; i++)
        rows[i] = first + i;
    return ram_forward_logits(forward, rows, l->n, as_if, out, err);
}

static int clean_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct ram_logits *l = ctx;
    size_t top;

    (void)worker;
    l->clean_lse[i] = ram_nn()->log_sum_exp(l->clean + i * l->vocab, l->vocab, &top);
    return isfinite(l->clean_lse[i])
               ? RAM_OK
               : ram_fail(err, RAM_EFORMAT, "%s: logits are not finite", l->name);
}

static int probed_row(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct ram_logits *l = ctx;
    const float *clean = l->clean + i * l->vocab, *x = l->probed + i * l->vocab;
    size_t top;

    (void)worker;
    const double lse = ram_nn()->log_sum_exp(x, l->vocab, &top);
    if (!isfinite(lse))
        return ram_fail(err, RAM_EFORMAT, "%s: logits of a probe are not finite", l->name);
    l->divergence[i] = fmax(0, ram_nn()->divergence(clean, l->clean_lse[i], x, lse, l->vocab));
    return RAM_OK;
}

int ram_logits_clean(struct ram_logits *l, struct ram_forward *forward, size_t first, size_t n,
                     struct ram_err *err)
{
    l->n = n;
    const int status = compute(l, forward, first, NULL, l->clean, err);
    return status ? status : ram_pool_for(l->exec->pool, n, clean_row, l, err);
}

int ram_logits_diverge(struct ram_logits *l, struct ram_forward *forward, size_t first,
                       const struct ram_storage *as_if, double *sum, struct ram_err *err)
{
    int status = compute(l, forward, first, as_if, l->probed, err);

    if (!status)
        status = ram_pool_for(l->exec->pool, l->n, probed_row, l, err);
    for (size_t i = 0; !status && sum && i < l->n; i++)
        *sum += l->divergence[i];
    return status;
}
