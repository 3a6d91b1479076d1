/* table.c - see table.h. */
#include "base/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDENT = 2, GAP = 2, MAX_CELL = 1024 };

void ram_table_column(struct ram_table *table, const char *head)
{
    if (table->n_columns == RAM_MAX_COLUMNS) {
        table->failed = true;
        return;
    }
    table->right[table->n_columns] = *head == '>';
    table->heads[table->n_columns++] = head + (*head == '>');
}

void ram_table_cell(struct ram_table *table, const char *fmt, ...)
{
    struct ram_err err = {0};
    char text[MAX_CELL];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *const cell = ram_arena_strdup(&table->arena, text, &err);
    if (!cell || ram_grow(&table->cells, sizeof *table->cells, table->n_cells, &table->cap, &err))
        table->failed = true;
    else
        table->cells[table->n_cells++] = cell;
}

void ram_table_rule(struct ram_table *table)
{
    table->rule = table->n_columns ? table->n_cells / table->n_columns : 0;
}

/* Characters, not bytes: names may be UTF-8. */
static size_t width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void spaces(struct ram_buf *out, size_t n)
{
    ram_buf_printf(out, "%*s", (int)n, "");
}

/* A bar would end a cell of Markdown. */
static void put_cell(struct ram_buf *out, enum ram_markup markup, const char *cell)
{
    for (; *cell; cell++) {
        if (*cell == '|' && markup == RAM_MARKDOWN)
            ram_buf_puts(out, "\\");
        ram_buf_add(out, cell, 1);
    }
}

static void print_row(const struct ram_table *table, const char *const *cells, const size_t *widths,
                      enum ram_markup markup, struct ram_buf *out)
{
    const size_t last = table->n_columns - 1;

    if (markup == RAM_MARKDOWN)
        ram_buf_puts(out, "|");
    else
        spaces(out, INDENT);
    for (size_t c = 0; c < table->n_columns; c++) {
        const size_t pad = widths[c] - width(cells[c]);
        if (markup == RAM_MARKDOWN)
            ram_buf_puts(out, " ");
        else if (c)
            spaces(out, GAP);
        if (table->right[c])
            spaces(out, pad);
        put_cell(out, markup, cells[c]);
        if (!table->right[c] && (c < last || markup == RAM_MARKDOWN))
            spaces(out, pad);
        if (markup == RAM_MARKDOWN)
            ram_buf_puts(out, " |");
    }
    ram_buf_puts(out, "\n");
}

static void print_rule(const struct ram_table *table, const size_t *widths, enum ram_markup markup,
                       struct ram_buf *out)
{
    if (markup == RAM_MARKDOWN)
        ram_buf_puts(out, "|");
    else
        spaces(out, INDENT);
    for (size_t c = 0; c < table->n_columns; c++) {
        const size_t n = widths[c] + (markup == RAM_MARKDOWN ? 2 : c ? GAP : 0);
        for (size_t i = 0; i < n; i++)
            ram_buf_puts(out, markup == RAM_MARKDOWN && table->right[c] && i + 1 == n ? ":" : "-");
        ram_buf_puts(out, markup == RAM_MARKDOWN ? "|" : "");
    }
    ram_buf_puts(out, "\n");
}

static bool has_heads(const struct ram_table *table)
{
    for (size_t c = 0; c < table->n_columns; c++)
        if (*table->heads[c])
            return true;
    return false;
}

void ram_table_print(const struct ram_table *table, enum ram_markup markup, struct ram_buf *out)
{
    const size_t n_rows = table->n_columns ? table->n_cells / table->n_columns : 0;
    size_t widths[RAM_MAX_COLUMNS] = {0};

    if (table->failed)
        out->failed = true;
    if (table->failed || !n_rows)
        return;
    for (size_t c = 0; c < table->n_columns; c++) {
        widths[c] = width(table->heads[c]);
        for (size_t r = 0; r < n_rows; r++) {
            const size_t w = width(table->cells[r * table->n_columns + c]);
            widths[c] = w > widths[c] ? w : widths[c];
        }
    }
    if (markup == RAM_MARKDOWN || has_heads(table))
        print_row(table, table->heads, widths, markup, out);
    if (markup == RAM_MARKDOWN)
        print_rule(table, widths, markup, out);
    for (size_t r = 0; r < n_rows; r++) {
        /* Markdown tables have one line only, below the heads. */
        if (r && r == table->rule && markup == RAM_TEXT)
            print_rule(table, widths, markup, out);
        print_row(table, (const char *const *)&table->cells[r * table->n_columns], widths, markup,
                  out);
    }
}

void ram_table_heading(struct ram_buf *out, enum ram_markup markup, const char *title)
{
    ram_buf_printf(out, markup == RAM_MARKDOWN ? "\n### %s\n\n" : "\n%s\n\n", title);
}

void ram_table_release(struct ram_table *table)
{
    free(table->cells);
    ram_arena_release(&table->arena);
    *table = (struct ram_table){0};
}
