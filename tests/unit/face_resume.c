/*
 * A quantisation that is stopped anywhere, by a request or by a kill, and resumed with another
 * number of threads: the bytes of the directory are those of one that was never stopped.
 *
 * The moments are those at which a stage asks whether to stop, so that they do not depend on how
 * fast the machine is. RAM_KEEP=always makes every stage keep what it can at each of them.
 */
#include "base/store.h"
#include "ckpt_make.h"

#include <dirent.h>
#include <setjmp.h>
#include <sys/wait.h>

#include <cmocka.h>

static char root[256], model[300], out[300], kept[320], whole[300];

enum how { ASK, KILL };

struct stop {
    int polls, at; /* stops at this poll; 0: never */
    enum how how;
    char stage[4096]; /* names of the stages that were seen, in order */
    uint64_t total;
};

static void see(void *user, const struct ram_progress *p)
{
    struct stop *stop = user;
    const size_t n = strlen(stop->stage), m = strlen(p->stage);

    if ((n < m || strcmp(stop->stage + n - m, p->stage) != 0) && n + m + 2 < sizeof stop->stage) {
        strcat(stop->stage, " ");
        strcat(stop->stage, p->stage);
    }
}

static bool cancelled(void *user)
{
    struct stop *stop = user;

    if (++stop->polls != stop->at)
        return false;
    if (stop->how == KILL)
        _exit(9); /* as kill -9 does: nothing is closed, flushed or tidied up */
    return true;
}

static int quantize(struct stop *stop, unsigned threads, bool resume, const char *effort,
                    struct ram_err *err)
{
    const struct ram_run run = {
        .threads = threads, .progress = see, .cancelled = cancelled, .user = stop};
    const struct ram_quantize_opts opts = {
        .effort = effort, .resume = resume, .keep_manifest = true, .allocate.bpw = 4.6};
    struct ram_ckpt *ckpt = NULL;

    int status = ram_ckpt_open(&ckpt, model, err);
    if (!status)
        status = ram_quantize(ckpt, out, &opts, &run, NULL, err);
    ram_ckpt_close(ckpt);
    return status;
}

/* In a process of its own, so that it can be killed: the exit code, 9 for a kill. */
static int in_a_child(struct stop *stop, unsigned threads, bool resume, const char *effort)
{
    int code = 0;

    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ram_err err = {0};
        const int status = quantize(stop, threads, resume, effort, &err);
        if (status && status != RAM_EINTERRUPT)
            fprintf(stderr, "%s\n", err.message);
        _exit(status == RAM_EINTERRUPT ? 130 : status ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

/* ---- directories ---------------------------------------------------------------------------- */

static char *read_all(const char *dir, const char *name, size_t *size)
{
    char path[700];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is not there", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

static int compare_all(const char *a, const char *b)
{
    const struct dirent *entry;
    DIR *dir = opendir(a);
    int n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        size_t size_a, size_b;
        if (*entry->d_name == '.')
            continue;
        char *x = read_all(a, entry->d_name, &size_a), *y = read_all(b, entry->d_name, &size_b);
        if (size_a != size_b || memcmp(x, y, size_a) != 0)
            fail_msg("%s differs", entry->d_name);
        free(x);
        free(y);
        n++;
    }
    closedir(dir);
    return n;
}

static void assert_same(void)
{
    assert_int_equal(compare_all(out, whole), compare_all(whole, out));
    assert_int_not_equal(access(kept, F_OK), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%s", make_temp_dir());
    snprintf(model, sizeof model, "%s/model", root);
    snprintf(out, sizeof out, "%s/out", root);
    snprintf(kept, sizeof kept, "%s/out.ram-partial", root);
    snprintf(whole, sizeof whole, "%s/whole", root);
    setenv("RAM_KEEP", "always", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unsetenv("RAM_KEEP");
    make_remove_dir(model);
    make_remove_dir(out);
    make_remove_dir(whole);
    make_remove_dir(root);
    return 0;
}

/* An undisturbed run, moved to `whole`: the card names the directory, so that all have one name. */
static int run_whole(const char *effort, struct stop *seen)
{
    struct ram_err err = {0};

    if (quantize(seen, 1, false, effort, &err))
        fail_msg("%s", err.message);
    assert_int_not_equal(access(kept, F_OK), 0);
    assert_int_equal(rename(out, whole), 0);
    return seen->polls;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void stop_everywhere(const char *arch, const char *effort, int n_stops, const char *stages)
{
    const struct make_opts make = {.arch = arch, .layers = 2, .shards = 2};
    struct stop seen = {0};

    make_ckpt(model, &make);
    const int polls = run_whole(effort, &seen);
    if (!strstr(seen.stage, stages))
        fail_msg("%d polls:%s", polls, seen.stage);
    for (int k = 0; k < n_stops; k++) {
        struct stop stop = {.at = 1 + k * (polls - 1) / n_stops, .how = k % 2 ? KILL : ASK};
        struct stop never = {0};
        const int code = in_a_child(&stop, 1, false, effort);
        assert_int_equal(code, stop.how == KILL ? 9 : 130);
        assert_int_equal(in_a_child(&never, 1 + (unsigned)(k + 1) % 3, true, effort), 0);
        assert_same();
        make_remove_dir(out);
    }
}

static void dense_stops_everywhere(void **state)
{
    (void)state;
    stop_everywhere(
        "qwen3", "best", 7,
        "analyze synthesize probe synthesize curves derive convert verify synthesize check");
}

static void a_mixture_stops_everywhere(void **state)
{
    (void)state;
    stop_everywhere("qwen3_moe", "best", 4,
                    "probe probe again synthesize curves derive convert verify synthesize check");
}

/* Stopped again and again, long before the end, it arrives. */
static void many_stops_arrive(void **state)
{
    const struct make_opts make = {.arch = "qwen3", .layers = 2};
    struct stop seen = {0};
    int n = 0, code = 9;
    (void)state;

    make_ckpt(model, &make);
    run_whole("best", &seen);
    while (code == 9) {
        struct stop stop = {.at = 10 + 8 * n, .how = KILL};
        code = in_a_child(&stop, 1, n > 0, "best");
        assert_true(++n < 40);
    }
    assert_int_equal(code, 0);
    assert_true(n > 3);
    assert_same();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dense_stops_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mixture_stops_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(many_stops_arrive, setup, teardown),
    };
    return cmocka_run_group_tests_name("face/resume", tests, NULL, NULL);
}
