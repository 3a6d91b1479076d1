/* compare_layout.c - see compare_layout.h. */
#include "report/compare_layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double ram_score_result(const struct ram_score *score, const char *key)
{
    const json_t *value = json_object_get(score->results, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- figures ------------------------------------------------------------------------------ */

const char *const ram_compare_keys[] = {"ppl_mean",
                                        "ppl_stderr",
                                        "ppl_median",
                                        "ppl_change",
                                        "ppl_change_low",
                                        "ppl_change_high",
                                        "kld_mean",
                                        "kld_stderr",
                                        "top1_agreement",
                                        "efficiency",
                                        "acc",
                                        "acc_stderr",
                                        "acc_norm",
                                        "acc_norm_stderr",
                                        "acc_norm_change",
                                        "questions_lost",
                                        "questions_won",
                                        "p_value"};
const size_t ram_compare_n_keys = sizeof ram_compare_keys / sizeof *ram_compare_keys;

/* The result of the paired test; false if the test does not apply to such a figure. */
static bool paired_value(const struct ram_comparison *all, size_t i, const char *key, double *out)
{
    const struct ram_score *score = all->scores[i];
    const struct ram_pairing *p = &all->pairings[i];
    const double before = ram_score_result(all->scores[p->base], "acc_norm");
    const struct {
        const char *key;
        bool known;
        double value;
    } known[] = {
        {"ppl_change", p->same_windows, p->ppl_change},
        {"ppl_change_low", p->same_windows, p->ppl_low},
        {"ppl_change_high", p->same_windows, p->ppl_high},
        /* Percent for each factor of compression, as the publications define it. */
        {"efficiency", p->same_windows, 100 * p->ppl_change / (16 / score->model.effective_bits)},
        {"acc_norm_change", p->same_documents, ram_score_result(score, "acc_norm") - before},
        {"questions_lost", p->same_documents, (double)p->n_lost},
        {"questions_won", p->same_documents, (double)p->n_won},
        {"p_value", p->same_documents, p->p_value},
    };

    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (!strcmp(known[k].key, key)) {
            *out = known[k].known ? known[k].value : NAN;
            return true;
        }
    return false;
}

double ram_compare_value(const struct ram_comparison *all, size_t i, const char *key)
{
    double x;
    return paired_value(all, i, key, &x) ? x : ram_score_result(all->scores[i], key);
}

bool ram_compare_any_has(const struct ram_comparison *all, size_t group, const char *key)
{
    for (size_t i = group; i < all->n; i++)
        if (all->pairings[i].base == group && !isnan(ram_compare_value(all, i, key)))
            return true;
    return false;
}

/* ---- rows --------------------------------------------------------------------------------- */

/* "a//b/./" is "a/b". */
static char *tidy_path(struct ram_arena *arena, const char *path, struct ram_err *err)
{
    char *out = ram_arena_strdup(arena, path, err);
    size_t n = 0;

    for (size_t i = 0; out && path[i]; i++) {
        const bool begins = n == 0 || out[n - 1] == '/';
        if (begins && path[i] == '.' && (path[i + 1] == '/' || (n && !path[i + 1]))) {
            i += path[i + 1] == '/';
            continue;
        }
        if (path[i] != '/' || n == 0 || out[n - 1] != '/')
            out[n++] = path[i];
    }
    while (out && n > 1 && out[n - 1] == '/')
        n--;
    if (out)
        out[n] = '\0';
    return out;
}

/* Quantised in two ways to one size, models have equal headers: the place tells them apart. */
static bool same_model(const struct ram_score *a, const struct ram_score *b, const char *path_a,
                       const char *path_b)
{
    return a->model.path && b->model.path && a->model.bytes == b->model.bytes &&
           !strcmp(a->model.header_sha256, b->model.header_sha256) && !strcmp(path_a, path_b);
}

/* "org/name" of a path into the Hugging Face cache, else its last component. */
static char *short_name(struct ram_arena *arena, const char *path, struct ram_err *err)
{
    static const char mark[] = "/models--", behind[] = "/snapshots/";
    const char *begin = strstr(path, mark), *end = begin ? strstr(begin, behind) : NULL;
    const char *slash = strrchr(path, '/');

    if (end) {
        begin += sizeof mark - 1;
        char *name = ram_arena_printf(arena, err, "%.*s", (int)(end - begin), begin);
        char *dashes = name ? strstr(name, "--") : NULL;
        if (dashes) {
            *dashes = '/';
            memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
        }
        return name;
    }
    return ram_arena_strdup(arena, slash && slash[1] ? slash + 1 : path, err);
}

static bool is_taken(const struct ram_compare_layout *layout, size_t row, const char *label)
{
    for (size_t r = 0; r < layout->n_rows; r++)
        if (r != row && layout->rows[r].label && !strcmp(layout->rows[r].label, label))
            return true;
    return false;
}

/* Gives rows that share a name a longer one. */
static int lengthen(struct ram_compare_layout *layout, char *const *paths, bool with_score,
                    struct ram_err *err)
{
    for (size_t r = 0; r < layout->n_rows; r++)
        layout->rows[r].taken = is_taken(layout, r, layout->rows[r].label);
    for (size_t r = 0; r < layout->n_rows; r++) {
        const size_t i = layout->rows[r].first;
        if (!layout->rows[r].taken)
            continue;
        layout->rows[r].label = with_score ? ram_arena_printf(&layout->arena, err, "%s (%s)",
                                                              paths[i], layout->all->names[i])
                                           : ram_arena_strdup(&layout->arena, paths[i], err);
        if (!layout->rows[r].label)
            return RAM_ENOMEM;
    }
    return RAM_OK;
}

/* The shortest of: last component, path, path with the name of the score, that no other row has. */
static int name_rows(struct ram_compare_layout *layout, char *const *paths, struct ram_err *err)
{
    for (size_t r = 0; r < layout->n_rows; r++) {
        const size_t i = layout->rows[r].first;
        layout->rows[r].label = layout->all->scores[i]->model.path
                                    ? short_name(&layout->arena, paths[i], err)
                                    : ram_arena_strdup(&layout->arena, layout->all->names[i], err);
        if (!layout->rows[r].label)
            return RAM_ENOMEM;
    }
    return lengthen(layout, paths, false, err) || lengthen(layout, paths, true, err) ? RAM_ENOMEM
                                                                                     : RAM_OK;
}

/* Whether there is a score of the same group in that row already. */
static bool occupied(const struct ram_compare_layout *layout, size_t row, size_t i)
{
    const struct ram_pairing *pairings = layout->all->pairings;

    for (size_t j = 0; j < i; j++)
        if (layout->row_of[j] == row && pairings[j].base == pairings[i].base)
            return true;
    return false;
}

int ram_compare_lay_out(struct ram_compare_layout *layout, const struct ram_comparison *all,
                        struct ram_err *err)
{
    char **paths = ram_calloc(all->n, sizeof *paths, err);

    layout->all = all;
    layout->rows = ram_calloc(all->n, sizeof *layout->rows, err);
    layout->row_of = ram_calloc(all->n, sizeof *layout->row_of, err);
    int status = paths && layout->rows && layout->row_of ? RAM_OK : RAM_ENOMEM;
    for (size_t i = 0; !status && i < all->n; i++) {
        const char *path = all->scores[i]->model.path;
        size_t r = 0;
        paths[i] = tidy_path(&layout->arena, path ? path : all->names[i], err);
        if (!paths[i]) {
            status = RAM_ENOMEM;
            break;
        }
        layout->n_groups += all->pairings[i].base == i;
        while (r < layout->n_rows &&
               (!same_model(all->scores[i], all->scores[layout->rows[r].first], paths[i],
                            paths[layout->rows[r].first]) ||
                occupied(layout, r, i)))
            r++;
        if (r == layout->n_rows)
            layout->rows[layout->n_rows++].first = i;
        layout->row_of[i] = r;
    }
    if (!status)
        status = name_rows(layout, paths, err);
    free(paths);
    return status;
}

void ram_compare_release(struct ram_compare_layout *layout)
{
    ram_arena_release(&layout->arena);
    free(layout->rows);
    free(layout->row_of);
}

size_t ram_compare_score_at(const struct ram_compare_layout *layout, size_t row, size_t group)
{
    size_t i = group;

    while (i < layout->all->n &&
           (layout->row_of[i] != row || layout->all->pairings[i].base != group))
        i++;
    return i;
}
