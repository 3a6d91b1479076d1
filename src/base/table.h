/*
 * table.h - a table for people: columns as wide as their widest cell in text, or Markdown.
 */
#ifndef RAM_BASE_TABLE_H
#define RAM_BASE_TABLE_H

#include "base/buf.h"
#include "base/mem.h"

enum { RAM_MAX_COLUMNS = 32 };

struct ram_table {
    struct ram_arena arena;
    const char *heads[RAM_MAX_COLUMNS];
    bool right[RAM_MAX_COLUMNS]; /* numbers */
    size_t n_columns;
    char **cells; /* row by row */
    size_t n_cells, cap;
    size_t rule; /* a line stands before this row; 0: nowhere */
    bool failed; /* memory ran out; _print reports it through its buffer */
};

/* A column; a head that begins with '>' is set to the right. A text table whose heads are all
 * empty is printed without them. */
void ram_table_column(struct ram_table *table, const char *head);

/* The next cell; the last of a row is followed by the first of the next. */
void ram_table_cell(struct ram_table *table, const char *fmt, ...) RAM_PRINTF(2, 3);

/* A line between what there is and what will come: before a total. */
void ram_table_rule(struct ram_table *table);

/* RAM_TEXT, every line indented, or RAM_MARKDOWN. */
void ram_table_print(const struct ram_table *table, enum ram_markup markup, struct ram_buf *out);

/* The title of a section, with the empty lines around it. */
void ram_table_heading(struct ram_buf *out, enum ram_markup markup, const char *title);

void ram_table_release(struct ram_table *table);

#endif
