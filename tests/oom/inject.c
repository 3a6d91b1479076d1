/*
 * inject.c - makes every allocation of the library fail once, in every test of a cmocka program.
 *
 * It is linked into the unit tests of the AddressSanitizer build and does nothing unless
 * RAM_FAIL_ALLOCATIONS is set. Then each test is run once to list its allocations, and again for
 * every allocation of the list, in a process of its own in which that one fails. A test stops at
 * its first assertion that does not hold, as it usually will. At that moment the stack frames of
 * the test still exist, so LeakSanitizer can tell what the test holds from what the library lost.
 *
 * Faults are: a crash; a leak; a first message of the library with another status than RAM_ENOMEM;
 * and a test that fails although the library reported nothing.
 *
 * Some places report without ram_fail: a ram_buf says `failed` to the one who holds it, who may be
 * the test, a store forgets what it cannot keep, and a message lacks its hint (goes_without).
 *
 * An allocation is listed if a function of the library is among its callers: the test's own
 * scaffolding is not tested, nor what it builds with base/mem, base/buf and jansson itself. Of
 * allocations with the same callers (in a loop) the first, the second and the last are taken.
 * RAM_FAIL_ALLOCATIONS=N takes at most N of a test, evenly spread, and RAM_FAIL_SECONDS=N as many
 * as can be expected to keep the program within N seconds of a processor, but at least one. What
 * was taken is printed.
 *
 * It is compiled without sanitizers, since they ask for memory before they are ready to check it.
 *
 * Left out: allocations inside libc that do not come through the functions below (opendir, fopen).
 */
#include "base/err.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_SITES = 1 << 15, MAX_DEPTH = 48, LIMIT_SECONDS = 600 };

/* Exit codes of a child. SETTLED: the test ended, and nothing is wrong. */
enum { SETTLED = 40, UNREACHED, SKIPPED, FAILED_UNHARMED, LEAKED, UNREPORTED, MISREPORTED };

static const char *const verdicts[] = {
    [FAILED_UNHARMED - SETTLED] = "the test failed before any allocation did",
    [LEAKED - SETTLED] = "memory was lost",
    [UNREPORTED - SETTLED] = "the test failed, and the library had reported nothing",
    [MISREPORTED - SETTLED] = "the library reported something else than RAM_ENOMEM",
};

struct site {
    uint64_t hash; /* of the return addresses; 0: free */
    uint32_t count, first, second, last;
    bool ignored;
};

enum mode { PLAIN, LISTING, FAILING };

/* Shared by the processes: what the listing run found. */
static struct {
    struct site sites[MAX_SITES];
    uint32_t n_sites;
} * list;

static enum mode mode;
static uint32_t n_allocations, to_fail;
static bool injected;
static int first_status;        /* that the library reported after the injection */
static void *frames[MAX_DEPTH]; /* the callers of the allocation that failed */
static int n_frames;

extern void *__interceptor_malloc(size_t size);
extern void *__interceptor_calloc(size_t n, size_t size);
extern void *__interceptor_realloc(void *p, size_t size);
extern int __interceptor_posix_memalign(void **p, size_t alignment, size_t size);
extern char *__interceptor_strdup(const char *s);
extern int __lsan_do_recoverable_leak_check(void);
extern void __sanitizer_symbolize_pc(void *pc, const char *fmt, char *out, size_t size);
extern void __sanitizer_set_death_callback(void (*callback)(void));
extern void oom_boundary(void);
extern char etext;

/* ---- which allocations --------------------------------------------------------------------- */

/* A hash of the callers, 0 if none of them belongs to the library. *outer: the library's function
 * that the test called. */
static uint64_t callers_hash(void **outer)
{
    void *callers[MAX_DEPTH];
    const int n = backtrace(callers, MAX_DEPTH);
    uint64_t hash = 14695981039346656037u;
    bool library = false;

    for (int i = 2; i < n; i++) {
        const uintptr_t at = (uintptr_t)callers[i];
        if (at > (uintptr_t)oom_boundary && at < (uintptr_t)&etext) {
            library = true;
            *outer = callers[i];
        }
        hash = (hash ^ at) * 1099511628211u;
    }
    return library ? hash | 1 : 0;
}

static bool lies_in(void *pc, const char *file)
{
    char name[512];
    __sanitizer_symbolize_pc((char *)pc - 1, "%s", name, sizeof name);
    return strstr(name, file) != NULL;
}

static bool is_in_function(void *pc, const char *prefix)
{
    char name[256];
    __sanitizer_symbolize_pc((char *)pc - 1, "%f", name, sizeof name);
    return !strncmp(name, prefix, strlen(prefix));
}

/* Whether what this outermost function of the library asks for is not looked at. Symbols are slow
 * to find, and few functions call for many. */
static bool is_ignored(void *outer)
{
    static struct {
        void *outer;
        bool ignored;
    } known[1024], *at;

    at = &known[(uintptr_t)outer / 4 % (sizeof known / sizeof *known)];
    if (at->outer != outer) {
        at->outer = outer;
        at->ignored = lies_in(outer, "base/mem.c") || lies_in(outer, "base/buf.c") ||
                      is_in_function(outer, "watched_malloc");
    }
    return at->ignored;
}

static void list_site(uint64_t hash, uint32_t index, void *outer)
{
    size_t at = hash % MAX_SITES;

    while (list->sites[at].hash && list->sites[at].hash != hash)
        at = (at + 1) % MAX_SITES;
    struct site *site = &list->sites[at];
    if (!site->hash && list->n_sites++ > MAX_SITES / 2)
        abort();
    site->hash = hash;
    site->last = index;
    if (site->count == 0) {
        site->first = index;
        site->ignored = is_ignored(outer);
    }
    if (site->count == 1)
        site->second = index;
    site->count++;
}

/* Whether this allocation fails. Threads may change the order from run to run; an index that then
 * belongs to the test itself is passed on to the library's next allocation. */
static bool fails(void)
{
    static __thread bool inside;

    if (mode == PLAIN || inside)
        return false;
    inside = true;
    const uint32_t index = __atomic_add_fetch(&n_allocations, 1, __ATOMIC_RELAXED);
    void *outer = NULL;
    bool fail = false;
    if (mode == LISTING) {
        const uint64_t hash = callers_hash(&outer);
        if (hash)
            list_site(hash, index, outer);
    } else if (index >= to_fail && !__atomic_load_n(&injected, __ATOMIC_RELAXED) &&
               callers_hash(&outer)) {
        fail = !__atomic_exchange_n(&injected, true, __ATOMIC_RELAXED);
    }
    if (fail)
        n_frames = backtrace(frames, MAX_DEPTH);
    inside = false;
    return fail;
}

void *malloc(size_t size)
{
    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }
    return __interceptor_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }
    return __interceptor_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }
    return __interceptor_realloc(p, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : __interceptor_posix_memalign(p, alignment, size);
}

char *strdup(const char *s)
{
    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }
    return __interceptor_strdup(s);
}

/* ---- what the library says ----------------------------------------------------------------- */

int __real_ram_fail(struct ram_err *err, int status, const char *fmt, ...);
int __wrap_ram_fail(struct ram_err *err, int status, const char *fmt, ...) RAM_PRINTF(3, 4);
int __wrap_ram_fail_errno(struct ram_err *err, const char *fmt, ...) RAM_PRINTF(2, 3);

static int report(struct ram_err *err, int status, const char *text)
{
    if (injected && first_status == RAM_OK) {
        first_status = status;
        fprintf(stderr, "the library reported status %d: %s\n", status, text);
    }
    return __real_ram_fail(err, status, "%s", text);
}

int __wrap_ram_fail(struct ram_err *err, int status, const char *fmt, ...)
{
    char text[sizeof err->message];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return report(err, status, text);
}

int __wrap_ram_fail_errno(struct ram_err *err, const char *fmt, ...)
{
    const int saved = errno;
    char text[sizeof err->message];
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", strerror(saved));
    return report(err, saved == ENOMEM ? RAM_ENOMEM : RAM_EIO, text);
}

/* ---- one run of one test ------------------------------------------------------------------- */

/* Prints where the allocation failed. */
static void explain(void)
{
    char line[512];

    mode = PLAIN;
    for (int i = 2; i < n_frames; i++) {
        __sanitizer_symbolize_pc((char *)frames[i] - 1, "%f %s:%l", line, sizeof line);
        fprintf(stderr, "    failed allocation #%d %s\n", i - 2, line);
    }
}

static void on_signal(int number)
{
    explain();
    signal(number, SIG_DFL);
    raise(number);
}

/* Whether the one who asked for memory says so otherwise than by ram_fail. */
static bool reports_otherwise(void)
{
    for (int i = 2; i < n_frames && i < 5; i++)
        if (lies_in(frames[i], "base/buf.c"))
            return true;
    return false;
}

/* Whether it does without: nothing is kept, or a message, which may be the one that the test looks
 * for, has no hint. */
static bool goes_without(void)
{
    static const char *const functions[] = {"ram_store_", "find_stranger", "ram_ckpt_config_hint"};

    for (int i = 2; i < n_frames; i++)
        for (size_t k = 0; k < sizeof functions / sizeof *functions; k++)
            if (is_in_function(frames[i], functions[k]))
                return true;
    return false;
}

/* A test that holds all the same (a cache went unfilled) is as it should be. */
static int verdict(bool failed)
{
    if (!injected)
        return failed ? FAILED_UNHARMED : UNREACHED;
    if (__lsan_do_recoverable_leak_check())
        return LEAKED;
    if (!failed || first_status == RAM_ENOMEM || goes_without())
        return SETTLED;
    if (first_status == RAM_OK)
        return reports_otherwise() ? SETTLED : UNREPORTED;
    return MISREPORTED;
}

static _Noreturn void settle(bool failed)
{
    mode = PLAIN;
    const int code = verdict(failed);
    if (code > SKIPPED)
        explain();
    _exit(code);
}

/* cmocka's, which its assertions call. */
void _fail(const char *const file, const int line)
{
    if (mode != PLAIN) {
        fprintf(stderr, "%s:%d: the test failed\n", file, line);
        settle(true);
    }
    void (*next)(const char *, int) = (void (*)(const char *, int))dlsym(RTLD_NEXT, "_fail");
    next(file, line);
    abort();
}

/* Scaffolding that does not get what it needs ends its program in one of these ways. */
void abort(void)
{
    if (mode != PLAIN)
        settle(true);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    _exit(127);
}

void exit(int code)
{
    if (mode != PLAIN)
        settle(code != 0);
    void (*next)(int) = (void (*)(int))dlsym(RTLD_NEXT, "exit");
    next(code);
    _exit(code);
}

void _skip(const char *const file, const int line)
{
    if (mode != PLAIN)
        _exit(SKIPPED);
    void (*next)(const char *, int) = (void (*)(const char *, int))dlsym(RTLD_NEXT, "_skip");
    next(file, line);
    abort();
}

struct group {
    CMFixtureFunction setup, teardown;
};

static _Noreturn void perform(const struct group *group, const struct CMUnitTest *test,
                              enum mode how)
{
    void *group_state = NULL, *state;

    if (group->setup && group->setup(&group_state))
        _exit(FAILED_UNHARMED);
    state = test->initial_state ? test->initial_state : group_state;
    mode = how;
    if (test->setup_func && test->setup_func(&state))
        settle(true);
    test->test_func(&state);
    if (test->teardown_func)
        test->teardown_func(&state);
    mode = PLAIN;
    if (group->teardown)
        group->teardown(&group_state);
    settle(false);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* Runs the test in a process with a temporary directory of its own. Returns its wait status; what
 * it printed is in the file `log`. It is ended by SIGXCPU after about `limit` seconds. */
static int run_child(const struct group *group, const struct CMUnitTest *test, enum mode how,
                     double limit, const char *log)
{
    const struct rlimit cpu = {(rlim_t)limit + 1, (rlim_t)limit + 2};
    char dir[] = "/tmp/ram-oom-XXXXXX";
    int status = 0;

    if (!mkdtemp(dir))
        abort();
    fflush(NULL);
    const pid_t pid = fork();
    if (!pid) {
        const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        setvbuf(stdout, NULL, _IONBF, 0);
        setenv("TMPDIR", dir, 1);
        __sanitizer_set_death_callback(explain);
        signal(SIGABRT, on_signal);
        signal(SIGALRM, on_signal);
        alarm(LIMIT_SECONDS);
        setrlimit(RLIMIT_CPU, &cpu);
        perform(group, test, how);
    }
    waitpid(pid, &status, 0);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

static void print_log(const char *log)
{
    char line[1024];
    FILE *file = fopen(log, "r");

    while (file && fgets(line, sizeof line, file))
        fputs(line, stdout);
    if (file)
        fclose(file);
}

/* Whether the child did as it should; otherwise its output, and what is wrong, are printed. */
static bool is_fine(const struct CMUnitTest *test, uint32_t index, int status, const char *log)
{
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

    if (code == SETTLED || code == UNREACHED || code == SKIPPED)
        return true;
    printf("---- %s, allocation %u: ", test->name, index);
    if (code > SETTLED && code - SETTLED < (int)(sizeof verdicts / sizeof *verdicts))
        printf("%s\n", verdicts[code - SETTLED]);
    else if (WIFSIGNALED(status))
        printf("signal %d\n", WTERMSIG(status));
    else
        printf("exit code %d\n", code);
    print_log(log);
    return false;
}

/* ---- all runs of all tests ----------------------------------------------------------------- */

static int by_index(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The indices of the allocations to fail, in order; their number. */
static size_t choose(uint32_t *chosen)
{
    size_t n = 0;

    for (size_t i = 0; i < MAX_SITES; i++) {
        const struct site *site = &list->sites[i];
        if (site->ignored)
            continue;
        if (site->count > 0)
            chosen[n++] = site->first;
        if (site->count > 1)
            chosen[n++] = site->second;
        if (site->count > 2)
            chosen[n++] = site->last;
    }
    qsort(chosen, n, sizeof *chosen, by_index);
    return n;
}

/* Of processors, by the children. */
static double seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* In at most about `share` seconds, of which a first run takes its part. */
static size_t test_all_failures(const struct group *group, const struct CMUnitTest *test,
                                size_t limit, double share, const char *log)
{
    const double begin = seconds(), end = begin + share;
    size_t faults = 0, taken = 0;

    memset(list, 0, sizeof *list);
    int status = run_child(group, test, LISTING, share > 1 ? share : 1, log);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
        printf("%s: left out, since one run takes more than %.0f seconds\n", test->name, share);
        return 0;
    }
    if (!is_fine(test, 0, status, log))
        return 1;
    uint32_t *chosen = calloc((size_t)3 * MAX_SITES, sizeof *chosen);
    if (!chosen)
        abort();
    const size_t n = choose(chosen);
    limit = n < limit ? n : limit;
    const double start = seconds();
    for (size_t i = 0; i < limit; i++) {
        to_fail = chosen[i * n / limit];
        status = run_child(group, test, FAILING, 10 * (start - begin) + 20, log);
        faults += !is_fine(test, to_fail, status, log);
        const double once = seconds() - start, left = end - seconds();
        if (!i && left < once * (double)(limit - 1))
            limit = left < once ? 1 : 1 + (size_t)(left / once);
        taken++;
    }
    printf("%s: %zu of %zu allocations failed, %zu faults\n", test->name, taken, n, faults);
    fflush(stdout);
    free(chosen);
    return faults;
}

static size_t number_from(const char *variable, size_t otherwise)
{
    const char *text = getenv(variable);
    const long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 ? (size_t)n : otherwise;
}

int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests,
                            const size_t num_tests, CMFixtureFunction group_setup,
                            CMFixtureFunction group_teardown)
{
    const char *only = getenv("RAM_FAIL_TEST");

    if (!getenv("RAM_FAIL_ALLOCATIONS")) {
        int (*next)(const char *, const struct CMUnitTest *, size_t, CMFixtureFunction,
                    CMFixtureFunction) =
            (int (*)(const char *, const struct CMUnitTest *, size_t, CMFixtureFunction,
                     CMFixtureFunction))dlsym(RTLD_NEXT, "_cmocka_run_group_tests");
        return next(group_name, tests, num_tests, group_setup, group_teardown);
    }
    const struct group group = {group_setup, group_teardown};
    const size_t limit = number_from("RAM_FAIL_ALLOCATIONS", SIZE_MAX);
    const double end = seconds() + (double)number_from("RAM_FAIL_SECONDS", 1000000);
    char log[] = "/tmp/ram-oom-log-XXXXXX";
    void *callers[4];
    size_t faults = 0;

    backtrace(callers, 4); /* which allocates when it is called for the first time */
    close(mkstemp(log));
    list = mmap(NULL, sizeof *list, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (list == MAP_FAILED || (uintptr_t)tests[0].test_func > (uintptr_t)oom_boundary ||
        (uintptr_t)ram_exit_code < (uintptr_t)oom_boundary)
        abort();
    for (size_t i = 0; i < num_tests; i++)
        if (!only || !strcmp(only, tests[i].name))
            faults +=
                test_all_failures(&group, &tests[i], limit,
                                  (end - seconds()) / (double)(only ? 1 : num_tests - i), log);
    remove(log);
    printf("%s: %zu faults\n", group_name, faults);
    return faults != 0;
}
