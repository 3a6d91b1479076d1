/*
 * eta.h - how long a run of several stages still takes.
 *
 * Each stage has an estimate from before the run. It is corrected by how long the finished stages
 * took relative to theirs, and the stage that is running by its own speed, the more of it is done.
 */
#ifndef RAM_CLI_ETA_H
#define RAM_CLI_ETA_H

#include <stddef.h>

struct eta_stage {
    double expected; /* seconds; 0: not known */
    double took;     /* seconds, if it is finished; 0: it was taken from an earlier run */
};

/* Seconds that are left: stages [0, at) are finished, and of stage `at` the given share (0 to 1)
 * was done in this many seconds. `resumed`: the share that was done when this run began the stage.
 * NAN if it cannot be told yet. */
double eta_left(const struct eta_stage *stages, size_t n, size_t at, double share, double resumed,
                double elapsed);

#endif
