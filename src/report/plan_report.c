/* plan_report.c - what a plan decided: totals, a table per role, the reasons, the experts. */
#include "base/output.h"
#include "base/table.h"
#include "record/emit.h"
#include "report/numbers.h"
#include "report/report.h"
#include "report/roles.h"
#include "report/search_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums -------------------------------------------------------------------------------------
 */

enum { MAX_REASONS = 24 };

struct reason {
    const char *name;
    uint64_t units, tensors, parameters;
};

struct digest {
    struct ram_roles roles;
    struct reason reasons[MAX_REASONS];
    size_t n_reasons;
    bool used[RAM_MAX_BITS + 1];    /* widths that occur, */
    bool used_by[RAM_MAX_BITS + 1]; /* also if every expert had its own */
};

static void count_reason(struct digest *digest, const struct ram_unit *unit)
{
    size_t i = 0;

    while (i < digest->n_reasons && strcmp(digest->reasons[i].name, unit->reason) != 0)
        i++;
    if (i == MAX_REASONS)
        i--; /* a hand-made plan with many reasons: the last stands for the rest */
    else if (i == digest->n_reasons)
        digest->reasons[digest->n_reasons++] = (struct reason){.name = unit->reason};
    digest->reasons[i].units++;
    digest->reasons[i].tensors += unit->members;
    digest->reasons[i].parameters += unit->parameters;
}

static int by_parameters(const void *a, const void *b)
{
    const struct reason *const x = a, *const y = b;

    if (x->parameters != y->parameters)
        return x->parameters < y->parameters ? 1 : -1;
    return strcmp(x->name, y->name);
}

static int digest_plan(const struct ram_plan *plan, struct digest *digest, struct ram_err *err)
{
    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_unit *const unit = &plan->units[i];
        struct ram_role_row *const role =
            ram_roles_at(&digest->roles, unit->role, unit->members > 1, err);
        if (!role)
            return RAM_ENOMEM;
        role->tensors += unit->members;
        role->parameters += unit->parameters;
        role->bytes += unit->bytes;
        role->shares[unit->form->bits].parameters += unit->parameters;
        role->shares[unit->form->bits].tensors += unit->members;
        count_reason(digest, unit);
    }
    ram_roles_sort(&digest->roles);
    qsort(digest->reasons, digest->n_reasons, sizeof *digest->reasons, by_parameters);
    for (int b = 0; b <= RAM_MAX_BITS; b++) {
        digest->used[b] = plan->shares[b].parameters > 0;
        digest->used_by[b] = digest->used[b] || plan->expert_shares[b].parameters > 0;
    }
    return RAM_OK;
}

/* ---- text and Markdown --------------------------------------------------------------------------
 */

static void put_bit_columns(struct ram_table *table, const bool *used)
{
    for (int b = 0; b <= RAM_MAX_BITS; b++)
        if (used[b])
            ram_bits_column(table, b);
}

static void put_bit_cells(struct ram_table *table, const bool *used, const struct ram_share *shares,
                          uint64_t parameters)
{
    for (int b = 0; b <= RAM_MAX_BITS; b++)
        if (used[b])
            ram_table_cell(table, "%s",
                           ram_number_percent((double)shares[b].parameters, (double)parameters).s);
}

static void put_role(struct ram_table *table, const struct digest *digest, const char *name,
                     const struct ram_role_row *role, uint64_t all_bytes)
{
    ram_table_cell(table, "%s", name);
    ram_table_cell(table, "%s", ram_number_count(role->tensors).s);
    ram_table_cell(table, "%s", ram_number_count(role->parameters).s);
    put_bit_cells(table, digest->used, role->shares, role->parameters);
    ram_table_cell(table, "%.2f",
                   role->parameters ? (double)role->bytes * 8 / (double)role->parameters : 0.0);
    ram_table_cell(table, "%s", ram_number_in_unit(role->bytes, all_bytes).s);
}

static void put_roles(const struct ram_plan *plan, const struct digest *digest,
                      enum ram_markup markup, struct ram_buf *out)
{
    struct ram_table table = {0};
    struct ram_role_row all = {.parameters = plan->totals.parameters, .bytes = plan->totals.bytes};
    char size[8];

    snprintf(size, sizeof size, ">%s", ram_number_unit(all.bytes));
    ram_table_column(&table, "role");
    ram_table_column(&table, ">tensors");
    ram_table_column(&table, ">parameters");
    put_bit_columns(&table, digest->used);
    ram_table_column(&table, ">effective");
    ram_table_column(&table, size);
    for (size_t i = 0; i < digest->roles.n; i++) {
        put_role(&table, digest, digest->roles.items[i].name, &digest->roles.items[i],
                 plan->totals.bytes);
        all.tensors += digest->roles.items[i].tensors;
    }
    memcpy(all.shares, plan->shares, sizeof all.shares);
    ram_table_rule(&table);
    put_role(&table, digest, "all", &all, all.bytes);
    ram_table_heading(out, markup, "Bits by role, in % of the role's parameters");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

static const json_t *setting(const struct ram_plan *plan, const char *group, const char *key)
{
    const json_t *const object = json_object_get(plan->settings, group);
    return json_object_get(object, key);
}

/* What a reason means, with the plan's own thresholds where it has one. */
static void put_meaning(struct ram_table *table, const struct ram_plan *plan, const char *reason)
{
    static const char *const meanings[][2] = {
        {"1d", "a vector: never quantised"},
        {"tiny", "under 1,024 parameters: too small to gain"},
        {"not-weight", "not a weight: copied unchanged"},
        {"protected", "by its name, or because no loader reads it quantised"},
        {"sensitive", "by its name: at least 8 bits"},
        {"default", "no other rule applied"},
        {"user", "set by hand"},
        {"router", "as stock converters store it"},
        {"row-size", "no group divides its rows"},
        {"budget", "chosen to minimise predicted divergence"},
        {"floor-embedding", "embedding or head: at least 4 bits"},
        {"veto-2bit", "2 bits would have too large an error"}};
    static const char *const scores[][3] = {{"score>=t16", "t16", "at or above"},
                                            {"score>=t8", "t8", "at or above"},
                                            {"score<=t2", "t2", "at or below"}};

    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
        const json_t *const t = setting(plan, "thresholds", scores[i][1]);
        if (!strcmp(reason, scores[i][0]) && json_is_number(t)) {
            ram_table_cell(table, "composite %s %.2f", scores[i][2], json_number_value(t));
            return;
        }
    }
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        if (!strcmp(reason, meanings[i][0])) {
            ram_table_cell(table, "%s", meanings[i][1]);
            return;
        }
    }
    ram_table_cell(table, "%s", "");
}

static void put_reasons(const struct ram_plan *plan, const struct digest *digest,
                        enum ram_markup markup, struct ram_buf *out)
{
    struct ram_table table = {0};

    ram_table_column(&table, "reason");
    ram_table_column(&table, ">units");
    ram_table_column(&table, ">tensors");
    ram_table_column(&table, ">parameters");
    ram_table_column(&table, ">%");
    ram_table_column(&table, "meaning");
    for (size_t i = 0; i < digest->n_reasons; i++) {
        const struct reason *const r = &digest->reasons[i];
        ram_table_cell(&table, "%s", r->name);
        ram_table_cell(&table, "%s", ram_number_count(r->units).s);
        ram_table_cell(&table, "%s", ram_number_count(r->tensors).s);
        ram_table_cell(&table, "%s", ram_number_count(r->parameters).s);
        ram_table_cell(
            &table, "%s",
            ram_number_percent((double)r->parameters, (double)plan->totals.parameters).s);
        put_meaning(&table, plan, r->name);
    }
    ram_table_heading(out, markup, "Why");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

/* Two distributions: a stack of experts has one width, whatever its experts would have got. */
static void put_experts(const struct ram_plan *plan, const struct digest *digest,
                        enum ram_markup markup, struct ram_buf *out)
{
    const json_t *const alone = json_object_get(plan->predicted, "per_expert");
    const json_t *const bytes = json_object_get(alone, "bytes");
    const json_t *const bits = json_object_get(alone, "nominal_bits");
    struct ram_table table = {0};

    if (!plan->has_expert_shares)
        return;
    ram_table_column(&table, "experts");
    put_bit_columns(&table, digest->used_by);
    ram_table_column(&table, ">nominal");
    ram_table_column(&table, ">size");
    ram_table_cell(&table, "as stored: one width for a stack");
    put_bit_cells(&table, digest->used_by, plan->shares, plan->totals.parameters);
    ram_table_cell(&table, "%.2f", plan->totals.nominal_bits);
    ram_table_cell(&table, "%s", ram_number_binary(plan->totals.bytes).s);
    ram_table_cell(&table, "one width per expert (not storable)");
    put_bit_cells(&table, digest->used_by, plan->expert_shares, plan->totals.parameters);
    ram_table_cell(&table, "%.2f", json_number_value(bits));
    ram_table_cell(&table, "%s", ram_number_binary((uint64_t)json_integer_value(bytes)).s);
    ram_table_heading(out, markup, "Experts, in % of all parameters");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

static void put_units(const struct ram_plan *plan, enum ram_markup markup, struct ram_buf *out)
{
    static const char *const heads[] = {"unit",   ">tensors",   ">parameters", ">bits",
                                        ">group", ">composite", "reason",      ">size"};
    struct ram_table table = {0};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        ram_table_column(&table, heads[i]);
    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_unit *const unit = &plan->units[i];
        ram_table_cell(&table, "%s", unit->name);
        ram_table_cell(&table, "%s", ram_number_count(unit->members).s);
        ram_table_cell(&table, "%s", ram_number_count(unit->parameters).s);
        ram_table_cell(&table, "%d", unit->form->bits);
        if (unit->form->group)
            ram_table_cell(&table, "%d", unit->form->group);
        else
            ram_table_cell(&table, "%s", "");
        if (unit->scored)
            ram_table_cell(&table, "%.4f", unit->scores.composite);
        else
            ram_table_cell(&table, "%s", "");
        ram_table_cell(&table, "%s", unit->reason);
        ram_table_cell(&table, "%s", ram_number_binary(unit->bytes).s);
    }
    ram_table_heading(out, markup, "Units");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

/* "name  value" lines. */
static void put_fact(struct ram_table *table, const char *name)
{
    ram_table_cell(table, "%s", name);
}

/* "composite <= 0.10: 2 bits, >= 0.65: 8, >= 0.90: 16, else 4" */
static void put_thresholds(struct ram_table *table, const json_t *thresholds)
{
    static const struct {
        const char *key, *relation;
        int bits;
    } rules[] = {{"t2", "<=", 2}, {"t8", ">=", 8}, {"t16", ">=", 16}};
    char text[96] = "";
    size_t n = 0;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const json_t *const value = json_object_get(thresholds, rules[i].key);
        if (json_is_number(value) && n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s %.2f: %d bits, ",
                                  rules[i].relation, json_number_value(value), rules[i].bits);
    }
    put_fact(table, "composite");
    ram_table_cell(table, "%selse 4", text);
}

static double setting_number(const struct ram_plan *plan, const char *key)
{
    return json_number_value(json_object_get(plan->settings, key));
}

/* A setting that is a number of bytes, in the units of --fit. */
static void put_bytes(struct ram_table *table, const struct ram_plan *plan, const char *name,
                      const char *key, const char *what)
{
    const uint64_t fit = (uint64_t)setting_number(plan, "fit");
    char text[RAM_SIZE_TEXT];

    put_fact(table, name);
    ram_table_cell(table, "%s   %s", ram_size_text_like(setting_number(plan, key), fit, text),
                   what);
}

/* How --fit arrives at the size of the weights. */
static void put_fit(struct ram_table *table, const struct ram_plan *plan)
{
    char cache[64];

    if (!json_object_get(plan->settings, "fit"))
        return;
    snprintf(cache, sizeof cache, "KV cache of %.0f tokens", setting_number(plan, "fit_context"));
    put_bytes(table, plan, "machine", "fit", "memory, as given by --fit");
    put_bytes(table, plan, "  usable", "fit_usable", "75 % of it; the system keeps the rest");
    put_bytes(table, plan, "  - cache", "fit_keys_values", cache);
    put_bytes(table, plan, "  - running", "fit_activations", "activations and buffers");
    put_bytes(table, plan, "  = weights", "budget_bytes", "left for the weight files");
}

static void put_facts(const struct ram_plan *plan, enum ram_markup markup, struct ram_buf *out)
{
    const struct ram_totals *const t = &plan->totals;
    const json_t *const low = json_object_get(plan->predicted, "max_2bit_percent");
    const json_t *const high = json_object_get(plan->predicted, "max_16bit_percent");
    const json_t *const error = json_object_get(plan->predicted, "relative_error");
    const json_t *const kld = json_object_get(plan->predicted, "kld");
    const json_t *const detected = json_object_get(plan->settings, "detected");
    struct ram_table table = {0};

    ram_table_column(&table, markup == RAM_MARKDOWN ? "plan" : "");
    ram_table_column(&table, markup == RAM_MARKDOWN ? plan->method : "");
    if (json_is_string(detected)) {
        put_fact(&table, "chosen");
        ram_table_cell(&table, "%s", json_string_value(detected));
    }
    const json_t *const thresholds = json_object_get(plan->settings, "thresholds");
    if (thresholds)
        put_thresholds(&table, thresholds);
    put_fit(&table, plan);
    put_fact(&table, "size");
    ram_table_cell(&table, "%s (%s), %s bytes", ram_number_binary(t->bytes).s,
                   ram_number_decimal(t->bytes).s, ram_number_count(t->bytes).s);
    put_fact(&table, "read a token");
    ram_table_cell(&table, "%s (%s)   of weights, to compute it",
                   ram_number_binary(t->bytes_per_token).s,
                   ram_number_decimal(t->bytes_per_token).s);
    put_fact(&table, "parameters");
    ram_table_cell(&table, "%s (%s)", ram_number_count(t->parameters).s,
                   ram_number_short(t->parameters).s);
    put_fact(&table, "effective bits");
    ram_table_cell(&table, "%.3f   including scales, biases and 16-bit tensors", t->effective_bits);
    put_fact(&table, "nominal bits");
    ram_table_cell(&table, "%.3f   width of the codes", t->nominal_bits);
    put_fact(&table, "compression");
    ram_table_cell(&table, "%.2f x   relative to 16 bits", t->compression);
    if (isfinite(plan->span)) {
        put_fact(&table, "span");
        ram_table_cell(&table, "%.3f   composite score, largest minus smallest", plan->span);
    }
    if (json_is_number(low)) {
        put_fact(&table, "max 2-bit");
        ram_table_cell(&table, "%.1f %%   of the parameters score at or below 0.20",
                       json_number_value(low));
    }
    if (json_is_number(high)) {
        put_fact(&table, "max 16-bit");
        ram_table_cell(&table, "%.1f %%   are protected or score at or above 0.75",
                       json_number_value(high));
    }
    if (json_is_number(error)) {
        put_fact(&table, "weight error");
        ram_table_cell(&table, "%.2f %%   predicted RMS(quantised - original) / RMS(original)",
                       100 * json_number_value(error));
    }
    if (json_is_number(kld)) {
        put_fact(&table, "predicted KL");
        ram_table_cell(&table, "%.3g   nats/token, divergence from the original model",
                       json_number_value(kld));
    }
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

/* ---- JSON
 * ----------------------------------------------------------------------------------------- */

static json_t *shares_json(const struct ram_share *shares)
{
    struct ram_made object = ram_made_object();

    for (int b = ram_form_next_bits(0); b; b = ram_form_next_bits(b))
        ram_made_put(&object, ram_bits_text(b).s,
                     json_pack("{sI sI}", "parameters", (json_int_t)shares[b].parameters, "tensors",
                               (json_int_t)shares[b].tensors));
    return ram_made_take(&object);
}

static json_t *roles_json(const struct digest *digest)
{
    struct ram_made array = ram_made_array();

    for (size_t i = 0; i < digest->roles.n; i++) {
        const struct ram_role_row *const r = &digest->roles.items[i];
        ram_made_add(&array,
                     json_pack("{ss sI sI sI so so}", "role", r->name, "tensors",
                               (json_int_t)r->tensors, "parameters", (json_int_t)r->parameters,
                               "bytes", (json_int_t)r->bytes, "effective_bits",
                               ram_json_real((double)r->bytes * 8 / (double)r->parameters),
                               "distribution", shares_json(r->shares)));
    }
    return ram_made_take(&array);
}

static json_t *reasons_json(const struct digest *digest)
{
    struct ram_made object = ram_made_object();

    for (size_t i = 0; i < digest->n_reasons; i++) {
        const struct reason *const r = &digest->reasons[i];
        ram_made_put(&object, r->name,
                     json_pack("{sI sI sI}", "units", (json_int_t)r->units, "tensors",
                               (json_int_t)r->tensors, "parameters", (json_int_t)r->parameters));
    }
    return ram_made_take(&object);
}

static json_t *units_json(const struct ram_plan *plan)
{
    struct ram_made array = ram_made_array();

    for (size_t i = 0; i < plan->n_units; i++) {
        const struct ram_unit *const u = &plan->units[i];
        ram_made_add(&array,
                     json_pack("{ss sI sI si si so ss sI}", "name", u->name, "members",
                               (json_int_t)u->members, "parameters", (json_int_t)u->parameters,
                               "bits", u->form->bits, "group", u->form->group, "composite",
                               ram_json_real(u->scored ? u->scores.composite : NAN), "reason",
                               u->reason, "bytes", (json_int_t)u->bytes));
    }
    return ram_made_take(&array);
}

static json_t *plan_json(const struct ram_plan *plan, const struct digest *digest, bool units)
{
    const struct ram_totals *const t = &plan->totals;
    struct ram_made root = ram_made_from(json_pack(
        "{ss ss sI sI sI so so so so so so so sO? so so}", "method", plan->method, "model",
        plan->model_name, "parameters", (json_int_t)t->parameters, "bytes", (json_int_t)t->bytes,
        "bytes_per_token", (json_int_t)t->bytes_per_token, "gib",
        ram_json_real((double)t->bytes / (1 << 30)), "gb", ram_json_real((double)t->bytes / 1e9),
        "nominal_bits", ram_json_real(t->nominal_bits), "effective_bits",
        ram_json_real(t->effective_bits), "compression", ram_json_real(t->compression), "span",
        ram_json_real(plan->span), "distribution", shares_json(plan->shares), "predicted",
        plan->predicted, "roles", roles_json(digest), "reasons", reasons_json(digest)));
    if (plan->has_expert_shares)
        ram_made_put(&root, "per_expert_distribution", shares_json(plan->expert_shares));
    if (units)
        ram_made_put(&root, "units", units_json(plan));
    return ram_made_take(&root);
}

int ram_plan_describe(const struct ram_plan *plan, enum ram_markup markup, bool units, char **out,
                      struct ram_err *err)
{
    struct digest *const digest = ram_calloc(1, sizeof *digest, err);
    struct ram_buf text = {0};

    int status = digest ? digest_plan(plan, digest, err) : RAM_ENOMEM;
    if (status)
        goto done;
    if (markup == RAM_JSON) {
        status = ram_emit_text(plan_json(plan, digest, units), out, err);
        goto done;
    }
    ram_buf_printf(&text, markup == RAM_MARKDOWN ? "## %s: %s\n\n" : "%s: %s\n\n", plan->model_name,
                   plan->method);
    put_facts(plan, markup, &text);
    put_roles(plan, digest, markup, &text);
    put_experts(plan, digest, markup, &text);
    put_reasons(plan, digest, markup, &text);
    status = ram_report_search(plan, markup, &text, err);
    if (units)
        put_units(plan, markup, &text);
    if (!status)
        status = ram_buf_take(&text, out, err);
    ram_buf_release(&text);
done:
    if (digest)
        ram_roles_release(&digest->roles);
    free(digest);
    return status;
}
