/* exec.c - see exec.h. */
#include "base/exec.h"

#include "base/opts.h"

#include <stdarg.h>

/* What a stage may use if the caller sets no limit: ram.h promises it. */
#define DEFAULT_MEMORY ((uint64_t)2 << 30)

struct ram_exec ram_exec_alone(const struct ram_run *run)
{
    static const struct ram_run defaults;
    const struct ram_run *r = run ? run : &defaults;

    return (struct ram_exec){.max_memory = r->max_memory ? r->max_memory : DEFAULT_MEMORY,
                             .store = r->store,
                             .progress = r->progress,
                             .notice = r->notice,
                             .cancelled = r->cancelled,
                             .user = r->user,
                             .size = 1,
                             .all = 1};
}

int ram_exec_begin(struct ram_exec *exec, const struct ram_run *run, struct ram_err *err)
{
    *exec = ram_exec_alone(run);
    const int status = RAM_OPTS_CHECK(run, "struct ram_run", err);
    if (status)
        return status;
    exec->owns_pool = true;
    return ram_pool_new(&exec->pool, run ? run->threads : 0, err);
}

void ram_exec_end(struct ram_exec *exec)
{
    if (exec->owns_pool)
        ram_pool_free(exec->pool);
    exec->pool = NULL;
}

struct ram_exec ram_exec_share(const struct ram_exec *exec, uint64_t max_memory)
{
    struct ram_exec share = *exec;

    share.owns_pool = false;
    share.max_memory = max_memory ? max_memory : 1;
    return share;
}

int ram_exec_narrow(struct ram_exec *out, const struct ram_exec *exec, uint64_t threads,
                    struct ram_err *err)
{
    *out = ram_exec_share(exec, exec->max_memory);
    if (ram_pool_threads(exec->pool) <= threads)
        return RAM_OK;
    out->pool = NULL;
    out->owns_pool = true;
    return ram_pool_new(&out->pool, (unsigned)threads, err);
}

struct ram_exec ram_exec_part(const struct ram_exec *exec, size_t before, size_t size, size_t all)
{
    struct ram_exec part = ram_exec_share(exec, exec->max_memory);

    part.before = (double)before;
    part.size = (double)size;
    part.all = (double)all;
    return part;
}

void ram_exec_progress(const struct ram_exec *exec, const struct ram_progress *now)
{
    if (!exec)
        return;
    if (exec->progress) {
        struct ram_progress whole = *now;
        whole.done += (uint64_t)((double)now->total * exec->before / exec->size);
        whole.total = (uint64_t)((double)now->total * exec->all / exec->size);
        exec->progress(exec->user, &whole);
    }
    const char *const why = exec->notice ? ram_store_complaint(exec->store) : NULL;
    if (why)
        ram_exec_notice(exec,
                        "finished work cannot be kept any more (%s); this run goes on, but if it "
                        "is interrupted, --resume continues from what was kept before",
                        why);
}

void ram_exec_notice(const struct ram_exec *exec, const char *fmt, ...)
{
    struct ram_buf line = {0};
    va_list args;

    if (!exec || !exec->notice)
        return;
    va_start(args, fmt);
    ram_buf_vprintf(&line, fmt, args);
    va_end(args);
    if (line.data && !line.failed)
        exec->notice(exec->user, line.data);
    ram_buf_release(&line);
}

bool ram_exec_cancelled(const struct ram_exec *exec)
{
    return exec && exec->cancelled && exec->cancelled(exec->user);
}

int ram_exec_report(const struct ram_exec *exec, const struct ram_progress *now,
                    struct ram_err *err)
{
    ram_exec_progress(exec, now);
    return ram_exec_cancelled(exec)
               ? ram_fail(err, RAM_EINTERRUPT, "interrupted: %s, %s", now->stage, now->item)
               : RAM_OK;
}
