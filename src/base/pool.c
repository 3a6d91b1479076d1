/*
 * pool.c - see pool.h.
 *
 * One mutex guards the description of the current loop; indices are taken from an atomic
 * counter. Workers sleep between loops.
 */
#include "base/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct loop {
    ram_pool_fn *fn;
    void *ctx;
    size_t n;
    atomic_size_t next;
    atomic_bool failed;
};

struct worker {
    struct ram_pool *pool;
    pthread_t thread;
    unsigned number;
};

struct ram_pool {
    unsigned n_threads; /* the caller's counts as worker 0 */
    unsigned n_started;
    struct worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    struct loop *loop;   /* NULL between loops */
    unsigned long round; /* grows with every loop, so that a worker joins each loop once */
    unsigned n_busy;
    bool quit;
    size_t failed_index; /* the failure of the lowest index */
    struct ram_err failure;
};

/* Set while a thread runs an iteration: a nested loop then runs in place. */
static _Thread_local bool inside;

static unsigned processors(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

static void run_loop(struct ram_pool *pool, struct loop *loop, unsigned number)
{
    inside = true;
    while (!atomic_load(&loop->failed)) {
        const size_t i = atomic_fetch_add(&loop->next, 1);
        if (i >= loop->n)
            break;
        struct ram_err err = {0};
        const int status = loop->fn(loop->ctx, i, number, &err);
        if (!status)
            continue;
        ram_fail(&err, status, "status %d without a message", status);
        pthread_mutex_lock(&pool->lock);
        atomic_store(&loop->failed, true);
        if (i < pool->failed_index) {
            pool->failed_index = i;
            pool->failure = err;
        }
        pthread_mutex_unlock(&pool->lock);
    }
    inside = false;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct ram_pool *pool = worker->pool;
    unsigned long seen = 0;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->quit && (!pool->loop || pool->round == seen))
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->quit)
            break;
        struct loop *loop = pool->loop;
        seen = pool->round;
        pool->n_busy++;
        pthread_mutex_unlock(&pool->lock);
        run_loop(pool, loop, worker->number);
        pthread_mutex_lock(&pool->lock);
        if (--pool->n_busy == 0)
            pthread_cond_signal(&pool->idle);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int ram_pool_new(struct ram_pool **out, unsigned threads, struct ram_err *err)
{
    struct ram_pool *pool = ram_calloc(1, sizeof *pool, err);
    if (!pool)
        return RAM_ENOMEM;
    pool->n_threads = threads ? threads : processors();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->workers = ram_calloc(pool->n_threads, sizeof *pool->workers, err);
    int status = pool->workers ? RAM_OK : RAM_ENOMEM;
    for (unsigned k = 1; !status && k < pool->n_threads; k++) {
        struct worker *worker = &pool->workers[k];
        *worker = (struct worker){.pool = pool, .number = k};
        const int code = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (code)
            status = ram_fail(err, RAM_ENOMEM, "cannot start thread %u of %u (error %d)", k + 1,
                              pool->n_threads, code);
        else
            pool->n_started++;
    }
    if (status) {
        ram_pool_free(pool);
        return status;
    }
    *out = pool;
    return RAM_OK;
}

void ram_pool_free(struct ram_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned k = 1; k <= pool->n_started; k++)
        pthread_join(pool->workers[k].thread, NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

unsigned ram_pool_threads(const struct ram_pool *pool)
{
    return pool ? pool->n_threads : 1;
}

static int run_here(size_t n, ram_pool_fn *fn, void *ctx, struct ram_err *err)
{
    int status = RAM_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = fn(ctx, i, 0, err);
    return status;
}

int ram_pool_for(struct ram_pool *pool, size_t n, ram_pool_fn *fn, void *ctx, struct ram_err *err)
{
    if (!pool || pool->n_threads == 1 || n <= 1 || inside)
        return run_here(n, fn, ctx, err);

    struct loop loop = {.fn = fn, .ctx = ctx, .n = n};
    pthread_mutex_lock(&pool->lock);
    pool->failed_index = SIZE_MAX;
    pool->loop = &loop;
    pool->round++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);

    run_loop(pool, &loop, 0);

    pthread_mutex_lock(&pool->lock);
    pool->loop = NULL; /* no thread joins any more; those that did are counted in n_busy */
    while (pool->n_busy)
        pthread_cond_wait(&pool->idle, &pool->lock);
    const bool failed = pool->failed_index != SIZE_MAX;
    const struct ram_err failure = pool->failure;
    pthread_mutex_unlock(&pool->lock);
    return failed ? ram_fail(err, failure.status, "%s", failure.message) : RAM_OK;
}
