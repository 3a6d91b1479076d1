/* The digest of a checkpoint: the same for a copy, another for any change that training makes. */
#include "ckpt/digest.h"
#include "ckpt_make.h"

#include <setjmp.h>

#include <cmocka.h>

static char a[256], b[256];

static int setup(void **state)
{
    (void)state;
    snprintf(a, sizeof a, "%s", make_temp_dir());
    snprintf(b, sizeof b, "%s", make_temp_dir());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_remove_dir(a);
    make_remove_dir(b);
    return 0;
}

/* What differs between the checkpoint in `from` and that in `to`: "" if nothing does. */
static void compare(const char *from, const char *to, const char *expected)
{
    struct ram_ckpt *x = NULL, *y = NULL;
    struct ram_digest *before = NULL, *now = NULL;
    struct ram_err err = {0};
    struct ram_buf why = {0};

    if (ram_ckpt_open(&x, from, &err) || ram_ckpt_open(&y, to, &err) ||
        ram_digest_new(&before, x, NULL, &err) || ram_digest_new(&now, y, NULL, &err))
        fail_msg("%s", err.message);
    const bool differs =
        ram_digest_differs(now, y, before->config, before->tensors, before->n, &why);
    assert_int_equal(differs, *expected != '\0');
    assert_int_equal(strcmp(before->sha256, now->sha256) != 0, differs);
    if (differs && (why.failed || !strstr(why.data, expected)))
        fail_msg("'%s', expected '%s'", why.data, expected);
    ram_buf_release(&why);
    ram_digest_free(before);
    ram_digest_free(now);
    ram_ckpt_close(x);
    ram_ckpt_close(y);
}

static void a_copy_is_the_same(void **state)
{
    const struct make_opts one = {.arch = "qwen3_moe"}, cut = {.arch = "qwen3_moe", .shards = 3};
    (void)state;

    make_ckpt(a, &one);
    make_ckpt(b, &one);
    compare(a, b, "");
    make_remove_dir(b);
    make_ckpt(b, &cut); /* other files, and the same tensors in them */
    compare(a, b, "");
}

static void other_weights_differ(void **state)
{
    const struct make_opts one = {.arch = "llama"}, other = {.arch = "llama", .seed = 9},
                           more = {.arch = "llama", .layers = 4};
    (void)state;

    make_ckpt(a, &one);
    make_ckpt(b, &other);
    compare(a, b, "other weights: tensor '");
    make_remove_dir(b);
    make_ckpt(b, &more);
    compare(a, b, "other weights: ");
}

/* Bit `bit` of byte `at` from the end of the only weight file. */
static void flip(const char *dir, long at)
{
    char path[300];

    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -at, SEEK_END), 0);
    const int c = fgetc(file);
    assert_int_equal(fseek(file, -at, SEEK_END), 0);
    assert_int_equal(fputc(c ^ 1, file), c ^ 1);
    assert_int_equal(fclose(file), 0);
}

/* A small checkpoint is read whole: one bit anywhere counts. */
static void one_bit_differs(void **state)
{
    const struct make_opts make = {.arch = "qwen3"};
    (void)state;

    make_ckpt(a, &make);
    make_ckpt(b, &make);
    for (long at = 1; at < 100000; at = at * 3 + 1) {
        flip(b, at);
        compare(a, b, "is not the one that was measured");
        flip(b, at);
        compare(a, b, "");
    }
}

static void another_config_differs(void **state)
{
    const struct make_opts make = {.arch = "qwen3"};
    char path[300], text[8192];
    (void)state;

    make_ckpt(a, &make);
    make_ckpt(b, &make);
    snprintf(path, sizeof path, "%s/config.json", b);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    char *brace = strchr(text, '{');
    assert_non_null(brace);
    for (int spaces = 1; spaces >= 0; spaces--) {
        file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "{%s%s", spaces ? "  \n" : "\"unheard_of\": 1,", brace + 1);
        fclose(file);
        compare(a, b, spaces ? "" : "another config.json");
    }
}

/* ---- samples of a large tensor --------------------------------------------------------------- */

/* More than a gigabyte that are never written: the file has a hole. */
static void samples_reach_both_ends(void **state)
{
    enum { ROWS = 20000, COLS = 1 << 15 };
    static const char *const places[] = {"first", "last"};
    const uint64_t size = (uint64_t)ROWS * COLS * 2, at[] = {0, size - 1};
    uint64_t sums[3];
    char path[300];
    (void)state;

    snprintf(path, sizeof path, "%s/hole", a);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    for (size_t k = 0; k < 3; k++) {
        struct ram_ckpt_file of = {.name = path};
        struct ram_err err = {0};
        if (k) {
            assert_int_equal(pwrite(fileno(file), "x", 1, (off_t)at[k - 1]), 1);
            assert_int_equal(fflush(file), 0);
        }
        if (ram_map_open(&of.map, path, &err))
            fail_msg("%s", err.message);
        struct ram_tensor tensor = {.name = "w",
                                    .dtype = RAM_BF16,
                                    .n_dims = 2,
                                    .shape = {ROWS, COLS},
                                    .n = (size_t)ROWS * COLS,
                                    .size = (size_t)size,
                                    .data = of.map.data};
        char name[] = "hole";
        const struct ram_ckpt ckpt = {
            .name = name, .files = &of, .n_files = 1, .tensors = &tensor, .n_tensors = 1};
        struct ram_digest *digest = NULL;
        struct ram_pool *pool = NULL;
        if (ram_pool_new(&pool, 0, &err) || ram_digest_new(&digest, &ckpt, pool, &err))
            fail_msg("%s", err.message);
        sums[k] = digest->tensors[0];
        ram_digest_free(digest);
        ram_pool_free(pool);
        ram_map_close(&of.map);
        if (k && sums[k] == sums[k - 1])
            fail_msg("the %s byte does not count", places[k - 1]);
    }
    fclose(file);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_copy_is_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(other_weights_differ, setup, teardown),
        cmocka_unit_test_setup_teardown(one_bit_differs, setup, teardown),
        cmocka_unit_test_setup_teardown(another_config_differs, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_reach_both_ends, setup, teardown),
    };
    return cmocka_run_group_tests_name("ckpt/digest", tests, NULL, NULL);
}
