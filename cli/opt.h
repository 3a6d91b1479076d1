/*
 * opt.h - the options of a verb as tables, from which both the parser and --help come.
 *
 * A table says where in a struct each value goes, so tables are constant and verbs can share
 * them. Options may stand anywhere among the operands; "--long=value" and "--long value" mean the
 * same, "--" ends the options. Unknown options are refused with the nearest known name.
 */
#ifndef RAM_CLI_OPT_H
#define RAM_CLI_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum opt_kind {
    OPT_FLAG,      /* bool: no argument */
    OPT_INT,       /* int, positive */
    OPT_UNSIGNED,  /* unsigned */
    OPT_U64,       /* uint64_t */
    OPT_COUNT,     /* uint64_t, at least 1 */
    OPT_SIZE,      /* uint64_t, above 0: 6GB = 6e9, 6GiB, 512M = 512MiB; a small number of bytes
                    * without a unit is a unit forgotten, and refused */
    OPT_REAL,      /* double, at least 0 */
    OPT_POSITIVE,  /* double, above 0 */
    OPT_THRESHOLD, /* double, above 0; "off" is RAM_THRESHOLD_OFF */
    OPT_TEXT,      /* const char *, borrowed from argv */
    OPT_LIST,      /* struct opt_list: may be given again and again */
    OPT_CHOICE     /* int: what `choice` names */
};

struct opt_list {
    const char **items; /* borrowed from argv; opt_list_release frees the array */
    size_t n;
};

struct opt {
    const char *name; /* long form without dashes; NULL ends a table */
    char letter;      /* short form; 0: none */
    enum opt_kind kind;
    size_t offset;   /* of the value in the struct behind opt_group.base */
    const char *arg; /* what --help calls the argument; NULL for flags */
    const char *help;
    const char *(*choice)(size_t i); /* OPT_CHOICE: name i; NULL behind the last */
};

struct opt_group {
    const char *title; /* heading in --help */
    const struct opt *options;
    void *base;
};

/* What a verb tells about itself. Lines of text end with \n except the last. */
struct opt_usage {
    const char *verb;
    const char *synopsis; /* what follows "ram <verb>": "MODEL -o DIR [options]" */
    const char *about;    /* paragraphs, already broken at 80 columns */
    const char *examples; /* lines without indentation; NULL: none */
    size_t min_operands, max_operands;
    size_t n_rare; /* the number of groups before the common one that come last in --help */
};

enum { OPT_GO = -1 };

/*
 * Reads args (without "ram" and the verb) into the groups' values; the last group must be the
 * common options of every verb. Operands are moved to the front of args, their number to
 * *n_operands. OPT_GO, or the exit code with which to leave at once: 0 after --help and
 * --version, 2 after a message about a misuse.
 */
int opt_parse(const struct opt_usage *usage, const struct opt_group *groups, size_t n_groups,
              char **args, size_t n_args, size_t *n_operands);

/* OPT_GO if an option that the verb cannot do without was given; else a message, and 2. */
int opt_require(const struct opt_usage *usage, const char *option, const char *value);

void opt_list_release(struct opt_list *list);

/* The common options of every verb. */
struct opt_common {
    bool help, version;
    bool json, markdown;
    bool quiet, verbose, force;
    unsigned threads;
    uint64_t max_memory;
};
extern const struct opt opt_common_table[];

/* The number of the option in table that arg ("--name", "--name=value", "-x...") means, or -1. */
int opt_find(const struct opt *table, const char *arg);

/* The candidate that a mistyped name is most similar to, or NULL if none is similar enough. */
const char *opt_nearest(const char *name, const char *const *candidates, size_t n);

/* "6GiB" to bytes; false if it is no size of at most 2^63. */
bool opt_read_size(const char *text, uint64_t *bytes);

void opt_print_help(FILE *out, const struct opt_usage *usage, const struct opt_group *groups,
                    size_t n_groups);

#endif
