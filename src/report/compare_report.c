/*
 * compare_report.c - see compare_report.h: the table, what is said of pairs below it, and what its
 * columns mean. Only columns that some score of a group fills are shown.
 */
#include "report/compare_report.h"
#include "base/table.h"
#include "report/numbers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A column of the table shows one figure or two: a value, and what belongs to it. */
static const struct column {
    const char *title, *key, *format, *second_key, *second_format;
    double scale;
    const char *meaning;
} columns[] = {
    {"PPL", "ppl_mean", "%.4f", "ppl_stderr", " +- %.3f", 1,
     "mean perplexity of the text, with its standard error; lower is better"},
    {"median", "ppl_median", "%.4f", NULL, NULL, 1,
     "median of the perplexities of the windows, which a few bad windows do not move"},
    {"change %", "ppl_change", "%+.3f", NULL, NULL, 100,
     "change of the mean perplexity against the first model of the column, in percent"},
    {"95 % interval", "ppl_change_low", "%+.3f", "ppl_change_high", " .. %+.3f", 100,
     "95 % confidence interval of that change; if it holds 0, the change is within noise"},
    {"KLD", "kld_mean", "%.6f", "kld_stderr", " +- %.6f", 1,
     "mean KL divergence from the reference model in nats per token, with its standard error; 0 "
     "means the same predictions"},
    {"same top %", "top1_agreement", "%.2f", NULL, NULL, 100,
     "share of positions at which model and reference have the same most likely token"},
    {"efficiency", "efficiency", "%+.3f", NULL, NULL, 1,
     "change % divided by the compression (16 / bits); lower is better"},
    {"acc %", "acc", "%.2f", "acc_stderr", " +- %.2f", 100,
     "share of questions whose right choice has the highest likelihood, with its standard error"},
    {"acc_norm %", "acc_norm", "%.2f", "acc_norm_stderr", " +- %.2f", 100,
     "the same with likelihoods divided by the length of the choice"},
    {"change", "acc_norm_change", "%+.2f", NULL, NULL, 100,
     "change of acc_norm % against the first model of the column, in percentage points"},
    {"p", "p_value", "%.3g", NULL, NULL, 1,
     "probability that a difference this large is chance (McNemar's exact test on acc_norm)"},
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

/* ---- a table ------------------------------------------------------------------------------ */

static size_t count_columns(const struct ram_comparison *all, size_t group)
{
    size_t n = 0;

    for (size_t c = 0; c < N_COLUMNS; c++)
        n += ram_compare_any_has(all, group, columns[c].key);
    return n;
}

/* Where the table has several groups, the first column of each names its task. */
static void add_heads(struct ram_compare_layout *layout, size_t group, struct ram_table *table,
                      struct ram_err *err)
{
    const struct ram_comparison *all = layout->all;
    const char *label = all->pairings[group].label, *task = all->scores[group]->task;
    bool first = layout->n_groups > 1;

    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (!ram_compare_any_has(all, group, columns[c].key))
            continue;
        const char *head = !first ? ram_arena_printf(&layout->arena, err, ">%s", columns[c].title)
                                  : ram_arena_printf(&layout->arena, err, ">%.24s%s%s%s: %s", task,
                                                     label[0] ? " (" : "", label,
                                                     label[0] ? ")" : "", columns[c].title);
        first = false;
        if (head)
            ram_table_column(table, head);
        else
            table->failed = true;
    }
}

/* Whether scores of the group have different references. */
static bool other_reference(const struct ram_comparison *all, size_t i)
{
    const struct ram_score_model *mine = &all->scores[i]->reference;

    for (size_t j = all->pairings[i].base; j < i; j++) {
        const struct ram_score_model *first = &all->scores[j]->reference;
        if (all->pairings[j].base == all->pairings[i].base && first->bytes)
            return mine->bytes && (mine->bytes != first->bytes ||
                                   strcmp(mine->header_sha256, first->header_sha256) != 0);
    }
    return false;
}

static void add_cell(const struct ram_comparison *all, size_t i, const struct column *column,
                     struct ram_table *table)
{
    const double x = i < all->n ? ram_compare_value(all, i, column->key) : NAN;
    const double y =
        column->second_key && i < all->n ? ram_compare_value(all, i, column->second_key) : NAN;
    char first[64] = "", second[64] = "";

    /* Formats are this file's own. */
    if (!isnan(x))
        snprintf(first, sizeof first, column->format, column->scale * x);
    if (!isnan(x) && !isnan(y))
        snprintf(second, sizeof second, column->second_format, column->scale * y);
    const bool apart = !strcmp(column->key, "kld_mean") && !isnan(x) && other_reference(all, i);
    ram_table_cell(table, "%s%s%s", first, second, apart ? " *" : "");
}

/* One table of the groups from `group` on that have room in it; the group after them. */
static size_t write_table(struct ram_compare_layout *layout, size_t group, enum ram_markup markup,
                          struct ram_buf *out, struct ram_err *err)
{
    const struct ram_comparison *all = layout->all;
    struct ram_table table = {0};
    size_t end = group, used = 3;

    ram_table_column(&table, "model");
    ram_table_column(&table, ">size");
    ram_table_column(&table, ">bits");
    for (; end < all->n; end++) {
        if (all->pairings[end].base != end)
            continue;
        if (end > group && used + count_columns(all, end) > RAM_MAX_COLUMNS)
            break;
        used += count_columns(all, end);
        add_heads(layout, end, &table, err);
    }
    for (size_t r = 0; r < layout->n_rows; r++) {
        const struct ram_score_model *model = &all->scores[layout->rows[r].first]->model;
        ram_table_cell(&table, "%s", layout->rows[r].label);
        ram_table_cell(&table, "%s", model->bytes ? ram_number_binary(model->bytes).s : "");
        if (model->bytes)
            ram_table_cell(&table, "%.3f", model->effective_bits);
        else
            ram_table_cell(&table, "%s", "");
        for (size_t g = group; g < end; g++)
            for (size_t c = 0; c < N_COLUMNS && all->pairings[g].base == g; c++)
                if (ram_compare_any_has(all, g, columns[c].key))
                    add_cell(all, ram_compare_score_at(layout, r, g), &columns[c], &table);
    }
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
    return end;
}

/* ---- below it ----------------------------------------------------------------------------- */

static void add_meaning(struct ram_buf *out, enum ram_markup markup, const char *title,
                        const char *meaning)
{
    if (markup == RAM_MARKDOWN)
        ram_buf_printf(out, "* **%s**: %s\n", title, meaning);
    else
        ram_buf_printf(out, "  %-14s %s\n", title, meaning);
}

static void write_legend(const struct ram_comparison *all, size_t n_groups, enum ram_markup markup,
                         struct ram_buf *out)
{
    ram_table_heading(out, markup, "What the columns mean");
    add_meaning(out, markup, "model", "the checkpoint that was evaluated");
    add_meaning(out, markup, "size", "bytes of its weight files");
    add_meaning(out, markup, "bits", "bits per weight: size x 8 / number of weights");
    if (n_groups > 1)
        add_meaning(out, markup, "TASK: ...",
                    "begins the columns of that task, and of those settings if any are named");
    for (size_t c = 0; c < N_COLUMNS; c++)
        for (size_t g = 0; g < all->n; g++)
            if (all->pairings[g].base == g && ram_compare_any_has(all, g, columns[c].key)) {
                add_meaning(out, markup, columns[c].title, columns[c].meaning);
                break;
            }
}

static void say_pair(const struct ram_compare_layout *layout, size_t i, struct ram_buf *out)
{
    const struct ram_pairing *p = &layout->all->pairings[i];
    const char *task = layout->all->scores[i]->task;
    const char *name = layout->rows[layout->row_of[i]].label;
    const char *base = layout->rows[layout->row_of[p->base]].label;

    if (p->same_documents)
        ram_buf_printf(out,
                       "%s: %s against %s: %llu questions lost, %llu won (acc_norm); McNemar p = "
                       "%.3g%s",
                       task, name, base, (unsigned long long)p->n_lost,
                       (unsigned long long)p->n_won, p->p_value,
                       p->p_value < 0.05 ? "" : ", within noise");
    else if (p->same_windows && p->ppl_low <= 0 && p->ppl_high >= 0)
        ram_buf_printf(out, "%s: %s against %s: the change of PPL is within noise", task, name,
                       base);
}

static void say_difference(const struct ram_compare_layout *layout, size_t i, struct ram_buf *out)
{
    const struct ram_pairing *p = &layout->all->pairings[i];
    const char *task = layout->all->scores[i]->task;
    const char *name = layout->rows[layout->row_of[i]].label;

    if (p->base == i && p->label[0])
        ram_buf_printf(out, "%s: %s and %s: different settings (%s); not compared", task, name,
                       layout->rows[layout->row_of[p->unlike]].label, p->difference);
}

/* Tasks that only some models have been given. */
static void say_missing(const struct ram_compare_layout *layout, size_t group, struct ram_buf *out)
{
    const struct ram_comparison *all = layout->all;
    size_t n = 0;

    for (size_t r = 0; r < layout->n_rows; r++)
        n += ram_compare_score_at(layout, r, group) < all->n;
    for (size_t i = 0; i < all->n; i++)
        n += i != group && all->pairings[i].unlike == group && all->pairings[i].label[0];
    if (n == 1 && layout->n_rows > 1 && !all->pairings[group].label[0])
        ram_buf_printf(out, "%s: only %s has a score of it; different tasks are not compared",
                       layout->all->scores[group]->task, layout->rows[layout->row_of[group]].label);
}

static void add_note(struct ram_buf *out, enum ram_markup markup, const char *note)
{
    ram_buf_printf(out, "%s%s%s\n", out->size ? "" : "\n", markup == RAM_MARKDOWN ? "* " : "",
                   note);
}

static void write_notes(const struct ram_compare_layout *layout, enum ram_markup markup,
                        struct ram_buf *out)
{
    const struct ram_comparison *all = layout->all;
    struct ram_buf notes = {0}, line = {0};
    bool starred = false;

    for (size_t i = 0; i < all->n; i++) {
        const struct ram_pairing *p = &all->pairings[i];
        starred = starred ||
                  (!isnan(ram_score_result(all->scores[i], "kld_mean")) && other_reference(all, i));
        line.size = 0;
        if (p->base != i)
            say_pair(layout, i, &line);
        else if (p->label[0])
            say_difference(layout, i, &line);
        else
            say_missing(layout, i, &line);
        if (line.size && !line.failed)
            add_note(&notes, markup, line.data);
    }
    if (starred)
        add_note(&notes, markup,
                 "A KLD with * is measured from another reference model than the first KLD of its "
                 "column; the two cannot be compared");
    if (notes.size && !notes.failed)
        ram_buf_puts(out, notes.data);
    out->failed = out->failed || line.failed || notes.failed;
    ram_buf_release(&line);
    ram_buf_release(&notes);
}

/* ---- all of it ---------------------------------------------------------------------------- */

int ram_report_comparison(const struct ram_comparison *all, enum ram_markup markup, char **out,
                          struct ram_err *err)
{
    struct ram_compare_layout layout = {0};
    struct ram_buf buf = {0};

    int status = ram_compare_lay_out(&layout, all, err);
    if (!status && markup == RAM_JSON)
        status = ram_compare_json(&layout, out, err);
    else if (!status && markup == RAM_CSV)
        status = ram_compare_csv(&layout, out, err);
    if (!status && (markup == RAM_TEXT || markup == RAM_MARKDOWN)) {
        for (size_t group = 0; group < all->n;) {
            if (group)
                ram_buf_puts(&buf, "\n");
            group = write_table(&layout, group, markup, &buf, err);
        }
        write_notes(&layout, markup, &buf);
        write_legend(all, layout.n_groups, markup, &buf);
    }
    ram_compare_release(&layout);
    if (status || markup == RAM_JSON || markup == RAM_CSV) {
        ram_buf_release(&buf);
        return status;
    }
    return ram_buf_take(&buf, out, err);
}
