/*
 * Which files of a source travel: tokenizers of every kind, templates in their folder, licences;
 * never weights. Links are followed, and those that lead out of the checkpoint are told.
 */
#include "convert_case.h"

#include "base/buf.h"
#include "convert/conversion.h"

static char base[300], dir[320];

static int setup(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "%s", make_temp_dir());
    snprintf(dir, sizeof dir, "%s/m", base);
    return mkdir(dir, 0777);
}

static int teardown(void **state)
{
    (void)state;
    make_remove_dir(base);
    return 0;
}

static void put(const char *name)
{
    spill(dir, name, "x", 1);
}

static bool carries(const char *name, bool *tokenizer)
{
    struct ram_carried_list list;
    struct ram_err err = {0};
    bool found = false;

    if (ram_carried_find(&list, dir, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < list.n; i++)
        found = found || !strcmp(list.files[i].name, name);
    *tokenizer = list.tokenizer;
    ram_carried_release(&list);
    return found;
}

static void every_kind_travels(void **state)
{
    static const struct {
        const char *name;
        bool tokenizer, carried;
    } files[] = {
        {"tokenizer.json", true, true},
        {"tokenizer.4.0.0.json", false, true},
        {"tokenizer_config.json", false, true},
        {"special_tokens_map.json", false, true},
        {"added_tokens.json", false, true},
        {"vocab.json", true, true},
        {"merges.txt", false, true},
        {"vocab.txt", true, true},
        {"tokenizer.model", true, true},
        {"tokenizer.model.v3", true, true},
        {"tokenizer.model.v7m1", true, true},
        {"qwen.tiktoken", true, true},
        {"tiktoken.model", true, true},
        {"tekken.json", true, true},
        {"spiece.model", true, true},
        {"sentencepiece.bpe.model", true, true},
        {"chat_template.jinja", false, true},
        {"chat_template.json", false, true},
        {"tool_use.jinja", false, true},
        {"generation_config.json", false, true},
        {"preprocessor_config.json", false, true},
        {"processor_config.json", false, true},
        {"video_preprocessor_config.json", false, true},
        {"tokenization_x.py", false, true},
        {"LICENSE", false, true},
        {"license.txt", false, true},
        {"MODEL_LICENSE.md", false, true},
        {"Tongyi Qianwen LICENSE AGREEMENT", false, true},
        {"LICENCE", false, true},
        {"Notice.txt", false, true},
        {"USE_POLICY.md", false, true},
        {"README.md", false, false},
        {"params.json", false, false},
        {"model-00001-of-00002.safetensors", false, false},
        {"license.bin", false, false},
        {"vocab.bin", false, false},
        {"tokenizer.model.bin", false, false},
        {"hf_quant_config.json", false, false},
        {".env.py", false, false},
    };
    (void)state;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[700];
        bool tokenizer;
        put(files[i].name);
        if (carries(files[i].name, &tokenizer) != files[i].carried)
            fail_msg("%s is %scarried", files[i].name, files[i].carried ? "not " : "");
        if (tokenizer != files[i].tokenizer || ram_has_tokenizer(dir) != files[i].tokenizer)
            fail_msg("%s is %sa tokenizer", files[i].name, tokenizer ? "" : "not ");
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        assert_int_equal(unlink(path), 0);
    }
}

static void link_to(const char *target, const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(symlink(target, path), 0);
}

static void links(void **state)
{
    struct ram_carried_list list;
    struct ram_err err = {0};
    (void)state;

    spill(base, "secret", "x", 1);
    spill(base, "vocab.json", "x", 1);
    put("tokenizer.json");
    link_to("../secret", "LICENSE");
    link_to("/dev/null", "NOTICE");
    link_to("..", "COPYING");
    link_to("../vocab.json", "vocab.json");
    link_to("tokenizer.json", "tokenizer.1.json");
    link_to("nowhere", "merges.txt");
    assert_int_equal(ram_carried_find(&list, dir, &err), RAM_OK);
    assert_int_equal(list.n, 4);
    assert_string_equal(list.files[0].name, "LICENSE");
    assert_int_equal(list.files[0].size, 1);
    assert_string_equal(list.files[1].name, "tokenizer.1.json");
    assert_string_equal(list.files[3].name, "vocab.json");
    assert_int_equal(list.n_outside, 1);
    assert_string_equal(list.outside, "LICENSE");
    assert_int_equal(list.n_passed_over, 3);
    for (size_t i = 0; i < 3; i++) {
        const char *line = list.passed_over[i];
        assert_non_null(strstr(line, !strncmp(line, "merges.txt", 10)
                                         ? "merges.txt is not copied: it is a link that leads "
                                           "nowhere"
                                         : "is not copied: it is a link to something that is not "
                                           "a file"));
    }
    assert_false(list.tokenizer_lost);
    ram_carried_release(&list);
}

/* models--org--name/snapshots/commit/f links to ../../blobs/hash. */
static void links_of_the_cache(void **state)
{
    struct ram_carried_list list;
    struct ram_err err = {0};
    char path[700], snapshot[600];
    (void)state;

    snprintf(path, sizeof path, "%s/blobs", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/snapshots", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(snapshot, sizeof snapshot, "%s/snapshots/abc", dir);
    assert_int_equal(mkdir(snapshot, 0777), 0);
    snprintf(path, sizeof path, "%s/blobs", dir);
    spill(path, "1234", "x", 1);
    spill(base, "5678", "x", 1);
    link_to("../../blobs/1234", "snapshots/abc/tokenizer.json");
    link_to("../../../5678", "snapshots/abc/tokenizer.model");
    assert_int_equal(ram_carried_find(&list, snapshot, &err), RAM_OK);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.files[0].name, "tokenizer.json");
    assert_string_equal(list.files[1].name, "tokenizer.model");
    assert_int_equal(list.n_passed_over, 0);
    assert_int_equal(list.n_outside, 1);
    assert_string_equal(list.outside, "tokenizer.model");
    ram_carried_release(&list);
}

static void note(void *user, const char *line)
{
    ram_buf_printf(user, "%s\n", line);
}

static void a_lost_tokenizer_is_told(void **state)
{
    struct ram_carried_list list;
    struct ram_err err = {0};
    struct ram_buf notes = {0};
    const struct ram_exec exec = ram_exec_alone(&(struct ram_run){.notice = note, .user = &notes});
    (void)state;

    link_to("nowhere", "tokenizer.json");
    link_to("nowhere", "chat_templates");
    assert_int_equal(ram_carried_find(&list, dir, &err), RAM_OK);
    assert_int_equal(list.n, 0);
    ram_carried_notice(&list, &exec);
    assert_true(notes.size && !notes.failed);
    assert_null(strstr(notes.data, "the source has no tokenizer"));
    assert_non_null(strstr(notes.data, "the output has no tokenizer"));
    assert_non_null(strstr(notes.data, "tokenizer.json is not copied: it is a link"));
    assert_non_null(strstr(notes.data, "chat_templates is not copied"));
    ram_buf_release(&notes);
    ram_carried_release(&list);
}

static void pointers_are_refused(void **state)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n"
                                  "oid sha256:00\nsize 11422654\n";
    struct ram_carried_list list;
    struct ram_err err = {0};
    (void)state;

    spill(dir, "tokenizer.json", pointer, sizeof pointer - 1);
    assert_int_equal(ram_carried_find(&list, dir, &err), RAM_EFORMAT);
    assert_non_null(strstr(err.message, "tokenizer.json: a Git LFS pointer instead of the file "
                                        "itself, which has 11422654 bytes"));
}

/* Through a whole conversion, twice, so that the folder is replaced too. */
static void folders_of_templates(void **state)
{
    static const struct make_opts opts = {.arch = "llama", .layers = 1};
    struct ram_convert_opts how = {0};
    struct ram_buf notes = {0};
    const struct ram_run run = {.threads = 1, .notice = note, .user = &notes};
    struct test_case c;
    char path[700], target[700];
    size_t size;
    (void)state;

    case_open(&c, &opts, mixed_width, NULL);
    snprintf(target, sizeof target, "%s/templates", c.dir);
    assert_int_equal(mkdir(target, 0777), 0);
    snprintf(path, sizeof path, "%s/additional_chat_templates", c.model);
    assert_int_equal(symlink("../templates", path), 0);
    spill(path, "tool_use.jinja", "tools", 5);
    spill(path, "weights.bin", "x", 1);
    if (convert_by(c.ckpt, c.plan, c.out, &how, &run, NULL, &c.err))
        fail_msg("%s", c.err.message);
    assert_non_null(strstr(notes.data, "the source has no tokenizer"));
    ram_buf_release(&notes);
    notes = (struct ram_buf){0};
    char *card = slurp(c.out, "README.md", &size);
    assert_non_null(strstr(card, "The original has no tokenizer"));
    free(card);
    spill(c.dir, "blob", "{}", 2);
    snprintf(path, sizeof path, "%s/tekken.json", c.model);
    assert_int_equal(symlink("../blob", path), 0);
    how.force = true;
    if (convert_by(c.ckpt, c.plan, c.out, &how, &run, NULL, &c.err))
        fail_msg("%s", c.err.message);
    assert_null(notes.data ? strstr(notes.data, "tokenizer") : NULL);
    assert_non_null(strstr(notes.data, "such as tekken.json"));
    char *text = slurp(c.out, "additional_chat_templates/tool_use.jinja", &size);
    assert_non_null(text);
    assert_string_equal(text, "tools");
    free(text);
    text = slurp(c.out, "tekken.json", &size);
    assert_non_null(text);
    assert_string_equal(text, "{}");
    free(text);
    struct stat st;
    snprintf(path, sizeof path, "%s/tekken.json", c.out);
    assert_true(!lstat(path, &st) && S_ISREG(st.st_mode));
    snprintf(path, sizeof path, "%s/additional_chat_templates", c.out);
    assert_int_equal(count_entries(path), 1);
    /* model, out, blob and templates: nothing was left beside them. */
    assert_int_equal(count_entries(c.dir), 4);
    ram_buf_release(&notes);
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind_travels, setup, teardown),
        cmocka_unit_test_setup_teardown(links, setup, teardown),
        cmocka_unit_test_setup_teardown(links_of_the_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_tokenizer_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(pointers_are_refused, setup, teardown),
        cmocka_unit_test(folders_of_templates),
    };
    return cmocka_run_group_tests_name("convert/carry", tests, NULL, NULL);
}
