/* The forms in which questions come, and what is refused. Expected texts: the harness's own
 * preprocess() and templates, by hand. */
#include "evaluate/documents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct ram_documents *out, const char *text, enum ram_choice_task task,
                 struct ram_err *err)
{
    *err = (struct ram_err){0};
    return ram_documents_parse(out, text, strlen(text), task, 0, "file", err);
}

static void check_parsed(struct ram_documents *out, const char *text, enum ram_choice_task task,
                         size_t n)
{
    struct ram_err err;

    assert_int_equal(parse(out, text, task, &err), RAM_OK);
    assert_int_equal(out->n, n);
}

static void arc_in_its_own_fields(void **state)
{
    struct ram_documents documents;
    (void)state;

    check_parsed(&documents,
                 "{\"id\": \"a\", \"question\": \"Why?\", \"choices\": {\"text\": [\"x\", \" y\"], "
                 "\"label\": [\"A\", \"B\"]}, \"answerKey\": \"B\"}\r\n"
                 "\n"
                 "{\"question\": \"\", \"choices\": {\"text\": [\"p\", \"q\", \"r\"], \"label\": "
                 "[\"1\", \"2\", \"3\"]}, \"answerKey\": \"1\"}",
                 RAM_ARC_CHALLENGE, 2);
    assert_string_equal(documents.items[0].query, "Question: Why?\nAnswer:");
    assert_int_equal(documents.items[0].n_choices, 2);
    assert_string_equal(documents.items[0].choices[1], " y");
    assert_int_equal(documents.items[0].gold, 1);
    assert_string_equal(documents.items[1].query, "Question: \nAnswer:");
    assert_int_equal(documents.items[1].gold, 0);
    ram_documents_release(&documents);
}

static void hellaswag_in_its_own_fields(void **state)
{
    struct ram_documents documents;
    (void)state;

    check_parsed(&documents,
                 "{\"activity_label\": \"Roofs\", \"ctx_a\": \"[header] How [title] up.\", "
                 "\"ctx_b\": \"HE saw\", \"endings\": [\"a [x] b\", \"c   d\", \"[z\", \" [y]\"], "
                 "\"label\": \"3\"}\n"
                 "{\"activity_label\": \"A\", \"ctx_a\": \"b\", \"ctx_b\": \"\", \"endings\": "
                 "[\"c\", \"d\"], \"label\": 0}\n",
                 RAM_HELLASWAG, 2);
    assert_string_equal(documents.items[0].query, "Roofs: How. up. He saw");
    assert_string_equal(documents.items[0].choices[0], "a b");
    assert_string_equal(documents.items[0].choices[1], "c  d");
    assert_string_equal(documents.items[0].choices[2], "[z");
    assert_string_equal(documents.items[0].choices[3], "");
    assert_int_equal(documents.items[0].gold, 3);
    assert_string_equal(documents.items[1].query, "A: b");
    ram_documents_release(&documents);
}

static void ready_questions_stay_as_they_are(void **state)
{
    static const char text[] = "{\"query\": \"Q [x]  \", \"choices\": [\"a\", \"b\"], \"gold\": 1}";
    struct ram_documents documents;
    (void)state;

    for (int task = RAM_ARC_CHALLENGE; task <= RAM_HELLASWAG; task++) {
        check_parsed(&documents, text, (enum ram_choice_task)task, 1);
        assert_string_equal(documents.items[0].query, "Q [x]  ");
        assert_int_equal(documents.items[0].gold, 1);
        ram_documents_release(&documents);
    }
}

static void hellaswag_as_text(void **state)
{
    struct ram_documents documents;
    struct ram_err err = {0};
    static const char text[] = "Roofs: up. he\n3\na\nb\nc [x] d\ne\n"
                               "Roofs: up. he\n3\na\nb\nc [x] d\ne\n"
                               "A: b\n0\nf\ng\nh\ni";
    (void)state;

    check_parsed(&documents, text, RAM_HELLASWAG, 3);
    assert_string_equal(documents.items[0].query, "Roofs: up. he");
    assert_string_equal(documents.items[0].choices[2], "c d");
    assert_int_equal(documents.items[0].gold, 3);
    assert_string_equal(documents.items[2].choices[3], "i");
    assert_string_equal(documents.items[0].sha256, documents.items[1].sha256);
    assert_string_not_equal(documents.items[0].sha256, documents.items[2].sha256);
    ram_documents_release(&documents);

    assert_int_equal(
        ram_documents_parse(&documents, text, strlen(text), RAM_HELLASWAG, 2, "file", &err),
        RAM_OK);
    assert_int_equal(documents.n, 2);
    ram_documents_release(&documents);
}

/* Members in another order and other spaces are the same document. */
static void equal_documents_have_one_digest(void **state)
{
    struct ram_documents documents;
    (void)state;

    check_parsed(&documents,
                 "{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": 0}\n"
                 "{\"gold\":0,\"choices\":[\"a\"],\"query\":\"q\"}\n"
                 "{\"gold\":0,\"choices\":[\"a\"],\"query\":\"q\",\"ind\":1}\n",
                 RAM_ARC_CHALLENGE, 3);
    assert_string_equal(documents.items[0].sha256, documents.items[1].sha256);
    assert_string_not_equal(documents.items[0].sha256, documents.items[2].sha256);
    ram_documents_release(&documents);
}

static void refusals_name_file_and_line(void **state)
{
    static const struct {
        const char *text;
        enum ram_choice_task task;
        int status;
        const char *says;
    } cases[] = {
        {"", RAM_ARC_CHALLENGE, RAM_EFORMAT, "file: there is no document"},
        {"\n \n", RAM_ARC_CHALLENGE, RAM_EFORMAT, "no document"},
        {"\n{\"query\"", RAM_ARC_CHALLENGE, RAM_EFORMAT, "file: line 2, column"},
        {"[]", RAM_ARC_CHALLENGE, RAM_EFORMAT, "file: line 1: not a JSON object"},
        {"{}", RAM_ARC_CHALLENGE, RAM_EFORMAT, "this is not ARC"},
        {"{}", RAM_HELLASWAG, RAM_EFORMAT, "this is not HellaSwag"},
        {"{\"query\": \"q\", \"choices\": [], \"gold\": 0}", RAM_HELLASWAG, RAM_ERANGE,
         "0 choices"},
        {"{\"query\": \"q\", \"choices\": [1], \"gold\": 0}", RAM_HELLASWAG, RAM_EFORMAT,
         "item 0 is not a string"},
        {"{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": 1}", RAM_HELLASWAG, RAM_ERANGE,
         "\"gold\" is 1, there are choices 0 to 0"},
        {"{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": -1}", RAM_HELLASWAG, RAM_ERANGE, "-1"},
        {"{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": \"\"}", RAM_HELLASWAG, RAM_EFORMAT,
         "a test set without answers?"},
        {"{\"query\": \"q\", \"query\": \"r\", \"choices\": [\"a\"], \"gold\": 0}", RAM_HELLASWAG,
         RAM_EFORMAT, "duplicate"},
        {"{\"question\": \"q\", \"choices\": {\"text\": [\"a\"], \"label\": []}, \"answerKey\": "
         "\"A\"}",
         RAM_ARC_CHALLENGE, RAM_EFORMAT, "0 labels for 1 choices"},
        {"{\"question\": \"q\", \"choices\": {\"text\": [\"a\"], \"label\": [\"B\"]}, "
         "\"answerKey\": \"A\"}",
         RAM_ARC_CHALLENGE, RAM_EFORMAT, "which is no label"},
        {"q\n4\na\nb\nc\nd\n", RAM_HELLASWAG, RAM_ERANGE, "file: line 2: \"gold\" is 4"},
        {"q\nx\na\nb\nc\nd\n", RAM_HELLASWAG, RAM_EFORMAT, "file: line 2"},
        {"q\n1\na\nb\nc\nd\nq\n1\n", RAM_HELLASWAG, RAM_EFORMAT, "ends after line 8"},
        {"q\n1\na\nb\xff\nc\nd\n", RAM_HELLASWAG, RAM_EFORMAT, "line 4, byte 1: not UTF-8"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_documents documents;
        struct ram_err err;
        assert_int_equal(parse(&documents, cases[i].text, cases[i].task, &err), cases[i].status);
        if (!strstr(err.message, cases[i].says))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.message, cases[i].says);
        assert_int_equal(documents.n, 0);
    }
}

static void a_line_has_a_limit(void **state)
{
    const size_t size = ((size_t)1 << 20) + 1;
    struct ram_documents documents;
    struct ram_err err = {0};
    char *text = malloc(size);
    (void)state;

    assert_non_null(text);
    memset(text, ' ', size);
    assert_int_equal(
        ram_documents_parse(&documents, text, size, RAM_ARC_CHALLENGE, 0, "file", &err),
        RAM_ERANGE);
    assert_non_null(strstr(err.message, "file: line 1 has 1048577 bytes"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arc_in_its_own_fields),
        cmocka_unit_test(hellaswag_in_its_own_fields),
        cmocka_unit_test(ready_questions_stay_as_they_are),
        cmocka_unit_test(hellaswag_as_text),
        cmocka_unit_test(equal_documents_have_one_digest),
        cmocka_unit_test(refusals_name_file_and_line),
        cmocka_unit_test(a_line_has_a_limit),
    };
    return cmocka_run_group_tests_name("evaluate/documents", tests, NULL, NULL);
}
