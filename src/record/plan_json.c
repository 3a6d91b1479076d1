/*
 * plan_json.c - the JSON form of a plan, "ram.plan/1": one line a unit, to be read and edited.
 *
 * Beyond the keys that docs/formats.md promises: "model"; and of a unit "role", "layer" and
 * "stored": {"bytes": of a weight at 16 bits, "matrices": [[count, rows, cols], ...]}, from which
 * a plan whose bits were changed by hand computes its bytes anew; and "read": [read, parts] of a
 * unit of which a token does not need everything.
 */
#include "record/emit.h"
#include "record/plan.h"

#include <stdio.h>

static unsigned long long ull(uint64_t n)
{
    return n;
}

static void put_shares(struct ram_buf *buf, const struct ram_share *shares)
{
    const char *separator = "\n";
    uint64_t total = 0;

    for (int b = ram_form_next_bits(0); b; b = ram_form_next_bits(b))
        total += shares[b].parameters;
    for (int b = ram_form_next_bits(0); b; b = ram_form_next_bits(b)) {
        const double percent = total ? 100.0 * (double)shares[b].parameters / (double)total : 0.0;
        ram_buf_printf(buf,
                       "%s      \"%d\": {\"parameters\": %llu, \"tensors\": %llu, \"percent\": ",
                       separator, b, ull(shares[b].parameters), ull(shares[b].tensors));
        ram_emit_real(buf, percent);
        ram_buf_puts(buf, "}");
        separator = ",\n";
    }
    ram_buf_puts(buf, "\n    }");
}

static void put_summary(struct ram_buf *buf, const struct ram_plan *plan)
{
    const struct ram_totals *const t = &plan->totals;
    const struct {
        const char *before;
        double value;
    } figures[] = {{",\n    \"gib\": ", (double)t->bytes / (1 << 30)},
                   {",\n    \"gb\": ", (double)t->bytes / 1e9},
                   {",\n    \"nominal_bits\": ", t->nominal_bits},
                   {",\n    \"effective_bits\": ", t->effective_bits},
                   {",\n    \"compression\": ", t->compression},
                   {",\n    \"span\": ", plan->span}};

    ram_buf_printf(buf,
                   "  \"summary\": {\n    \"parameters\": %llu,\n    \"bytes\": %llu"
                   ",\n    \"bytes_per_token\": %llu",
                   ull(t->parameters), ull(t->bytes), ull(t->bytes_per_token));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        ram_buf_puts(buf, figures[i].before);
        ram_emit_real(buf, figures[i].value);
    }
    ram_buf_puts(buf, ",\n    \"distribution\": {");
    put_shares(buf, plan->shares);
    if (plan->has_expert_shares) {
        ram_buf_puts(buf, ",\n    \"per_expert_distribution\": {");
        put_shares(buf, plan->expert_shares);
    } else {
        ram_buf_puts(buf, ",\n    \"per_expert_distribution\": null");
    }
    ram_buf_puts(buf, ",\n    \"predicted\": ");
    ram_emit_json(buf, plan->predicted, 2);
    ram_buf_puts(buf, "\n  },\n");
}

static void put_scores(struct ram_buf *buf, const struct ram_unit *unit)
{
    const struct ram_scores *const s = &unit->scores;
    const struct {
        const char *before;
        double value;
    } figures[] = {{"{\"svd\": ", s->svd},
                   {", \"kurtosis\": ", s->kurtosis},
                   {", \"output\": ", s->output},
                   {", \"error\": ", s->error},
                   {", \"composite\": ", s->composite}};

    if (!unit->scored) {
        ram_buf_puts(buf, "null");
        return;
    }
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        ram_buf_puts(buf, figures[i].before);
        ram_emit_real(buf, figures[i].value);
    }
    ram_buf_puts(buf, "}");
}

static void put_unit(struct ram_buf *buf, const struct ram_unit *unit)
{
    ram_buf_puts(buf, "    {\"name\": ");
    ram_emit_string(buf, unit->name);
    ram_buf_puts(buf, ", \"role\": ");
    ram_emit_string(buf, unit->role);
    if (unit->layer < 0)
        ram_buf_puts(buf, ", \"layer\": null");
    else
        ram_buf_printf(buf, ", \"layer\": %d", unit->layer);
    ram_buf_printf(buf, ", \"members\": %llu, \"parameters\": %llu, \"bits\": %d, \"group\": %d",
                   ull(unit->members), ull(unit->parameters), unit->form->bits, unit->form->group);
    if (!ram_form_is_plain(unit->form)) {
        ram_buf_puts(buf, ", \"form\": ");
        ram_emit_string(buf, unit->form->id);
    }
    ram_buf_puts(buf, ", \"scores\": ");
    put_scores(buf, unit);
    ram_buf_puts(buf, ", \"reason\": ");
    ram_emit_string(buf, unit->reason);
    ram_buf_printf(buf, ", \"bytes\": %llu", ull(unit->bytes));
    if (unit->n_blocks) {
        ram_buf_printf(buf, ", \"stored\": {\"bytes\": %d, \"matrices\": [", unit->stored_size);
        for (size_t i = 0; i < unit->n_blocks; i++)
            ram_buf_printf(buf, "%s[%llu, %llu, %llu]", i ? ", " : "", ull(unit->blocks[i].count),
                           ull(unit->blocks[i].rows), ull(unit->blocks[i].cols));
        ram_buf_puts(buf, "]}");
    }
    if (unit->parts)
        ram_buf_printf(buf, ", \"read\": [%llu, %llu]", ull(unit->read), ull(unit->parts));
    ram_buf_puts(buf, "}");
}

static void put_member(struct ram_buf *buf, const char *before, const char *value)
{
    ram_buf_puts(buf, before);
    ram_emit_string(buf, value);
}

int ram_plan_text(const struct ram_plan *plan, char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};
    struct ram_c_locale locale;

    const int status = ram_c_locale_enter(&locale, err);
    if (status)
        return status;
    put_member(&buf, "{\n  \"schema\": ", "ram.plan/1");
    put_member(&buf, ",\n  \"method\": ", plan->method);
    put_member(&buf, ",\n  \"model\": {\"name\": ", plan->model_name);
    put_member(&buf, ", \"model_type\": ", plan->model_type);
    ram_buf_puts(&buf, "},\n  \"settings\": ");
    ram_emit_json(&buf, plan->settings, 1);
    put_member(&buf, ",\n  \"manifest\": ", plan->manifest_sha256);
    put_member(&buf, ",\n  \"format\": ", plan->format);
    ram_buf_puts(&buf, ",\n");
    put_summary(&buf, plan);
    ram_buf_puts(&buf, "  \"units\": [");
    for (size_t i = 0; i < plan->n_units; i++) {
        ram_buf_puts(&buf, i ? ",\n" : "\n");
        put_unit(&buf, &plan->units[i]);
    }
    ram_buf_puts(&buf, plan->n_units ? "\n  ]\n}\n" : "]\n}\n");
    ram_c_locale_leave(&locale);
    return ram_buf_take(&buf, out, err);
}
