/* family_report.c - plans of one model at many budgets, with the predicted divergence of each. */
#include "base/table.h"
#include "record/emit.h"
#include "report/numbers.h"
#include "report/report.h"

#include <math.h>

static json_t *family_json(const struct ram_candidate *candidates, size_t n)
{
    struct ram_made array = ram_made_array();

    for (size_t i = 0; i < n; i++)
        ram_made_add(&array, json_deep_copy(candidates[i].plan->predicted));
    return ram_made_take(&array);
}

static void put_row(struct ram_table *table, const struct ram_candidate *c, const char *measure)
{
    const double cost = ram_plan_predicted(c->plan, measure);
    const double error = ram_plan_predicted(c->plan, "relative_error");
    const char *name = json_string_value(json_object_get(c->plan->predicted, "uniform"));
    char uniform[32];

    snprintf(uniform, sizeof uniform, "%s_uniform", measure);
    const double other = ram_plan_predicted(c->plan, uniform);
    ram_table_cell(table, "%s", c->label);
    ram_table_cell(table, "%s",
                   ram_number_count((uint64_t)ram_plan_predicted(c->plan, "file_bytes")).s);
    ram_table_cell(table, isnan(error) ? "" : "%.2f", 100 * error);
    ram_table_cell(table, "%.3g", cost);
    ram_table_cell(table, "%s", name ? name : "none");
    ram_table_cell(table, isnan(other) ? "" : "%.3g", other);
    ram_table_cell(table, isnan(other) || !(cost > 0) ? "" : "%.1f", other / cost);
    ram_table_cell(table, "%.4f", 100 * ram_plan_predicted(c->plan, "optimality_gap"));
}

int ram_report_family(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                      size_t n_candidates, enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_table table = {0};
    struct ram_buf text = {0};

    if (markup == RAM_JSON)
        return ram_emit_text(family_json(candidates, n_candidates), out, err);
    const bool probed = manifest->sensitivities != NULL;
    ram_buf_printf(&text, markup == RAM_MARKDOWN ? "## %s\n\n" : "%s\n\n", manifest->model_name);
    ram_table_column(&table, ">bits per weight");
    ram_table_column(&table, ">bytes");
    ram_table_column(&table, ">error %");
    ram_table_column(&table, probed ? ">KL" : ">cost");
    ram_table_column(&table, "best uniform");
    ram_table_column(&table, probed ? ">its KL" : ">its cost");
    ram_table_column(&table, ">times better");
    ram_table_column(&table, ">gap %");
    for (size_t i = 0; i < n_candidates; i++)
        put_row(&table, &candidates[i], probed ? "kld" : "cost");
    ram_table_print(&table, markup, &text);
    ram_table_release(&table);
    ram_buf_puts(&text,
                 "\nbytes: size of the weight files. error: predicted RMS change of the weights in "
                 "% of their RMS,\nrounded to nearest. best uniform: the uniform option of no more "
                 "bytes that loses least.\ngap: upper bound of the distance from the optimal "
                 "plan.\n");
    ram_buf_puts(&text, probed ? "KL: predicted KL divergence from the original model on text that "
                                 "it generates, in\nnats/token.\n"
                               : "cost: relative squared error of the weights, since the model was "
                                 "not probed (ram analyze --probe).\n");
    return ram_buf_take(&text, out, err);
}
