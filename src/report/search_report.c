/* search_report.c - see search_report.h. */
#include "report/search_report.h"

#include "base/table.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 16 };

struct ram_text ram_threshold_text(const json_t *thresholds, const char *key)
{
    struct ram_text text = {"never"};
    const json_t *const value = json_object_get(thresholds, key);

    if (json_is_number(value))
        snprintf(text.s, sizeof text.s, "%.2f", json_number_value(value));
    return text;
}

struct trial {
    const json_t *line;
    size_t index;
    double error;
    uint64_t bytes;
};

static struct trial trial_of(const json_t *line, size_t index)
{
    return (struct trial){line, index, json_number_value(json_object_get(line, "squared_error")),
                          (uint64_t)json_integer_value(json_object_get(line, "bytes"))};
}

static int by_error(const void *a, const void *b)
{
    const struct trial *const x = a, *const y = b;

    if (x->error != y->error)
        return x->error < y->error ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void put_trial(struct ram_table *table, const char *what, const struct trial *trial,
                      const struct trial *from)
{
    ram_table_cell(table, "%s", what);
    ram_table_cell(table, "%s", ram_threshold_text(trial->line, "t2").s);
    ram_table_cell(table, "%s", ram_threshold_text(trial->line, "t8").s);
    ram_table_cell(table, "%s", ram_threshold_text(trial->line, "t16").s);
    ram_table_cell(table, "%s", ram_number_count(trial->bytes).s);
    ram_table_cell(table, "%+.3f", from->error > 0 ? 100 * (trial->error / from->error - 1) : 0.0);
}

int ram_report_search(const struct ram_plan *plan, enum ram_markup markup, struct ram_buf *out,
                      struct ram_err *err)
{
    static const char *const heads[] = {"", ">t2", ">t8", ">t16", ">bytes", ">squared error, %"};
    const json_t *const search = json_object_get(plan->settings, "search");
    const json_t *const tried = json_object_get(search, "tried");
    const struct trial from = trial_of(json_object_get(search, "from"), 0);
    const struct trial chosen = trial_of(json_object_get(search, "chosen"), 0);
    const size_t n = json_array_size(tried);
    struct ram_table table = {0};
    size_t shown = 0;

    if (!n)
        return RAM_OK;
    struct trial *const trials = ram_calloc(n, sizeof *trials, err);
    if (!trials)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n; i++)
        trials[i] = trial_of(json_array_get(tried, i), i);
    qsort(trials, n, sizeof *trials, by_error);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        ram_table_column(&table, heads[i]);
    put_trial(&table, "from", &from, &from);
    put_trial(&table, "chosen", &chosen, &from);
    ram_table_rule(&table);
    for (size_t i = 0; i < n && shown < SHOWN; i++) {
        if (trials[i].bytes > from.bytes || (i && trials[i].error == trials[i - 1].error))
            continue;
        put_trial(&table, "", &trials[i], &from);
        shown++;
    }
    free(trials);
    ram_table_heading(out, markup, "Search for thresholds");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
    ram_buf_printf(out, "\n%s%zu tried; shown are the best distinct ones in no more bytes.\n",
                   markup == RAM_MARKDOWN ? "" : "  ", n);
    return RAM_OK;
}
