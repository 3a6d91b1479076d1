/*
 * verify.c - see verify.h: which checks are made, and how their results are described.
 *
 * A container that cannot be read at all is an error (RAM_EFORMAT, RAM_EIO). Everything that is
 * found after that is a difference, and all differences are listed.
 */
#include "convert/verify.h"

#include "arch/family.h"
#include "base/table.h"
#include "convert/sidecar.h"
#include "convert/stream.h"
#include "convert/verify_values.h"
#include "record/emit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct verify {
    const char *dir;
    const struct ram_format *format;
    struct ram_ckpt *ckpt;
    const struct ram_ckpt *source;
    struct ram_layout *layout; /* of the source, or NULL */
    struct ram_expectation expectation;
    struct ram_found_list list;
    struct ram_findings findings;
    struct ram_sidecar sidecar; /* ram.json */
    uint64_t bytes;             /* of all tensors */
};

/* ---- what is expected ---------------------------------------------------------------------------
 */

static const char *type_of(const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return type ? type : "";
}

/* Whether it is known which tensors of the source became which tensors of the output. */
static bool comparable(const struct verify *v)
{
    return v->layout && v->layout->known && !v->layout->obstacle;
}

/* From the source if there is one, else from config.json; what that lacks is a difference. */
static int expect(struct verify *v, struct ram_err *err)
{
    struct ram_err found = {0};
    int status;

    if (v->source) {
        const char *ours = type_of(v->ckpt->config), *theirs = type_of(v->source->config);
        if (strcmp(ours, theirs) && ram_family_find(ours) != ram_family_find(theirs))
            ram_findings_add(&v->findings, RAM_CHECK_SOURCE, "config.json",
                             "model_type is \"%s\", the source's is \"%s\"", ours, theirs);
        status = ram_layout_new(&v->layout, v->source, v->format, err);
        if (status)
            return status;
        if (comparable(v))
            return ram_expect_layout(&v->expectation, v->layout, err);
        ram_findings_note(&v->findings, RAM_CHECK_SOURCE, false, "%s",
                          v->layout->obstacle ? v->layout->obstacle
                                              : "the architecture is not known");
    }
    status = ram_expect_config(&v->expectation, v->format, v->ckpt->config, "config.json", &found);
    if (status == RAM_ENOMEM)
        return ram_fail(err, status, "%s", found.message);
    if (status)
        ram_findings_add(&v->findings, RAM_CHECK_CONFIG, "config.json", "%s", found.message);
    return RAM_OK;
}

/* ---- plan, source -------------------------------------------------------------------------------
 */

static void check_plan(struct verify *v, const struct ram_plan *plan)
{
    if (!v->expectation.known) {
        ram_findings_note(&v->findings, RAM_CHECK_PLAN, false, "the architecture is not known");
        return;
    }
    ram_findings_note(&v->findings, RAM_CHECK_PLAN, true, "%zu units, method %s", plan->n_units,
                      plan->method ? plan->method : "unknown");
    for (size_t i = 0; i < v->list.n; i++) {
        const struct ram_found *found = &v->list.items[i];
        const struct ram_unit *unit = ram_plan_find(plan, found->expected->unit);
        if (!unit) {
            ram_findings_add(&v->findings, RAM_CHECK_PLAN, found->module,
                             "the plan has no unit \"%s\"", found->expected->unit);
            continue;
        }
        const struct ram_form *const is = found->as.form, *const planned =
                                                              found->expected->quantizable
                                                                  ? ram_form_fit(unit->form,
                                                                                 found->cols)
                                                                  : RAM_FORM_16;
        if (is != planned)
            ram_findings_add(&v->findings, RAM_CHECK_PLAN, found->module,
                             "has %d bits, group %d; the plan says %d bits, group %d", is->bits,
                             is->group, planned->bits, planned->group);
    }
}

/* Matrices of weights below the least step of the coding lose everything. They then have a relative
 * error of 1 and are the source's nevertheless. Where weights of another origin have been encoded,
 * the errors are larger than that step. */
static bool is_foreign(const struct ram_found *found)
{
    const double n = (double)found->rows * (double)found->cols;

    return !(found->squared_error < found->squared) &&
           !(found->squared_error <= n * RAM_LEAST_STEP * RAM_LEAST_STEP);
}

static void check_source(struct verify *v)
{
    double squared_error = 0, squared = 0;
    size_t n = 0;

    for (size_t i = 0; i < v->list.n; i++) {
        const struct ram_found *found = &v->list.items[i];
        const double error = ram_relative_error(found->squared_error, found->squared);
        if (!found->expected || !found->expected->target)
            continue;
        n++;
        if (found->quantized) {
            squared_error += found->squared_error;
            squared += found->squared;
        }
        if (!found->quantized && !(found->squared_error == 0))
            ram_findings_add(&v->findings, RAM_CHECK_SOURCE, found->module,
                             "is not quantised, but differs from the source (relative error %g)",
                             error);
        else if (is_foreign(found))
            ram_findings_add(&v->findings, RAM_CHECK_SOURCE, found->module,
                             "its relative error is %g: these are not the source's weights", error);
    }
    if (n)
        ram_findings_note(&v->findings, RAM_CHECK_SOURCE, true,
                          "%zu modules; relative error of all that is quantised %.5f", n,
                          ram_relative_error(squared_error, squared));
}

/* ---- telling ------------------------------------------------------------------------------------
 */

static double worst_error(const struct ram_found *found)
{
    const double group = found->quantized ? found->as.form->group : (double)found->cols;
    const double mean_square = found->squared / ((double)found->rows * (double)found->cols);
    return mean_square > 0 ? sqrt(found->worst / group / mean_square) : 0;
}

static json_t *module_json(const struct ram_found *found, bool measured)
{
    struct ram_made entry = ram_made_object();

    ram_made_put(&entry, "name", json_string(found->name));
    ram_made_put(&entry, "module", json_string(found->module));
    ram_made_put(&entry, "bits", json_integer(found->as.form->bits));
    ram_made_put(&entry, "group", json_integer(found->as.form->group));
    if (measured && found->expected && found->expected->target) {
        ram_made_put(&entry, "relative_error",
                     ram_json_real(ram_relative_error(found->squared_error, found->squared)));
        ram_made_put(&entry, "worst_group",
                     json_pack("{s:I, s:I, s:o}", "row", (json_int_t)found->worst_row, "column",
                               (json_int_t)found->worst_col, "relative_error",
                               ram_json_real(worst_error(found))));
    }
    return ram_made_take(&entry);
}

static void tell_json(const struct verify *v, struct ram_buf *buf)
{
    struct ram_made root = ram_made_object();
    struct ram_made tensors = ram_made_array();

    ram_made_put(&root, "directory", ram_json_string(v->dir));
    ram_made_put(&root, "ok", json_boolean(!ram_findings_total(&v->findings)));
    ram_made_put(&root, "model_type", json_string(type_of(v->ckpt->config)));
    ram_made_put(&root, "n_tensors", json_integer((json_int_t)v->ckpt->n_tensors));
    ram_made_put(&root, "bytes", json_integer((json_int_t)v->bytes));
    ram_made_update(&root, ram_findings_json(&v->findings));
    for (size_t i = 0; i < v->list.n; i++)
        ram_made_add(&tensors, module_json(&v->list.items[i], v->source != NULL));
    ram_made_put(&root, "tensors", ram_made_take(&tensors));
    json_t *const value = ram_made_take(&root);
    buf->failed = buf->failed || !value;
    ram_emit_json(buf, value, 0);
    ram_buf_puts(buf, "\n");
    json_decref(value);
}

/* The table of errors: rmse over rms, and the same of the worst group, with its place. */
static void tell_errors(const struct verify *v, enum ram_markup markup, struct ram_buf *buf)
{
    struct ram_table table = {0};

    ram_table_column(&table, "module");
    ram_table_column(&table, ">width");
    ram_table_column(&table, ">error");
    ram_table_column(&table, ">worst group (row, column)");
    for (size_t i = 0; i < v->list.n; i++) {
        const struct ram_found *found = &v->list.items[i];
        if (!found->quantized || !found->expected || !found->expected->target)
            continue;
        ram_table_cell(&table, "%s", found->module);
        ram_table_cell(&table, "%s", found->as.form->id);
        ram_table_cell(&table, "%.5f", ram_relative_error(found->squared_error, found->squared));
        ram_table_cell(&table, "%.4f (%llu, %llu)", worst_error(found),
                       (unsigned long long)found->worst_row, (unsigned long long)found->worst_col);
    }
    ram_table_print(&table, markup, buf);
    ram_table_release(&table);
    ram_buf_puts(buf, "\n");
}

static void tell_findings(const struct verify *v, enum ram_markup markup, struct ram_buf *buf)
{
    const size_t total = ram_findings_total(&v->findings);

    if (markup == RAM_MARKDOWN)
        ram_findings_markdown(&v->findings, buf);
    else
        ram_findings_text(&v->findings, buf);
    ram_buf_puts(buf, markup == RAM_MARKDOWN ? "\n" : "");
    if (total)
        ram_buf_printf(buf, "%s: %zu difference%s\n", v->dir, total, total == 1 ? "" : "s");
    else
        ram_buf_printf(buf, "%s: no difference\n", v->dir);
}

static int tell(const struct verify *v, enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};
    struct ram_c_locale locale;

    const int status = ram_c_locale_enter(&locale, err);
    if (status)
        return status;
    if (markup == RAM_JSON) {
        tell_json(v, &buf);
    } else {
        if (comparable(v))
            tell_errors(v, markup, &buf);
        tell_findings(v, markup, &buf);
    }
    ram_c_locale_leave(&locale);
    return ram_buf_take(&buf, out, err);
}

/* ---- all of it ----------------------------------------------------------------------------------
 */

static int run_checks(struct verify *v, const struct ram_plan *plan, const struct ram_exec *exec,
                      struct ram_err *err)
{
    const struct ram_format *const is = ram_format_of(v->dir);

    v->format = is ? is : ram_format_at(0);
    for (size_t i = 0; i < v->ckpt->n_tensors; i++)
        v->bytes += v->ckpt->tensors[i].size;
    int status = v->format->check_files(v->ckpt, &v->findings, err);
    if (!status)
        status = expect(v, err);
    if (!status)
        status = v->format->find(&v->list, v->ckpt, &v->expectation, &v->findings, err);
    if (!status)
        status = ram_sidecar_read(&v->sidecar, v->ckpt->dir, &v->findings, err);
    if (!status)
        status = ram_compare(&v->list, v->ckpt, comparable(v) ? v->source : NULL, exec,
                             &v->findings, err);
    if (status)
        return status;
    ram_sidecar_check(&v->sidecar, &v->list, comparable(v), &v->findings);
    if (!plan)
        plan = v->sidecar.plan;
    if (plan)
        check_plan(v, plan);
    else
        ram_findings_note(&v->findings, RAM_CHECK_PLAN, false, "no plan");
    if (v->source)
        check_source(v);
    else
        ram_findings_note(&v->findings, RAM_CHECK_SOURCE, false, "no source");
    return v->findings.failed ? ram_fail(err, RAM_ENOMEM, "no memory for the findings") : RAM_OK;
}

int ram_verify_run(const char *dir, const struct ram_ckpt *source, const struct ram_plan *plan,
                   const struct ram_exec *exec, enum ram_markup markup, char **out,
                   struct ram_err *err)
{
    struct verify v = {.dir = dir, .source = source};

    int status = ram_ckpt_open_as_named(&v.ckpt, dir, err);
    if (!status)
        status = run_checks(&v, plan, exec, err);
    if (!status && out)
        status = tell(&v, markup, out, err);
    if (!status && ram_findings_total(&v.findings))
        status = ram_fail(err, RAM_EDIFF, "%s: %zu difference%s, the first in %s: %s", dir,
                          ram_findings_total(&v.findings),
                          ram_findings_total(&v.findings) == 1 ? "" : "s",
                          v.findings.items[0].where, v.findings.items[0].what);
    ram_sidecar_release(&v.sidecar);
    ram_found_release(&v.list);
    ram_expect_release(&v.expectation);
    ram_findings_release(&v.findings);
    ram_layout_free(v.layout);
    ram_ckpt_close(v.ckpt);
    return status;
}
