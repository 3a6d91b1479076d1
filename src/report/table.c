/* table.c - see table.h. */
#include "report/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { MAX_CELL = 512 };

void ram_table_column(struct ram_table *table, const char *title, bool left)
{
    if (table->n_columns == RAM_TABLE_MAX_COLUMNS) {
        ram_fail(&table->err, RAM_EINTERNAL, "more than %d columns", RAM_TABLE_MAX_COLUMNS);
        return;
    }
    table->titles[table->n_columns] = title;
    table->left[table->n_columns++] = left;
}

static void add(struct ram_table *table, const char *text)
{
    const char *copy = ram_arena_strdup(&table->arena, text, &table->err);

    if (copy &&
        !ram_grow(&table->cells, sizeof *table->cells, table->n_cells, &table->cap, &table->err))
        table->cells[table->n_cells++] = copy;
}

void ram_table_cell(struct ram_table *table, const char *fmt, ...)
{
    char text[MAX_CELL];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    add(table, text);
}

void ram_table_end_row(struct ram_table *table)
{
    while (!table->err.status && table->n_cells % table->n_columns)
        add(table, "");
}

/* Characters, as a terminal counts them; bytes if it is not UTF-8. */
static size_t width_of(const char *text)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t code;
    size_t width = 0;

    while (*p) {
        const utf8proc_ssize_t n = utf8proc_iterate(p, -1, &code);
        width += n > 0 ? (size_t)utf8proc_charwidth(code) : 1;
        p += n > 0 ? n : 1;
    }
    return width;
}

static void pad(struct ram_buf *out, char c, size_t n)
{
    while (n--)
        ram_buf_add(out, &c, 1);
}

static void write_row(const struct ram_table *table, enum ram_form form, const char *const *cells,
                      const size_t *widths, struct ram_buf *out)
{
    ram_buf_puts(out, form == RAM_MARKDOWN ? "|" : " ");
    for (size_t c = 0; c < table->n_columns; c++) {
        const size_t space = widths[c] - width_of(cells[c]);
        const bool last = form == RAM_TEXT && c + 1 == table->n_columns;
        pad(out, ' ', 1 + (table->left[c] ? 0 : space) + (form == RAM_TEXT && c > 0));
        ram_buf_puts(out, cells[c]);
        pad(out, ' ', table->left[c] && !last ? space : 0);
        if (form == RAM_MARKDOWN)
            ram_buf_puts(out, " |");
    }
    ram_buf_puts(out, "\n");
}

static void write_rule(const struct ram_table *table, enum ram_form form, const size_t *widths,
                       struct ram_buf *out)
{
    ram_buf_puts(out, form == RAM_MARKDOWN ? "|" : " ");
    for (size_t c = 0; c < table->n_columns; c++) {
        if (form == RAM_TEXT) {
            pad(out, ' ', c ? 2 : 1);
            pad(out, '-', widths[c]);
        } else {
            pad(out, '-', widths[c] + 1);
            ram_buf_puts(out, table->left[c] ? "-|" : ":|");
        }
    }
    ram_buf_puts(out, "\n");
}

static void release(struct ram_table *table)
{
    ram_arena_release(&table->arena);
    free(table->cells);
    *table = (struct ram_table){0};
}

int ram_table_write(struct ram_table *table, enum ram_form form, struct ram_buf *out,
                    struct ram_err *err)
{
    size_t widths[RAM_TABLE_MAX_COLUMNS] = {0};
    const struct ram_err failure = table->err;

    if (failure.status) {
        release(table);
        return ram_fail(err, failure.status, "%s", failure.message);
    }
    for (size_t c = 0; c < table->n_columns; c++) {
        widths[c] = width_of(table->titles[c]);
        for (size_t i = c; i < table->n_cells; i += table->n_columns) {
            const size_t width = width_of(table->cells[i]);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    write_row(table, form, table->titles, widths, out);
    write_rule(table, form, widths, out);
    for (size_t i = 0; i < table->n_cells; i += table->n_columns)
        write_row(table, form, table->cells + i, widths, out);
    release(table);
    return RAM_OK;
}
