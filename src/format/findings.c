/* findings.c - see findings.h. */
#include "format/findings.h"

#include "base/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_LISTED = 200 }; /* of one check; the others are counted */

static const char *const names[RAM_N_CHECKS] = {
    "files", "config", "tensors", "values", "ram.json", "plan", "source",
};

static const char *keep(struct ram_findings *f, const char *fmt, va_list args)
{
    struct ram_err err = {0};
    char text[600];

    vsnprintf(text, sizeof text, fmt, args);
    const char *copy = ram_arena_strdup(&f->arena, text, &err);
    f->failed |= !copy;
    return copy;
}

void ram_findings_add(struct ram_findings *f, enum ram_check check, const char *where,
                      const char *fmt, ...)
{
    struct ram_err err = {0};
    va_list args;

    f->done[check] = true;
    if (f->counts[check]++ >= MAX_LISTED)
        return;
    if (ram_grow(&f->items, sizeof *f->items, f->n, &f->cap, &err)) {
        f->failed = true;
        return;
    }
    va_start(args, fmt);
    f->items[f->n++] = (struct ram_finding){.check = check,
                                            .where = ram_arena_strdup(&f->arena, where, &err),
                                            .what = keep(f, fmt, args)};
    va_end(args);
    f->failed |= err.status != RAM_OK;
}

void ram_findings_note(struct ram_findings *f, enum ram_check check, bool done, const char *fmt,
                       ...)
{
    va_list args;

    f->done[check] |= done;
    va_start(args, fmt);
    f->notes[check] = keep(f, fmt, args);
    va_end(args);
}

size_t ram_findings_total(const struct ram_findings *f)
{
    size_t total = 0;
    for (int k = 0; k < RAM_N_CHECKS; k++)
        total += f->counts[k];
    return total;
}

static const char *verdict(const struct ram_findings *f, int check)
{
    return f->counts[check] ? "differs" : f->done[check] ? "ok" : "not checked";
}

void ram_findings_text(const struct ram_findings *f, struct ram_buf *buf)
{
    for (int k = 0; k < RAM_N_CHECKS; k++) {
        size_t listed = 0;
        ram_buf_printf(buf, "%-9s %-12s %s\n", names[k], verdict(f, k),
                       f->notes[k] ? f->notes[k] : "");
        for (size_t i = 0; i < f->n; i++) {
            if (f->items[i].check != (enum ram_check)k)
                continue;
            ram_buf_printf(buf, "  %s: %s\n", f->items[i].where, f->items[i].what);
            listed++;
        }
        if (f->counts[k] > listed)
            ram_buf_printf(buf, "  and %zu more\n", f->counts[k] - listed);
    }
}

void ram_findings_markdown(const struct ram_findings *f, struct ram_buf *buf)
{
    struct ram_table table = {0};

    ram_table_column(&table, "check");
    ram_table_column(&table, "verdict");
    ram_table_column(&table, "note");
    for (int k = 0; k < RAM_N_CHECKS; k++) {
        ram_table_cell(&table, "%s", names[k]);
        ram_table_cell(&table, "%s", verdict(f, k));
        ram_table_cell(&table, "%s", f->notes[k] ? f->notes[k] : "");
    }
    ram_table_print(&table, RAM_MARKDOWN, buf);
    ram_table_release(&table);
    ram_buf_puts(buf, f->n ? "\n" : "");
    for (size_t i = 0; i < f->n; i++)
        ram_buf_printf(buf, "* %s: `%s`: %s\n", names[f->items[i].check], f->items[i].where,
                       f->items[i].what);
    if (ram_findings_total(f) > f->n)
        ram_buf_printf(buf, "* and %zu more\n", ram_findings_total(f) - f->n);
}

json_t *ram_findings_json(const struct ram_findings *f)
{
    struct ram_made checks = ram_made_array();
    struct ram_made differences = ram_made_array();

    for (int k = 0; k < RAM_N_CHECKS; k++)
        ram_made_add(&checks, json_pack("{s:s, s:s, s:I, s:o}", "check", names[k], "verdict",
                                        verdict(f, k), "differences", (json_int_t)f->counts[k],
                                        "note", ram_json_string(f->notes[k])));
    for (size_t i = 0; i < f->n; i++)
        ram_made_add(&differences, json_pack("{s:s, s:o, s:o}", "check", names[f->items[i].check],
                                             "where", ram_json_string(f->items[i].where), "what",
                                             ram_json_string(f->items[i].what)));
    return json_pack("{s:o, s:o}", "checks", ram_made_take(&checks), "differences",
                     ram_made_take(&differences));
}

void ram_findings_release(struct ram_findings *f)
{
    free(f->items);
    ram_arena_release(&f->arena);
    *f = (struct ram_findings){0};
}
