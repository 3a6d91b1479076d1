/*
 * score_report.c - see score_report.h.
 *
 * One score is told in sentences, several as a table. Only columns that some score has are shown.
 */
#include "report/score_report.h"

#include "report/format.h"
#include "report/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double result(const struct ram_score *score, const char *key)
{
    const json_t *value = json_object_get(score->results, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- one score -------------------------------------------------------------------------- */

static void tell_perplexity(const struct ram_score *score, struct ram_buf *out)
{
    const json_t *outliers = json_object_get(score->results, "outliers");

    ram_buf_printf(out, "  windows     %.0f of %.0f, %.0f tokens scored\n",
                   result(score, "windows"), result(score, "windows_available"),
                   result(score, "tokens"));
    ram_buf_printf(out, "  PPL         mean %.4f +- %.4f, median %.4f, trimmed %.4f, max %.2f\n",
                   result(score, "ppl_mean"), result(score, "ppl_stderr"),
                   result(score, "ppl_median"), result(score, "ppl_trimmed"),
                   result(score, "ppl_max"));
    if (json_array_size(outliers)) {
        ram_buf_printf(out, "  above 100   %zu windows:", json_array_size(outliers));
        for (size_t i = 0; i < json_array_size(outliers); i++) {
            if (i == 8) {
                ram_buf_puts(out, " ...");
                break;
            }
            ram_buf_printf(out, " %lld",
                           (long long)json_integer_value(json_array_get(outliers, i)));
        }
        ram_buf_puts(out, "\n");
    }
}

static void tell_divergence(const struct ram_score *score, struct ram_buf *out)
{
    const json_t *interval = json_object_get(score->results, "ppl_change_ci95");
    const char *const reference = score->reference.path;

    ram_buf_printf(out, "  reference   %s, PPL %.4f\n", reference ? reference : "not named",
                   result(score, "ppl_mean_reference"));
    ram_buf_printf(out, "  KLD         mean %.6f +- %.6f nats, median %.6f, 99 %% %.5f, max %.4f\n",
                   result(score, "kld_mean"), result(score, "kld_stderr"),
                   result(score, "kld_median"), result(score, "kld_p99"), result(score, "kld_max"));
    ram_buf_printf(out, "  same top    %.3f %% of positions\n",
                   100 * result(score, "top1_agreement"));
    ram_buf_printf(out, "  PPL change  %+.3f %%, 95 %% interval %+.3f to %+.3f\n",
                   100 * result(score, "ppl_change"),
                   100 * json_number_value(json_array_get(interval, 0)),
                   100 * json_number_value(json_array_get(interval, 1)));
}

static void tell(const struct ram_score *score, const char *name, struct ram_buf *out)
{
    ram_buf_printf(out, "%s, %s\n\n", name, score->task);
    ram_buf_printf(out, "  size        %s, %.3f bits a weight\n",
                   ram_format_binary(score->model.bytes).s, score->model.effective_bits);
    if (!isnan(result(score, "ppl_mean")))
        tell_perplexity(score, out);
    if (!isnan(result(score, "kld_mean")))
        tell_divergence(score, out);
    if (!isnan(result(score, "acc")))
        ram_buf_printf(out,
                       "  documents   %.0f\n"
                       "  acc         %.2f %% +- %.2f\n"
                       "  acc_norm    %.2f %% +- %.2f\n",
                       result(score, "documents"), 100 * result(score, "acc"),
                       100 * result(score, "acc_stderr"), 100 * result(score, "acc_norm"),
                       100 * result(score, "acc_norm_stderr"));
    ram_buf_printf(out, "  run         %.1f s, %.0f tokens/s, peak memory %s\n", score->seconds,
                   score->tokens_per_second, ram_format_binary(score->peak_memory_bytes).s);
}

/* ---- several ---------------------------------------------------------------------------- */

struct column {
    const char *title, *key;
    const char *format;
    double scale;
};

static const struct column columns[] = {
    {">PPL mean", "ppl_mean", "%.4f", 1},           {">+-", "ppl_stderr", "%.3f", 1},
    {">median", "ppl_median", "%.4f", 1},           {">KLD", "kld_mean", "%.6f", 1},
    {">same top %", "top1_agreement", "%.2f", 100}, {">acc %", "acc", "%.2f", 100},
    {">acc_norm %", "acc_norm", "%.2f", 100},       {">+-", "acc_norm_stderr", "%.2f", 100},
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static bool any_has(const struct ram_score *const *scores, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (!isnan(result(scores[i], key)))
            return true;
    return false;
}

/* PPL degradation in percent for each factor of compression: the publications' efficiency. */
static double efficiency(const struct ram_score *score, const struct ram_pairing *pairing)
{
    return 100 * pairing->ppl_change / (16 / score->model.effective_bits);
}

static void add_number(struct ram_table *table, const char *format, double x)
{
    char text[64];

    /* The format is one of this file's own. */
    snprintf(text, sizeof text, format, x);
    ram_table_cell(table, "%s", isnan(x) ? "" : text);
}

static void add_row(struct ram_table *table, const struct ram_score *score, const char *name,
                    const struct ram_pairing *pairing, const bool *shown)
{
    ram_table_cell(table, "%s", name);
    ram_table_cell(table, "%s", score->task);
    ram_table_cell(table, "%s", ram_format_binary(score->model.bytes).s);
    ram_table_cell(table, "%.3f", score->model.effective_bits);
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (shown[c])
            add_number(table, columns[c].format, columns[c].scale * result(score, columns[c].key));
    if (pairing && pairing->same_windows) {
        ram_table_cell(table, "%+.3f", 100 * pairing->ppl_change);
        ram_table_cell(table, "%+.3f .. %+.3f", 100 * pairing->ppl_low, 100 * pairing->ppl_high);
        ram_table_cell(table, "%+.3f", efficiency(score, pairing));
    }
    while (table->n_cells % table->n_columns && !table->failed)
        ram_table_cell(table, "%s", "");
}

static void add_notes(const struct ram_pairing *pairings, const char *const *names, size_t n,
                      struct ram_buf *out)
{
    for (size_t i = 1; i < n; i++) {
        const struct ram_pairing *p = &pairings[i];
        if (p->same_documents)
            ram_buf_printf(out,
                           "\n%s against %s: %llu questions lost, %llu won (acc_norm); McNemar "
                           "p = %.3g%s",
                           names[i], names[0], (unsigned long long)p->n_lost,
                           (unsigned long long)p->n_won, p->p_value,
                           p->p_value < 0.05 ? "" : ": within noise");
        else if (p->same_windows && p->ppl_low <= 0 && p->ppl_high >= 0)
            ram_buf_printf(out, "\n%s against %s: the change of PPL is within noise", names[i],
                           names[0]);
        else if (!p->same_windows)
            ram_buf_printf(out, "\n%s and %s did not answer the same questions: no change is shown",
                           names[i], names[0]);
    }
    ram_buf_puts(out, "\n");
}

static void write_table(const struct ram_score *const *scores, const char *const *names,
                        const struct ram_pairing *pairings, size_t n, enum ram_form form,
                        struct ram_buf *out)
{
    struct ram_table table = {0};
    bool shown[N_COLUMNS], paired = false;

    ram_table_column(&table, "score");
    ram_table_column(&table, "task");
    ram_table_column(&table, ">size");
    ram_table_column(&table, ">bits");
    for (size_t c = 0; c < N_COLUMNS; c++) {
        shown[c] = any_has(scores, n, columns[c].key);
        if (shown[c])
            ram_table_column(&table, columns[c].title);
    }
    for (size_t i = 1; i < n; i++)
        paired = paired || pairings[i].same_windows;
    if (paired) {
        ram_table_column(&table, ">change %");
        ram_table_column(&table, ">95 % interval");
        ram_table_column(&table, ">efficiency");
    }
    for (size_t i = 0; i < n; i++)
        add_row(&table, scores[i], names[i], i ? &pairings[i] : NULL, shown);
    ram_table_print(&table, form, out);
    ram_table_release(&table);
    add_notes(pairings, names, n, out);
}

/* ---- JSON ------------------------------------------------------------------------------- */

static json_t *score_value(const struct ram_score *score, const char *name,
                           const struct ram_pairing *pairing)
{
    json_t *value = json_pack("{s:s, s:s, s:I, s:o}", "name", name, "task", score->task, "bytes",
                              (json_int_t)score->model.bytes, "effective_bits",
                              ram_json_real(score->model.effective_bits));
    json_object_set(value, "results", score->results);
    if (pairing && pairing->same_windows) {
        json_object_set_new(value, "ppl_change", ram_json_real(pairing->ppl_change));
        json_object_set_new(
            value, "ppl_change_ci95",
            json_pack("[o, o]", ram_json_real(pairing->ppl_low), ram_json_real(pairing->ppl_high)));
        json_object_set_new(value, "efficiency", ram_json_real(efficiency(score, pairing)));
    }
    if (pairing && pairing->same_documents)
        json_object_set_new(value, "mcnemar",
                            json_pack("{s:I, s:I, s:o}", "lost", (json_int_t)pairing->n_lost, "won",
                                      (json_int_t)pairing->n_won, "p_value",
                                      ram_json_real(pairing->p_value)));
    return value;
}

static int write_json(const struct ram_score *const *scores, const char *const *names,
                      const struct ram_pairing *pairings, size_t n, char **out, struct ram_err *err)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, score_value(scores[i], names[i], i ? &pairings[i] : NULL));
    json_t *root = json_pack("{s:o}", "scores", list);
    const int status = ram_json_text(root, 2, false, out, err);
    json_decref(root);
    return status;
}

int ram_report_scores(const struct ram_score *const *scores, const char *const *names,
                      const struct ram_pairing *pairings, size_t n, enum ram_form form, char **out,
                      struct ram_err *err)
{
    struct ram_buf buf = {0};

    if (form == RAM_JSON)
        return n == 1 ? ram_score_text(scores[0], out, err)
                      : write_json(scores, names, pairings, n, out, err);
    if (n == 1 && form == RAM_TEXT)
        tell(scores[0], names[0], &buf);
    else
        write_table(scores, names, pairings, n, form, &buf);
    return ram_buf_take(&buf, out, err);
}
