/*
 * compare_layout.h - where each of several scores stands in a table; for compare_*.c alone.
 *
 * A model is a row. Scores of one task that were run with the same settings on the same data are a
 * group, and a group is a run of columns: so nothing stands below a figure that it cannot be
 * compared with. A group is called by the index of its first score.
 */
#ifndef RAM_REPORT_COMPARE_LAYOUT_H
#define RAM_REPORT_COMPARE_LAYOUT_H

#include "base/mem.h"
#include "record/score.h"

/* Scores, what to call them, and what each may be compared with: arrays of n. */
struct ram_comparison {
    const struct ram_score *const *scores;
    const char *const *names;
    const struct ram_pairing *pairings;
    size_t n;
};

struct ram_compare_row {
    char *label;
    size_t first; /* a score of its model */
    bool taken;   /* another row has that label */
};

struct ram_compare_layout {
    const struct ram_comparison *all;
    struct ram_arena arena;
    struct ram_compare_row *rows;
    size_t n_rows, n_groups;
    size_t *row_of; /* [n] */
};

int ram_compare_lay_out(struct ram_compare_layout *layout, const struct ram_comparison *all,
                        struct ram_err *err);
void ram_compare_release(struct ram_compare_layout *layout);

/* The score of a row and a group; n if there is none. */
size_t ram_compare_score_at(const struct ram_compare_layout *layout, size_t row, size_t group);

/* A member of a score's results; NAN: it has none. */
double ram_score_result(const struct ram_score *score, const char *key);

/* What can be said of a score: members of its results, and what its pairing says. */
extern const char *const ram_compare_keys[];
extern const size_t ram_compare_n_keys;

/* NAN: nothing is. */
double ram_compare_value(const struct ram_comparison *all, size_t i, const char *key);

/* Whether any score of a group has it. */
bool ram_compare_any_has(const struct ram_comparison *all, size_t group, const char *key);

int ram_compare_csv(const struct ram_compare_layout *layout, char **out, struct ram_err *err);
int ram_compare_json(const struct ram_compare_layout *layout, char **out, struct ram_err *err);

#endif
