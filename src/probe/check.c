/* check.c - see check.h. */
#include "probe/check.h"

#include "base/mem.h"
#include "probe/logits.h"

#include <stdio.h>
#include <stdlib.h>

struct check {
    const struct ram_model *source, *written;
    const struct ram_storage *as_if;
    const struct ram_exec *exec;
    struct ram_sequences on;
    struct ram_forward *original; /* spans [0, n) clean, [n, 2n) as if */
    struct ram_forward *result;
    struct ram_logits logits;
    double *kld_written, *kld_as_if; /* [on.n]; sums until all rows are compared */
};

struct ram_synthetic ram_check_tokens(uint64_t bytes, enum ram_tier tier)
{
    const bool small = bytes <= 1000000000, medium = bytes <= 8000000000;
    const size_t length = small ? 256 : medium ? 64 : 32;

    return (struct ram_synthetic){.n = medium && !small ? 32 : 8,
                                  .length = tier == RAM_TIER_LOCAL ? length / 8 : length};
}

static int report(const struct check *c, size_t layer, struct ram_err *err)
{
    const size_t n_layers = c->source->hp.n_layers;
    char item[64] = "head";

    if (layer < n_layers)
        snprintf(item, sizeof item, "layer %zu of %zu", layer + 1, n_layers);
    return ram_exec_report(c->exec,
                           &(struct ram_progress){.stage = "check",
                                                  .item = item,
                                                  .done = layer,
                                                  .total = n_layers,
                                                  .unit = RAM_IN_LAYERS},
                           err);
}

static int start_one(const struct check *c, const struct ram_model *model, size_t copies,
                     struct ram_forward **out, struct ram_err *err)
{
    const struct ram_exec half = ram_exec_share(c->exec, ram_logits_memory(c->exec) / 2);
    return ram_probe_forward(out, model, c->on, copies, &half, err);
}

static int compute_as_if(struct check *c, struct ram_err *err)
{
    unsigned *unit_of = ram_calloc(2 * c->on.n, sizeof *unit_of, err);
    int status = unit_of ? RAM_OK : RAM_ENOMEM;

    for (size_t i = 0; !status && i < c->on.n; i++)
        unit_of[c->on.n + i] = RAM_ALL_UNITS;
    if (!status)
        ram_forward_as_if(c->original, c->as_if, unit_of);
    for (size_t i = 0; !status && i < c->on.n; i++)
        status = ram_forward_embed(c->original, c->on.n + i, c->on.tokens + i * c->on.length, err);
    free(unit_of);
    return status;
}

static int start(struct check *c, struct ram_err *err)
{
    const struct ram_hparams *a = &c->source->hp, *b = &c->written->hp;

    if (a->vocab != b->vocab || a->n_layers != b->n_layers)
        return ram_fail(err, RAM_EUSAGE,
                        "%s has %zu layers and a vocabulary of %zu, its source %zu and %zu",
                        c->written->ckpt->name, b->n_layers, b->vocab, a->n_layers, a->vocab);
    int status = ram_logits_new(&c->logits, c->source, c->exec, err);
    if (!status)
        status = start_one(c, c->source, c->as_if ? 2 : 1, &c->original, err);
    if (!status && c->as_if)
        status = compute_as_if(c, err);
    if (!status)
        status = start_one(c, c->written, 1, &c->result, err);
    return status;
}

static int run_layers(struct check *c, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t layer = 0; !status && layer < c->source->hp.n_layers; layer++) {
        status = report(c, layer, err);
        if (!status)
            status = ram_forward_layer(c->original, layer, err);
        if (!status)
            status = ram_forward_layer(c->result, layer, err);
    }
    return status ? status : report(c, c->source->hp.n_layers, err);
}

/* Rows [row, row + n) of the last comparison, each to the sum of its sequence. */
static void add(const struct check *c, size_t row, size_t n, double *sums)
{
    for (size_t i = 0; i < n; i++)
        sums[(row + i) / c->on.length] += c->logits.divergence[i];
}

static int compare(struct check *c, struct ram_err *err)
{
    const size_t n_rows = c->on.n * c->on.length;
    int status = RAM_OK;

    for (size_t row = 0, n; !status && row < n_rows; row += n) {
        n = n_rows - row < c->logits.block ? n_rows - row : c->logits.block;
        status = ram_logits_clean(&c->logits, c->original, row, n, err);
        if (!status)
            status = ram_logits_diverge(&c->logits, c->result, row, NULL, NULL, err);
        if (!status)
            add(c, row, n, c->kld_written);
        if (!status && c->as_if)
            status = ram_logits_diverge(&c->logits, c->original, n_rows + row, c->as_if, NULL, err);
        if (!status && c->as_if)
            add(c, row, n, c->kld_as_if);
    }
    return status;
}

int ram_check(const struct ram_model *source, const struct ram_model *written,
              const struct ram_storage *as_if, struct ram_sequences on, const struct ram_exec *exec,
              double *kld_written, double *kld_as_if, struct ram_err *err)
{
    struct check *c = ram_calloc(1, sizeof *c, err);

    if (!c)
        return RAM_ENOMEM;
    *c = (struct check){.source = source,
                        .written = written,
                        .as_if = as_if,
                        .exec = exec,
                        .on = on,
                        .kld_written = kld_written,
                        .kld_as_if = kld_as_if};
    for (size_t i = 0; i < on.n; i++)
        kld_written[i] = 0;
    for (size_t i = 0; as_if && i < on.n; i++)
        kld_as_if[i] = 0;
    int status = start(c, err);
    if (!status)
        status = run_layers(c, err);
    if (!status)
        status = compare(c, err);
    for (size_t i = 0; !status && i < on.n; i++)
        kld_written[i] /= (double)on.length;
    for (size_t i = 0; !status && as_if && i < on.n; i++)
        kld_as_if[i] /= (double)on.length;
    ram_forward_free(c->original);
    ram_forward_free(c->result);
    ram_logits_release(&c->logits);
    free(c);
    return status;
}
