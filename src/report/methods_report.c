/*
 * methods_report.c - plans of one model by several methods, side by side.
 *
 * Methods take different numbers of bytes, so that a table of them says little by itself. Next to
 * each stands the best uniform quantisation that takes no more bytes, with the predicted errors of
 * both.
 */
#include "base/table.h"
#include "record/emit.h"
#include "report/numbers.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char legend[] =
    "\nnominal: width of the codes in bits. effective: all bytes x 8 / parameters. x: compression\n"
    "relative to 16 bits. error: predicted RMS change of the weights in % of their RMS, rounded\n"
    "to nearest.\n";
static const char advice[] =
    "Columns of bits: % of all parameters at that width. Methods can only be compared at equal "
    "size,\n"
    "so each is shown with the best uniform width that takes no more bytes.\n";

struct ranked {
    const struct ram_candidate *candidate;
};

static int by_bytes(const void *a, const void *b)
{
    const struct ram_candidate *const x = ((const struct ranked *)a)->candidate;
    const struct ram_candidate *const y = ((const struct ranked *)b)->candidate;

    if (x->plan->totals.bytes != y->plan->totals.bytes)
        return x->plan->totals.bytes < y->plan->totals.bytes ? 1 : -1;
    return (x > y) - (x < y);
}

/* In a method's plan; the labels of uniform ones say it. */
static bool width_occurs(const struct ram_candidate *candidates, size_t n, int width)
{
    for (size_t i = 0; i < n; i++)
        if (!candidates[i].uniform && candidates[i].plan->shares[width].parameters)
            return true;
    return false;
}

static void put_figure(struct ram_table *table, double x, int decimals)
{
    if (isnan(x))
        ram_table_cell(table, "%s", "");
    else
        ram_table_cell(table, "%.*f", decimals, x);
}

static void put_divergence(struct ram_table *table, const struct ram_plan *plan)
{
    const double kld = ram_plan_predicted(plan, "kld");

    ram_table_cell(table, isnan(kld) ? "-" : "%.3g", kld);
}

static void put_candidate(struct ram_table *table, const struct ram_candidate *c,
                          const struct ram_candidate *candidates, size_t n)
{
    const struct ram_totals *const t = &c->plan->totals;

    ram_table_cell(table, "%s", c->label);
    for (int b = 0; b <= RAM_MAX_BITS; b++)
        if (!c->uniform && width_occurs(candidates, n, b))
            ram_table_cell(
                table, "%s",
                ram_number_percent((double)c->plan->shares[b].parameters, (double)t->parameters).s);
    ram_table_cell(table, "%.2f", t->nominal_bits);
    ram_table_cell(table, "%.2f", t->effective_bits);
    ram_table_cell(table, "%s", ram_number_binary(t->bytes).s);
    ram_table_cell(table, "%.2f", t->compression);
    put_figure(table, 100 * ram_plan_predicted(c->plan, "relative_error"), 2);
    put_divergence(table, c->plan);
    if (c->uniform)
        return;
    put_figure(table, c->plan->span, 3);
    const struct ram_candidate *const r = c->rival;
    if (!r) {
        ram_table_cell(table, "none");
        ram_table_cell(table, "%s", "");
        ram_table_cell(table, "%s", "");
        return;
    }
    ram_table_cell(table, "%s, %s", r->label, ram_number_binary(r->plan->totals.bytes).s);
    put_figure(table, 100 * ram_plan_predicted(r->plan, "relative_error"), 2);
    put_divergence(table, r->plan);
}

/* The methods, or the uniform ladder from the largest down. */
static void put_table(const struct ram_candidate *candidates, size_t n, const struct ranked *order,
                      bool uniform, enum ram_markup markup, struct ram_buf *out)
{
    struct ram_table table = {0};

    ram_table_column(&table, uniform ? "uniform" : "method");
    for (int b = 0; b <= RAM_MAX_BITS; b++)
        if (!uniform && width_occurs(candidates, n, b))
            ram_bits_column(&table, b);
    ram_table_column(&table, ">nominal");
    ram_table_column(&table, ">effective");
    ram_table_column(&table, ">size");
    ram_table_column(&table, ">x");
    ram_table_column(&table, ">error");
    ram_table_column(&table, ">KL");
    if (!uniform) {
        ram_table_column(&table, ">span");
        ram_table_column(&table, "uniform in no more bytes");
        ram_table_column(&table, ">error");
        ram_table_column(&table, ">KL");
    }
    for (size_t i = 0; i < n; i++)
        if (order[i].candidate->uniform == uniform)
            put_candidate(&table, order[i].candidate, candidates, n);
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

static json_t *candidate_json(const struct ram_candidate *c)
{
    const struct ram_totals *const t = &c->plan->totals;
    const struct ram_candidate *const r = c->rival;
    struct ram_made shares = ram_made_object();

    for (int b = ram_form_next_bits(0); b; b = ram_form_next_bits(b))
        ram_made_put(&shares, ram_bits_text(b).s,
                     json_pack("{sI sI}", "parameters", (json_int_t)c->plan->shares[b].parameters,
                               "tensors", (json_int_t)c->plan->shares[b].tensors));
    return json_pack(
        "{ss sb so so so sI so so so sO? so ss? so}", "method", c->label, "uniform", c->uniform,
        "distribution", ram_made_take(&shares), "nominal_bits", ram_json_real(t->nominal_bits),
        "effective_bits", ram_json_real(t->effective_bits), "bytes", (json_int_t)t->bytes, "gib",
        ram_json_real((double)t->bytes / (1 << 30)), "compression", ram_json_real(t->compression),
        "span", ram_json_real(c->plan->span), "predicted", c->plan->predicted, "predicted_kld",
        ram_json_real(ram_plan_predicted(c->plan, "kld")), "uniform_in_no_more_bytes",
        r ? r->label : NULL, "uniform_kld",
        ram_json_real(r ? ram_plan_predicted(r->plan, "kld") : NAN));
}

static json_t *compare_json(const struct ram_manifest *manifest,
                            const struct ram_candidate *candidates, size_t n)
{
    struct ram_made array = ram_made_array();

    for (size_t i = 0; i < n; i++)
        ram_made_add(&array, candidate_json(&candidates[i]));
    return json_pack("{ss so}", "model", manifest->model_name, "methods", ram_made_take(&array));
}

/* What the column KL holds, and for which encoder. */
static void put_divergence_legend(const struct ram_candidate *candidates, size_t n,
                                  const struct ram_manifest *manifest, struct ram_buf *out)
{
    const char *encoder =
        n ? json_string_value(json_object_get(candidates[0].plan->settings, "encoder")) : NULL;

    if (manifest->sensitivities)
        ram_buf_printf(out,
                       "KL: predicted KL divergence from the original, in nats/token, if every "
                       "plan is\nconverted with encoder %s.\n",
                       encoder ? encoder : "rtn");
    else
        ram_buf_puts(out, "KL: predicted KL divergence from the original; unknown, since the model "
                          "was not\nprobed (ram analyze --probe).\n");
}

int ram_report_compare(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                       size_t n_candidates, enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_buf text = {0};
    bool scored = false;

    if (markup == RAM_JSON)
        return ram_emit_text(compare_json(manifest, candidates, n_candidates), out, err);
    struct ranked *const order = ram_calloc(n_candidates, sizeof *order, err);
    if (!order)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n_candidates; i++) {
        order[i].candidate = &candidates[i];
        scored |= !candidates[i].uniform;
    }
    ram_buf_printf(&text, markup == RAM_MARKDOWN ? "## %s\n\n" : "%s\n\n", manifest->model_name);
    if (scored) {
        put_table(candidates, n_candidates, order, false, markup, &text);
        ram_buf_puts(&text, "\n");
    } else {
        ram_buf_puts(&text,
                     "Nothing was measured, so that only uniform widths can be compared.\n\n");
    }
    qsort(order, n_candidates, sizeof *order, by_bytes);
    put_table(candidates, n_candidates, order, true, markup, &text);
    ram_buf_puts(&text, legend);
    put_divergence_legend(candidates, n_candidates, manifest, &text);
    if (scored)
        ram_buf_puts(&text, advice);
    free(order);
    return ram_buf_take(&text, out, err);
}
