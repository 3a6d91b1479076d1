/* The forms in which questions come, and what is refused. Expected texts: the harness's own
 * preprocess() and templates, by hand. */
#include "evaluate/documents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct ram_documents *out, const char *text, enum ram_choice_task task,
                 struct ram_err *err)
{
    *err = (struct ram_err){0};
    return ram_documents_parse(out, text, strlen(text), &(struct ram_documents_opts){.task = task},
                               "file", err);
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
    const struct ram_documents_opts two = {.task = RAM_HELLASWAG, .limit = 2};
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

    assert_int_equal(ram_documents_parse(&documents, text, strlen(text), &two, "file", &err),
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
        {"", RAM_ARC_CHALLENGE, RAM_EFORMAT, "file: the file is empty"},
        {"[]", RAM_HELLASWAG, RAM_EFORMAT, "file: there is no document"},
        {"\n \n", RAM_ARC_CHALLENGE, RAM_EFORMAT, "no document"},
        {"\n{\"query\"", RAM_ARC_CHALLENGE, RAM_EFORMAT, "file: line 2, column"},
        {"[[]]", RAM_ARC_CHALLENGE, RAM_EFORMAT, "file: line 1: not a JSON object"},
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
        {"q\n1\na\nb\xff\nc\nd\n", RAM_HELLASWAG, RAM_EFORMAT,
         "line 4: byte 7 of the file is 0xFF"},
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

static void a_document_has_a_limit(void **state)
{
    const size_t size = ((size_t)1 << 20) + 64;
    const struct ram_documents_opts opts = {.task = RAM_ARC_CHALLENGE};
    struct ram_documents documents;
    struct ram_err err = {0};
    char *text = malloc(size);
    (void)state;

    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, "\n{\"query\": \"", 12);
    memcpy(text + size - 2, "\"}", 2);
    assert_int_equal(ram_documents_parse(&documents, text, size, &opts, "file", &err), RAM_ERANGE);
    assert_non_null(strstr(err.message, "file: line 2: a document of more than 1048576 bytes"));
    free(text);
}

/* ---- as lenient as Python's readers ------------------------------------------------------- */

#define ASKED                                                                                      \
    "\"activity_label\": \"A\", \"ctx_a\": \"b.\", \"ctx_b\": \"he\", \"endings\": [\"c\", \"d\"]"
#define FIRST  "{" ASKED ", \"label\": 1}"
#define SECOND "{" ASKED ", \"label\": \"0\"}"

/* Whatever lies around the documents, they are the same. */
static void two_documents_in_many_guises(void **state)
{
    static const char *const guises[] = {
        FIRST "\n" SECOND "\n",
        FIRST "\n" SECOND,
        FIRST "\r\n" SECOND "\r\n",
        FIRST "\r" SECOND "\r",
        "\n" FIRST "\n\n \n" SECOND "\n\n",
        "  " FIRST "\n\t" SECOND " \n",
        "\xef\xbb\xbf" FIRST "\n" SECOND "\n",
        "\xef\xbb\xbf\r\n" FIRST "\r\n" SECOND,
        FIRST SECOND,
        "[" FIRST "," SECOND "]",
        "\n [ \n" FIRST " ,\n" SECOND "\n]\n\n",
        "{\n    \"label\": 1,\n    " ASKED "\n}\n{\n    " ASKED ",\n\n    \"label\": 0.0\n}\n",
        "[{" ASKED ", \"label\": \" 1 \"}, {" ASKED ", \"label\": 0}]",
        "{\"score\": NaN, \"ind\": 1000000000000000000000, \"x\": \"}\\\"{\", " ASKED
        ", \"label\": 1}\n{\"y\": [-Infinity], " ASKED ", \"label\": 0}\n",
        FIRST "\n{" ASKED "}\n{" ASKED ", \"label\": \"\"}\n{" ASKED ", \"label\": null}\n" SECOND
              "\n",
    };
    (void)state;

    for (size_t i = 0; i < sizeof guises / sizeof *guises; i++) {
        struct ram_documents documents;
        struct ram_err err;
        if (parse(&documents, guises[i], RAM_HELLASWAG, &err))
            fail_msg("guise %zu: %s", i, err.message);
        assert_int_equal(documents.n, 2);
        assert_string_equal(documents.items[0].query, "A: b. He");
        assert_int_equal(documents.items[0].gold, 1);
        assert_int_equal(documents.items[1].gold, 0);
        ram_documents_release(&documents);
    }
}

static void arc_as_its_authors_publish_it(void **state)
{
    struct ram_documents documents;
    (void)state;

    check_parsed(
        &documents,
        "{\"id\": \"a\", \"question\": {\"stem\": \"Why?\", \"choices\": [{\"text\": \"x\", "
        "\"label\": \"A\"}, {\"text\": \"y\", \"label\": \"B\"}, {\"text\": \"z\", \"label\": "
        "\"C\"}]}, \"answerKey\": \"C\"}\n"
        "{\"question\": \"Who?\", \"choices\": [{\"label\": \"1\", \"text\": \"p\"}, "
        "{\"label\": \"2\", \"text\": \"q\"}], \"answerKey\": \"2\"}\n"
        "{\"question\": \"Who?\", \"choices\": {\"text\": [\"p\", \"q\"], \"label\": [1, "
        "2]}, \"answerKey\": 1}\n",
        RAM_ARC_CHALLENGE, 3);
    assert_string_equal(documents.items[0].query, "Question: Why?\nAnswer:");
    assert_int_equal(documents.items[0].n_choices, 3);
    assert_string_equal(documents.items[0].choices[2], "z");
    assert_int_equal(documents.items[0].gold, 2);
    assert_int_equal(documents.items[1].gold, 1);
    assert_int_equal(documents.items[2].gold, 0);
    ram_documents_release(&documents);
}

/* A sentence may begin with a bracket: what follows tells JSON from text. */
static void six_lines_whatever_they_begin_with(void **state)
{
    static const char *const texts[] = {
        "[header] How to row.\n1\na\nb\nc\nd\n",
        "\n\n[header] How to row.\r\n 1\r\na\r\nb\r\nc\r\nd\r\n",
        "\xef\xbb\xbf{odd} How to row.\n1\na\nb\nc\nd",
    };
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ram_documents documents;
        check_parsed(&documents, texts[i], RAM_HELLASWAG, 1);
        assert_int_equal(documents.items[0].gold, 1);
        assert_string_equal(documents.items[0].choices[3], "d");
        ram_documents_release(&documents);
    }
}

static char noticed[400];

static void notice(void *user, const char *line)
{
    (void)user;
    snprintf(noticed, sizeof noticed, "%s", line);
}

static void what_was_passed_over_is_said(void **state)
{
    static const char text[] = "\n" FIRST "\n\n{" ASKED "}\n" SECOND "\n\n";
    const struct ram_exec exec = ram_exec_alone(&(struct ram_run){.notice = notice});
    const struct ram_documents_opts opts = {.task = RAM_HELLASWAG, .exec = &exec};
    struct ram_documents documents;
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_documents_parse(&documents, text, sizeof text - 1, &opts, "file", &err),
                     RAM_OK);
    assert_string_equal(noticed,
                        "file: passed over 3 blank lines and 1 document without an answer");
    ram_documents_release(&documents);
}

static void a_refusal_says_what_is_there(void **state)
{
    static const struct {
        const char *text;
        enum ram_choice_task task;
        const char *says;
    } cases[] = {
        {FIRST "\n{\"ind\": 4, \"activity_label\": \"A\", \"ctx\": \"b\", \"endings\": [\"c\"], "
               "\"label\": 0}",
         RAM_HELLASWAG,
         "file: line 2: there is no \"ctx_a\"; a document of HellaSwag has the "
         "members activity_label, ctx_a, ctx_b, endings, this one has ind, "
         "activity_label, ctx, endings, label"},
        {FIRST, RAM_ARC_CHALLENGE, "use --task hellaswag"},
        {"{\"question\": \"q\"}", RAM_HELLASWAG, "use --task arc_challenge"},
        {"{\"rows\": []}", RAM_ARC_CHALLENGE, "the members are rows"},
        {FIRST "\n{" ASKED ", \"label\"", RAM_HELLASWAG, "was its download cut short?"},
        {FIRST "\n{" ASKED ", \"label\" 1}\n", RAM_HELLASWAG, "file: line 2, column"},
        {"[" FIRST " " SECOND "]", RAM_HELLASWAG, "expected ',' or ']'"},
        {"[" FIRST "] " SECOND, RAM_HELLASWAG, "something follows the JSON array"},
        {"[" FIRST ",]", RAM_HELLASWAG, "file: line 1"},
        {"{" ASKED "}\n{" ASKED ", \"label\": \"\"}", RAM_HELLASWAG,
         "none of its 2 documents has an answer"},
        {"<!DOCTYPE html>\n", RAM_HELLASWAG, "web page"},
        {"id,question\n1,b\n", RAM_ARC_CHALLENGE, "begins with \"id,question\""},
        {"ind,ctx\n1;b\n", RAM_HELLASWAG, "expected JSON documents, or llama.cpp's text"},
        {"PAR1\x15\x04\xff", RAM_ARC_CHALLENGE, "pandas.read_parquet(\"file\").to_json"},
        {"BZh91AY&SY\xfc\x07", RAM_HELLASWAG, "bunzip2"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_documents documents;
        struct ram_err err;
        assert_int_equal(parse(&documents, cases[i].text, cases[i].task, &err), RAM_EFORMAT);
        if (!strstr(err.message, cases[i].says))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.message, cases[i].says);
    }
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
        cmocka_unit_test(a_document_has_a_limit),
        cmocka_unit_test(two_documents_in_many_guises),
        cmocka_unit_test(arc_as_its_authors_publish_it),
        cmocka_unit_test(six_lines_whatever_they_begin_with),
        cmocka_unit_test(what_was_passed_over_is_said),
        cmocka_unit_test(a_refusal_says_what_is_there),
    };
    return cmocka_run_group_tests_name("evaluate/documents", tests, NULL, NULL);
}
