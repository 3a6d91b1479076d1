/* opt.c - reading of options; see opt.h. Help texts are in opt_help.c. */
#include "opt.h"

#include "message.h"
#include "ram.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AT(member) offsetof(struct opt_common, member)
const struct opt opt_common_table[] = {
    {"threads", 0, OPT_UNSIGNED, AT(threads), "N",
     "number of threads (default: one for each processor); results do not depend on it", NULL},
    {"max-memory", 0, OPT_SIZE, AT(max_memory), "SIZE",
     "upper limit of memory, such as 512M, 6GiB or 6GB (default: 2GiB)", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, "print the result as JSON, and nothing else on stdout",
     NULL},
    {"markdown", 0, OPT_FLAG, AT(markdown), NULL, "print the result as Markdown tables", NULL},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL,
     "print errors only: no progress, no notes, no list of files", NULL},
    {"verbose", 'v', OPT_FLAG, AT(verbose), NULL,
     "print more: a line for each unit, and every note", NULL},
    {"force", 0, OPT_FLAG, AT(force), NULL, "replace existing output", NULL},
    {"help", 'h', OPT_FLAG, AT(help), NULL, "print this text", NULL},
    {"version", 0, OPT_FLAG, AT(version), NULL, "print the version of ram", NULL},
    {0},
};
#undef AT

/* ---- values -------------------------------------------------------------------------------- */

static bool read_u64(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end || v > max)
        return false;
    *out = v;
    return true;
}

/* A plain decimal number: strtod alone would also take hexadecimal, "nan" and "infinity". */
static bool read_real(const char *text, double *out, char **end)
{
    const size_t n = strspn(text, "0123456789.");

    if (!isdigit((unsigned char)text[0]) && !(text[0] == '.' && isdigit((unsigned char)text[1])))
        return false;
    *out = strtod(text, end);
    return *end == text + n && isfinite(*out);
}

bool opt_read_size(const char *text, uint64_t *bytes)
{
    static const char letters[] = "KMGTPE";
    char *end;
    double value, unit = 1;

    if (!read_real(text, &value, &end))
        return false;
    const char *letter = *end ? strchr(letters, toupper((unsigned char)*end)) : NULL;
    if (letter) {
        /* "GB" counts in thousands; "GiB" and the bare "G" in units of 1,024. */
        const bool thousands = !strcasecmp(end + 1, "b");
        const bool binary = !end[1] || !strcasecmp(end + 1, "ib");
        if (!thousands && !binary)
            return false;
        for (const char *l = letters; l <= letter; l++)
            unit *= thousands ? 1000 : 1024;
    } else if (*end && strcmp(end, "B")) {
        return false;
    }
    if (!(value * unit >= 1) || value * unit > 0x1p63)
        return false;
    *bytes = (uint64_t)(value * unit);
    return true;
}

/* "6" for "6GB": nothing that has a size here is as small as that many bytes. */
static bool lacks_unit(const char *text, uint64_t bytes)
{
    return bytes < 1000000 && !text[strspn(text, "0123456789.")];
}

static bool read_threshold(const char *text, double *out)
{
    char *end;

    if (!strcmp(text, "off")) {
        *out = RAM_THRESHOLD_OFF;
        return true;
    }
    return read_real(text, out, &end) && !*end && *out > 0;
}

static bool read_amount(const char *text, double *out)
{
    char *end;

    return read_real(text, out, &end) && !*end && *out >= 0;
}

static bool list_add(struct opt_list *list, const char *text)
{
    const char **items = realloc(list->items, (list->n + 1) * sizeof *items);

    if (!items)
        return false;
    items[list->n++] = text;
    list->items = items;
    return true;
}

void opt_list_release(struct opt_list *list)
{
    free(list->items);
    *list = (struct opt_list){0};
}

static bool read_choice(const char *(*choice)(size_t i), const char *text, int *out)
{
    for (int i = 0; choice((size_t)i); i++) {
        if (!strcmp(choice((size_t)i), text)) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* Stores text where the option says; false if it is not a value of that kind. */
static bool set_value(const struct opt *opt, void *base, const char *text)
{
    void *at = (char *)base + opt->offset;
    uint64_t number = 0;
    bool good = true;

    switch (opt->kind) {
    case OPT_FLAG:
        *(bool *)at = true;
        break;
    case OPT_INT:
        good = read_u64(text, INT_MAX, &number) && number > 0;
        *(int *)at = (int)number;
        break;
    case OPT_UNSIGNED:
        good = read_u64(text, UINT_MAX, &number);
        *(unsigned *)at = (unsigned)number;
        break;
    case OPT_U64:
        good = read_u64(text, UINT64_MAX, at);
        break;
    case OPT_COUNT:
        good = read_u64(text, UINT64_MAX, at) && *(uint64_t *)at > 0;
        break;
    case OPT_SIZE:
        good = opt_read_size(text, at) && !lacks_unit(text, *(uint64_t *)at);
        break;
    case OPT_REAL:
        good = read_amount(text, at);
        break;
    case OPT_POSITIVE:
        good = read_amount(text, at) && *(double *)at > 0;
        break;
    case OPT_THRESHOLD:
        good = read_threshold(text, at);
        break;
    case OPT_TEXT:
        *(const char **)at = text;
        break;
    case OPT_LIST:
        good = list_add(at, text);
        break;
    case OPT_CHOICE:
        good = read_choice(opt->choice, text, at);
        break;
    }
    return good;
}

static const char *expected(enum opt_kind kind)
{
    switch (kind) {
    case OPT_INT:
    case OPT_COUNT:
        return "a whole number of at least 1";
    case OPT_UNSIGNED:
    case OPT_U64:
        return "a whole number";
    case OPT_SIZE:
        return "a size such as 512M, 6GiB or 6GB";
    case OPT_REAL:
        return "a number of at least 0";
    case OPT_POSITIVE:
        return "a number above 0";
    case OPT_THRESHOLD:
        return "a number above 0, or off";
    default:
        return "another value";
    }
}

static void complain_value(const struct opt_usage *usage, const struct opt *opt, const char *text)
{
    uint64_t bytes;

    if (opt->kind == OPT_SIZE && opt_read_size(text, &bytes) && lacks_unit(text, bytes)) {
        message(
            "%s: --%s %s: %s B is too small; did you mean --%s %sGB? A size has a unit, such as "
            "512M, 6GiB or 6GB",
            usage->verb, opt->name, text, text, opt->name, text);
        return;
    }
    if (opt->kind != OPT_CHOICE) {
        message("%s: --%s %s: expected %s", usage->verb, opt->name, text, expected(opt->kind));
        return;
    }
    char names[256] = "";
    for (size_t i = 0, n = 0; opt->choice(i) && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", opt->choice(i));
    message("%s: --%s %s: expected one of %s", usage->verb, opt->name, text, names);
}

/* ---- the line ------------------------------------------------------------------------------ */

int opt_find(const struct opt *table, const char *arg)
{
    const bool is_long = arg[1] == '-';
    const size_t n = is_long ? strcspn(arg + 2, "=") : 0;

    for (int i = 0; table[i].name; i++) {
        if (is_long ? strlen(table[i].name) == n && !strncmp(table[i].name, arg + 2, n)
                    : table[i].letter && table[i].letter == arg[1])
            return i;
    }
    return -1;
}

static int unknown_option(const struct opt_usage *usage, const struct opt_group *groups,
                          size_t n_groups, const char *arg)
{
    const char *names[128];
    char name[64];
    size_t n = 0;

    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg, "="), arg);
    for (size_t g = 0; g < n_groups; g++)
        for (const struct opt *o = groups[g].options; o->name && n < 128; o++)
            names[n++] = o->name;
    const char *near = arg[1] == '-' ? opt_nearest(name + 2, names, n) : NULL;
    if (near)
        message("%s: unknown option %s; did you mean --%s?", usage->verb, name, near);
    else
        message("%s: unknown option %s; see: ram %s --help", usage->verb, name, usage->verb);
    return 2;
}

/* Reads the option at args[0]; *used is 2 if its value stood in args[1]. OPT_GO or 2. */
static int read_option(const struct opt_usage *usage, const struct opt_group *groups,
                       size_t n_groups, char **args, size_t n_args, size_t *used)
{
    const struct opt *opt = NULL;
    void *base = NULL;

    *used = 1;
    for (size_t g = 0; g < n_groups && !opt; g++) {
        const int i = opt_find(groups[g].options, args[0]);
        if (i >= 0) {
            opt = &groups[g].options[i];
            base = groups[g].base;
        }
    }
    if (!opt)
        return unknown_option(usage, groups, n_groups, args[0]);

    /* "--name=value", "-xvalue"; for a short flag more flags may follow: "-qv". */
    const bool is_long = args[0][1] == '-';
    const char *text = is_long ? strchr(args[0], '=') : &args[0][2];
    if (text && is_long)
        text++;
    else if (text && !*text)
        text = NULL;
    if (opt->kind == OPT_FLAG && text && is_long) {
        message("%s: --%s takes no value", usage->verb, opt->name);
        return 2;
    }
    if (opt->kind == OPT_FLAG && text) {
        args[0]++;
        args[0][0] = '-';
        *used = 0;
    } else if (opt->kind != OPT_FLAG && !text) {
        if (n_args < 2) {
            message("%s: --%s needs a value: %s", usage->verb, opt->name, opt->arg);
            return 2;
        }
        text = args[1];
        *used = 2;
    }
    if (!set_value(opt, base, text)) {
        complain_value(usage, opt, text);
        return 2;
    }
    return OPT_GO;
}

static int check_operands(const struct opt_usage *usage, char **args, size_t n)
{
    if (n >= usage->min_operands && n <= usage->max_operands)
        return OPT_GO;
    if (n > usage->max_operands)
        message("%s: unexpected argument %s", usage->verb, args[usage->max_operands]);
    else
        message("%s: an argument is missing", usage->verb);
    message("usage: ram %s %s", usage->verb, usage->synopsis);
    return 2;
}

int opt_require(const struct opt_usage *usage, const char *option, const char *value)
{
    if (value)
        return OPT_GO;
    message("%s: %s is missing", usage->verb, option);
    message("usage: ram %s %s", usage->verb, usage->synopsis);
    return 2;
}

int opt_parse(const struct opt_usage *usage, const struct opt_group *groups, size_t n_groups,
              char **args, size_t n_args, size_t *n_operands)
{
    const struct opt_common *common = groups[n_groups - 1].base;
    int first_failure = OPT_GO;
    bool only_operands = false;
    size_t used;

    *n_operands = 0;
    for (size_t i = 0; i < n_args; i += used) {
        used = 1;
        if (only_operands || args[i][0] != '-' || !args[i][1]) {
            args[(*n_operands)++] = args[i];
        } else if (!strcmp(args[i], "--")) {
            only_operands = true;
        } else {
            const int status = read_option(usage, groups, n_groups, args + i, n_args - i, &used);
            if (status != OPT_GO) {
                first_failure = status;
                break;
            }
        }
    }
    if (common->help) {
        opt_print_help(stdout, usage, groups, n_groups);
        return 0;
    }
    if (common->version) {
        printf("ram %s\n", ram_version());
        return 0;
    }
    if (first_failure != OPT_GO)
        return first_failure;
    if (common->json && common->markdown) {
        message("%s: --json and --markdown exclude each other", usage->verb);
        return 2;
    }
    return check_operands(usage, args, *n_operands);
}
