/* What the text of a model's own begins with: by its tokenizer and template, or by config.json. */
#include "ckpt_make.h"
#include "probe/starts.h"

#include <setjmp.h>

#include <cmocka.h>

enum { N = 16, LONGEST = 12, DOCUMENT = 27, BEGINS_TURN = 28 };

struct subject {
    char dir[64];
    struct ram_ckpt *ckpt;
    struct ram_model *model;
    struct ram_starts starts;
};

static void write_file(const char *dir, const char *name, const char *text)
{
    FILE *f = make_open(dir, name);

    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Letters, a space and a line feed as ByteLevel writes them, and two special tokens. */
static void write_tokenizer(const char *dir)
{
    FILE *f = make_open(dir, "tokenizer.json");

    fputs("{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
          "\"use_regex\": false}, \"added_tokens\": ["
          "{\"id\": 27, \"content\": \"<|endoftext|>\", \"special\": true}, "
          "{\"id\": 28, \"content\": \"<|im_start|>\", \"special\": true}], "
          "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {",
          f);
    for (int i = 0; i < 26; i++)
        fprintf(f, "\"%c\": %d, ", 'a' + i, i);
    fputs("\"\u010A\": 26}}}", f);
    assert_int_equal(fclose(f), 0);
}

static struct subject open_subject(bool tokenizer, const char *template, size_t longest)
{
    struct subject s = {.dir = "/tmp/ram-test-XXXXXX"};
    struct ram_err err = {0};

    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, &(struct make_opts){.arch = "llama"});
    if (tokenizer)
        write_tokenizer(s.dir);
    if (template)
        write_file(s.dir, "chat_template.jinja", template);
    if (ram_ckpt_open(&s.ckpt, s.dir, &err) || ram_model_open(&s.model, s.ckpt, &err) ||
        ram_starts_make(&s.starts, s.model, N, longest, 42, &err))
        fail_msg("%s", err.message);
    return s;
}

static void close_subject(struct subject *s)
{
    ram_starts_release(&s->starts);
    ram_model_close(s->model);
    ram_ckpt_close(s->ckpt);
    make_remove_dir(s->dir);
}

/* "<|im_start|>user\n" */
static const uint32_t turn[] = {BEGINS_TURN, 'u' - 'a', 's' - 'a', 'e' - 'a', 'r' - 'a', 26};

static bool is_turn(const struct ram_span *span)
{
    return span->n == sizeof turn / sizeof *turn && !memcmp(span->tokens, turn, sizeof turn);
}

static void documents_turns_and_anything(void **state)
{
    struct subject s = open_subject(true, "{{ '<|im_start|>' + message.role }}", LONGEST);
    size_t others = 0;
    (void)state;

    for (size_t i = 0; i < N; i++) {
        const struct ram_span *span = &s.starts.spans[i];
        assert_in_range(span->n, 1, LONGEST);
        assert_true(span->tokens[0] < MAKE_VOCAB);
        assert_int_equal(s.starts.kinds[i], i % 2 == 0   ? RAM_START_DOCUMENT
                                            : i % 4 == 1 ? RAM_START_TURN
                                                         : RAM_START_RANDOM);
        if (i % 2 == 0)
            assert_true(span->n == 1 && span->tokens[0] == DOCUMENT);
        else if (i % 4 == 1)
            assert_true(is_turn(span));
        else
            others += span->n == 1 && span->tokens[0] != s.starts.spans[3].tokens[0];
    }
    assert_true(others > 0); /* not always the same */
    close_subject(&s);
}

/* A tokenizer has the token of many models' turns; only a template says that this model uses it. */
static void no_template_no_turns(void **state)
{
    struct subject s = open_subject(true, NULL, LONGEST);
    (void)state;

    for (size_t i = 0; i < N; i++)
        assert_int_equal(s.starts.spans[i].n, 1);
    close_subject(&s);
}

static void turns_that_fill_a_sequence_are_none(void **state)
{
    struct subject s = open_subject(true, "<|im_start|>", sizeof turn / sizeof *turn);
    (void)state;

    for (size_t i = 0; i < N; i++)
        assert_int_equal(s.starts.spans[i].n, 1);
    close_subject(&s);
}

static void without_a_tokenizer(void **state)
{
    struct subject s = open_subject(false, NULL, LONGEST);
    (void)state;

    for (size_t i = 0; i < N; i++) {
        assert_int_equal(s.starts.spans[i].n, 1);
        assert_true(s.starts.spans[i].tokens[0] < MAKE_VOCAB);
    }
    close_subject(&s);
}

/* A config.json that calls every token an end leaves none to begin with. */
static void everything_is_a_marker(void **state)
{
    struct subject s = {.dir = "/tmp/ram-test-XXXXXX"};
    struct ram_err err = {0};
    json_t *all = json_array();
    (void)state;

    assert_non_null(mkdtemp(s.dir));
    make_ckpt(s.dir, &(struct make_opts){.arch = "llama"});
    assert_int_equal(ram_ckpt_open(&s.ckpt, s.dir, &err), RAM_OK);
    for (int i = 0; i < MAKE_VOCAB; i++)
        json_array_append_new(all, json_integer(i));
    json_object_set_new(s.ckpt->config, "eos_token_id", all);
    assert_int_equal(ram_model_open(&s.model, s.ckpt, &err), RAM_OK);
    assert_int_equal(ram_starts_make(&s.starts, s.model, N, LONGEST, 42, &err), RAM_OK);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_turns_and_anything),
        cmocka_unit_test(no_template_no_turns),
        cmocka_unit_test(turns_that_fill_a_sequence_are_none),
        cmocka_unit_test(without_a_tokenizer),
        cmocka_unit_test(everything_is_a_marker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
