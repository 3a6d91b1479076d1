/* job.c - see job.h. */
#include "job.h"

#include "message.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

/* A stage checks for cancellation between tensors only, and a tensor may take long: the message is
 * printed at once. */
static void on_signal(int number)
{
    static const char text[] = "\nram: stopping when this tensor is done; again to stop at once\n";

    const int saved = errno;

    interrupted = 1;
    if (number == SIGINT && isatty(STDERR_FILENO))
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
    errno = saved;
}

static bool was_interrupted(void *user)
{
    (void)user;
    return interrupted;
}

/* SIGINT is taken even where the shell ignores it (a background job of a script): "kill -INT" is
 * then how that script asks for a resumable stop. SIGHUP stays ignored under nohup. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction old;

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!sigaction(SIGHUP, NULL, &old) && old.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

enum ram_markup job_markup(const struct opt_common *common)
{
    return common->json ? RAM_JSON : common->markdown ? RAM_MARKDOWN : RAM_TEXT;
}

void job_init(struct job *job, const struct opt_common *common)
{
    *job = (struct job){0};
    progress_init(&job->progress, common->quiet, common->verbose);
    job->run = (struct ram_run){
        .threads = common->threads,
        .max_memory = common->max_memory,
        .progress = progress_report,
        .notice = progress_notice,
        .cancelled = was_interrupted,
        .user = &job->progress,
    };
    job->markup = job_markup(common);
    job->silent = common->quiet && job->markup == RAM_TEXT;
    catch_signals();
}

int job_stage_done(struct job *job, int status)
{
    progress_end(&job->progress, status == RAM_OK);
    return status;
}

int job_keep(struct job *job, const char *output, const struct ram_ckpt *ckpt, bool resume,
             struct ram_err *err)
{
    const int status = ram_store_path(output, &job->store, err);
    return status ? status
                  : ram_store_open(&job->run.store, job->store, ckpt, resume, &job->run, err);
}

void job_kept(struct job *job, int status)
{
    job->kept = ram_store_close(job->run.store, status == RAM_OK) ? job->store : NULL;
    job->run.store = NULL;
}

int job_end(struct job *job, int status, const struct ram_err *err)
{
    if (status)
        message_failure(err);
    if (job->kept)
        message("finished work is kept in %s; the same command with --resume continues", job->kept);
    free(job->store);
    return ram_exit_code(status);
}

int job_open_model(struct job *job, const char *model, struct ram_ckpt **out, struct ram_err *err)
{
    const int status = ram_ckpt_open(out, model, err);

    for (size_t i = 0; !status && ram_ckpt_note(*out, i); i++)
        progress_notice(&job->progress, ram_ckpt_note(*out, i));
    return status;
}

int job_check_output(const char *path, bool force, struct ram_err *err)
{
    return ram_check_output(path, force, NULL, NULL, err);
}
