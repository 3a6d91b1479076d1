/* generate.c - see generate.h. */
#include "infer/generate.h"

#include "base/rng.h"
#include "kern/nn.h"

#include <stdlib.h>

struct ram_generator {
    const struct ram_model *model;
    struct ram_generator_opts opts;
    struct ram_kv *kv;  /* [n_layers] */
    float *logits;      /* [vocab] */
    uint64_t n_sampled; /* which random number comes next */
};

int ram_generator_new(struct ram_generator **out, const struct ram_model *model,
                      const struct ram_generator_opts *opts, struct ram_err *err)
{
    struct ram_generator *g = ram_calloc(1, sizeof *g, err);
    if (!g)
        return RAM_ENOMEM;
    g->model = model;
    g->opts = *opts;
    g->kv = ram_calloc(model->hp.n_layers, sizeof *g->kv, err);
    g->logits = ram_calloc(model->hp.vocab, sizeof *g->logits, err);
    if (!g->kv || !g->logits) {
        ram_generator_free(g);
        return RAM_ENOMEM;
    }
    *out = g;
    return RAM_OK;
}

void ram_generator_free(struct ram_generator *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->kv && i < g->model->hp.n_layers; i++) {
        free(g->kv[i].k);
        free(g->kv[i].v);
    }
    free(g->kv);
    free(g->logits);
    free(g);
}

static uint32_t sample(struct ram_generator *g)
{
    const double u = ram_rng_uniform(ram_rng_for(g->opts.seed, "generate"), g->n_sampled++);

    ram_nn()->softmax(g->logits, g->model->hp.vocab, (float)(1 / g->opts.temperature));
    return (uint32_t)ram_rng_draw(g->logits, g->model->hp.vocab, u);
}

int ram_generator_next(struct ram_generator *g, const uint32_t *tokens, size_t n, uint32_t *next,
                       struct ram_err *err)
{
    const struct ram_span span = {tokens, n, RAM_NO_PARENT};
    const struct ram_forward_opts opts = {.f32 = g->opts.f32, .exec = g->opts.exec, .kv = g->kv};
    struct ram_forward *forward = NULL;
    const size_t row = n - 1;
    size_t top;

    int status = ram_forward_new(&forward, g->model, &span, 1, &opts, err);
    for (size_t layer = 0; !status && layer < g->model->hp.n_layers; layer++)
        status = ram_forward_layer(forward, layer, err);
    if (!status)
        status = ram_forward_logits(forward, &row, 1, NULL, g->logits, err);
    ram_forward_free(forward);
    if (status)
        return status;
    const double lse = ram_nn()->log_sum_exp(g->logits, g->model->hp.vocab, &top);
    if (lse != lse)
        return ram_fail(err, RAM_EFORMAT, "%s: logits are not finite", g->model->ckpt->name);
    *next = g->opts.temperature > 0 ? sample(g) : (uint32_t)top;
    return RAM_OK;
}
