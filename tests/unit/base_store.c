/* A store: what was put is found by the same key and scope alone, whatever a crash left behind. */
#include "base/exec.h"

#include "base/cpu.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <signal.h>

static char dir[256], path[300], log_path[320], state_path[320];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/ram-store-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/out.ram-partial", dir);
    snprintf(log_path, sizeof log_path, "%s/log", path);
    snprintf(state_path, sizeof state_path, "%s/state", path);
    unsetenv("RAM_KEEP");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(log_path);
    unlink(state_path);
    rmdir(path);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static struct ram_store *open_store(bool resume, struct ram_store_found *found)
{
    struct ram_store *store = NULL;
    struct ram_err err = {0};

    if (ram_store_new(&store, path, resume, found, &err) || ram_store_bind(store, "weights", &err))
        fail_msg("%s", err.message);
    return store;
}

static bool has(struct ram_store *store, const struct ram_store_scope *scope, const char *name,
                const char *value)
{
    struct ram_buf buf = {0};
    const bool found = ram_store_get(store, scope, name, SIZE_MAX, &buf);

    if (found && value)
        assert_true(buf.size == strlen(value) && !memcmp(buf.data, value, buf.size));
    ram_buf_release(&buf);
    return found;
}

static size_t size_of(const char *file)
{
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return (size_t)st.st_size;
}

/* ---- the hash ---------------------------------------------------------------------------- */

/* Published values, and one of each kind of end. */
static void hashes_as_xxh64(void **state)
{
    (void)state;
    assert_true(ram_hash64("", 0, 0) == UINT64_C(0xef46db3751d8e999));
    assert_true(ram_hash64("a", 1, 0) == UINT64_C(0xd24ec4f1a98c6e5b));
    assert_true(ram_hash64("abc", 3, 0) == UINT64_C(0x44bc2cf5ad770999));
    assert_true(ram_hash64("Nobody inspects the spammish repetition", 39, 0) ==
                UINT64_C(0xfbcea83c8a378bf1));
}

/* ---- records ------------------------------------------------------------------------------- */

static void finds_what_was_put(void **state)
{
    struct ram_store_found found;
    struct ram_store_scope a, b;
    char name[32];
    (void)state;

    struct ram_store *store = open_store(false, &found);
    ram_store_scope(store, "stage", "settings", &a);
    ram_store_scope(store, "stage", "other settings", &b);
    assert_string_not_equal(a.text, b.text);
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "record %d", i);
        ram_store_put(store, &a, name, name, strlen(name));
    }
    ram_store_put(store, &a, "record 5", "again", 5);
    ram_store_put(store, &a, "nothing", "", 0);
    assert_true(has(store, &a, "record 7", "record 7")); /* in the run that made it, too */
    assert_true(ram_store_free(store, false));

    store = open_store(true, &found);
    assert_int_equal(found.n_records, 2002);
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "record %d", i);
        assert_true(has(store, &a, name, i == 5 ? "again" : name));
        assert_false(has(store, &b, name, NULL));
    }
    assert_true(has(store, &a, "nothing", ""));
    assert_false(has(store, &a, "record 2000", NULL));
    struct ram_buf buf = {0};
    assert_false(ram_store_get(store, &a, "record 7", 9, &buf)); /* of another size */
    ram_buf_release(&buf);
    assert_true(ram_store_free(store, false));

    /* Of other weights nothing is found. */
    struct ram_err err = {0};
    store = open_store(true, &found);
    assert_int_equal(ram_store_bind(store, "other weights", &err), 0);
    ram_store_scope(store, "stage", "settings", &b);
    assert_false(has(store, &b, "record 7", NULL));
    assert_false(ram_store_free(store, true));
    assert_int_not_equal(access(path, F_OK), 0);
}

/* What lies there is neither used nor lost until the run is finished. */
static void begins_again_without_resume(void **state)
{
    struct ram_store_found found;
    struct ram_store_scope scope;
    (void)state;

    struct ram_store *store = open_store(false, &found);
    ram_store_scope(store, "stage", "", &scope);
    ram_store_put(store, &scope, "old", "1", 1);
    ram_store_free(store, false);
    store = open_store(false, &found);
    assert_int_equal(found.n_records, 1);
    assert_false(has(store, &scope, "old", NULL));
    ram_store_put(store, &scope, "new", "2", 1);
    assert_true(ram_store_free(store, false));
    store = open_store(true, &found);
    assert_true(has(store, &scope, "old", "1") && has(store, &scope, "new", "2"));
    ram_store_free(store, true);
}

static void leaves_no_empty_directory(void **state)
{
    struct ram_store_found found;
    (void)state;

    struct ram_store *store = open_store(false, &found);
    ram_store_put(store, NULL, "of no stage", "x", 1);
    assert_false(ram_store_free(store, false));
    assert_int_not_equal(access(path, F_OK), 0);
}

static void belongs_to_one_process(void **state)
{
    struct ram_store_found found;
    struct ram_store_scope scope;
    struct ram_store *second = NULL;
    struct ram_err err = {0};
    (void)state;

    struct ram_store *store = open_store(false, &found);
    assert_int_equal(ram_store_new(&second, path, true, &found, &err), RAM_EUSAGE);
    assert_non_null(strstr(err.message, "another ram process"));
    ram_store_scope(store, "stage", "", &scope);
    ram_store_put(store, &scope, "x", "1", 1); /* it was not taken away */
    assert_true(ram_store_free(store, false));
    store = open_store(true, &found);
    assert_true(has(store, &scope, "x", "1"));
    ram_store_free(store, true);
}

/* Cut anywhere, every record before the cut is there; and what is put then, too. */
static void survives_any_cut(void **state)
{
    struct ram_store_found found;
    struct ram_store_scope scope;
    (void)state;

    for (size_t cut = 1;; cut++) {
        struct ram_store *store = open_store(false, &found);
        ram_store_scope(store, "stage", "", &scope);
        ram_store_put(store, &scope, "first", "one", 3);
        const size_t one = size_of(log_path);
        ram_store_put(store, &scope, "second", "two", 3);
        ram_store_free(store, false);
        const size_t size = size_of(log_path);
        if (cut > size)
            break;
        assert_int_equal(truncate(log_path, (off_t)(size - cut)), 0);
        store = open_store(true, &found);
        assert_int_equal(found.n_records, size - cut >= one);
        assert_int_equal(has(store, &scope, "first", "one"), found.n_records > 0);
        assert_int_equal(found.foreign, size - cut < 8 && cut < size);
        ram_store_put(store, &scope, "third", "three", 5);
        ram_store_free(store, false);
        store = open_store(true, &found);
        assert_int_equal(has(store, &scope, "first", "one"), found.n_records > 1);
        assert_true(has(store, &scope, "third", "three"));
        ram_store_free(store, true);
    }
}

static void flip(const char *file, size_t at)
{
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(c ^ 1, f), c ^ 1);
    assert_int_equal(fclose(f), 0);
}

/* No changed bit is ever taken for a value. */
static void notices_any_flip(void **state)
{
    struct ram_store_found found;
    struct ram_store_scope scope;
    size_t size = SIZE_MAX;
    (void)state;

    for (size_t at = 0; at < size; at++) {
        struct ram_store *store = open_store(false, &found);
        ram_store_scope(store, "stage", "", &scope);
        ram_store_put(store, &scope, "first", "one", 3);
        ram_store_put(store, &scope, "second", "two", 3);
        ram_store_free(store, false);
        size = size_of(log_path);
        flip(log_path, at);
        store = open_store(true, &found);
        const bool first = has(store, &scope, "first", "one");
        const bool second = has(store, &scope, "second", "two");
        assert_false(first && second);
        assert_true(found.foreign || found.cut || found.n_damaged);
        ram_store_free(store, true);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

/* ---- the state ----------------------------------------------------------------------------- */

enum { BODY = (1 << 20) + 12345 };

struct bytes {
    unsigned char *data;
    bool into;
};

static int move(void *ctx, uint64_t at, void *data, size_t n, struct ram_err *err)
{
    const struct bytes *bytes = ctx;

    (void)err;
    assert_true(at + n <= BODY);
    if (bytes->into)
        memcpy(bytes->data + at, data, n);
    else
        memcpy(data, bytes->data + at, n);
    return RAM_OK;
}

static int refuse(void *ctx, uint64_t at, void *data, size_t n, struct ram_err *err)
{
    (void)ctx;
    (void)at;
    (void)data;
    (void)n;
    return ram_fail(err, RAM_EFORMAT, "no");
}

static void keeps_one_state(void **state)
{
    static unsigned char from[BODY], to[BODY];
    struct bytes source = {from, false}, target = {to, true};
    const struct ram_store_body out = {&source, BODY, move}, in = {&target, BODY, move};
    const struct ram_store_body bad = {NULL, BODY, refuse};
    struct ram_store_found found;
    struct ram_store_scope scope, other;
    struct ram_buf head = {0}, back = {0};
    struct ram_err err = {0};
    uint64_t size;
    (void)state;

    setenv("RAM_KEEP", "always", 1);
    for (size_t i = 0; i < BODY; i++)
        from[i] = (unsigned char)(i * 31 >> 3);
    ram_buf_puts(&head, "layer 3");
    struct ram_store *store = open_store(false, &found);
    ram_store_scope(store, "stage", "a", &scope);
    ram_store_scope(store, "stage", "b", &other);
    assert_false(ram_store_state_find(store, &scope, &back, &size));
    assert_int_equal(ram_store_state_put(store, &scope, &head, &out, &err), 0);
    assert_int_equal(ram_store_state_put(store, &scope, &head, &bad, &err), RAM_EFORMAT);
    assert_true(ram_store_free(store, false));

    store = open_store(false, &found); /* without resume: not found */
    assert_false(ram_store_state_find(store, &scope, &back, &size));
    ram_store_put(store, &scope, "x", "1", 1);
    assert_true(ram_store_free(store, false));

    store = open_store(true, &found);
    assert_false(ram_store_state_find(store, &other, &back, &size));
    assert_true(ram_store_state_find(store, &scope, &back, &size));
    assert_int_equal(size, BODY);
    assert_string_equal(back.data, "layer 3");
    assert_int_equal(ram_store_state_get(store, &in, &err), 0);
    assert_memory_equal(from, to, BODY);
    ram_store_free(store, false);

    for (size_t at = 0; at < size_of(state_path); at += at < 80 ? 1 : 99991) {
        flip(state_path, at);
        store = open_store(true, &found);
        assert_false(ram_store_state_find(store, &scope, &back, &size));
        ram_store_free(store, false);
        flip(state_path, at);
    }
    assert_int_equal(truncate(state_path, BODY), 0);
    store = open_store(true, &found);
    assert_false(ram_store_state_find(store, &scope, &back, &size));
    ram_store_free(store, true);
    assert_int_not_equal(access(path, F_OK), 0);
    ram_buf_release(&head);
    ram_buf_release(&back);
}

/* ---- a disk that is full ------------------------------------------------------------------- */

static int n_notices;
static void note(void *user, const char *line)
{
    (void)user;
    assert_non_null(strstr(line, "cannot be kept any more"));
    n_notices++;
}

static void goes_on_when_the_disk_is_full(void **state)
{
    static char big[10000];
    struct ram_store_found found;
    struct ram_store_scope scope;
    struct rlimit old;
    struct ram_run run = {.notice = note};
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {5000, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    struct ram_store *store = open_store(false, &found);
    run.store = store;
    ram_store_scope(store, "stage", "", &scope);
    ram_store_put(store, &scope, "small", "1", 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ram_store_put(store, &scope, "big", big, sizeof big);
    ram_store_put(store, &scope, "after", "2", 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    const struct ram_exec exec = ram_exec_alone(&run);
    ram_exec_progress(&exec, &(struct ram_progress){0});
    ram_exec_progress(&exec, &(struct ram_progress){0});
    assert_int_equal(n_notices, 1);
    assert_true(ram_store_free(store, false));
    store = open_store(true, &found);
    assert_int_equal(found.n_records, 1);
    assert_int_equal(found.cut, 0); /* what did not fit was taken back */
    assert_true(has(store, &scope, "small", "1"));
    ram_store_free(store, true);
}

static void null_keeps_nothing(void **state)
{
    struct ram_store_scope scope;
    struct ram_buf buf = {0};
    struct ram_err err = {0};
    (void)state;

    ram_store_scope(NULL, "stage", "", &scope);
    ram_store_put(NULL, &scope, "x", "1", 1);
    assert_false(ram_store_get(NULL, &scope, "x", 1, &buf));
    assert_false(ram_store_due(NULL));
    assert_int_equal(ram_store_bind(NULL, "", &err), 0);
    assert_null(ram_store_complaint(NULL));
    ram_store_reserve(NULL, 1);
    assert_false(ram_store_free(NULL, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_as_xxh64),
        cmocka_unit_test_setup_teardown(finds_what_was_put, setup, teardown),
        cmocka_unit_test_setup_teardown(begins_again_without_resume, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_no_empty_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(belongs_to_one_process, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_any_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_any_flip, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_one_state, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_on_when_the_disk_is_full, setup, teardown),
        cmocka_unit_test(null_keeps_nothing),
    };
    return cmocka_run_group_tests_name("base/store", tests, NULL, NULL);
}
