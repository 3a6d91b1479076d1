/*
 * job.h - what the verbs share: how a stage runs under the common options, how a ^C reaches it,
 * and what is checked before hours of work begin.
 */
#ifndef RAM_CLI_JOB_H
#define RAM_CLI_JOB_H

#include "opt.h"
#include "progress.h"
#include "ram.h"

struct job {
    struct ram_run run;
    struct progress progress;
    enum ram_markup markup;
    bool silent; /* no account of what was done: -q, and no form that a program reads */
    char *kept;  /* finished work beside the output that could not be made; NULL: none */
    char *store; /* the name of run.store */
};

enum ram_markup job_markup(const struct opt_common *common);

/* From here on SIGINT, SIGTERM and SIGHUP ask the running stage to stop; a second one kills. */
void job_init(struct job *job, const struct opt_common *common);

/* The stage is over with this status: clears the progress bar. Returns status. */
int job_stage_done(struct job *job, int status);

/* Opens the store of an output, job->run.store: "<output>.ram-partial". */
int job_keep(struct job *job, const char *output, const struct ram_ckpt *ckpt, bool resume,
             struct ram_err *err);

/* The stages are over: removes the store if all is well, and sets job->kept if it stays. */
void job_kept(struct job *job, int status);

/* Says what failed and what is kept; returns the exit code. */
int job_end(struct job *job, int status, const struct ram_err *err);

/* Opens a model, and prints what ram_ckpt_note says of it as notes. */
int job_open_model(struct job *job, const char *model, struct ram_ckpt **out, struct ram_err *err);

/* ram_check_output of a file, where nothing is read that it could replace. */
int job_check_output(const char *path, bool force, struct ram_err *err);

#endif
