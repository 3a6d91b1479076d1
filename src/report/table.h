/*
 * table.h - cells in rows and columns, written as aligned text or as Markdown.
 *
 * Cells are added from left to right, row by row. The first failure to get memory is kept and
 * reported when the table is written.
 */
#ifndef RAM_REPORT_TABLE_H
#define RAM_REPORT_TABLE_H

#include "base/buf.h"
#include "base/mem.h"

enum { RAM_TABLE_MAX_COLUMNS = 24 };

struct ram_table {
    struct ram_arena arena;
    const char *titles[RAM_TABLE_MAX_COLUMNS];
    bool left[RAM_TABLE_MAX_COLUMNS]; /* aligned to the left: names; numbers go to the right */
    size_t n_columns;
    const char **cells; /* row-major */
    size_t n_cells, cap;
    struct ram_err err;
};

/* Columns first. titles are borrowed. */
void ram_table_column(struct ram_table *table, const char *title, bool left);

void ram_table_cell(struct ram_table *table, const char *fmt, ...) RAM_PRINTF(2, 3);

/* The rest of the row stays empty. */
void ram_table_end_row(struct ram_table *table);

/* Adds the table to out: RAM_TEXT, indented by two spaces, or RAM_MARKDOWN. Releases the table. */
int ram_table_write(struct ram_table *table, enum ram_form form, struct ram_buf *out,
                    struct ram_err *err);

#endif
