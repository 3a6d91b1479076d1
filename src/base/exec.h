/*
 * exec.h - how a stage runs: its threads, its memory, who is told and asked, and where finished
 * work is kept. Every stage is handed one, and none of it may change a byte of a result.
 *
 * The functions of ram.h begin an exec from the caller's struct ram_run, hand it to the stages and
 * end it. That is where defaults become figures. A stage that gives a part of its memory or its
 * threads to another one derives an exec for it. Whatever else says how to run (the rank of one of
 * several machines) belongs here, too.
 */
#ifndef RAM_BASE_EXEC_H
#define RAM_BASE_EXEC_H

#include "base/pool.h"
#include "base/store.h"

/* Copies share everything; only the exec that was begun is ended. */
struct ram_exec {
    struct ram_pool *pool;   /* NULL: the calling thread alone */
    uint64_t max_memory;     /* bytes, never 0 */
    struct ram_store *store; /* NULL: nothing is kept */
    /* Of struct ram_run. Reached through the functions below, which know what may be NULL. */
    void (*progress)(void *user, const struct ram_progress *p);
    void (*notice)(void *user, const char *line);
    bool (*cancelled)(void *user);
    void *user;
    /* Progress that is told makes up [before, before + size) of `all`: see ram_exec_part. */
    double before, size, all;
    bool owns_pool;
};

/* Starts the threads that run asks for. run: NULL for the defaults. RAM_EUSAGE: base/opts.h. To be
 * ended after a failure, too. */
int ram_exec_begin(struct ram_exec *exec, const struct ram_run *run, struct ram_err *err);
void ram_exec_end(struct ram_exec *exec);

/* The same without threads of its own, which needs no end. */
struct ram_exec ram_exec_alone(const struct ram_run *run);

/* The same with so many bytes of the memory: what a stage lets another one use. */
struct ram_exec ram_exec_share(const struct ram_exec *exec, uint64_t max_memory);

/* The same with at most so many threads (at least 1); ended by ram_exec_end. */
int ram_exec_narrow(struct ram_exec *out, const struct ram_exec *exec, uint64_t threads,
                    struct ram_err *err);

/* The same for one of several runs of a stage: its progress is told as that of items [before,
 * before + size) of `all`, of which each takes as long. */
struct ram_exec ram_exec_part(const struct ram_exec *exec, size_t before, size_t size, size_t all);

/*
 * From the thread that called the stage, which is worker 0 of a loop. An exec of NULL has no
 * listener. Progress is also when the user hears that finished work cannot be kept any more
 * (store.h).
 */
void ram_exec_progress(const struct ram_exec *exec, const struct ram_progress *now);
void ram_exec_notice(const struct ram_exec *exec, const char *fmt, ...) RAM_PRINTF(2, 3);
bool ram_exec_cancelled(const struct ram_exec *exec);

/* Progress; RAM_EINTERRUPT with stage and item if the caller has cancelled. */
int ram_exec_report(const struct ram_exec *exec, const struct ram_progress *now,
                    struct ram_err *err);

#endif
