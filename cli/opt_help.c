/* opt_help.c - the text of --help from the option tables, and guesses at mistyped names. */
#include "opt.h"

#include <string.h>

enum { HELP_WIDTH = 80, HELP_LEFT = 28 };

/* Prints text at column HELP_LEFT, broken at blanks; column is where the cursor stands. */
static void print_wrapped(FILE *out, const char *text, size_t column)
{
    if (column + 2 > HELP_LEFT) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", (int)(HELP_LEFT - column), "");
    column = HELP_LEFT;
    while (*text) {
        const size_t n = strcspn(text, " ");
        if (column > HELP_LEFT && column + 1 + n > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_LEFT, "");
            column = HELP_LEFT;
        } else if (column > HELP_LEFT) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)n, text);
        column += n;
        text += n;
        while (*text == ' ')
            text++;
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct opt *opt)
{
    char left[80];
    int n = opt->letter ? snprintf(left, sizeof left, "  -%c, --%s", opt->letter, opt->name)
                        : snprintf(left, sizeof left, "      --%s", opt->name);

    if (opt->arg && n > 0 && (size_t)n < sizeof left)
        n += snprintf(left + n, sizeof left - (size_t)n, " %s", opt->arg);
    fputs(left, out);
    print_wrapped(out, opt->help, (size_t)n);
}

static void print_group(FILE *out, const struct opt_group *group)
{
    fprintf(out, "\n%s:\n", group->title);
    for (const struct opt *o = group->options; o->name; o++)
        print_option(out, o);
}

void opt_print_help(FILE *out, const struct opt_usage *usage, const struct opt_group *groups,
                    size_t n_groups)
{
    fprintf(out, "usage: ram %s %s\n\n%s\n", usage->verb, usage->synopsis, usage->about);
    if (usage->examples) {
        fputs("\nExamples:\n", out);
        for (const char *line = usage->examples; *line;) {
            const size_t n = strcspn(line, "\n");
            fprintf(out, "  %.*s\n", (int)n, line);
            line += n + (line[n] == '\n');
        }
    }
    const size_t usual = n_groups - 1 - usage->n_rare;
    for (size_t g = 0; g < usual; g++)
        print_group(out, &groups[g]);
    print_group(out, &groups[n_groups - 1]);
    for (size_t g = usual; g + 1 < n_groups; g++)
        print_group(out, &groups[g]);
}

/* Letters to insert, delete or replace to come from a to b (Levenshtein); names are short. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t row[MAX + 1];
    const size_t n = strlen(b);

    if (n > MAX)
        return MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            const size_t inserted = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < inserted ? replaced : inserted;
        }
    }
    return row[n];
}

const char *opt_nearest(const char *name, const char *const *candidates, size_t n)
{
    /* A third of the letters may be wrong: more than that is a guess. */
    size_t best = strlen(name) / 3 + 2;
    const char *found = NULL;

    for (size_t i = 0; i < n; i++) {
        const size_t d = distance(name, candidates[i]);
        if (d < best) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}
