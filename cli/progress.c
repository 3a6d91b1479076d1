/* progress.c - see progress.h. */
#include "progress.h"

#include "message.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* A bar is redrawn so often, a plain line written so often (seconds). */
static const double bar_interval = 0.1, line_interval = 5;

enum { MAX_NOTICES = 10 }; /* more than these are only counted, unless the user wants them all */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

void progress_init(struct progress *p, bool quiet, bool verbose)
{
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");

    *p = (struct progress){.quiet = quiet, .verbose = verbose};
    p->bar = !quiet && isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb");
    p->colour = p->bar && !(no_colour && *no_colour);
}

/* ---- pieces of a line --------------------------------------------------------------------- */

static void print_bytes(char *out, size_t room, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t u = 0;

    /* 999.5 would be printed as 1000. */
    while (bytes >= 999.5 && u + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        u++;
    }
    snprintf(out, room,
             bytes < 9.995 && u   ? "%.2f %s"
             : bytes < 99.95 && u ? "%.1f %s"
                                  : "%.0f %s",
             bytes, units[u]);
}

static void print_time(char *out, size_t room, double s)
{
    const unsigned long t = s > 0 && s < 1e9 ? (unsigned long)(s + 0.5) : 0;

    if (t < 3600)
        snprintf(out, room, "%lu:%02lu", t / 60, t % 60);
    else
        snprintf(out, room, "%lu:%02lu:%02lu", t / 3600, t / 60 % 60, t % 60);
}

/* "model.layers.3.mlp.up_proj.weight" without what every name has, its end kept if it is long. */
static void shorten_item(char *out, size_t room, const char *item, size_t width)
{
    static const char head[] = "model.", tail[] = ".weight";
    char name[256];

    message_clean(name, sizeof name, strncmp(item, head, 6) ? item : item + 6);
    for (char *s = name; *s; s++)
        if ((unsigned char)*s >= 0x80 || *s == '\n' || *s == '\t')
            *s = '?'; /* one column each, whatever the locale */
    size_t n = strlen(name);
    if (n > sizeof tail && !strcmp(name + n - (sizeof tail - 1), tail))
        name[n -= sizeof tail - 1] = '\0';
    if (n > width && width > 2)
        snprintf(out, room, "..%s", name + n - (width - 2));
    else
        snprintf(out, room, "%.*s", (int)width, name);
}

/* ---- stages --------------------------------------------------------------------------------- */

/* What a stage does, in plain words. */
static const struct stage {
    const char *name, *title;
} stages[] = {
    {"analyze", "measuring the weights"},
    {"synthesize", "generating sample text"},
    {"probe", "measuring how much each matrix matters"},
    {"probe again", "measuring how much each matrix matters, finer"},
    {"curves", "measuring the error of each width"},
    {"derive", "measuring how errors add up"},
    {"convert", "encoding and writing"},
    {"verify", "verifying"},
    {"check", "comparing with the original on unseen text"},
    {"evaluate", "evaluating"},
};

static struct stage find_stage(const char *name)
{
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (!strcmp(stages[i].name, name))
            return stages[i];
    return (struct stage){name, name};
}

void progress_expect(struct progress *p, const char *stage, double expected)
{
    if (p->n_steps == sizeof p->steps / sizeof *p->steps)
        return;
    p->times[p->n_steps] = (struct eta_stage){.expected = expected};
    p->steps[p->n_steps++] = stage;
}

/* A stage that is not expected, or was taken from finished work, is part of the one before it. */
static void advance(struct progress *p, const char *stage)
{
    for (unsigned i = p->step; i < p->n_steps; i++) {
        if (!strcmp(p->steps[i], stage)) {
            /* Stages that had nothing to report: too short, or finished by an earlier run. */
            for (unsigned k = p->step; k < i && !p->quiet; k++)
                message("[%u/%u] %s: done", k + 1, p->n_steps, find_stage(p->steps[k]).title);
            p->step = i + 1;
            return;
        }
    }
}

/* "[2/8] generating sample text" */
static void print_stage(const struct progress *p, char *out, size_t room)
{
    if (p->n_steps && p->step)
        snprintf(out, room, "[%u/%u] %s", p->step, p->n_steps, find_stage(p->stage).title);
    else
        snprintf(out, room, "%s", find_stage(p->stage).title);
}

static double rate_of(const struct progress *p, double now)
{
    const double time = now - p->begun;

    return time > 0 && p->done > p->first ? (double)(p->done - p->first) / time : 0;
}

/* Of the whole run, where its stages are known, else of this stage. */
static double seconds_left(const struct progress *p, double now)
{
    const struct eta_stage alone = {0};
    const double total = p->total ? (double)p->total : 1;
    const bool known = p->n_steps && p->step;

    return eta_left(known ? p->times : &alone, known ? p->n_steps : 1, known ? p->step - 1 : 0,
                    fmin((double)p->done / total, 1), (double)p->first / total, now - p->begun);
}

static const char *const unit_names[] = {
    [RAM_IN_TOKENS] = "tokens", [RAM_IN_MATRICES] = "matrices", [RAM_IN_LAYERS] = "layers"};

/* "1.2 GB/s" or "512/2048 tokens" */
static void print_amount(const struct progress *p, double speed, char *out, size_t room)
{
    char rate[24];

    *out = '\0';
    if (p->unit != RAM_IN_BYTES) {
        snprintf(out, room, "%llu/%llu %s", (unsigned long long)p->done,
                 (unsigned long long)p->total, unit_names[p->unit]);
    } else if (speed > 0) {
        print_bytes(rate, sizeof rate, speed);
        snprintf(out, room, "%s/s", rate);
    }
}

void progress_line(const struct progress *p, double now, int columns, char *out, size_t room)
{
    char cells[64], rate[64] = "", eta[24] = "-:--", item[256] = "", left[96], title[72];
    const double share = p->total ? fmin((double)p->done / (double)p->total, 1) : 0;
    const double seconds = seconds_left(p, now);

    print_amount(p, rate_of(p, now), rate, sizeof rate);
    if (!isnan(seconds))
        print_time(eta, sizeof eta, seconds);
    print_stage(p, title, sizeof title);
    snprintf(left, sizeof left, "%s %3.0f%%", title, floor(share * 100));

    /* The bar takes a quarter of what is wider than the narrowest line, the tensor the rest. */
    const int n_cells = columns >= 60 ? 10 + (columns > 80 ? (columns - 80) / 4 : 0) : 0;
    const int cut = n_cells < (int)sizeof cells ? n_cells : (int)sizeof cells - 1;
    for (int i = 0; i < cut; i++)
        cells[i] = i < (int)(share * cut + 0.5) ? '=' : ' ';
    cells[cut] = '\0';
    int n =
        cut ? snprintf(out, room, "%s [%s] %s%sETA %-5s", left, cells, rate, *rate ? "  " : "", eta)
            : snprintf(out, room, "%s %s%sETA %-5s", left, rate, *rate ? "  " : "", eta);
    if (n < 0 || (size_t)n >= room)
        return;
    /* Two columns stay free for the "^C" that a terminal echoes, so that no line wraps. */
    if (n + 12 < columns) {
        shorten_item(item, sizeof item, p->item, (size_t)(columns - n - 5));
        snprintf(out + n, room - (size_t)n, "  %s", item);
    }
}

/* ---- what a stage reports ------------------------------------------------------------------- */

static void clear_bar(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

static void show(struct progress *p, double now)
{
    char line[512];

    p->shown = now;
    if (!p->bar) {
        progress_line(p, now, 100, line, sizeof line);
        message("%s", line);
        return;
    }
    progress_line(p, now, terminal_columns(), line, sizeof line);
    fprintf(stderr, "\r\033[K%s%s%s", p->colour ? "\033[36m" : "", line,
            p->colour ? "\033[0m" : "");
    fflush(stderr);
    p->drawn = true;
}

void progress_report(void *user, const struct ram_progress *now)
{
    struct progress *p = user;
    const double time = seconds();

    if (strcmp(p->stage, now->stage)) {
        progress_end(p, true);
        snprintf(p->stage, sizeof p->stage, "%s", now->stage);
        advance(p, now->stage);
        p->unit = now->unit;
        p->begun = time;
        p->shown = p->bar ? 0 : time; /* the first plain line is due after its interval */
        p->first = now->done;
    }
    p->done = now->done;
    p->total = now->total;
    snprintf(p->item, sizeof p->item, "%s", now->item ? now->item : "");
    if (!p->quiet && time - p->shown >= (p->bar ? bar_interval : line_interval))
        show(p, time);
}

void progress_notice(void *user, const char *line)
{
    struct progress *p = user;

    if (p->quiet)
        return;
    if (p->verbose || p->n_notices < MAX_NOTICES) {
        clear_bar(p);
        message("note: %s", line);
    }
    p->n_notices++;
}

void progress_end(struct progress *p, bool whole)
{
    if (!p->stage[0])
        return;
    clear_bar(p);
    if (whole && !p->quiet) {
        const double now = seconds();
        char bytes[24], rate[24], time[24], title[72];
        if (p->n_steps && p->step && !p->first) /* all of it in this run */
            p->times[p->step - 1].took += now - p->begun;
        print_bytes(bytes, sizeof bytes, (double)(p->total - p->first));
        p->done = p->total;
        print_bytes(rate, sizeof rate, rate_of(p, now));
        if (now - p->begun < 10)
            snprintf(time, sizeof time, "%.1f s", now - p->begun);
        else
            print_time(time, sizeof time, now - p->begun);
        print_stage(p, title, sizeof title);
        if (p->unit == RAM_IN_BYTES)
            message("%s: %s in %s, %s/s", title, bytes, time, rate);
        else if (p->total)
            message("%s: %llu %s in %s", title, (unsigned long long)p->total, unit_names[p->unit],
                    time);
        else
            message("%s: %s", title, time);
    }
    if (!p->verbose && p->n_notices > MAX_NOTICES)
        message("%u notes more; -v shows them all", p->n_notices - MAX_NOTICES);
    p->n_notices = 0;
    p->stage[0] = '\0';
}
