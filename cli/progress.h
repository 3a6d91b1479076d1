/*
 * progress.h - how far a stage has come, on stderr: a bar on a terminal, plain lines every few
 * seconds elsewhere, one line at the end of each stage; nothing if the user wants quiet.
 */
#ifndef RAM_CLI_PROGRESS_H
#define RAM_CLI_PROGRESS_H

#include "eta.h"
#include "ram.h"

struct progress {
    bool quiet, verbose;
    bool bar; /* stderr is a terminal that can redraw a line */
    bool colour;
    bool drawn;     /* a bar stands on the current line */
    char stage[32]; /* empty: none begun */
    char item[256];
    double begun;   /* seconds on the monotonic clock */
    double shown;   /* when the bar or the last plain line was written */
    uint64_t first; /* done when the stage was first seen: a resumed run begins above 0 */
    uint64_t done, total;
    enum ram_progress_unit unit;
    unsigned n_notices;
    /* The stages of the whole run, in order; "[2/8]" says which one it is. n_steps 0: not known. */
    const char *steps[12];
    struct eta_stage times[12];
    unsigned n_steps, step;
};

/* Adds a stage to those of the whole run. expected: seconds that it will take; 0: not known. */
void progress_expect(struct progress *p, const char *stage, double expected);

void progress_init(struct progress *p, bool quiet, bool verbose);

/* For ram_run: user is the struct progress. */
void progress_report(void *user, const struct ram_progress *now);
void progress_notice(void *user, const char *line);

/* The stage is over (whole: to its end): takes the bar away, says what was done in which time. */
void progress_end(struct progress *p, bool whole);

/* One line for a terminal of so many columns (at least 40), without a newline. */
void progress_line(const struct progress *p, double now, int columns, char *out, size_t room);

#endif
